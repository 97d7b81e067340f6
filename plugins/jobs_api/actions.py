"""What can be done from the page: each is one call of the queue's own, recorded under the user's name."""

from eyewall.db.connect import connected
from eyewall.jobs import queue

from .database import url


def cancel(job: int, actor: str) -> str:
    """Cancel a job, or ask it to end where it runs; the sentence for the user. Raises ContractError where it cannot."""
    with connected(url()) as connection:
        state = queue.cancel(connection, job, actor)
    return f"Job {job} is asked to end." if state == "running" else f"Job {job} is {state}."


def requeue(job: int, actor: str) -> str:
    """Put a job that has ended into the queue again. Raises ContractError where it cannot."""
    with connected(url()) as connection:
        queue.requeue(connection, job, actor)
    return f"Job {job} is in the queue again."


def set_priority(job: int, priority: int, actor: str) -> str:
    """Give a job another priority. Raises ContractError where it cannot."""
    with connected(url()) as connection:
        queue.set_priority(connection, job, priority, actor)
    return f"Job {job} has priority {priority} now."
