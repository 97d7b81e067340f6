"""What an installation in containers needs once before Airflow starts: databases, tables, pools, its password file.

`docker-compose.yaml` runs it before Airflow's own processes, at every start; what is there is left alone, but for the
password, which follows its variable. Everything comes from the environment that Airflow itself reads.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import EXIT_FAILED, ContractError, EyewallError, StorageError
from eyewall.db.connect import VARIABLE, connected
from eyewall.platform.airflow import POOLS, PYTHON, USER, write_private

#: Airflow's variables that are needed here, and the one that holds the password of USER.
_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
_PASSWORD = "EYEWALL_PASSWORD"  # noqa: S105 - its name
#: Steps at once: slots of Airflow's default pool.
_STEPS = "EYEWALL_PARALLELISM"
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
    _airflow("db", "migrate")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(_pools(environ), file)
        file.flush()
        _airflow("pools", "import", file.name)
    if url := environ.get(VARIABLE):
        say("the job queue's tables …")
        with connected(url):
            pass  # they are up to date now
    write_private(Path(environ[_FILE]), json.dumps({USER: environ[_PASSWORD]}) + "\n")
    say(f"ready: user {USER}")


def _airflow(*args: str) -> None:
    """Run Airflow's command line. Raises EyewallError when it fails."""
    if subprocess.run([*PYTHON, "airflow", *args], stdout=sys.stderr).returncode:
        raise EyewallError(f"airflow {args[0]} {args[1]} failed (exit {EXIT_FAILED}): its own words are above")


def _pools(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Airflow's pools: slots for the steps, and others for what only waits. Raises ContractError for a bad number."""
    steps = environ.get(_STEPS) or "4"
    if not steps.isdecimal() or not 1 <= int(steps) <= 1000:
        raise ContractError(f"{_STEPS} = {steps!r} is no number of steps at once: give one from 1 to 1000")
    return {
        name: {"slots": slots, "description": "", "include_deferred": False}
        for name, slots in {"default_pool": int(steps), **POOLS}.items()
    }


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
