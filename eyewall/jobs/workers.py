"""Rows of workers and of their GPUs: who may be offered jobs, and what a probe found there."""

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from eyewall.contracts.errors import InputError
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.claim import end
from eyewall.jobs.queue import acting
from eyewall.jobs.runner import Found, Worker


def upsert_worker(connection: Connection, worker: Worker) -> None:
    """Register a worker, or change its address and options; one that was removed is up again."""
    values = {"name": worker.name, "kind": worker.kind, "url": worker.url, "options": Jsonb(dict(worker.options))}
    with connection.transaction():
        connection.execute(statement("jobs/upsert_worker"), values)


def set_worker_state(connection: Connection, name: str, state: str, reason: str = "", actor: str = "") -> None:
    """Make a worker up, draining, unreachable or removed. Raises InputError for an unknown one."""
    with acting(connection, actor):
        row = connection.execute(
            statement("jobs/set_worker_state"), {"name": name, "state": state, "reason": reason}
        ).fetchone()
        if row is None:
            raise InputError(f"no worker {name!r}: see `eyewall worker list`")


def record_gpus(connection: Connection, worker: str, found: Sequence[Found]) -> None:
    """What a probe of ``worker`` found is what it has: new GPUs are added, those that are not there are gone."""
    rows = [{"worker": worker, **gpu._asdict()} for gpu in found]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(statement("jobs/lock_gpus"), {"worker": worker})
        cursor.executemany(statement("jobs/upsert_gpu"), rows)
        cursor.execute(statement("jobs/forget_gpus"), {"worker": worker, "present": [gpu.uuid for gpu in found]})


def remove_worker(connection: Connection, name: str, lost: bool, actor: str) -> list[int]:
    """Take a worker out; the attempts that were lost with it.

    ``lost``: the operator knows that the host is gone and nothing of it runs any more; its jobs go back to the queue.
    Raises InputError for an unknown worker, and for one that still runs something where ``lost`` is not said.
    """
    with acting(connection, actor):
        set_worker_state(connection, name, "removed", f"removed by {actor}", actor)
        attempts = connection.execute(statement("jobs/live_attempts_of_worker"), {"worker": name}).fetchall()
        if attempts and not lost:
            raise InputError(
                f"worker {name} still runs {len(attempts)} jobs: drain it and wait, or say --lost if the host is gone"
            )
        for attempt, token in attempts:
            end(connection, attempt, token, "lost", None, f"worker {name} was removed as lost by {actor}")
    return [attempt for attempt, _ in attempts]
