"""What dispatchers that died, froze or lost their server left behind: their attempts, and what is to be removed."""

import threading
from collections.abc import Callable, Collection, Sequence

from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.attempt_end import clear
from eyewall.jobs.claim import assignment
from eyewall.jobs.database import Closing, Database
from eyewall.jobs.runner import Assignment, Runner, Worker


def adopt(
    connection: Connection, dispatcher: int, watched: Collection[int], workers: Sequence[str]
) -> list[tuple[Assignment, int]]:
    """Make live attempts that nobody looks after ours; each with the dispatcher whose it was.

    The sessions of a frozen one are ended: it may hold rows locked, and it is to know when it wakes up.
    """
    values = {"dispatcher": dispatcher, "watched": list(watched), "workers": list(workers)}
    with connection.transaction():
        rows = connection.execute(statement("jobs/adopt"), values).fetchall()
        taken = [(assignment(connection, row[0]), int(row[1])) for row in rows]
    if frozen := sorted({int(row[1]) for row in rows if row[2]}):
        connection.execute(statement("jobs/end_sessions"), {"dispatchers": frozen})
    return taken


class Sweeper:
    """Removes, beside everything else, what is left of attempts whose dispatcher died between their end and that."""

    def __init__(self, database: Database, runner_of: Callable[[Worker], Runner], say: Callable[[str], None]) -> None:
        self._database, self._runner_of, self._say = database, runner_of, say
        self._thread: threading.Thread | None = None

    def sweep(self, dispatcher: int, watched: Collection[int], workers: Sequence[str]) -> None:
        """Start a round unless one is under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        values = {"dispatcher": dispatcher, "watched": list(watched), "workers": list(workers)}
        left = self._database.run(lambda c: c.execute(statement("jobs/uncleared"), values).fetchall())
        if left:
            attempts = [int(row[0]) for row in left]
            self._thread = threading.Thread(target=self._clear, args=(attempts,), name="sweep", daemon=True)
            self._thread.start()

    def _clear(self, attempts: Sequence[int]) -> None:
        away: set[str] = set()
        for attempt in attempts:
            try:
                each = self._database.run(lambda c, attempt=attempt: assignment(c, attempt))  # type: ignore[misc]
                if each.worker.name not in away and not clear(self._runner_of(each.worker), each, self._database):
                    away.add(each.worker.name)
            except Closing:
                return
            except Exception as error:
                self._say(f"attempt {attempt} cannot be removed from its worker: {type(error).__name__}: {error}")
