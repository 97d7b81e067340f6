"""What an installation in containers needs once before Airflow starts: its database, its tables, its password file.

`docker-compose.yaml` runs it before Airflow's own processes, at every start; what is there is left alone, but for the
password, which follows its variable. Everything comes from the environment that Airflow itself reads.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from eyewall.contracts.errors import EXIT_FAILED, ContractError, EyewallError, StorageError
from eyewall.platform.airflow import PYTHON, USER, write_private

#: Airflow's variables that are needed here, and the one that holds the password of USER.
_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
_PASSWORD = "EYEWALL_PASSWORD"  # noqa: S105 - its name
#: Shorter ones can be guessed over the network before anyone notices.
MIN_PASSWORD = 8


def prepare(say: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> None:
    """Make what is missing. Raises ContractError for a variable that is not set, StorageError without a database."""
    missing = [name for name in (_URL, _FILE, _PASSWORD) if not environ.get(name)]
    if missing:
        raise ContractError(f"not set: {', '.join(missing)}; docker-compose.yaml sets them from .env")
    if len(environ[_PASSWORD]) < MIN_PASSWORD:
        raise ContractError(f"{_PASSWORD} has fewer than {MIN_PASSWORD} characters: choose a longer one")
    say("Airflow's database …")
    create_database(environ[_URL])
    if subprocess.run([*PYTHON, "airflow", "db", "migrate"], stdout=sys.stderr).returncode:
        raise EyewallError(f"airflow db migrate failed (exit {EXIT_FAILED}): its own words are above")
    write_private(Path(environ[_FILE]), json.dumps({USER: environ[_PASSWORD]}) + "\n")
    say(f"ready: user {USER}")


def create_database(url: str) -> bool:
    """Create the database that the SQLAlchemy ``url`` names, from the one named as its user; whether it was missing.

    Raises StorageError when the server does not answer or refuses; the URL, which holds a password, is in no message.
    """
    import psycopg
    from psycopg import sql
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg2://", "postgresql://", 1))
        name = str(parts["dbname"])
        with psycopg.connect(make_conninfo("", **{**parts, "dbname": parts["user"]}), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                return False
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            return True
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise StorageError(f"database: {reason or type(error).__name__}; check {_URL}") from None
