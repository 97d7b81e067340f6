"""Airflow must find its test home before anything imports it; and a real PostgreSQL, one database for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import airflow_home  # noqa: F401
import jobs_rows
import psycopg
import pytest

from eyewall.db.connect import Connection, connected
from eyewall.platform import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of a PostgreSQL's socket."""
    with tempfile.TemporaryDirectory(prefix="eyewall-page-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema and the environments, which every test's own is a copy of."""
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_page")
    with connected(postgres.uri(server, "template_page")) as connection:
        jobs_rows.environments(connection)
    return "template_page"


@pytest.fixture
def url(server: str, template: str, monkeypatch: pytest.MonkeyPatch, store_url: str) -> str:
    """A database of this test's own, and a store."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    monkeypatch.setenv("EYEWALL_DATABASE_URL", postgres.uri(server, name))
    monkeypatch.setenv("EYEWALL_STORE", store_url)
    return postgres.uri(server, name)


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
