"""A job's place on a Docker host: /work with its code, data and output, and a container with no rights beside it.

/work is a volume of the container's own, so that the image stays read-only, code can be put there from any distance
and output fetched after the end; it goes with the container.
"""

import re
from collections.abc import Sequence
from typing import Any

from docker import APIClient
from docker.types import DeviceRequest, LogConfig, Mount

from eyewall.contracts.errors import ContractError
from eyewall.jobs.docker.options import DockerOptions, bytes_of
from eyewall.jobs.inside import demand_inside
from eyewall.jobs.runner import Assignment
from eyewall.jobs.variables import told
from eyewall.storage import Store

WORK, CODE, DATA, OUT, HOME = "/work", "/work/code", "/work/data", "/work/out", "/work/home"
#: What every container of a job begins with, after the worker's prefix.
JOB_NAME = "eyewall-job-"
JOB_LABEL, ATTEMPT_LABEL, OWNER_LABEL = "eyewall.job", "eyewall.attempt", "eyewall.owner"
#: Output that the engine keeps for a reader that comes late: 2 files of 32 MiB, the older one goes.
_LOG = {"max-size": "32m", "max-file": "2"}


def name_of(assignment: Assignment, options: DockerOptions) -> str:
    """The container's name: the same for every dispatcher, and another than that of another database's job 1."""
    return f"{options.prefix}{assignment.name}-{assignment.mark[:10]}"


def ready_name(name: str) -> str:
    """What a container is called before it is started."""
    return f"{name}.ready"


def container(
    client: APIClient, assignment: Assignment, image: str, options: DockerOptions, store: Store
) -> dict[str, Any]:
    """The body of the request that creates the container, all but its name. Raises ContractError for its data."""
    mounts, data = data_of(assignment, options, store)
    config: dict[str, Any] = client.create_container_config(
        image,
        # As entry point, so that an image's own does not come before it. A list: no shell sees it.
        entrypoint=list(assignment.command),
        command=None,
        working_dir=CODE,
        environment=environment(assignment, data),
        user=options.user,
        labels={
            JOB_LABEL: str(assignment.job),
            ATTEMPT_LABEL: str(assignment.attempt),
            OWNER_LABEL: assignment.owner,
        },
        # What the engine sends when it goes down itself. A job that complies with SIGTERM would end with 0, as if it
        # had finished; after SIGKILL it is seen that somebody ended it. `stop` sends SIGTERM by name.
        stop_signal="SIGKILL",
        host_config=host_config(client, assignment, options, mounts),
    )
    return config


def host_config(
    client: APIClient, assignment: Assignment, options: DockerOptions, mounts: Sequence[Mount]
) -> dict[str, Any]:
    """Limits, devices and rights."""
    count = max(1, len(assignment.gpus))
    uuids = [gpu.uuid for gpu in assignment.gpus if not gpu.declared]
    memory = None if options.memory is None else bytes_of(options.memory) * count
    made: dict[str, Any] = client.create_host_config(
        mounts=[Mount(target=WORK, source=None, type="volume"), *mounts],
        device_requests=[DeviceRequest(device_ids=uuids, capabilities=[["gpu"]])] if uuids else None,
        network_mode=options.network,
        nano_cpus=None if options.cpus is None else round(options.cpus * count * 1e9),
        mem_limit=memory,
        # The same with swap: a job that outgrows its memory ends at once, instead of stalling the host.
        memswap_limit=memory,
        shm_size=bytes_of(options.shm) * count,
        # PID 1 takes no signal that it has no handler for, and reaps what data loaders leave behind: a small init does.
        init=True,
        pids_limit=4096 * count,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=options.read_only,
        tmpfs={"/tmp": "rw,nosuid,nodev,exec,mode=1777"},  # noqa: S108 - the container's own
        log_config=LogConfig(type="json-file", config=_LOG),
    )
    return made


def environment(assignment: Assignment, data: Sequence[str]) -> dict[str, str]:
    """Environment variables of the job: its own, then the platform's, which it cannot change."""
    uuids = ",".join(gpu.uuid for gpu in assignment.gpus if not gpu.declared)
    return {
        "PYTHONUNBUFFERED": "1",  # a report is to be seen when it is printed
        **assignment.variables,
        "HOME": HOME,
        **told(assignment, CODE, data, OUT),
        "CUDA_VISIBLE_DEVICES": uuids,
        # Where NVIDIA's runtime is the host's default, an image could ask for all GPUs; void gives none.
        "NVIDIA_VISIBLE_DEVICES": uuids or "void",
    }


def data_of(assignment: Assignment, options: DockerOptions, store: Store) -> tuple[list[Mount], list[str]]:
    """Mounts of the job's data, and where it finds each: a folder of the container, or the URL as it is.

    Raises ContractError where the host has no way to it.
    """
    mounts, places = [], []
    for number, url in enumerate(assignment.data):
        if "://" in url:
            places.append(url)
        elif options.store is not None:
            if store.is_local:  # as only then the host could be given a link
                demand_inside(store, url, "data")
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.rstrip("/").rsplit("/", 1)[-1])[:60]
            places.append(f"{DATA}/{number}-{name}")
            mounts.append(Mount(target=places[-1], source=f"{options.store}/{url}", type="bind", read_only=True))
        elif not store.is_local:
            places.append(store.uri(url))
        else:
            raise ContractError(
                f"worker {assignment.worker.name} cannot see data {url!r}: give its option store, the artifact store as"
                " a folder of that host, or keep the store under a URL such as s3://"
            )
    return mounts, places
