"""Migrations: once, in order, all or none, whoever comes first."""

# NOTE: injected by pytest, defined in conftest: url
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from eyewall.contracts.errors import ContractError, InputError, StorageError
from eyewall.db import connect, statements
from eyewall.db.connect import connected, database_url, migrate

ALL = ["catalogue", "jobs", "gpu_host", "searches"]


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_an_empty_database_gets_the_whole_schema_and_a_second_time_nothing(url):
    with psycopg.connect(url) as connection:
        assert migrate(connection) == ALL
        assert migrate(connection) == []

    catalogue = {"schema_version", "frame", "quarantined_file", "artifact", "receipt"}
    jobs = {
        "environment", "worker", "gpu", "job", "job_dependency", "attempt", "lease", "report", "dispatcher", "event",
        "sweep", "trial", "queue_policy",
    }  # fmt: skip
    assert tables(url) == catalogue | jobs


def test_many_at_once_migrate_once(url):
    def one(_):
        with psycopg.connect(url) as connection:
            return migrate(connection)

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(one, range(6)))

    assert sorted(done, reverse=True) == [ALL, [], [], [], [], []]


def test_a_migration_that_fails_leaves_nothing_of_itself_nor_of_those_before_it(url, monkeypatch):
    broken = [*statements.migrations(), (len(ALL) + 1, "broken", b"CREATE TABLE half (n integer); SELECT 1/0;")]
    monkeypatch.setattr(connect, "migrations", lambda: broken)

    with pytest.raises(StorageError, match="division by zero"), connected(url):
        pass

    assert tables(url) == set()


def test_a_migration_that_was_edited_after_it_had_been_applied_is_refused(url, monkeypatch):
    with connected(url):
        pass
    monkeypatch.setattr(connect, "migrations", lambda: [(1, "catalogue", b"SELECT 1")])

    with pytest.raises(StorageError, match="001_catalogue was edited"), connected(url):
        pass


def test_a_database_that_is_away_is_told_without_its_password():
    url = "postgresql://eyewall:secret@127.0.0.1:9/eyewall"

    with pytest.raises(StorageError, match="check EYEWALL_DATABASE_URL") as caught, connected(url):
        pass

    assert "secret" not in str(caught.value)


def test_without_any_database_the_remedy_is_named(tmp_path):
    assert database_url({"EYEWALL_DATABASE_URL": "postgresql://x"}) == "postgresql://x"
    with pytest.raises(InputError, match=r"EYEWALL_DATABASE_URL, or .* `eyewall platform up`"):
        database_url({"EYEWALL_VAR": str(tmp_path)})


@pytest.mark.parametrize("name", ["no_such", "../schema/001_catalogue", "a b", ""])
def test_only_statements_that_are_there_can_be_named(name):
    with pytest.raises(ContractError, match="no statement"):
        statements.statement(name)


def test_a_gap_in_the_numbers_is_refused(tmp_path, monkeypatch):
    (tmp_path / "schema").mkdir()
    for name in ("001_a.sql", "003_c.sql"):
        (tmp_path / "schema" / name).write_text("SELECT 1;")
    monkeypatch.setattr(statements, "folder", lambda: tmp_path)

    with pytest.raises(ContractError, match=r"\[1, 3\]"):
        statements.migrations()


FILES = sorted(statements.folder().glob("*.sql"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_statement_file_says_its_purpose_parameters_and_grain_and_holds_one_statement(path):
    lines = path.read_text().splitlines()
    comment = [line for line in lines if line.startswith("--")]

    assert [line.split(":")[0] for line in comment] == ["-- Purpose", "-- Parameters", "-- Grain"]
    code = "\n".join(line for line in lines if not line.startswith("--"))
    assert code.count(";") == 1
    assert code.rstrip().endswith(";")
