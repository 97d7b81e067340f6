"""Runs the searches that are left to dispatchers and that nobody runs: a controller each, in a thread of its own.

A dispatcher starts it as a process beside itself (`eyewall.jobs.searches`): Optuna is heavy, and must not hold up the
next job. It keeps nothing: killed at any moment, the next one goes on. Any number may run, as a search's controllers
take turns by its advisory lock.
"""

import contextlib
import threading
import time
from collections.abc import Callable

import psycopg

from eyewall.contracts.errors import EyewallError, StorageError
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.tuning import APPLICATION, controller

LOOK_EVERY_S, PATIENCE_S = 5.0, 120.0
#: A search whose controller gave up for a reason of its own is tried again after so long.
AGAIN_S = 60.0
_TURN_S = 0.5


class Keeper:
    """All searches of one database."""

    def __init__(self, url: str, say: Callable[[str], None], closing: threading.Event) -> None:
        """``closing``: when set, `run` returns at the next turn; controllers are threads that end with the process."""
        self._url, self._say, self._closing = url, say, closing
        self._threads: dict[str, threading.Thread] = {}
        self._not_before: dict[str, float] = {}

    def run(self) -> None:
        """See to searches until there is none left, or told to end. A database that is away is waited for.

        Raises StorageError when it stays away for PATIENCE_S.
        """
        answered = time.monotonic()
        while not self._closing.is_set():
            try:
                with psycopg.connect(
                    self._url, connect_timeout=10, autocommit=True, application_name=f"{APPLICATION} keeper"
                ) as session:
                    session.execute(statement("sweeps/listen_to_searches"))
                    while not self._closing.is_set() and self._look(session):
                        answered = time.monotonic()
                        self._wait(session)
                    return
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if time.monotonic() - answered > PATIENCE_S:
                    reason = " ".join(str(error).split())
                    raise StorageError(f"database: {reason}; check EYEWALL_DATABASE_URL") from None
                self._closing.wait(1.0)

    def _look(self, session: Connection) -> bool:
        """Start a controller for each search without one; whether there is anything to see to."""
        waiting = {str(row[0]) for row in session.execute(statement("sweeps/to_run"))}
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        for name in sorted(waiting - self._threads.keys()):
            if time.monotonic() >= self._not_before.get(name, 0.0):
                thread = threading.Thread(target=self._run_one, args=(name,), name=name, daemon=True)
                self._threads[name] = thread
                thread.start()
        return bool(waiting or self._threads)

    def _wait(self, session: Connection) -> None:
        """Until a search is new or has ended, a controller has ended, or a look is due anyway."""
        deadline, alive = time.monotonic() + LOOK_EVERY_S, len(self._threads)
        while not self._closing.is_set() and time.monotonic() < deadline:
            told = list(session.notifies(timeout=_TURN_S, stop_after=1))
            if told or sum(thread.is_alive() for thread in self._threads.values()) < alive:
                return

    def _run_one(self, name: str) -> None:
        def say(text: str) -> None:
            self._say(f"{name}: {text}")

        try:
            ended = controller.run(self._url, name, say)
            say(f"{ended.state}, {ended.reason}")
        except EyewallError as error:
            say(str(error))
            self._not_before[name] = time.monotonic() + AGAIN_S
        except Exception as error:  # unforeseen: said, and tried again; the other searches go on
            say(f"running it failed, to be tried again: {type(error).__name__}: {error}")
            self._not_before[name] = time.monotonic() + AGAIN_S


def keep(url: str, say: Callable[[str], None], held_open: Callable[[], object]) -> None:
    """Run a `Keeper` until no search is left, or ``held_open``, which blocks meanwhile, returns."""
    closing = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            held_open()
        closing.set()

    threading.Thread(target=watch, name="held open", daemon=True).start()
    Keeper(url, say, closing).run()
