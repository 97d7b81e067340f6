"""A real PostgreSQL with the job queue's tables, for tests of what Airflow does with it; a conftest imports it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eyewall.db.connect import Connection, connected
from eyewall.jobs.runner import Found, Worker
from eyewall.jobs.workers import record_gpus, upsert_worker
from eyewall.platform import postgres

#: All that a test may leave rows in; a database for each test would cost half a second.
TABLES = ("environment", "worker", "gpu", "job", "dispatcher", "attempt", "lease", "event", "sweep")
#: What the process worker runs jobs with.
ENVIRONMENT = b"""
INSERT INTO environment (name, framework, version, recipe_sha256, folder, state)
VALUES ('local', 'python', '3.11', repeat('a', 64), '/usr', 'built')
"""


@pytest.fixture(scope="session")
def queue_server() -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which the server's user may not enter."""
    with tempfile.TemporaryDirectory(prefix="eyewall-queue-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


@pytest.fixture
def queue_url(queue_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue with an environment `local`, and a worker of two devices; named by EYEWALL_DATABASE_URL."""
    url = postgres.uri(queue_server, "eyewall")
    with connected(url) as connection:
        connection.execute(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY CASCADE")
        connection.execute(ENVIRONMENT)
        upsert_worker(connection, Worker("bench", "process"))
        record_gpus(
            connection,
            "bench",
            [Found(n, f"bench-{n}", "declared", "any", 8192, "ok", "", declared=True) for n in range(2)],
        )
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    return url


@pytest.fixture
def queue(queue_url: str) -> Iterator[Connection]:
    """A connection to it that commits by itself."""
    with psycopg.connect(queue_url, autocommit=True) as connection:
        yield connection
