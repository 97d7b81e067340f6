"""What people and programs do to the queue: submit, cancel, put back, change the priority, ask to stop.

Every function is one transaction of its own (a savepoint, where the connection is in one), names its actor in the table
event, and leaves the queue as it was where it refuses. Time is the database's alone.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from eyewall.contracts.errors import InputError
from eyewall.contracts.submission import Submission
from eyewall.db.connect import Connection
from eyewall.db.statements import statement

WAITING, ENDED = ("blocked", "queued"), ("succeeded", "failed", "cancelled", "pruned")


@contextmanager
def acting(connection: Connection, actor: str) -> Iterator[None]:
    """A transaction, in which ``actor`` is who the table event names; on disk when it returns."""
    with connection.transaction():
        connection.execute(statement("jobs/act"), {"actor": actor})
        yield


def submit(connection: Connection, submission: Submission) -> int:
    """Put a job into the queue; its number. The same key with the same content gives the job that is there.

    Raises InputError in one sentence for what can never run: an unknown environment, more GPUs than any host has, a
    generation or memory that none has, a job to come after that is unknown or lost; and for a key with other content.
    """
    with acting(connection, submission.owner):
        if submission.key and (there := _of_key(connection, submission)) is not None:
            return there
        _refuse_unknown_environment(connection, submission)
        _refuse_what_no_host_has(connection, submission)
        blocked = _has_to_wait(connection, submission.after)
        row = connection.execute(statement("jobs/insert_job"), _columns(submission) | {"blocked": blocked}).fetchone()
        if row is None:  # somebody else submitted this key in the same moment
            there = _of_key(connection, submission)
            assert there is not None
            return there
        if submission.after:
            connection.execute(statement("jobs/insert_dependencies"), {"job": row[0], "after": list(submission.after)})
        return int(row[0])


def cancel(connection: Connection, job: int, actor: str, reason: str = "") -> str:
    """Cancel a job: at once where it waits, by asking its program to end where it runs; the state it is in now.

    Raises InputError for an unknown job, or one that has ended otherwise.
    """
    with acting(connection, actor):
        state = _locked(connection, job)
        if state in ENDED and state != "cancelled":
            raise InputError(f"job {job} has ended already: it {_past(state)}; there is nothing to cancel")
        _stop(connection, job, state, "cancelled", reason or f"cancelled by {actor}")
    return "running" if state == "running" else "cancelled"


def requeue(connection: Connection, job: int, actor: str) -> None:
    """Let a job that has ended run again, from the end of the queue and with all of its attempts.

    Raises InputError for an unknown job, one that waits or runs, or one that comes after a job that did not succeed.
    """
    with acting(connection, actor):
        state = _locked(connection, job)
        if state not in ENDED:
            raise InputError(f"job {job} is {state}: only a job that has ended can be put into the queue again")
        after = tuple(row[0] for row in connection.execute(statement("jobs/dependencies_of_job"), {"job": job}))
        blocked = _has_to_wait(connection, after)
        connection.execute(statement("jobs/requeue_job"), {"job": job, "blocked": blocked})


def set_priority(connection: Connection, job: int, priority: int, actor: str) -> None:
    """Move a job in the queue: each step of priority (0 to 9) is a head start of one ageing interval.

    Raises InputError for an unknown job, one that has ended, or a priority outside 0 to 9.
    """
    if not 0 <= priority <= 9:
        raise InputError(f"priority {priority} is not between 0 and 9: 9 goes first, 5 is usual")
    with acting(connection, actor):
        state = _locked(connection, job)
        if state in ENDED:
            raise InputError(f"job {job} has ended already: it {_past(state)}; a priority would change nothing")
        connection.execute(statement("jobs/set_priority"), {"job": job, "priority": priority})


def ask_to_stop(
    connection: Connection, job: int, how: Literal["pruned", "cancelled"], actor: str, reason: str = ""
) -> None:
    """End a job as ``how``: at once where it waits, by asking its program where it runs; nothing where it has ended.

    Raises InputError for an unknown job.
    """
    with acting(connection, actor):
        _stop(connection, job, _locked(connection, job), how, reason)


def settle_dependents(connection: Connection, job: int, state: str) -> None:
    """Let go, or cancel, what waits for ``job``, which became ``state`` in this transaction; and what waits for those.

    Whoever does this holds the jobs in the order of their numbers, which is also that of what comes after what: so none
    of those who do it at once waits for another that waits for it.
    """
    if state != "succeeded":
        connection.execute(statement("jobs/hold_dependents"), {"job": job})
    ended = [job]
    while ended:
        of = {"job": ended.pop()}
        waiting = [row[0] for row in connection.execute(statement("jobs/lock_dependents"), of)]
        if waiting:
            settled = connection.execute(statement("jobs/settle_dependents"), {"jobs": waiting})
            ended += [row[0] for row in settled if row[1] == "cancelled"]


def _stop(connection: Connection, job: int, state: str, how: str, reason: str) -> None:
    values = {"job": job, "reason": reason}
    if state == "running":
        connection.execute(statement("jobs/stop_running_job"), values | {"stop": how})
    elif state in WAITING:
        connection.execute(statement("jobs/end_waiting_job"), values | {"state": how})
        settle_dependents(connection, job, how)


def _locked(connection: Connection, job: int) -> str:
    """The state of a job that nobody else changes until this transaction ends."""
    row = connection.execute(statement("jobs/lock_job"), {"job": job}).fetchone()
    if row is None:
        raise InputError(f"no job {job}: see `eyewall job list --all`")
    return str(row[0])


def _past(state: str) -> str:
    return state if state in ("succeeded", "failed") else f"was {state}"


def _columns(submission: Submission) -> dict[str, Any]:
    return {
        "key": submission.key,
        "name": submission.name or "",
        "owner": submission.owner,
        "environment": submission.environment,
        "command": list(submission.command),
        "code": submission.code,
        "data": list(submission.data),
        "variables": Jsonb(submission.variables),
        "gpus": submission.gpus,
        "generations": sorted(set(submission.generations)),  # one demand however it is written: one lane of the queue
        "memory_mb": math.ceil(submission.memory_gb * 1024),
        "priority": submission.priority,
        "max_s": None if submission.max_hours is None else max(1, round(submission.max_hours * 3600)),
        "max_attempts": submission.max_attempts,
    }


def _of_key(connection: Connection, submission: Submission) -> int | None:
    """The job that this key names already; None where it names none. Raises InputError where it is another's."""
    with connection.cursor(row_factory=dict_row) as cursor:
        there = cursor.execute(statement("jobs/job_of_key"), {"key": submission.key}).fetchone()
    if there is None:
        return None
    asked = _columns(submission) | {"variables": submission.variables, "after": sorted(set(submission.after))}
    differing = [field for field in there if field != "id" and there[field] != asked[field]]
    if differing:
        raise InputError(
            f"key {submission.key!r} is job {there['id']}'s, submitted with another {differing[0]}: choose another key"
        )
    return int(there["id"])


def _refuse_unknown_environment(connection: Connection, submission: Submission) -> None:
    known = [row[0] for row in connection.execute(statement("jobs/environment_names"))]
    if submission.environment not in known:
        names = ", ".join(known) or "none yet: see `eyewall env build`"
        raise InputError(f"no environment {submission.environment!r}: there are {names}")


def _refuse_what_no_host_has(connection: Connection, submission: Submission) -> None:
    """Hosts out of reach count: they come back. Where no host was ever named, nothing is known, so nothing refused."""
    hosts = connection.execute(statement("jobs/hosts")).fetchall()
    if not hosts:
        return
    wanted, memory_mb = set(submission.generations), math.ceil(submission.memory_gb * 1024)
    known = sorted({generation for _, _, generation, _, _ in hosts})
    if wanted and not wanted & set(known):
        raise InputError(f"no host has a GPU of generation {', '.join(sorted(wanted))}: theirs are {', '.join(known)}")
    fitting = [row for row in hosts if not wanted or row[2] in wanted]
    most_mb = max(row[3] for row in fitting)
    if most_mb < memory_mb:
        such = "such GPU" if wanted else "GPU"
        raise InputError(f"no {such} has {submission.memory_gb:g} GiB: the largest has {most_mb / 1024:.1f} GiB")
    of_host: Counter[tuple[str, str]] = Counter()
    for worker, host, _, size_mb, count in fitting:
        of_host[worker, host] += count if size_mb >= memory_mb else 0
    largest = max(of_host.values())
    if largest < submission.gpus:
        such = "such GPU" if wanted or memory_mb else "GPU"
        raise InputError(
            f"{submission.gpus} {such}s on one host are more than any has: the largest has {largest}; ask for fewer"
        )


def _has_to_wait(connection: Connection, after: tuple[int, ...]) -> bool:
    """Whether a job of ``after`` has yet to succeed. Raises InputError where one is unknown, or never will."""
    if not after:
        return False
    states: dict[int, str] = dict(
        connection.execute(statement("jobs/lock_dependencies"), {"after": list(after)}).fetchall()
    )
    for job in after:
        if job not in states:
            raise InputError(f"no job {job} to come after: see `eyewall job list --all`")
        if states[job] in ("failed", "cancelled", "pruned"):
            raise InputError(f"job {job} {_past(states[job])}, so nothing can come after it: requeue that one first")
    return any(state != "succeeded" for state in states.values())
