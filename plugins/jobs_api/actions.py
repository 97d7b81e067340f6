"""What can be done from the page: each is one call of the queue's own, recorded under the user's name."""

from collections.abc import Iterator
from contextlib import contextmanager

from eyewall.db.connect import Connection, connected
from eyewall.db.statements import statement
from eyewall.jobs import queue

from .database import url
from .guard import Acting


def cancel(job: int, actor: Acting) -> str:
    """Cancel a job, or ask it to end where it runs; the sentence for the user. Raises ContractError where it cannot."""
    with _allowed(job, actor) as connection:
        state = queue.cancel(connection, job, actor.name)
    return f"Job {job} is asked to end." if state == "running" else f"Job {job} is {state}."


def requeue(job: int, actor: Acting) -> str:
    """Put a job that has ended into the queue again. Raises ContractError where it cannot."""
    with _allowed(job, actor) as connection:
        queue.requeue(connection, job, actor.name)
    return f"Job {job} is in the queue again."


def set_priority(job: int, priority: int, actor: Acting) -> str:
    """Give a job another priority. Raises ContractError where it cannot."""
    with _allowed(job, actor) as connection:
        queue.set_priority(connection, job, priority, actor.name)
    return f"Job {job} has priority {priority} now."


@contextmanager
def _allowed(job: int, actor: Acting) -> Iterator[Connection]:
    """A connection, to act on a job that is the actor's to act on; of one that is not there the queue says so."""
    with connected(url()) as connection:
        for (owner,) in connection.execute(statement("page/owner"), {"job": job}):
            actor.refuse_what_is_not_his(job, owner)
        yield connection
