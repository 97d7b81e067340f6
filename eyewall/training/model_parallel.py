"""The model-parallel training loop: weights and optimizer state shared out over devices by a DTensor mesh.

What is shared out over the mesh's ``model`` axis, wherever the axis divides the width:

* dense layers in pairs: the first by columns (each device computes some of the units), the second by rows (each
  device adds up some of the inputs; one all-reduce), with the offsets and the layer normalisation in between
  (Shoeybi et al. 2019, Megatron-LM);
* convolutions by output channel in memory only: DTensor's convolution takes whole filters, so they are gathered for
  the moment of use, and their gradients and optimizer slots are shared out again (as Rajbhandari et al. 2020, ZeRO).

The rest, biases of row-parallel layers and group normalisation, is small and whole on each device. CLIPER and the
derivation of the network's inputs, in which nothing is trained, are computed beside the mesh, as DTensor has no rules
for some of their operations. Frames that do not exist are encoded and dropped: shapes must be known beforehand.

The same steps on the same global batches as `eyewall.training.loop`; checkpoints hold whole arrays, so a run goes on
under another number of devices. Whole weights are held by the host at a checkpoint, for validation and export.
"""

import re
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.experimental import dtensor

from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import TARGET_VALID
from eyewall.models.forecaster import Forecaster
from eyewall.models.image import FrameEncoder, ImageNetwork
from eyewall.training.heartbeat import Heartbeat
from eyewall.training.learner import make_learner, make_model, prepare_batch
from eyewall.training.loop import ADAMW, WarmCosine, batch_loss, training_batches
from eyewall.training.mesh import BATCH, MODEL, Array, DeviceMesh
from eyewall.training.plan import Plan
from eyewall.training.session import Session
from eyewall.training.sharded_adamw import ShardedAdamW
from eyewall.training.state import Run, TrainingState

#: The end of a variable's name → the mesh axis of each of its axes; the first match counts, the rest is whole.
LAYOUTS: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"/conv_\w+/kernel", (None, None, None, MODEL)),
    (r"/(input|state)_[a-z]+_\d+/kernel", (None, MODEL)),
    (r"/input_[a-z]+_\d+/bias", (MODEL,)),
    (r"/(query|key|value)_\d+_\d+/kernel", (None, MODEL)),
    (r"/wide_\d+/kernel", (None, MODEL)),
    (r"/wide_\d+/bias", (MODEL,)),
    (r"/narrow_\d+/kernel", (MODEL, None)),
    (r"/frame/kernel", (None, MODEL)),
    (r"/frame/bias", (MODEL,)),
    (r"/(body|sequence|joint)/dense_\d*[02468]/kernel", (None, MODEL)),
    (r"/(body|sequence|joint)/(dense_\d*[02468]/bias|norm_\d*[02468]/(gamma|beta))", (MODEL,)),
    (r"/(body|sequence|joint)/dense_\d*[13579]/kernel", (MODEL, None)),
    (r"/head/dense/kernel", (MODEL, None)),
)


def axes_of(name: str, shape: tuple[int, ...], parts: int) -> tuple[str | None, ...]:
    """The mesh axes of a variable's axes; whole where ``parts`` does not divide the width."""
    for pattern, axes in LAYOUTS:
        if re.search(pattern + r"(:\d+)?$", name):
            divisible = all(size % parts == 0 for size, axis in zip(shape, axes, strict=True) if axis)
            return axes if divisible else (None,) * len(shape)
    return (None,) * len(shape)


def share_out(network: Any, devices: DeviceMesh) -> None:
    """Replace a built network's variables by ones on the mesh, with the same values.

    Raises ContractError when the model axis divides none of the widths.
    """
    shared = 0
    for layer in [layer for layer in network.submodules if isinstance(layer, tf_keras.layers.Layer)]:
        for attribute in ("kernel", "bias", "gamma", "beta"):
            variable = getattr(layer, attribute, None)
            if variable is None:
                continue
            axes = axes_of(variable.name, tuple(variable.shape), devices.model_axis)
            shared += any(axes)
            name = variable.name.partition(":")[0]
            setattr(layer, attribute, devices.variable(variable.numpy(), devices.layout(*axes), name))
        _adapt(layer, devices)
    if not shared:
        raise ContractError(
            f"no layer's width is a multiple of {devices.model_axis} devices: lower --model-axis or --devices"
        )


def _adapt(layer: Any, devices: DeviceMesh) -> None:
    """Ways of computing the same for which DTensor has rules."""
    if isinstance(layer, tf_keras.layers.Conv2D):
        convolve = layer.convolution_op
        layer.convolution_op = lambda inputs, kernel: convolve(inputs, dtensor.relayout(kernel, devices.whole(4)))
    elif isinstance(layer, tf_keras.layers.LayerNormalization):
        layer._fused = False  # the fused operation has no rule; there is no public switch
    elif isinstance(layer, FrameEncoder):
        layer.every_slot = True
    elif isinstance(layer, ImageNetwork):
        layer.gather = lambda seen: dtensor.relayout(seen, devices.layout(BATCH, None))


class ShardedWeights:
    """A session's way to weights that no process has on a device of its own: `eyewall.training.session.Weights`."""

    def __init__(self, network: Any, optimizer: Any, model: Forecaster, devices: DeviceMesh) -> None:
        self._network, self._optimizer, self._model, self._devices = network, optimizer, model, devices

    def read(self) -> tuple[list[Array], list[Array]]:
        """Gather (weights, optimizer), and leave the weights in the plain model, for validation."""
        weights = self._devices.gather(self._network.weights)
        optimizer = self._devices.gather(self._optimizer.variables)
        self._model.set_weights(weights)
        return weights, optimizer

    def write(self, weights: list[Array], optimizer: list[Array]) -> None:
        """Put whole arrays on the mesh. Raises ValueError when they are of another model."""
        self._model.set_weights(weights)
        for variable, value in zip(self._network.weights, weights, strict=True):
            self._devices.assign(variable, value)
        for variable, value in zip(self._optimizer.variables, optimizer, strict=True):
            self._devices.assign(variable, value)


def train(plan: Plan, devices: DeviceMesh, run: Run, beat: Heartbeat) -> TrainingState:
    """All steps that are still to be done; the state after the last one. Raises DivergedError when it diverges."""
    job = plan.job
    model = make_model(plan)  # plain: derives the inputs, validates
    learner = make_learner(plan, model)
    network = make_learner(plan, make_model(plan)).network
    network.set_weights(model.get_weights())
    share_out(network, devices)
    weights = network.trainable_variables
    rate = WarmCosine(job.learning_rate, job.steps)
    optimizer = ShardedAdamW(devices, weights, rate, weight_decay=job.weight_decay, **ADAMW)
    holder = ShardedWeights(network, optimizer, model, devices)
    session = Session(plan, model, holder, run, beat, leads=dtensor.client_id() == 0)
    session.resume()

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def derive(features: Any, targets: Any) -> Any:
        start_km, target_km, inputs = prepare_batch(plan, learner, features, targets)
        return start_km, target_km, targets[TARGET_VALID], *inputs

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(start_km: Any, target_km: Any, valid: Any, *inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = batch_loss(plan, learner, start_km, network(*inputs), target_km, valid)
        optimizer.apply(tape.gradient(loss, weights))
        return loss

    stream = iter(training_batches(plan, devices.share, session.state.step))
    while session.state.step < job.steps:
        placed = [devices.place_batch(value) for value in derive(*next(stream))]
        session.after_step(float(step(*placed).numpy()))
        if session.due():
            session.checkpoint()
    return session.state
