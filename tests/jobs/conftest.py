"""A real PostgreSQL for this folder's tests: one server, a database of its own with the schema for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from docker_engine import engine  # noqa: F401
from docker_jobs import job_bench  # noqa: F401

from eyewall.db.connect import Connection, connected
from eyewall.platform import postgres
from tests.jobs.cluster import Cluster


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which another run closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="eyewall-jobs-") as name:
        folder = Path(name) / "postgres"
        socket = postgres.start(folder)
        # Only a crash of the whole machine could tell the difference, and dozens of databases are made and left.
        with psycopg.connect(postgres.uri(socket, "postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield socket
        postgres.stop(folder)


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema, which every test's own is a copy of: 30 ms instead of 200."""
    name = "eyewall_template"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    with connected(postgres.uri(server, name)):
        pass
    return name


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """Databases that a test left and that are as new: a copy of the template is 8 MB to write and to remove."""
    return []


@pytest.fixture
def url(server: str, template: str, emptied: list[str], request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database of this test's own: the schema, and nothing in it."""
    of_cluster = "cluster" in request.fixturenames  # no process works for such a test, so none can outlive it
    if of_cluster and emptied:
        name = emptied.pop()
    else:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield postgres.uri(server, name)
    if of_cluster:
        empty(postgres.uri(server, name))
        emptied.append(name)


def empty(url: str) -> None:
    """Make a database as new."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute(
            "SELECT string_agg(tablename, ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'schema_version'"
        ).fetchone()
        connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE".encode())
        connection.execute("INSERT INTO queue_policy DEFAULT VALUES")


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection to this test's database; every function of eyewall.jobs commits what it did."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def cluster(connection: Connection) -> Cluster:
    """An environment ``tf`` and a dispatcher, but no worker yet."""
    return Cluster(connection)
