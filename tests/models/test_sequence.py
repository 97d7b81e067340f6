"""Recurrent and attention networks over the fixes, against Keras' own cells and against what is missing."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_models import IMAGES

from eyewall.contracts.features import LEADS_H, OUT_DISPLACEMENT_KM, PAST_FIX_VALID, PAST_LAT_DEG
from eyewall.models.registry import build
from eyewall.models.sequence import Attention, Recurrent

KINDS = pytest.mark.parametrize("kind", ["gru", "lstm", "attention"])


def fixes() -> tuple[Any, Any]:
    """Five samples of nine fixes with four numbers each, all known."""
    values = np.random.default_rng(1).normal(0, 1, (5, 9, 4)).astype(np.float32)
    return tf.constant(values), tf.ones((5, 9))


def made(kind: Any, layers: int = 1) -> Any:
    """A network of width 8 with weights off their first values."""
    tf_keras.utils.set_random_seed(2)
    network = Attention(8, layers, name="fixes") if kind == "attention" else Recurrent(kind, 8, layers, name="fixes")
    network(*fixes())
    rng = np.random.default_rng(2)
    network.set_weights([w + rng.normal(0, 0.2, w.shape) for w in network.get_weights()])
    return network


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_one_layer_is_the_cell_that_keras_has(kind: str) -> None:
    """The same weights, gate by gate, give the same last state; Keras orders update, reset and input, forget, new."""
    ours = made(kind)
    values = {w.name.rpartition("/fixes/")[2]: w.numpy() for w in ours.weights}
    kernels = {name.split("/")[-2]: v for name, v in values.items() if name.endswith("kernel:0")}
    biases = {name.split("/")[-2]: v for name, v in values.items() if name.endswith("bias:0")}
    gates = ("update", "reset", "new") if kind == "gru" else ("input", "forget", "new", "output")
    kernel, state = (np.concatenate([kernels[f"{p}_{g}_0"] for g in gates], axis=1) for p in ("input", "state"))
    bias = np.concatenate([biases[f"input_{g}_0"] for g in gates])
    theirs = tf_keras.layers.GRU(8, reset_after=True) if kind == "gru" else tf_keras.layers.LSTM(8)
    theirs.build((None, 9, 4))
    theirs.set_weights([kernel, state, np.stack([bias, np.zeros_like(bias)]) if kind == "gru" else bias])

    assert ours(*fixes()).numpy() == pytest.approx(theirs(fixes()[0]).numpy(), abs=1e-5)


@KINDS
def test_a_missing_fix_has_no_influence(kind: str) -> None:
    """Number 3 masked out: any numbers may stand there; known, they matter."""
    values, valid = fixes()
    other = values.numpy()
    other[:, 3] = 7.7
    masked = valid.numpy()
    masked[:, 3] = 0
    network = made(kind, layers=2)

    assert network(other, masked).numpy() == pytest.approx(network(values, masked).numpy(), abs=1e-6)
    assert np.abs(network(other, valid) - network(values, valid)).max() > 0.01


@KINDS
def test_the_order_of_the_fixes_matters(kind: str, parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """As a member of the track ensemble: shapes as ever, CLIPER before training, and a past fix counts after it."""
    sizes = {"widths": (8,), "members": 2, "difficulty": (4,), "sequence": {"kind": kind, "width": 8, "layers": 1}}
    model = build("track", IMAGES, sizes=sizes, **parts)
    assert not model.network(*model.prepare(batch)[1]).correction.numpy().any()

    rng = np.random.default_rng(5)
    model.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    km = model(batch)[OUT_DISPLACEMENT_KM].numpy()
    _, (vector, values, valid) = model.prepare(batch)
    back = model.network(vector, tf.reverse(values, [1]), tf.reverse(valid, [1])).correction.numpy()

    assert km.shape == (32, len(LEADS_H), 2)
    assert np.abs(back - model.network(vector, values, valid).correction).max() > 0.01
    masked = np.array(batch[PAST_FIX_VALID])
    masked[:, 2] = 0
    answers = []
    for filler in (0.0, 55.0):
        lat = np.array(batch[PAST_LAT_DEG])
        lat[:, 2] = filler
        answers.append(model(batch | {PAST_FIX_VALID: tf.constant(masked), PAST_LAT_DEG: tf.constant(lat)}))
    assert answers[0][OUT_DISPLACEMENT_KM].numpy().tolist() == answers[1][OUT_DISPLACEMENT_KM].numpy().tolist()
