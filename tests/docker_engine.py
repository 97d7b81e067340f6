"""A real Docker engine for tests, and a small image whose ``eyewall`` does what a file in the store says."""

import contextlib
import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.utils import kwargs_from_env

BASE = "python:3.11-slim-bookworm"
IMAGE = "eyewall-test-step:1"

#: The stand-in for a step: it knows no verb, and does what /store/plan.json says, in that order.
STEP = """#!/usr/bin/env python3
import json, os, pathlib, signal, sys, time
plan = json.loads(pathlib.Path("/store/plan.json").read_text())
if plan.get("obedient", True):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open("/store/starts", "a") as starts:
    starts.write(f"{os.uname().nodename} {' '.join(sys.argv[1:])}\\n")
for line in plan.get("lines", []):
    print(line, flush=True)
if "environment" in plan:
    print(json.dumps({name: os.environ.get(name) for name in plan["environment"]}), flush=True)
if "probe" in plan:
    print(json.dumps(eval(plan["probe"])), flush=True)
if "mebibytes" in plan:
    hog = bytearray(plan["mebibytes"] << 20)
    hog[::4096] = b"x" * len(hog[::4096])
if "until" in plan:
    while not pathlib.Path("/store", plan["until"]).exists():
        time.sleep(0.05)
for line in plan.get("last", []):
    print(line, flush=True)
sys.exit(plan.get("code", 0))
"""


@pytest.fixture(scope="session")
def engine() -> "docker.APIClient":
    """A client of the engine, the one of DOCKER_HOST if that is set; skips where none answers."""
    try:
        client = docker.APIClient(version="auto", **kwargs_from_env())
        client.ping()
    except DockerException as error:
        pytest.skip(f"needs a Docker engine: {str(error)[:120]}")
    return client


@pytest.fixture(scope="session")
def step_image(engine: "docker.APIClient") -> Iterator[str]:
    """IMAGE, built in about a second from BASE and one file; skips where BASE is not on the engine."""
    if not engine.images(name=BASE):
        pytest.skip(f"needs the image {BASE} on the engine")
    recipe = f'FROM {BASE}\nCOPY eyewall /usr/local/bin/eyewall\nUSER 10001:10001\nENTRYPOINT ["eyewall"]\n'
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, text, mode in (("Dockerfile", recipe, 0o644), ("eyewall", STEP, 0o755)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), mode
            archive.addfile(entry, io.BytesIO(text.encode()))
    context.seek(0)
    said = list(engine.build(fileobj=context, custom_context=True, tag=IMAGE, rm=True, decode=True))
    assert engine.images(name=IMAGE), said
    yield IMAGE
    with contextlib.suppress(ImageNotFound):  # another run of the tests was first
        engine.remove_image(IMAGE, force=True)


class Bench:
    """A store of its own, and what the stand-in step has to do there."""

    def __init__(self, engine: "docker.APIClient", folder: Path) -> None:
        self.engine = engine
        self.store = folder / "store"
        self.store.mkdir()
        self.store.chmod(0o777)  # the image's user is not this one
        self.run_id = f"test__{uuid.uuid4().hex[:8]}"

    def plan(self, **what: Any) -> None:
        """Set what the next container does: lines, last, code, until, mebibytes, environment, probe, obedient."""
        (self.store / "plan.json").write_text(json.dumps(what))

    def starts(self) -> list[str]:
        """One line a start: host name and arguments."""
        path = self.store / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def containers(self) -> list[dict[str, Any]]:
        """Containers of this store that are on the engine, running or not."""
        return list(self.engine.containers(all=True, filters={"label": f"eyewall.store={self.store}"}))

    def settings(self, **docker_settings: Any) -> dict[str, Any]:
        """Settings whose steps run in IMAGE, with this store mounted at /store."""
        mount = {"source": str(self.store), "target": "/store", "read_only": False}
        table = {"images": dict.fromkeys(("ingest", "train"), IMAGE), "store": "/store", "mounts": [mount]}
        return {"store": str(self.store), "backend": "docker", "docker": {**table, **docker_settings}}

    def clean(self) -> None:
        """Remove what a test has left."""
        for container in self.containers():
            self.engine.remove_container(container["Id"], force=True)


@pytest.fixture
def bench(engine: "docker.APIClient", step_image: str, tmp_path: Path) -> Iterator[Bench]:
    """A Bench; whatever it has left on the engine is removed afterwards."""
    made = Bench(engine, tmp_path)
    yield made
    made.clean()
