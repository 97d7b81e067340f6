"""A few connections for many threads, which come back by themselves after the server was away."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg

from eyewall.db.connect import Connection
from eyewall.db.statements import statement

T = TypeVar("T")
_LONGEST_PAUSE_S = 2.0


class Closing(Exception):
    """The dispatcher ends: what was to be done is left to the next one."""


class Database:
    """Runs transactions, each at least once, on at most ``connections`` connections of one application name."""

    def __init__(self, url: str, closing: threading.Event, say: Callable[[str], None], connections: int = 8) -> None:
        """``closing`` ends the waiting for a server that is away; ``say`` gets a line when it goes and comes."""
        self.closing = closing
        self._url, self._say = url, say
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        self._free = threading.BoundedSemaphore(connections)
        self._away = False
        self.application_name = "eyewall dispatcher"

    def connect(self) -> Connection:
        """A new connection, committing every statement by itself. Raises psycopg.Error."""
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=10,
            application_name=self.application_name,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
        connection.execute(statement("jobs/session"), {"actor": self.application_name.removeprefix("eyewall ")})
        return connection

    def run(self, action: Callable[[Connection], T]) -> T:
        """The result of ``action``, which is called again where the connection broke: twice must do what once does.

        Raises Closing where the dispatcher is to end before the server is back.
        """
        pause_s = 0.05
        while True:
            try:
                with self._lent() as connection:
                    result = action(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not self._away:
                    self._away = True
                    self._say(f"the database does not answer, trying on: {' '.join(str(error).split())}")
                if self.closing.wait(pause_s):
                    raise Closing from error
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                if self._away:
                    self._away = False
                    self._say("the database answers again")
                return result

    @contextlib.contextmanager
    def _lent(self) -> Iterator[Connection]:
        with self._free:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                connection = self.connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)

    def close(self) -> None:
        """Close what is idle."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
