"""Training of one network, a step at a time: the same loop for pretraining and for finding centres.

Batch n is a function of (seed, n), so that a killed training goes on from its last checkpoint as if nothing had been.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import DivergedError
from eyewall.progress import progress
from eyewall.storage import Store
from eyewall.training.loop import WarmCosine

CHECKPOINT_EVERY: Final = 250
_ADAMW: Final = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
Batch = tuple[np.ndarray[Any, Any], ...]


@dataclass(frozen=True)
class Recipe:
    """How to train: AdamW, warmed up to ``learning_rate``, then a cosine to 0 over ``steps``."""

    steps: int
    learning_rate: float
    weight_decay: float


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Networks built meanwhile compute in bfloat16 where that is safe; their weights stay float32."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)


def fit(
    network: Any,
    loss_of: Callable[..., Any],
    batch_of: Callable[[int], Batch],
    recipe: Recipe,
    *,
    what: str,
    store: Store,
    checkpoint: str,
) -> list[float]:
    """Train ``network`` in place; the loss of every step.

    ``loss_of`` takes a batch's arrays as tensors, ``batch_of`` gives batch n. ``checkpoint`` is the file of the store
    that an interrupted training goes on from. Raises DivergedError when the loss is no longer a number.
    """
    weights = network.trainable_variables
    rate = WarmCosine(recipe.learning_rate, recipe.steps)
    optimizer = tf_keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, jit_compile=False, **_ADAMW)
    optimizer.exclude_from_weight_decay(var_list=[v for v in weights if len(v.shape) < 2])
    optimizer.build(weights)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(*batch)
        slopes, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), 5.0)
        optimizer.apply_gradients(zip(slopes, weights, strict=True))
        return loss

    variables = [*weights, *optimizer.variables]
    losses = _resumed(store, checkpoint, variables)
    with progress(what, total=recipe.steps, unit="steps") as advance:
        advance(len(losses))
        while len(losses) < recipe.steps:
            loss = float(step(*(tf.constant(array) for array in batch_of(len(losses)))))
            if not np.isfinite(loss):
                raise DivergedError(
                    f"{what}: the loss is {loss} at step {len(losses) + 1}: lower --learning-rate"
                    f" (now {recipe.learning_rate:g})"
                )
            losses.append(loss)
            advance(sentence=f"loss {np.mean(losses[-50:]):.3f}")
            if len(losses) % CHECKPOINT_EVERY == 0 and len(losses) < recipe.steps:
                store.write_bytes(checkpoint, _state(variables, losses))
    return losses


def _state(variables: list[Any], losses: list[float]) -> bytes:
    buffer = io.BytesIO()
    arrays = {f"v{i:04d}": v.numpy() for i, v in enumerate(variables)}
    np.savez(buffer, losses=np.array(losses), **arrays)
    return buffer.getvalue()


def _resumed(store: Store, checkpoint: str, variables: list[Any]) -> list[float]:
    """Give ``variables`` what the checkpoint holds; the losses so far. A damaged one is passed over."""
    if not store.exists(checkpoint):
        return []
    try:
        with np.load(io.BytesIO(store.read_bytes(checkpoint)), allow_pickle=False) as stored:
            arrays = [stored[f"v{i:04d}"] for i in range(len(variables))]
            losses = [float(loss) for loss in stored["losses"]]
    except Exception:  # whatever is wrong with it: from the beginning, which gives the same network
        return []
    if any(a.shape != tuple(v.shape) for a, v in zip(arrays, variables, strict=True)):
        return []
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return losses


def history_csv(members: list[list[float]]) -> str:
    """One row a step: the loss of each member."""
    head = ",".join(["step", *(f"loss_{i}" for i in range(len(members)))])
    rows = [",".join([str(n), *(f"{loss:.6g}" for loss in row)]) for n, row in enumerate(zip(*members, strict=True), 1)]
    return "\n".join([head, *rows]) + "\n"
