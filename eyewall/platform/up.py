"""Up, down and status of a local installation. Each can be run at any time, twice, and after a crash."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import ServeJob
from eyewall.contracts.settings import Settings
from eyewall.db.connect import VARIABLE, connected
from eyewall.jobs.installation import install
from eyewall.platform import airflow, containers, postgres
from eyewall.platform.local_jobs import end_local_jobs
from eyewall.platform.places import Places
from eyewall.platform.ports import HOST, Ports, demand_free
from eyewall.platform.processes import Service, Supervisor
from eyewall.platform.rest import Airflow

MODEL_SERVER = "model-server"
READY_NAME = "model-server.ready"
#: Everything that an installation may run, in the order of starting; all is stopped at once.
SERVICES = (*airflow.COMPONENTS, MODEL_SERVER)
#: Which service listens on which port.
_LISTENS = {"airflow": "api-server", "grpc": MODEL_SERVER, "rest": MODEL_SERVER}
DAGS = ("ingest", "retrain", "forecast", "dispatch", "job", "sweep")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """Everything that says which installation is meant: its places, its settings, its ports, its base environment."""

    places: Places
    settings: Settings
    ports: Ports
    environ: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ, var: Path | None = None) -> "Installation":
        """As the settings file and the environment have it. Raises ContractError or InputError where they are wrong."""
        settings = Settings.load(environ)
        return cls(Places.find(environ, var), settings, Ports.of(settings), environ)

    @property
    def services(self) -> tuple[str, ...]:
        """What it runs: its own model server only where the settings name no other."""
        return SERVICES if self.settings.server is None else tuple(airflow.COMPONENTS)

    @property
    def supervisor(self) -> Supervisor:
        """Keeper of this installation's processes."""
        return Supervisor(self.places.run, self.places.log, str(self.places.var))

    @property
    def url(self) -> str:
        """Address of Airflow's web page."""
        return f"http://{HOST}:{self.ports.airflow}"

    def client(self) -> Airflow:
        """A client of Airflow's REST API, as its administrator."""
        return Airflow(self.url, airflow.USER, airflow.password(self.places))


def up(installation: Installation, say: Say, timeout_s: float = 300.0) -> list[str]:
    """Start what does not run, wait until all of it answers; the names of what was started.

    Raises InputError for a port in use, and EyewallError with the log's end for a process that dies or never answers.
    """
    places, supervisor = installation.places, installation.supervisor
    places.make()
    with supervisor.lock():
        wanted = installation.services
        missing = [name for name in wanted if supervisor.pid_of(name) is None]
        _demand_same_ports(installation, running=len(missing) < len(wanted))
        demand_free(installation.ports, tuple(port for port, name in _LISTENS.items() if name in missing))
        if missing:
            say("PostgreSQL …")
        socket_folder = postgres.start(places.postgres)
        environ = airflow.environment(places, installation.settings, installation.ports, installation.environ)
        environ.setdefault(VARIABLE, postgres.uri(socket_folder, "eyewall"))  # for the job queue; no step sees it
        with connected(environ[VARIABLE]) as connection:  # with its tables up to date, for the triggerer
            install(connection, installation.settings, "platform up")
        if not missing:
            return []
        supervisor.stop(missing)  # what is left of one that has died
        services = {service.name: service for service in _services(installation, environ, socket_folder)}
        airflow.configure(places, installation.ports, postgres.uri(socket_folder, "airflow", "psycopg2"))
        say("Airflow's database …")
        if MODEL_SERVER in missing:  # it needs no database
            (places.run / READY_NAME).unlink(missing_ok=True)
            supervisor.start(services[MODEL_SERVER], places.root)
        fresh = not postgres.has_table(socket_folder, "airflow", "alembic_version")
        airflow.migrate(places, environ, version("apache-airflow"), fresh)
        for name in missing:
            supervisor.start(services[name], places.root)
        _wait_until_healthy(installation, say, timeout_s)
        _make_pools(installation)
    return missing


def _make_pools(installation: Installation) -> None:
    """As many slots for steps as the machine has cores, whatever an older configuration has left; and the jobs' own."""
    with installation.client() as client:
        client.pool("default_pool", airflow.steps_at_once(), "steps")
        for name, slots in airflow.POOLS.items():
            client.pool(name, slots, "of the job queue")


def _demand_same_ports(installation: Installation, running: bool) -> None:
    """Remember the ports; raise InputError where part of the installation runs on others."""
    path = installation.places.run / "ports.json"
    if running and path.exists():
        found = Ports(**json.loads(path.read_text()))
        if found != installation.ports:
            raise InputError(
                f"the platform runs on ports {found._asdict()}, now {installation.ports._asdict()} are wanted: "
                "stop it first with `eyewall platform down`"
            )
    path.write_text(json.dumps(installation.ports._asdict()) + "\n")


def _services(installation: Installation, environ: Mapping[str, str], socket_folder: str) -> list[Service]:
    places, ports = installation.places, installation.ports
    serve = ServeJob(
        store=airflow.absolute_store(places, installation.settings),
        host=HOST,
        grpc_port=ports.grpc,
        rest_port=ports.rest,
        ready_file=str(places.run / READY_NAME),
    )
    command = [*airflow.PYTHON, "eyewall.cli", *serve.to_args()]
    without_database = {name: value for name, value in environ.items() if name != VARIABLE}
    return [*airflow.services(environ), Service(MODEL_SERVER, command, without_database)]


def waiting_for(installation: Installation, client: Airflow) -> list[str]:
    """What does not answer yet. Raises EyewallError when one of the processes has died."""
    for name in installation.services:
        if installation.supervisor.pid_of(name) is None:
            raise EyewallError(f"{name} has died: {installation.supervisor.tail(name)}")
    health = client.health()
    parts = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
    waiting = [] if health else ["api-server"]
    waiting += [name for name, part in parts.items() if health.get(part) != "healthy"]
    if MODEL_SERVER in installation.services and not (installation.places.run / READY_NAME).exists():
        waiting.append(MODEL_SERVER)
    if not waiting:
        waiting += [f"DAG {dag_id}" for dag_id in DAGS if not client.knows(dag_id)]
    return waiting


def _wait_until_healthy(installation: Installation, say: Say, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    with installation.client() as client:
        while waiting := waiting_for(installation, client):
            if time.monotonic() > deadline:
                raise EyewallError(
                    f"after {timeout_s:.0f} s still no answer from {', '.join(waiting)}: see {installation.places.log}"
                )
            say(f"waiting for {', '.join(waiting)} …")
            time.sleep(0.5)


def down(installation: Installation) -> int:
    """End everything of this installation; how many were ended: processes, containers of steps, jobs, PostgreSQL.

    Jobs that are processes of this machine run again after the next `up`; those on other workers go on meanwhile.
    """
    installation.places.make()
    with installation.supervisor.lock():
        ended = installation.supervisor.stop(SERVICES)
        ended += containers.remove_steps(
            installation.settings, airflow.absolute_store(installation.places, installation.settings)
        )
        ended += end_local_jobs(installation.places)  # after whoever would start them again
        return ended + postgres.stop(installation.places.postgres)


def status(installation: Installation) -> dict[str, str]:
    """Each part of the installation → "running (pid N)" or "stopped"."""
    found = {"postgres": "running" if postgres.is_running(installation.places.postgres) else "stopped"}
    for name in installation.services:
        pid = installation.supervisor.pid_of(name)
        found[name] = "stopped" if pid is None else f"running (pid {pid})"
    return found
