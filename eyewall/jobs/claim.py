"""The two ends of an attempt: a claim gives a job its GPUs, an end takes them back. Each is one transaction."""

import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

from psycopg.errors import DeadlockDetected, UniqueViolation
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.queue import settle_dependents
from eyewall.jobs.runner import Assignment, Gpu, Worker

#: What fits may be in other hands for the moment of their transaction. After so long somebody holds it on purpose, such
#: as in psql: the next wake-up, or the dispatcher's periodic look, asks again.
_TRIES: Final = 60
_PAUSE_S: Final = 0.004


def claim(connection: Connection, dispatcher: int, workers: Sequence[str] | None = None) -> Assignment | None:
    """Lend free GPUs to the next job that fits them; None where there is no such pair now.

    ``workers`` are those that this dispatcher can reach; None: all. Any number of dispatchers may claim at once.
    """
    values = {"dispatcher": dispatcher, "workers": None if workers is None else list(workers)}
    for _ in range(_TRIES):
        try:
            with _one_transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
                row = cursor.execute(statement("jobs/claim"), values).fetchone()
            if row is None:
                return None
            outcome = row.pop("outcome")
            if outcome == "claimed":
                return _assignment(row)
        except (UniqueViolation, DeadlockDetected):  # the database's last word on who was first
            outcome = "collided"
        if outcome == "collided":
            time.sleep(random.uniform(0.5, 1.5) * _PAUSE_S)  # noqa: S311 - only to be out of step with the other one
    return None


def _one_transaction(connection: Connection) -> AbstractContextManager[object]:
    """Nothing more than the statement needs: BEGIN and COMMIT would each be a way to the server and back."""
    if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
        return nullcontext()
    return connection.transaction()


def assignment(connection: Connection, attempt: int) -> Assignment:
    """All that a runner needs to know of an attempt that another dispatcher has claimed."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement("jobs/assignment"), {"attempt": attempt}).fetchone()
    assert row is not None, attempt
    return _assignment(row)


def _assignment(row: dict[str, Any]) -> Assignment:
    worker = Worker(name=row.pop("name"), kind=row.pop("kind"), url=row.pop("url"), options=row.pop("options"))
    gpus = tuple(Gpu(**gpu) for gpu in row.pop("gpus") or ())
    return Assignment(worker=worker, gpus=gpus, command=tuple(row.pop("command")), data=tuple(row.pop("data")), **row)


def end(
    connection: Connection,
    attempt: int,
    token: int,
    state: Literal["succeeded", "failed", "cancelled", "pruned", "lost"],
    exit_code: int | None,
    reason: str,
) -> bool:
    """Record how an attempt ended: its GPUs are free, its job ends or is queued again; False: it is not ours any more.

    A job that was asked to stop ends as it was asked to. ``lost``, and ``failed`` with exit code 75, are followed by
    another attempt while the job has any left.
    """
    values = {"attempt": attempt, "token": token, "state": state, "exit_code": exit_code, "reason": reason}
    with connection.transaction():
        row = connection.execute(statement("jobs/end_attempt"), values).fetchone()
        if row is None:
            return False
        if row[1] != "queued":
            settle_dependents(connection, row[0], row[1])
    return True
