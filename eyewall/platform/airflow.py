"""Airflow as a local installation runs it: its configuration file, its secrets, its environment, its four processes.

Secrets (token and encryption keys, the password) are made once, by the operating system's random source, and kept in
files that their owner alone can read; none is in an environment variable, where a task could see it.
"""

import base64
import configparser
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from eyewall.contracts.errors import EyewallError
from eyewall.contracts.settings import Settings
from eyewall.platform.places import Places
from eyewall.platform.ports import HOST, Ports
from eyewall.platform.processes import Service

USER = "admin"
#: Pools of the job platform (`operators.pools`) → tasks at once, beside the steps: they wait for other processes.
POOLS = {"jobs": 8, "dispatch": 2}
#: Airflow's LocalExecutor, by the name that the scheduler imports it under; only there is Airflow imported.
EXECUTOR = "operators.executor.LocalExecutor"
#: How a module is run: this interpreter, whatever is on the PATH.
PYTHON = (sys.executable, "-m")
#: Airflow's processes by name, with their arguments. Task logs are read from disk, so nobody needs to serve them.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may ever have been able to read."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    beside.replace(path)


def _secrets(places: Places) -> dict[str, str]:
    """The installation's keys, made at the first call."""
    path = places.airflow / "secrets.json"
    if not path.exists():
        made = {
            "jwt": secrets.token_urlsafe(48),
            "session": secrets.token_urlsafe(32),
            "fernet": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        }
        write_private(path, json.dumps(made) + "\n")
    found: dict[str, str] = json.loads(path.read_text())
    return found


def password(places: Places) -> str:
    """The password of USER, made at the first call."""
    if not places.passwords.exists():
        write_private(places.passwords, json.dumps({USER: secrets.token_urlsafe(12)}) + "\n")
    return str(json.loads(places.passwords.read_text())[USER])


def steps_at_once(cores: int | None = None) -> int:
    """How many steps run at a time on a machine: each is one busy process. Slots of Airflow's default pool."""
    return max(2, min(cores or os.cpu_count() or 2, 16))


def options(places: Places, ports: Ports, database: str, cores: int) -> dict[str, dict[str, str]]:
    """Every option that differs from Airflow's default: section → option → value; ``database`` is an SQLAlchemy URL."""
    key = _secrets(places)
    return {
        "core": {
            "dags_folder": str(places.root / "dags"),
            "plugins_folder": str(places.root / "plugins"),
            "executor": EXECUTOR,
            # A dispatcher that runs for days must not cost a step its slot.
            "parallelism": str(steps_at_once(cores) + sum(POOLS.values())),
            "default_pool_task_slot_count": str(steps_at_once(cores)),
            "load_examples": "False",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": str(places.passwords),
            "execution_api_server_url": f"http://{HOST}:{ports.airflow}/execution/",
            "fernet_key": key["fernet"],
            # A form's answer beats the DAG's default; the forms are checked by the Params' own patterns.
            "dag_run_conf_overrides_params": "True",
            "killed_task_cleanup_time": "30",
        },
        "database": {"sql_alchemy_conn": database},
        "api": {
            "host": HOST,
            "port": str(ports.airflow),
            "base_url": f"http://{HOST}:{ports.airflow}",
            "secret_key": key["session"],
            "workers": "1",
            "instance_name": "Eyewall",
        },
        "api_auth": {"jwt_secret": key["jwt"]},
        "scheduler": {
            "max_dagruns_per_loop_to_schedule": "200",  # 3.3.2 sorts backfills last: with 20 others they would starve
            "max_dagruns_to_create_per_loop": "50",
            "max_tis_per_query": "64",
            "scheduler_idle_sleep_time": "0.5",
            "enable_health_check": "False",
        },
        "dag_processor": {"min_file_process_interval": "60", "refresh_interval": "30", "parsing_processes": "1"},
        "logging": {"colored_console_log": "False"},
    }


def configure(places: Places, ports: Ports, database: str, cores: int | None = None) -> None:
    """Write airflow.cfg, replacing what was there, and make sure that there is a password."""
    password(places)
    parser = configparser.ConfigParser(interpolation=None)
    for section, values in options(places, ports, database, cores or os.cpu_count() or 2).items():
        parser[section] = {name: value.replace("%", "%%") for name, value in values.items()}
    path = places.airflow / "airflow.cfg"
    with (beside := path.with_name(".airflow.cfg.tmp")).open("w") as stream:
        beside.chmod(0o600)
        stream.write("# Written by `eyewall platform up` at every start: change eyewall/platform/airflow.py instead.\n")
        parser.write(stream)
    beside.replace(path)


def environment(
    places: Places, settings: Settings, ports: Ports, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Environment of Airflow's processes: the caller's without any AIRFLOW variable, and where the installation is.

    What steps need is handed on by the StepOperator's own allow-list; nothing in here is secret that was not before.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    settings_file = Path(environ.get("EYEWALL_SETTINGS") or "eyewall.toml").absolute()
    if settings_file.exists():
        kept["EYEWALL_SETTINGS"] = str(settings_file)
    return kept | {
        "AIRFLOW_HOME": str(places.airflow),
        "PYTHONPATH": str(places.root),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', os.defpath)}",
        "EYEWALL_VAR": str(places.var),
        "EYEWALL_STORE": absolute_store(places, settings),
        "EYEWALL_SERVER": settings.server or f"{HOST}:{ports.grpc}",
        "EYEWALL_INGEST_CRON": settings.ingest_cron,
        "NO_COLOR": "1",
        "DO_NOT_TRACK": "1",
    }


def absolute_store(places: Places, settings: Settings) -> str:
    """The store's URL; a relative folder is relative to the project, whoever asks from wherever."""
    return settings.store if "://" in settings.store else str(places.root / settings.store)


def migrate(places: Places, environ: Mapping[str, str], version: str, fresh: bool) -> None:
    """Bring the metadata database to ``version`` of Airflow; nothing is done where it is there already.

    ``fresh`` says that the database has no table of Airflow's yet, whatever was done to an earlier one.
    Raises EyewallError with the end of its output when that fails.
    """
    done = places.airflow / f"migrated-{version}"
    if done.exists() and not fresh:
        return
    outcome = subprocess.run(
        [*PYTHON, "airflow", "db", "migrate"],
        env=dict(environ),
        cwd=places.root,
        capture_output=True,
        text=True,
    )
    (places.log / "migrate.log").write_text(outcome.stdout + outcome.stderr)
    if outcome.returncode != 0:
        last = " | ".join((outcome.stdout + outcome.stderr).splitlines()[-3:])
        raise EyewallError(f"airflow db migrate failed: {last} (all of it: {places.log / 'migrate.log'})")
    done.touch()


def services(environ: Mapping[str, str]) -> list[Service]:
    """Airflow's four processes; the api-server first, as the others' tasks talk to it."""
    return [Service(name, [*PYTHON, "airflow", *args], environ) for name, args in COMPONENTS.items()]
