"""The training of a network of the split study: one loop of stochastic gradient descent, resumable at every epoch.

Momentum 0.9 (Nesterov's), weight decay on kernels, one cosine from the highest learning rate to zero after one epoch
of warm-up. What an epoch draws (order, flips, shifts) comes from the seed and the epoch's number alone, so that a
training that was killed and goes on gives what it would have given.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eyewall.contracts.errors import DivergedError
from eyewall.progress import progress
from eyewall.split.networks.bottleneck import distillation_loss, fake_quantise
from eyewall.split.networks.image_pack import Images

Augment = Literal["none", "flip", "flip_shift"]
Array = npt.NDArray[Any]
_MOMENTUM: Final = 0.9
_SHIFT_PX: Final = 4
_EVALUATION_BATCH: Final = 500


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; all of it decides the result."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    augment: Augment
    seed: int
    quantised_cut: str | None = None  #: the layer whose output passes the int8 wire's rounding in training
    distillation: float = 0.0  #: weight of the teacher's logits in the loss; the labels have the rest


@dataclass
class Progressed:
    """A training after some epochs: weights and momenta in the order of the model's, and the mean loss by epoch."""

    epochs: int = 0
    weights: list[Array] = field(default_factory=list)
    momenta: list[Array] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """An uncompressed .npz."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"weights.{i:03d}": w for i, w in enumerate(self.weights)}
        arrays |= {f"momenta.{i:03d}": m for i, m in enumerate(self.momenta)}
        np.savez(buffer, losses=np.array(self.losses, np.float64), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Progressed":
        """The inverse of `to_bytes`. Raises ValueError when the bytes are damaged."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                weights = [stored[name] for name in sorted(stored.files) if name.startswith("weights.")]
                momenta = [stored[name] for name in sorted(stored.files) if name.startswith("momenta.")]
                losses = stored["losses"].tolist()
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a checkpoint: {error}") from error
        return cls(len(losses), weights, momenta, losses)


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """At a fractional epoch, 0 to ``recipe.epochs``: up in a line over the first, then down along half a cosine."""
    warm = min(1.0, recipe.epochs / 2)
    if epoch < warm:
        return recipe.learning_rate * epoch / warm
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - warm) / (recipe.epochs - warm)))


def batches(images: Images, recipe: Recipe, epoch: int) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch, pixels uint8 [b, y, x, 3] and labels [b]; the images that fill none are left out."""
    draw = np.random.default_rng([recipe.seed, epoch])
    order = draw.permutation(len(images))
    size = min(recipe.batch, len(images))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield augmented(images.pixels[chosen], recipe.augment, draw), images.labels[chosen]


def augmented(pixels: Array, augment: Augment, draw: np.random.Generator) -> Array:
    """Pixels [b, y, x, 3]: half of the images mirrored, and for ``flip_shift`` moved by up to 4 px, edges repeated."""
    if augment == "none":
        return pixels
    n, rows, columns, _ = pixels.shape
    mirrored = draw.integers(0, 2, n).astype(bool)
    pixels = np.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)
    if augment == "flip":
        return pixels
    padded = np.pad(pixels, ((0, 0), (_SHIFT_PX, _SHIFT_PX), (_SHIFT_PX, _SHIFT_PX), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
    down, right = draw.integers(0, 2 * _SHIFT_PX + 1, (2, n))
    return np.ascontiguousarray(windows[np.arange(n), down, right].transpose(0, 2, 3, 1))


def train(
    model: Any,
    images: Images,
    recipe: Recipe,
    *,
    teacher: Any = None,
    begun: Progressed | None = None,
    checkpoint: Callable[[Progressed], None] = lambda _: None,
) -> Progressed:
    """Train ``model`` in place; ``checkpoint`` is called after each epoch with what `begun` takes to go on.

    Raises DivergedError when the loss is no longer a number.
    """
    variables = model.trainable_variables
    momenta = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
    done = begun or Progressed()
    if done.epochs:
        model.set_weights(done.weights)
        for momentum, value in zip(momenta, done.momenta, strict=True):
            momentum.assign(value)
    step = _step_function(model, momenta, recipe, teacher)
    per_epoch = max(1, len(images) // recipe.batch)
    with progress("train", total=recipe.epochs * per_epoch, unit="steps") as advance:
        advance(done.epochs * per_epoch)
        for epoch in range(done.epochs, recipe.epochs):
            total = tf.constant(0.0)
            for i, (pixels, labels) in enumerate(batches(images, recipe, epoch)):
                rate = learning_rate(recipe, epoch + (i + 1) / per_epoch)
                total += step(tf.constant(pixels), tf.constant(labels), tf.constant(rate, tf.float32))
                advance(1, f"epoch {epoch + 1} of {recipe.epochs}")
            loss = float(total) / per_epoch
            if not math.isfinite(loss):
                raise DivergedError(f"the loss of epoch {epoch + 1} is {loss}: give a smaller learning rate")
            done = Progressed(
                epoch + 1, model.get_weights(), [momentum.numpy() for momentum in momenta], [*done.losses, loss]
            )
            checkpoint(done)
    return done


def _step_function(model: Any, momenta: list[Any], recipe: Recipe, teacher: Any) -> Any:
    """One step: (pixels, labels, learning rate) → the loss before it, []."""
    variables = model.trainable_variables
    decays = [recipe.weight_decay if "kernel" in v.name else 0.0 for v in variables]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(pixels: Any, labels: Any, rate: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = forward(model, pixels, recipe.quantised_cut)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            if teacher is not None and recipe.distillation:
                taught = distillation_loss(logits, teacher(pixels, training=False))
                loss = (1 - recipe.distillation) * loss + recipe.distillation * taught
        gradients = tape.gradient(loss, variables)
        for variable, momentum, gradient, decay in zip(variables, momenta, gradients, decays, strict=True):
            gradient = gradient + decay * variable
            momentum.assign(_MOMENTUM * momentum + gradient)
            variable.assign_sub(rate * (gradient + _MOMENTUM * momentum))
        return loss

    return step


def forward(model: Any, pixels: Any, quantised_cut: str | None) -> Any:
    """Logits of a model that is one chain of layers, its cut rounded as the int8 wire does where one is named."""
    values = pixels
    for layer in model.layers[1:]:
        values = layer(values, training=True)
        if layer.name == quantised_cut:
            values = fake_quantise(values)
    return values


def accuracy_percent(model: Any, images: Images) -> float:
    """Of ``images``, how many have their label as the largest logit, %."""
    logits = logits_of(model, images.pixels)
    return 100.0 * float(np.mean(logits.argmax(axis=1) == images.labels))


def logits_of(model: Any, pixels: Array) -> Array:
    """Pixels uint8 [n, y, x, 3] → logits float32 [n, k]."""
    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    parts = [
        call(tf.constant(pixels[i : i + _EVALUATION_BATCH])).numpy() for i in range(0, len(pixels), _EVALUATION_BATCH)
    ]
    return np.concatenate(parts)
