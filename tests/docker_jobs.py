"""Jobs on a Docker host for tests: a store, assignments, and what they have left on the host."""

import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import docker
import pytest
from docker_engine import BASE

from eyewall.jobs.docker.options import DockerOptions
from eyewall.jobs.docker.place import name_of
from eyewall.jobs.docker.runner import DockerRunner
from eyewall.jobs.runner import Assignment, Gpu, Seen, Worker
from eyewall.storage import Store


class JobBench:
    """One worker, with a prefix of this test's own, so that tests can run side by side on one engine."""

    def __init__(self, engine: "docker.APIClient", folder: Path, url: str = "", **options: Any) -> None:
        self.engine = engine
        self.store = Store(str(folder / "store"))
        self.image = f"any@{engine.inspect_image(BASE)['Id']}"
        self.prefix = f"t{uuid.uuid4().hex[:8]}-"
        self.worker = Worker("hall", "docker", url, {"prefix": self.prefix, **options})
        self.runner = DockerRunner(self.worker, self.store)
        self._jobs = count(1)

    def another(self) -> DockerRunner:
        """As another dispatcher has it: it knows nothing of what was before."""
        return DockerRunner(self.worker, self.store)

    def assignment(self, *command: str, **fields: Any) -> Assignment:
        """A job's first attempt on one declared device."""
        job = next(self._jobs)
        usual: dict[str, Any] = {
            "attempt": job, "job": job, "number": 1, "token": 1, "worker": self.worker, "owner": "tester",
            "gpus": (Gpu(0, "hall-0", declared=True),), "command": command, "environment": "test",
            "image": self.image, "folder": None, "code": None, "data": (), "variables": {}, "max_s": None,
        }  # fmt: skip
        return Assignment(**usual | fields)

    def code(self, text: str) -> str:
        """Put a program main.py into the store; where."""
        path = f"code/{uuid.uuid4().hex[:8]}"
        self.store.write_bytes(f"{path}/main.py", text.encode())
        return path

    def python(self, text: str, *args: str, **fields: Any) -> Assignment:
        """A job that runs this program."""
        return self.assignment("python", "main.py", *args, code=self.code(text), **fields)

    def begin(self, assignment: Assignment) -> None:
        """Make and start it."""
        self.runner.create(assignment)
        self.runner.start(assignment)

    def run(self, assignment: Assignment) -> tuple[list[str], Seen]:
        """Its lines and its end."""
        self.begin(assignment)
        return list(self.runner.lines(assignment)), self.runner.look(assignment)

    def containers(self) -> list[dict[str, Any]]:
        """Containers of this test."""
        return list(self.engine.containers(all=True, filters={"name": self.prefix}))

    def name(self, assignment: Assignment) -> str:
        """The name of an attempt's container, once it was started."""
        return name_of(assignment, DockerOptions.of(self.worker))

    def inspect(self, assignment: Assignment) -> dict[str, Any]:
        """Everything that the engine knows of an attempt's container."""
        return dict(self.engine.inspect_container(self.name(assignment)))

    def clean(self) -> None:
        """Remove what the test has left."""
        for each in self.containers():
            self.engine.remove_container(each["Id"], force=True, v=True)


@pytest.fixture
def job_bench(engine: "docker.APIClient", tmp_path: Path) -> Iterator[JobBench]:
    """A bench on this machine's engine; skips where that has no base image."""
    if not engine.images(name=BASE):
        pytest.skip(f"needs the image {BASE} on the engine")
    made = JobBench(engine, tmp_path)
    yield made
    made.clean()
