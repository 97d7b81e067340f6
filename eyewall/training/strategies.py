"""From a strategy's name to tf.distribute's object, and which share of each global batch a process takes.

The replicas of ``multi_worker`` and ``parameter_server`` are told apart by TF_CONFIG, which the launcher, a container
or a pod sets (`eyewall.contracts.cluster`).
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eyewall.contracts.cluster import Replica
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.jobs import TrainJob


def is_clustered(job: TrainJob) -> bool:
    """Whether the replicas are processes of their own; a mesh may also lie within one."""
    return job.strategy in ("multi_worker", "parameter_server") or (
        job.strategy == "model_parallel" and job.workers > 1
    )


def check(job: TrainJob) -> None:
    """Everything that can be wrong with the shape of a training, before anything is started.

    Raises InputError or ContractError, each with the numbers that do not fit.
    """
    if job.strategy == "model_parallel":
        _check_mesh(job)
    elif job.devices != 1 or job.model_axis is not None:
        raise ContractError(
            f"strategy {job.strategy!r} has no mesh: leave out --devices {job.devices} and --model-axis, or take"
            " --strategy model_parallel"
        )
    if job.strategy == "single" and job.workers != 1:
        raise ContractError(f"strategy 'single' has 1 worker, not {job.workers}: take --strategy multi_worker")
    if job.strategy == "parameter_server" and not job.ps:
        raise ContractError("strategy 'parameter_server' has 0 parameter servers: give --ps of at least 1")
    if job.strategy != "parameter_server" and job.ps:
        raise ContractError(f"strategy {job.strategy!r} has no parameter servers: leave out --ps {job.ps}")
    # An asynchronous worker takes a whole batch at each step of its own; synchronous ones share it out.
    if job.strategy in ("mirrored", "multi_worker") and job.batch % job.workers:
        raise ContractError(
            f"a global batch of {job.batch} cannot be shared out evenly among {job.workers} workers:"
            f" take a multiple of {job.workers}"
        )


def _check_mesh(job: TrainJob) -> None:
    """The mesh is a rectangle of all devices, and rows of a batch are shared out evenly along one side."""
    devices, along = job.workers * job.devices, model_axis(job)
    size = f"{job.workers} replicas of {job.devices} devices"
    if devices == 1 or along == 1:
        raise ContractError(
            f"strategy 'model_parallel' shares weights out, and {size} with a model axis of {along} leave nothing to"
            " share: give --devices, --workers or --model-axis of at least 2"
        )
    if devices % along or (along % job.devices and job.devices % along):
        raise ContractError(f"a model axis of {along} does not divide {size} evenly: take a divisor or a multiple of"
                            f" {job.devices}, up to {devices}")  # fmt: skip
    if job.batch % (devices // along):
        raise ContractError(
            f"a global batch of {job.batch} cannot be shared out evenly among the {devices // along} copies of the"
            f" weights: take a multiple of {devices // along}"
        )


def model_axis(job: TrainJob) -> int:
    """Devices that hold one copy of the weights together."""
    return job.model_axis or (job.devices if job.devices > 1 else job.workers)


def replica_of(job: TrainJob, environ: Mapping[str, str] = os.environ) -> Replica | None:
    """This process's place in the job's cluster, by TF_CONFIG; None without one, or where the strategy needs none.

    Raises ContractError when TF_CONFIG is malformed, or its cluster is not of the job's size.
    """
    text = environ.get("TF_CONFIG")
    if not text or not is_clustered(job):
        return None
    try:
        config = json.loads(text)
        members = {role: len(config["cluster"].get(role, ())) for role in ("chief", "worker", "ps")}
        replica = Replica(role=config["task"]["type"], index=config["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ContractError(f"TF_CONFIG is not a cluster and a task: {text[:200]!r}") from None
    wanted = {"chief": 1, "worker": job.workers_beside_chief, "ps": job.ps}
    if members != wanted:
        raise ContractError(f"TF_CONFIG has {members} and the job wants {wanted}: make them agree")
    return replica


@dataclass(frozen=True)
class Share:
    """What of each global batch this process reads (``index`` of ``count``), and on how many devices it computes."""

    index: int = 0
    count: int = 1
    devices: int = 1


def synchronous(job: TrainJob, replica: Replica | None) -> tuple[Any, Share]:
    """The tf.distribute strategy of a synchronous job and this process's share of the batch.

    Raises InputError when the machine has not the devices.
    """
    import tensorflow as tf

    if job.strategy == "single":
        return tf.distribute.get_strategy(), Share()
    if job.strategy == "mirrored":
        devices = _mirrored_devices(job.workers)
        return tf.distribute.MirroredStrategy(devices), Share(devices=len(devices))
    assert replica is not None
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.AUTO
        if tf.config.list_physical_devices("GPU")
        else tf.distribute.experimental.CommunicationImplementation.RING
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    index = replica.index + (replica.role == "worker")  # the chief is worker 0
    return strategy, Share(index, job.workers, strategy.num_replicas_in_sync // job.workers)


def _mirrored_devices(wanted: int) -> list[str]:
    """GPUs where there are any, else logical devices of one CPU: the same arithmetic, for a try without a GPU."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if len(gpus) < wanted:
            raise InputError(
                f"strategy 'mirrored' needs {wanted} GPUs and this machine has {len(gpus)}: lower --workers"
            )
        return [f"/gpu:{i}" for i in range(wanted)]
    cpu = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # the runtime has started: as many as there are
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
    present = len(tf.config.list_logical_devices("CPU"))
    if present < wanted:
        raise InputError(f"strategy 'mirrored' needs {wanted} devices and this process has {present}: start a new one")
    return [f"/cpu:{i}" for i in range(wanted)]
