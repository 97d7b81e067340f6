"""A real PostgreSQL for tests that make dozens of databases, and databases of a test's own in it."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from eyewall.db.connect import connected
from eyewall.platform import postgres


@contextmanager
def fast_server(name: str) -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which another run closes to the server's user.

    It does not wait for its disk: programs are killed in tests, never the machine.
    """
    with tempfile.TemporaryDirectory(prefix=f"eyewall-{name}-") as made:
        folder = Path(made) / "postgres"
        socket = postgres.start(folder)
        with psycopg.connect(postgres.uri(socket, "postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield socket
        postgres.stop(folder)


def with_schema(server: str) -> str:
    """Make a database with the schema, to be a template: a copy takes 30 ms instead of 200; its name."""
    name = "eyewall_template"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    with connected(postgres.uri(server, name)):
        pass
    return name


def copy_of(server: str, template: str) -> tuple[str, str]:
    """A new database, a copy of ``template``: its name, and its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name, postgres.uri(server, name)
