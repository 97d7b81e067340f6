"""docker-compose.yaml for real: one command, all healthy, a run of ingest whose step is a container, and nothing left.

Also what it promises without an engine: versions that agree, no password, no port that others can reach.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from eyewall import __version__
from eyewall.platform.rest import FINAL, Airflow

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
VARIABLES = ("PASSWORD", "DATABASE_PASSWORD", "SESSION_KEY", "JWT_SECRET", "FERNET_KEY")
SERVICES = ("postgres", "api-server", "scheduler", "dag-processor", "triggerer", "model-server", "registry")


def services() -> dict[str, dict]:
    """The services as the file has them, anchors merged."""
    return yaml.safe_load(FILE.read_text())["services"]


def test_every_port_is_of_this_machine_alone():
    ports = [port for service in services().values() for port in service.get("ports", [])]

    assert len(ports) == 4  # Airflow, the model server's two, the registry
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_of_ours_are_of_this_version():
    ours = {s["image"] for s in services().values() if s["image"].startswith("eyewall-")}

    assert ours == {f"eyewall-{name}:{__version__}" for name in ("airflow", "serve", "ingest")}


def test_only_the_scheduler_has_the_engines_socket():
    holders = [name for name, s in services().items() if "docker.sock" in str(s.get("volumes", ""))]

    assert holders == ["scheduler"]


def test_no_secret_has_a_default():
    text = FILE.read_text()

    for name in VARIABLES:
        uses = re.findall(rf"\$\{{EYEWALL_{name}([^}}]*)\}}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), name


def test_every_service_that_stays_has_a_health_check_and_no_rights():
    for name in SERVICES:
        service = services()[name]
        assert service["healthcheck"]["test"], name
        if service["image"].startswith("eyewall-"):
            assert (service["cap_drop"], service["read_only"]) == (["ALL"], True), name


def composer() -> list[str] | None:
    """The v2 plugin, or 1.29."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class Compose:
    """The file, under a name of its own, with a .env as `make` writes it and settings to match."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.name = f"eyewalltest{os.getpid()}"
        self.env = folder / ".env"
        toml = folder / "eyewall.toml"
        toml.write_text(
            (ROOT / "docker-compose.toml").read_text()
            .replace("volume:eyewall-", f"volume:{self.name}-")
            .replace('network = "eyewall"', f'network = "{self.name}"')
        )  # fmt: skip
        subprocess.run(["make", "-s", "-C", str(folder), "-f", str(ROOT / "Makefile"), ".env"], check=True)
        self.mode = self.env.stat().st_mode & 0o777
        ports = {name: free_port() for name in ("AIRFLOW", "GRPC", "REST", "REGISTRY")}
        self.port = ports["AIRFLOW"]
        with self.env.open("a") as stream:
            stream.writelines(f"EYEWALL_{name}_PORT={port}\n" for name, port in ports.items())
            stream.write(f"EYEWALL_NAME={self.name}\nEYEWALL_TOML={toml}\n")
        self._command = [*command, "-p", self.name, "-f", str(FILE), "--env-file", str(self.env)]

    def __call__(self, *args: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run compose with ``args``."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("EYEWALL", "DOCKER_GID"))}
        done = subprocess.run([*self._command, *args], capture_output=True, text=True, env=environ, cwd=self.env.parent)
        assert not check or done.returncode == 0, done.stderr[-3000:]
        return done

    def client(self) -> Airflow:
        """Airflow's REST API, with the password of .env."""
        values = dict(line.split("=", 1) for line in self.env.read_text().splitlines())
        return Airflow(f"http://127.0.0.1:{self.port}", "admin", values["EYEWALL_PASSWORD"])


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        return int(attempt.getsockname()[1])


@pytest.fixture
def compose(engine, tmp_path):
    """The platform's file, not yet up; taken down with its volumes afterwards."""
    command = composer()
    if command is None:
        pytest.skip("needs docker compose or docker-compose")
    missing = [s["image"] for s in services().values() if not engine.images(name=s["image"])]
    if missing:
        pytest.skip(f"needs {', '.join(sorted(set(missing)))} on the engine: make images")
    made = Compose(tmp_path, command)
    yield made
    made("down", "-v", "--remove-orphans", check=False)


@pytest.mark.docker
def test_without_its_secrets_compose_stops_and_names_one(compose):
    compose.env.write_text("")

    done = compose("config", check=False)

    assert done.returncode != 0
    assert "make .env" in done.stderr


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_brings_up_the_platform_and_a_run_goes_through_it(compose, engine):
    assert compose.mode == 0o600

    compose("up", "-d")
    deadline = time.monotonic() + 300
    while len(engine.containers(filters={"name": f"{compose.name}[-_]", "health": "healthy"})) < len(SERVICES):
        states = [(c["Names"][0], c["Status"]) for c in engine.containers(all=True, filters={"name": compose.name})]
        assert time.monotonic() < deadline, states
        time.sleep(2)

    season = json.loads(
        compose(
            "run", "--rm", "season", "simulate", "--out=/data/season", "--first-season=2018",
            "--imaged-storms=1", "--imaged-hours=12", "--bad-files=0", "--json",
        ).stdout.splitlines()[-1]
    )  # fmt: skip
    day = f"{season['slot_to'][:10]}T00:00:00Z"
    with compose.client() as client:
        client.unpause("ingest")
        client.backfill("ingest", day, day)
        while (run := client.runs("ingest", "backfill")[0])["state"] not in FINAL:
            assert time.monotonic() < deadline + 200, run
            time.sleep(2)
        log = client.log("ingest", run["dag_run_id"], "ingest")
        # Unpaused in the first minutes of an hour, it has a run by schedule too.
        while not all(other["state"] in FINAL for other in client.runs("ingest")):
            assert time.monotonic() < deadline + 200, client.runs("ingest")
            time.sleep(2)

    assert run["state"] == "success", log[-15:]
    # The step was a container beside these, and it is gone; its frames are in the volume.
    assert any(f"of eyewall-ingest:{__version__}" in line for line in log)
    assert not [c for c in engine.containers(all=True) if c["Names"][0].startswith("/eyewall-ingest-")]
    assert ".nc" in compose("exec", "-T", "scheduler", "find", "/store/frames", "-name", "*.nc").stdout
    compose("down", "-v")
    assert engine.containers(all=True, filters={"name": compose.name}) == []
    assert (engine.volumes(filters={"name": compose.name})["Volumes"] or []) == []
