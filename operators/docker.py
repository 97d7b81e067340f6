"""The ``docker`` backend: a step as a container of one engine, found again by its name when its task was killed.

A container holds nothing that is wanted afterwards: results are in the store, its log has been passed on line by line.
So it is removed as soon as its end is known, and left alone while it is not: a task that was killed, or that lost the
engine, leaves a container whose name the next try makes again, and takes over where that one stopped.
"""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, Context
from docker.types import Mount as DockerMount

from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import Job
from eyewall.contracts.layout import digest_of
from eyewall.contracts.placement import STORE_LABEL, DockerSettings, Mount, Resources
from eyewall.contracts.settings import Settings
from operators.outcome import Outcome
from operators.process import step_environment
from operators.step_container import StepContainer

#: Of a step's environment, what is true of Airflow's machine only, or is in the command line already.
_OF_THE_HOST = frozenset({"PATH", "HOME", "USER", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"})
_OF_THE_HOST_PREFIXES = ("XDG_", "SSL_", "REQUESTS_CA", "CURL_CA", "EYEWALL_")
_OF_A_SOURCE = "EYEWALL_S3_"  # the one group of Eyewall's variables that a step reads besides its command line


class DockerBackend:
    """Runs a job in a container of the engine that the settings name."""

    def __init__(self, settings: Settings, task: BaseOperator) -> None:
        """Every line of output goes into the task's log as it comes."""
        self._settings = settings
        self._task = task
        self._container: StepContainer | None = None

    def run(self, job: Job, context: Context) -> Outcome:
        """Run the job to its end, in the container that an earlier try of the same task has left, if any."""
        ti = context["ti"]
        name = container_name(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, store=job.store)
        try:
            self._container = self.container(job, name)
        except ContractError as error:
            return Outcome(error.exit_code, {}, str(error))
        return self._container.run(context)

    def resume(self, job: Job, context: Context, event: dict[str, Any]) -> Outcome:
        """Never called: the task itself follows the log."""
        raise NotImplementedError("the docker backend does not defer")

    def stop(self) -> None:
        """End and remove the container."""
        if self._container is not None:
            self._container.stop()

    def container(self, job: Job, name: str) -> StepContainer:
        """The container of ``job``. Raises ContractError where it would not see its store."""
        docker = self._settings.docker
        inside = job.model_copy(update={"store": docker.store or job.store})
        demand_mounted(inside.store, docker)
        resources = docker.resources_of(job.verb)
        return StepContainer(
            task_id=self._task.task_id,
            image=docker.image(job.verb),
            args=[*inside.to_args(), "--json"],
            resources=resources,
            say=self._task.log.info,
            container_name=name,
            docker_url=docker.url,
            docker_conn_id=docker.conn_id,
            network_mode=docker.network,
            user=docker.user,
            mounts=[mount_of(mount) for mount in docker.mounts],
            labels={STORE_LABEL: job.store},
            private_environment=container_environment(os.environ, resources),
        )


def demand_mounted(store: str, docker: DockerSettings) -> None:
    """Raise ContractError for a store in a folder that is on no mount: its results would vanish with the container."""
    if "://" in store:
        return
    if not any(f"{store}/".startswith(f"{m.target.rstrip('/')}/") and not m.read_only for m in docker.mounts):
        raise ContractError(
            f"store {store!r} is on no writable mount of the containers: in the settings, give [docker] "
            'mounts = [{source = "/the/folder", target = "/store", read_only = false}] and store = "/store"'
        )


def mount_of(mount: Mount) -> DockerMount:
    """A folder of the host, or a named volume (``volume:<name>``), as the engine takes it."""
    if mount.claim is not None:
        raise ContractError(f"mount {mount.source!r} is a claim of Kubernetes: give a path, or volume:<name>")
    source, kind = (mount.volume, "volume") if mount.volume is not None else (mount.source, "bind")
    return DockerMount(target=mount.target, source=source, type=kind, read_only=mount.read_only)


def container_environment(environ: Mapping[str, str], resources: Resources) -> dict[str, str]:
    """What a container gets of Airflow's environment: credentials, proxies and tuning, and nothing of its paths."""
    kept = {
        name: value
        for name, value in step_environment(environ).items()
        if name not in _OF_THE_HOST and (name.startswith(_OF_A_SOURCE) or not name.startswith(_OF_THE_HOST_PREFIXES))
    }
    # A container sees every core of the host, whatever its share: without this, each would start a thread for each.
    threads = str(max(1, math.floor(resources.cpus)))
    return {"EYEWALL_THREADS": threads, "OMP_NUM_THREADS": threads, **kept}


def container_name(dag_id: str, run_id: str, task_id: str, map_index: int | None, *, store: str) -> str:
    """The same at every try of a task, and no other task's: readable, then a digest that also names the store."""
    index = -1 if map_index is None else map_index
    digest = digest_of({"task": [dag_id, run_id, task_id, index], "store": store})[:10]
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{dag_id}-{task_id}-{run_id}")[:80]
    return f"eyewall-{readable}-{digest}"
