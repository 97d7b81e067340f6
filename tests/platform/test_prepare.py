"""What an installation in containers needs once: variables, a database, a password file that only its owner reads."""

import json
from urllib.parse import quote

import psycopg
import pytest

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.platform import postgres, prepare

FULL = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://eyewall:secret-word@127.0.0.1:1/airflow",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": "/nowhere/passwords.json",
    "EYEWALL_PASSWORD": "long enough",
}


@pytest.mark.parametrize("name", list(FULL))
def test_a_variable_that_is_not_set_is_named(name):
    with pytest.raises(ContractError, match=f"not set: {name}"):
        prepare.prepare(lambda text: None, FULL | {name: ""})


def test_a_password_that_can_be_guessed_is_refused():
    with pytest.raises(ContractError, match="fewer than 8"):
        prepare.prepare(lambda text: None, FULL | {"EYEWALL_PASSWORD": "seven77"})


def test_a_database_that_is_away_is_an_error_without_its_password():
    with pytest.raises(StorageError, match="database: ") as caught:
        prepare.prepare(lambda text: None, FULL)
    assert "secret-word" not in str(caught.value)


@pytest.fixture
def server(tmp_path_factory):
    """Socket folder of a real server; not below pytest's own folder, which the server's user may not enter."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="eyewall-prepare-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


def test_the_database_the_tables_and_the_password_are_made_once(server, tmp_path, monkeypatch):
    migrated: list[list[str]] = []
    done = type("Done", (), {"returncode": 0})
    monkeypatch.setattr(prepare.subprocess, "run", lambda command, **how: migrated.append(command[2:]) or done)
    file = tmp_path / "passwords.json"
    url = f"postgresql+psycopg2://postgres@/airflow_of_compose?host={quote(server, safe='/')}"
    environ = FULL | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
    }

    prepare.prepare(lambda text: None, environ)
    prepare.prepare(lambda text: None, environ | {"EYEWALL_PASSWORD": "another one"})

    assert [command[:3] for command in migrated] == [["airflow", "db", "migrate"], ["airflow", "pools", "import"]] * 2
    assert json.loads(file.read_text()) == {"admin": "another one"}
    assert file.stat().st_mode & 0o777 == 0o600
    with psycopg.connect(postgres.uri(server, "airflow_of_compose")) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("airflow_of_compose",)
