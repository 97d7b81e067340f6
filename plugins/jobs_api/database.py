"""Reading the project's database for the page: a few connections that are kept, read-only, each question bounded.

The URL may hold a password: it is in no answer and no log.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from eyewall.contracts.errors import EyewallError
from eyewall.db.connect import database_url, migrate
from eyewall.db.statements import statement

#: Airflow's connection that names the database, where EYEWALL_DATABASE_URL does not.
CONNECTION = "eyewall_database"
_OPTIONS = "-c statement_timeout=5000 -c default_transaction_read_only=on -c application_name=eyewall-page"
_KEPT = 4
Row = dict[str, Any]


class DatabaseAway(Exception):
    """The database cannot be asked now."""


def url() -> str:
    """EYEWALL_DATABASE_URL, else Airflow's connection, else the embedded server's. Raises DatabaseAway."""
    if given := os.environ.get("EYEWALL_DATABASE_URL"):
        return given
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: str = Connection.get_connection_from_secrets(CONNECTION).get_uri()
        return "postgresql://" + found.partition("://")[2]
    except AirflowNotFoundException:
        pass
    try:
        return database_url()
    except EyewallError as error:
        raise DatabaseAway(f"{error}, or define Airflow's connection {CONNECTION}") from None


class Reader:
    """Asks statements of include/sql, all those of one call in one snapshot."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[psycopg.Connection[Row]] = queue.LifoQueue(_KEPT)
        self._migrated = False

    def read(self, *questions: tuple[str, dict[str, Any]]) -> list[list[Row]]:
        """The rows of each (statement, parameters). Raises DatabaseAway when it does not answer, or not in time."""
        try:
            try:
                kept = self._idle.get_nowait()
            except queue.Empty:
                return self._ask(self._new(), questions)
            try:
                return self._ask(kept, questions)
            except psycopg.errors.QueryCanceled:  # it took too long, and would again
                raise
            except psycopg.OperationalError:  # it was closed while it lay idle: one new one is tried
                return self._ask(self._new(), questions)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseAway(f"The database does not answer ({type(error).__name__}).") from error
        except psycopg.Error as error:
            raise DatabaseAway(
                f"The database refuses ({type(error).__name__}): is its schema that of this version?"
            ) from error

    def _new(self) -> psycopg.Connection[Row]:
        if not self._migrated:
            with psycopg.connect(url(), connect_timeout=3) as first:
                migrate(first)
            self._migrated = True
        connection = psycopg.Connection[Row].connect(url(), connect_timeout=3, options=_OPTIONS, row_factory=dict_row)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def _ask(
        self, connection: psycopg.Connection[Row], questions: tuple[tuple[str, dict[str, Any]], ...]
    ) -> list[list[Row]]:
        try:
            with connection.transaction():
                answers = [connection.execute(statement(name), values).fetchall() for name, values in questions]
        except BaseException:
            connection.close()
            raise
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()
        return answers


class Shared:
    """What many viewers ask every two seconds is asked of the database once a second, failures included."""

    def __init__(self, keep_s: float = 1.0) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}
        self._found: dict[Any, tuple[float, Any]] = {}

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` returns or raises, or returned or raised less than ``keep_s`` ago for the same key."""
        with self._lock:
            if len(self._locks) > 500:
                self._locks.clear()
                self._found.clear()
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            at, found = self._found.get(key, (float("-inf"), None))
            if time.monotonic() - at > self._keep_s:
                try:
                    found = make()
                except DatabaseAway as error:
                    found = error
                self._found[key] = (time.monotonic(), found)
        if isinstance(found, DatabaseAway):
            raise found
        return found
