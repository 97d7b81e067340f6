"""A Docker host as a worker: a job is one container there, found again by its name, run once, removed at its end.

A container is made under the name ``<name>.ready`` and gets its own name when it is started. What has been started
can then not be started again by a dispatcher that was frozen in between, even where it has ended since: the name that
it would start is gone.
"""

import contextlib
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, NotFound

from eyewall.contracts.errors import ContractError
from eyewall.jobs.code_files import code_tar
from eyewall.jobs.docker.engine import Engine, sentence
from eyewall.jobs.docker.images import image_there
from eyewall.jobs.docker.lines import follow
from eyewall.jobs.docker.options import DockerOptions
from eyewall.jobs.docker.place import OUT, WORK, container, name_of, ready_name
from eyewall.jobs.docker.state import seen_of, time_of
from eyewall.jobs.kept import LEFT_OUT, keep_folder, take
from eyewall.jobs.runner import Assignment, Found, Seen, Worker, WorkerUnreachable
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

#: How long the kernel may take to end what was killed, s.
_KILL_S = 30.0
_POLL_S = 0.2


class DockerRunner:
    """Runs jobs on the engine of one worker."""

    def __init__(self, worker: Worker, store: Store) -> None:
        """Nothing is asked of the engine yet."""
        self._worker, self._store = worker, store
        self._engine = Engine(worker)

    # ---- what there is

    def look(self, assignment: Assignment) -> Seen:
        """The state of the attempt's container."""
        with self._engine.reached("a look at a container"):
            found = self._find(assignment)
            return Seen("absent") if found is None else seen_of(found, self._options.memory, self._engine_started)

    def _engine_started(self) -> str:
        """When the engine came up last: it makes its own network "bridge" then; empty where it has none."""
        try:
            return str(self._engine.client.inspect_network("bridge")["Created"])
        except NotFound:
            return ""

    def _find(self, assignment: Assignment) -> dict[str, Any] | None:
        """The attempt's container, whatever it does."""
        name = self._name(assignment)
        # Its own name twice: between the first two questions somebody may start it.
        for each in (name, ready_name(name), name):
            found = self._inspect(each)
            if found is None:
                continue
            if each != name and found["State"]["Status"] != "created":
                self._rename(found["Id"], name)  # whoever started it was killed before this
            return found
        return None

    def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._engine.client.inspect_container(name)
        except NotFound:
            return None
        return found

    def _rename(self, container_id: str, name: str) -> None:
        with contextlib.suppress(NotFound):  # it is being removed
            try:
                self._engine.client.rename(container_id, name)
            except APIError as error:
                if error.status_code not in (400, 409):  # another dispatcher has renamed it
                    raise

    @property
    def _options(self) -> DockerOptions:
        return DockerOptions.of(self._worker)

    def _name(self, assignment: Assignment) -> str:
        return name_of(assignment, self._options)

    # ---- making and starting

    def create(self, assignment: Assignment) -> None:
        """Make the container and put the code into it; the image is pulled where the host has none of its digest.

        Raises ContractError where image, code or data is not to be had.
        """
        options, name = self._options, self._name(assignment)
        with self._engine.reached(f"container {name}"):
            found = self._find(assignment)
            if found is None:
                self._make(assignment, options, name)
                found = self._find(assignment)
            if found is not None and found["State"]["Status"] == "created":
                self._put_code(assignment, options, found["Id"])

    def _make(self, assignment: Assignment, options: DockerOptions, name: str) -> None:
        client = self._engine.client
        image = image_there(self._engine, assignment.image)
        body = container(client, assignment, image, options, self._store)
        try:
            client.create_container_from_config(body, ready_name(name))
        except APIError as error:
            if error.status_code == 400:  # what the engine says of a folder that is not there
                raise ContractError(f"worker {self._worker.name}: {name}: {sentence(error)}") from None
            if error.status_code != 409:  # another dispatcher makes it at this moment
                raise

    def _put_code(self, assignment: Assignment, options: DockerOptions, container_id: str) -> None:
        uid, gid = map(int, options.user.split(":"))
        folders = ("code", "data", "out", "home")
        with code_tar(self._store, assignment.code, folders, (uid, gid)) as packed:
            self._engine.client.put_archive(container_id, WORK, packed)

    def start(self, assignment: Assignment) -> None:
        """Start the container that `create` made; never one that was started before."""
        name = self._name(assignment)
        with self._engine.reached(f"the start of container {name}"):
            found = self._find(assignment)
            if found is None or found["State"]["Status"] != "created":
                return
            try:
                self._engine.client.start(ready_name(name))
            except NotFound:
                return  # another dispatcher has started it
            except APIError as error:
                if error.status_code == 409 or not self._failed_to_start(assignment):
                    raise
                return  # `look` says why
            self._rename(found["Id"], name)

    def _failed_to_start(self, assignment: Assignment) -> bool:
        """Whether the engine holds the failure against the container, and not against itself."""
        found = self._find(assignment)
        return found is not None and bool(found["State"].get("Error"))

    # ---- watching, stopping

    def lines(self, assignment: Assignment) -> Iterator[str]:
        """Lines of the output from the first one on, until the container has ended."""
        with self._engine.reached("a container's output"):
            found = self._find(assignment)
            if found is None or found["State"]["Status"] == "created":
                return
            container_id = str(found["Id"])
            yield from follow(
                lambda since: self._log(container_id, since),
                lambda: self.look(assignment).state in ("absent", "ended"),
            )

    def _log(self, container_id: str, since: bytes) -> Iterator[bytes]:
        """Chunks of the log from that time on, until the container ends; it may be silent for hours."""
        client = self._engine.client
        with client.get(
            f"{client.base_url}/v{client.api_version}/containers/{container_id}/logs",
            params={"stdout": 1, "stderr": 1, "follow": 1, "timestamps": 1, "since": epoch(since)},
            stream=True,
            timeout=(client.timeout, None),
        ) as response:
            if response.status_code == requests.codes.not_found:  # removed meanwhile
                return
            response.raise_for_status()
            yield from response.iter_content(None)

    def stop(self, assignment: Assignment, grace_s: float) -> None:
        """SIGTERM, ``grace_s`` to comply, SIGKILL; what was only made cannot be started any more."""
        with self._engine.reached("a container's end"):
            found = self._find(assignment)
            if found is not None and found["State"]["Status"] == "created":
                self._rename(found["Id"], self._name(assignment))
            if self._signal(assignment, "SIGTERM") and not self._ends_within(assignment, grace_s):
                self._signal(assignment, "SIGKILL")
                if not self._ends_within(assignment, _KILL_S):
                    raise WorkerUnreachable(
                        f"worker {self._worker.name}: container {self._name(assignment)} does not end though it was"
                        " killed: a process waits for a device or a disk that does not answer"
                    )

    def _signal(self, assignment: Assignment, name: str) -> bool:
        """Whether something runs; it has been sent the signal then."""
        found = self._find(assignment)
        if found is None or not found["State"].get("Running"):
            return False
        client = self._engine.client
        try:
            if found["State"].get("Paused"):
                client.unpause(found["Id"])
            client.kill(found["Id"], name)
        except APIError as error:
            if error.status_code not in (404, 409):  # it has ended meanwhile
                raise
        return True

    def _ends_within(self, assignment: Assignment, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            found = self._find(assignment)
            if found is None or not found["State"].get("Running"):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)

    # ---- afterwards

    def keep(self, assignment: Assignment) -> None:
        """Bring the container's output folder into the store: plain files only, as much as the worker allows.

        What was left out is listed beside them. Raises StorageError where the store cannot be written.
        """
        limit = int(self._options.output_gb * (1 << 30))
        with (
            storage_errors("a job's output", "keep"),
            tempfile.TemporaryDirectory(prefix="eyewall-out-") as name,
            self._engine.reached("a job's output"),
        ):
            folder = Path(name)
            found = self._find(assignment)
            if found is None:
                return
            try:
                chunks, _ = self._engine.client.get_archive(found["Id"], OUT)
                left_out = take(chunks, folder, limit)
            except NotFound:  # the job has removed it, or never ran
                return
            except tarfile.TarError as error:
                raise WorkerUnreachable(f"worker {self._worker.name}: the output came in broken: {error}") from None
            if left_out:
                _note(folder / LEFT_OUT, left_out)
            keep_folder(self._store, f"jobs/{assignment.job}/{assignment.number}/out", folder)

    def remove(self, assignment: Assignment) -> None:
        """Remove the container with its volume, running or not; harmless where there is none."""
        with self._engine.reached("a container's removal"):
            deadline = time.monotonic() + _KILL_S
            while (found := self._find(assignment)) is not None and time.monotonic() < deadline:
                try:
                    self._engine.client.remove_container(found["Id"], v=True, force=True)
                except APIError as error:
                    if error.status_code not in (404, 409):  # 409: somebody else is removing it
                        raise
                    time.sleep(_POLL_S)

    # ---- the host itself

    def probe(self) -> list[Found]:
        """The host's GPUs, or its declared devices. Raises WorkerUnreachable."""
        from eyewall.jobs.docker.probe import probe, remove_forgotten

        with self._engine.reached("the look at its GPUs"):
            remove_forgotten(self._engine)
            return probe(self._engine)

    def answers(self) -> None:
        """Nothing, if the engine answers. Raises WorkerUnreachable."""
        with self._engine.reached("a ping"):
            self._engine.client.ping()

    @property
    def probe_s(self) -> float:
        """As the worker's option says: a look at GPUs is a container."""
        return self._options.probe_s


def epoch(stamp: bytes) -> str:
    """The engine's time stamp, 2026-11-21T10:00:00.123456789Z, as it takes it: seconds.nanoseconds since 1970."""
    if not stamp:
        return "0"
    whole, _, fraction = stamp.rstrip(b"Z").partition(b".")
    return f"{int(time_of(whole.decode()).timestamp())}.{fraction.decode() or '0'}"


def _note(path: Path, lines: Iterable[str]) -> None:
    """In place of a file of that name that the job has left."""
    path.write_text("".join(f"{line}\n" for line in lines))
