"""The embedded PostgreSQL, for real: started twice, found, stopped, started again on the same data."""

import tempfile
from pathlib import Path

import psycopg
import pytest

from eyewall.platform import postgres


@pytest.fixture
def folder():
    """Not in pytest's own folder, which another run of pytest closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="eyewall-pg-") as name:
        path = Path(name) / "postgres"
        yield path
        postgres.stop(path)


def test_it_starts_once_keeps_its_data_and_stops(folder):
    socket_folder = postgres.start(folder)
    with psycopg.connect(postgres.uri(socket_folder, "eyewall")) as connection:
        connection.execute("CREATE TABLE kept (n integer)")
        names = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        listening = connection.execute("SHOW listen_addresses").fetchone()
        socket_mode = connection.execute("SHOW unix_socket_permissions").fetchone()

    assert names >= {"airflow", "eyewall"}
    assert listening == ("",)  # nothing on the network
    assert socket_mode == ("0700",)
    assert postgres.start(folder) == socket_folder == postgres.socket_folder(folder)
    assert postgres.stop(folder)
    assert not postgres.is_running(folder)
    assert not postgres.stop(folder)

    (folder / "postmaster.pid").write_text("1\n/nowhere\n")  # as a crash leaves it, the pid another program's by now
    assert not postgres.is_running(folder)
    with psycopg.connect(postgres.uri(postgres.start(folder), "eyewall")) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
