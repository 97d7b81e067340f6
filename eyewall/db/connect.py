"""A connection to the project's database, with its schema up to date."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from eyewall.contracts.errors import InputError, StorageError
from eyewall.db.statements import migrations, statement

#: Where the URL of the project's database is given.
VARIABLE = "EYEWALL_DATABASE_URL"
#: Advisory lock of this project's migrations: any number that no other program in the database uses.
_LOCK = 0x6579_6577_616C_6C
Connection = psycopg.Connection[tuple[Any, ...]]


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """EYEWALL_DATABASE_URL, else the running embedded server's. Raises InputError when there is neither."""
    if url := environ.get(VARIABLE):
        return url
    from eyewall.platform import postgres
    from eyewall.platform.places import Places

    socket_folder = postgres.socket_folder(Places.find(environ).postgres)
    if socket_folder is None:
        raise InputError("no database: set EYEWALL_DATABASE_URL, or start the embedded one with `eyewall platform up`")
    return postgres.uri(socket_folder, "eyewall")


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection whose schema is up to date; committed at the end, rolled back on an error.

    Raises StorageError when the database does not answer or refuses. The URL is in no message: it may hold a password.
    """
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            migrate(connection)
            yield connection
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise StorageError(f"database: {reason or type(error).__name__}; check EYEWALL_DATABASE_URL") from None


def migrate(connection: Connection) -> list[str]:
    """Apply the migrations that are missing, all or none; their names. Safe for many at once: one of them does it.

    Raises StorageError when a migration that was applied has been edited since.
    """
    applied_now = []
    with connection.transaction():
        connection.execute(statement("lock_schema"), {"key": _LOCK})
        connection.execute(statement("create_schema_version"))
        applied = {number: sum_ for number, _, sum_ in connection.execute(statement("applied_migrations"))}
        for number, name, sql in migrations():
            digest = hashlib.sha256(sql).hexdigest()
            if number in applied:
                if applied[number] != digest:
                    raise StorageError(
                        f"migration {number:03d}_{name} was edited after it had been applied: undo that, add a new one"
                    )
                continue
            connection.execute(sql)
            connection.execute(statement("record_migration"), {"number": number, "name": name, "sha256": digest})
            applied_now.append(name)
    return applied_now
