"""The end of an attempt: what an exit code means, and the removal of what is left."""

from typing import Literal

from eyewall.db.statements import statement
from eyewall.jobs.database import Database
from eyewall.jobs.runner import Assignment, Runner, Seen, WorkerUnreachable

EndState = Literal["succeeded", "failed", "cancelled", "pruned", "lost"]


def verdict(seen: Seen, stopped_as: str, max_s: int | None, last_line: str = "") -> tuple[EndState, int | None, str]:
    """How an attempt that was seen to have ended, ended: state, exit code, reason.

    ``stopped_as``: what it was told to end as: cancelled or pruned by its user, failed by us as its ``max_s`` were
    over; empty where it ended by itself. ``last_line`` is what it printed last, which mostly says why it failed.
    """
    if stopped_as in ("cancelled", "pruned"):
        return "pruned" if stopped_as == "pruned" else "cancelled", seen.exit_code, seen.reason or stopped_as
    if stopped_as == "failed":
        return "failed", None, f"ended after its {(max_s or 0) / 3600:g} h (max_hours): give it more, or checkpoints"
    if seen.exit_code is None:
        return "lost", None, seen.reason or "it ended, and nobody knows how"
    if seen.exit_code == 0:
        return "succeeded", 0, ""
    said = f": {last_line}" if last_line else ""
    return "failed", seen.exit_code, seen.reason or f"its command ended with exit code {seen.exit_code}{said}"


def clear(runner: Runner, assignment: Assignment, database: Database, left: bool = False) -> bool:
    """Remove what is left of an attempt that has ended, and note that; False where its worker is away: later, then.

    ``left``: its output could not be kept, so that it stays where it is, for a person to look after.
    """
    if not left:
        try:
            runner.remove(assignment)
        except WorkerUnreachable:
            return False
    database.run(lambda c: c.execute(statement("jobs/clear"), {"attempt": assignment.attempt, "left": left}))
    return True
