"""The devices of a model-parallel training as one DTensor mesh, and how values get onto it and off it.

The mesh has two axes: rows of a batch are shared out over ``batch``, the wide weights over ``model``. Devices are
counted replica by replica, so a model axis no longer than a replica's devices stays inside it (fast links), and a
longer one, for weights that no single replica can hold, spans several.

Method: one program for all devices (SPMD) in which layouts are annotated and communication follows: Shazeer et al.
2018 (Mesh-TensorFlow), Xu et al. 2021 (GSPMD), by TensorFlow's DTensor.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.experimental import dtensor

from eyewall.contracts.cluster import Replica
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.jobs import TrainJob
from eyewall.training.strategies import Share, model_axis

BATCH, MODEL = "batch", "model"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DeviceMesh:
    """The mesh, and this process's part of it."""

    mesh: Any
    share: Share  #: of each global batch: what the devices of this process compute on
    pieces: tuple[int, ...]  #: for each device of this process, which piece of that share it takes

    @property
    def model_axis(self) -> int:
        """Devices that share out the weights."""
        return int(self.mesh.dim_size(MODEL))

    def layout(self, *axes: str | None) -> Any:
        """The layout with these mesh axes for a tensor's axes; None: whole on each device."""
        return dtensor.Layout([dtensor.UNSHARDED if axis is None else axis for axis in axes], self.mesh)

    def whole(self, rank: int) -> Any:
        """The layout of a tensor of which each device has all."""
        return dtensor.Layout.replicated(self.mesh, rank)

    def place_batch(self, rows: Any) -> Any:
        """This process's rows [share, …] of a global batch → the tensor [batch, …] over all devices."""
        parts = tf.split(rows, max(self.pieces) + 1)
        return dtensor.pack(
            [parts[piece] for piece in self.pieces], self.layout(BATCH, *[None] * (len(rows.shape) - 1))
        )

    def variable(self, value: Array | np.generic, layout: Any, name: str) -> Any:
        """A variable of which each device holds its part only; every process gives the same whole ``value``."""
        return dtensor.DVariable(self._place(value, layout), name=name)

    def assign(self, variable: Any, value: Array) -> None:
        """Give a variable on the mesh a whole ``value``. Raises ValueError when it is of another shape."""
        if tuple(variable.shape) != np.shape(value):
            raise ValueError(f"{variable.name} is {tuple(variable.shape)}, the value {np.shape(value)}")
        variable.assign(self._place(value, variable.layout))

    def _place(self, value: Array | np.generic, layout: Any) -> Any:
        return dtensor.relayout(dtensor.copy_to_mesh(tf.constant(value), self.whole(np.ndim(value))), layout)

    def gather(self, variables: Sequence[Any]) -> list[Array]:
        """The whole values of variables, on every process. A collective: every process has to call it."""
        whole = [dtensor.relayout(variable.read_value(), self.whole(len(variable.shape))) for variable in variables]
        return [value.numpy() for value in whole]


def join_mesh(job: TrainJob, replica: Replica | None) -> DeviceMesh:
    """Claim this process's devices and join the other replicas. To be called before any TensorFlow operation.

    Raises InputError when there are not as many devices as the job wants, ContractError when the environment does not
    name the replicas (see `Cluster.environment`).
    """
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    _check_environment(job, replica)
    # Where memory is short the graph optimizer turns large sums into sums in place, by the shapes of the whole tensors
    # and not of a device's parts, and the step fails ("Parameters and update must be the same size", TensorFlow 2.21;
    # a GRU of 1024 units does). Without it networks that only a mesh can hold could not be trained on one.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if kind == "GPU":
        gpus = tf.config.list_physical_devices("GPU")
        if len(gpus) < job.devices:
            raise InputError(
                f"model_parallel needs {job.devices} GPUs a replica and this one has {len(gpus)}: lower --devices"
            )
        tf.config.set_visible_devices(gpus[: job.devices], "GPU")
    with contextlib.suppress(ValueError):  # initialised before, with devices that are counted below
        dtensor.initialize_accelerator_system(kind, num_logical_cpu_devices=job.devices)
    present = dtensor.num_local_devices(kind)
    if present < job.devices:
        raise InputError(
            f"model_parallel needs {job.devices} devices and this process has {present} already: start a new one"
        )
    along = model_axis(job)
    count, first = job.workers * job.devices, dtensor.client_id() * job.devices
    mesh = dtensor.create_distributed_mesh(
        [(BATCH, count // along), (MODEL, along)],
        local_devices=dtensor.local_devices(kind)[: job.devices],
        device_type=kind,
    )
    rows = [device // along for device in range(first, first + job.devices)]
    local = rows[-1] - rows[0] + 1
    share = Share(index=rows[0] // local, count=count // along // local)
    return DeviceMesh(mesh, share, tuple(row - rows[0] for row in rows))


def _check_environment(job: TrainJob, replica: Replica | None) -> None:
    """DTensor would quietly train alone where its variables are missing."""
    clients = len([name for name in os.environ.get("DTENSOR_JOBS", "").split(",") if name]) or 1
    index = 0 if replica is None or replica.role == "chief" else replica.index + 1
    if clients != job.workers or int(os.environ.get("DTENSOR_CLIENT_ID", "0")) != index:
        raise ContractError(
            f"the environment makes this replica number {os.environ.get('DTENSOR_CLIENT_ID', '0')} of {clients} in"
            f" DTENSOR_JOBS, and TF_CONFIG number {index} of {job.workers}: set both as Cluster.environment gives them"
        )
