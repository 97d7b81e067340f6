"""A real PostgreSQL for this folder's tests: one server, a database of its own with the schema for each test."""

from collections.abc import Iterator

import psycopg
import pytest
from docker_engine import engine  # noqa: F401
from docker_jobs import job_bench  # noqa: F401
from real_postgres import copy_of, fast_server, with_schema

from eyewall.db.connect import Connection
from eyewall.platform import postgres
from tests.jobs.cluster import Cluster


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket."""
    with fast_server("jobs") as socket:
        yield socket


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema, which every test's own is a copy of."""
    return with_schema(server)


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
        name, _ = copy_of(server, template)
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
