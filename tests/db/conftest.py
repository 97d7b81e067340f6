"""A real PostgreSQL for this folder's tests: one server, a database of its own for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eyewall.platform import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which another run closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="eyewall-db-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres.uri(server, name)
