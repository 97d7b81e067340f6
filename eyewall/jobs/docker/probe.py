"""The GPUs of a Docker host: NVML's view, printed by a short-lived container that is given all of them.

NVIDIA's container toolkit brings NVML's library into any container that asks for GPUs; what reads it, pynvml and
`eyewall.jobs.nvml_view`, is put there. A worker may declare devices instead, for a host without GPUs.
"""

import contextlib
import importlib.util
import io
import json
import tarfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import DeviceRequest, LogConfig

from eyewall.contracts.errors import ContractError, ServingError
from eyewall.jobs import nvml_view
from eyewall.jobs.docker.engine import Engine, sentence
from eyewall.jobs.docker.images import image_there
from eyewall.jobs.docker.options import DockerOptions
from eyewall.jobs.docker.place import JOB_LABEL, JOB_NAME, ready_name
from eyewall.jobs.docker.state import time_of
from eyewall.jobs.nvml import judge
from eyewall.jobs.runner import Found

PROBE_LABEL = "eyewall.probe"
#: When a container that was made, and not started, is nobody's any more, s.
FORGOTTEN_S = 3600.0
#: Label of the images of environments, which all have a Python.
_ENVIRONMENT_LABEL = "eyewall.recipe"
#: Drivers without persistence mode take some seconds a GPU to wake up, s.
_TIMEOUT_S = 90.0
#: What an engine says that has no GPU runtime.
_NO_RUNTIME = "could not select device driver"


def probe(engine: Engine) -> list[Found]:
    """The devices that the worker declares; where it declares none, the GPUs of the host, if it has any.

    Raises ContractError where GPUs may be there, but no image is to look at them with; ServingError where looking
    fails: then nothing is known, and what is recorded stays.
    """
    options = DockerOptions.of(engine.worker)
    if options.devices:
        return declared(engine.worker.name, options)
    seen = _look(engine, _image(engine, options))
    if seen is None:
        return []
    running = engine.client.containers(filters={"label": JOB_LABEL})
    begin = f"/{options.prefix}{JOB_NAME}"  # where platforms share a host, the others' jobs are foreign
    ours = {str(each["Id"]) for each in running if any(name.startswith(begin) for name in each["Names"])}
    return judge(seen, lambda process: any(identity in process["cgroup"] for identity in ours))


def remove_forgotten(engine: Engine) -> None:
    """Containers that were made by a dispatcher that had been frozen, and that nobody will ever start.

    One that is to be started is so within seconds; were it not, its attempt would make it again.
    """
    client, begin = engine.client, f"/{DockerOptions.of(engine.worker).prefix}{JOB_NAME}"
    now_s = time_of(client.info()["SystemTime"]).timestamp()  # its own clock, as in Created
    for each in client.containers(all=True, filters={"label": JOB_LABEL, "status": "created"}):
        name = str((each["Names"] or [""])[0])
        if name.startswith(begin) and name.endswith(ready_name("")) and now_s - each["Created"] > FORGOTTEN_S:
            with contextlib.suppress(NotFound):
                client.remove_container(each["Id"], v=True)


def declared(worker: str, options: DockerOptions) -> list[Found]:
    """The devices that the worker's options declare."""
    return [
        Found(number, f"{worker}-{number}", "declared", options.generation, options.memory_mb, "ok", "", True)
        for number in range(options.devices)
    ]


def _image(engine: Engine, options: DockerOptions) -> str:
    if options.probe_image is not None:
        return image_there(engine, options.probe_image)
    for image in engine.client.images(filters={"label": _ENVIRONMENT_LABEL}):
        return str(image["Id"])
    raise ContractError(
        f"worker {engine.worker.name}: no image to look at its GPUs with: give its option probe_image, any"
        " environment's image by digest, or its option devices where it has no GPU"
    )


def _look(engine: Engine, image: str) -> list[dict[str, Any]] | None:
    """What the container prints; None where the engine has no GPU runtime, or finds no driver."""
    client = engine.client
    made = client.create_container_from_config(_container(engine, image), f"eyewall-probe-{uuid.uuid4().hex[:12]}")
    try:
        client.put_archive(made["Id"], "/probe", _programs())
        try:
            client.start(made["Id"])
        except APIError as error:
            if _NO_RUNTIME in sentence(error):
                return None
            raise ServingError(f"worker {engine.worker.name}: its GPUs cannot be lent: {sentence(error)}") from None
        code = _wait(engine, made["Id"])
        said = client.logs(made["Id"], stdout=True, stderr=True).decode(errors="replace").strip()
        try:
            gpus: list[dict[str, Any]] | None = json.loads(said.splitlines()[-1])["gpus"]
        except (ValueError, KeyError, TypeError, IndexError):
            raise ServingError(
                f"worker {engine.worker.name}: the look at its GPUs ended with code {code}: {said[-300:]!r}"
            ) from None
        return gpus
    finally:
        with contextlib.suppress(NotFound):
            client.remove_container(made["Id"], v=True, force=True)


def _wait(engine: Engine, container_id: str) -> int:
    """Its exit code. Raises ServingError where it hangs, as a process does that asks a broken GPU."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        state: Mapping[str, Any] = engine.client.inspect_container(container_id)["State"]
        if not state["Running"]:
            return int(state["ExitCode"])
        if time.monotonic() > deadline:
            raise ServingError(f"worker {engine.worker.name}: its GPUs do not answer NVML within {_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def _container(engine: Engine, image: str) -> dict[str, Any]:
    client = engine.client
    config: dict[str, Any] = client.create_container_config(
        image,
        entrypoint=["python3", "/probe/nvml_view.py"],
        command=None,
        user="65534:65534",
        labels={PROBE_LABEL: engine.worker.name},
        volumes={"/probe": {}},
        environment={"NVIDIA_DRIVER_CAPABILITIES": "utility"},
        host_config=client.create_host_config(
            device_requests=[DeviceRequest(count=-1, capabilities=[["gpu", "utility"]])],
            # NVML names processes by the host's numbers; their control groups say whose they are.
            pid_mode="host",
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            pids_limit=256,
            log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        ),
    )
    return config


def _programs() -> bytes:
    """A tar of the two files that the container runs."""
    found = importlib.util.find_spec("pynvml")
    if found is None or found.origin is None:
        raise ContractError("no pynvml to look at GPUs with: install nvidia-ml-py, which eyewall[jobs] has")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in (Path(nvml_view.__file__), Path(found.origin)):
            data = path.read_bytes()
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
