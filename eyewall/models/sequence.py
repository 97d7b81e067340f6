"""Networks that read the fixes one after the other: GRU, LSTM, attention.

Written out step by step of plain dense layers, one a gate: nine fixes need no loop of TensorFlow's, and dense layers
are what model parallelism shares out by columns (`eyewall.training.model_parallel`), so that a cell may be wider than
what one device can hold.

Methods: Cho et al. 2014 (GRU), Hochreiter and Schmidhuber 1997 (LSTM), Vaswani et al. 2017 (attention).
"""

import math
from typing import Any, Final, Literal

import tensorflow as tf
import tf_keras

Cell = Literal["gru", "lstm"]
_GATES: Final[dict[str, tuple[str, ...]]] = {
    "gru": ("update", "reset", "new"),
    "lstm": ("input", "forget", "output", "new"),
}


class Recurrent(tf_keras.layers.Layer):  # type: ignore[misc]
    """Layers of GRU or LSTM cells over the fixes, oldest first; a missing fix leaves the state as it is."""

    def __init__(self, cell: Cell, width: int, layers: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._cell, self._width = cell, width
        self._inputs, self._states = (
            [
                {
                    gate: tf_keras.layers.Dense(width, use_bias=part == "input", name=f"{part}_{gate}_{i}")
                    for gate in _GATES[cell]
                }
                for i in range(layers)
            ]
            for part in ("input", "state")
        )

    def call(self, fixes: Any, valid: Any) -> Any:
        """Fixes [b, f, c], masks [b, f] → the last state [b, width]."""
        sequence = tf.unstack(fixes, axis=1)
        masks = [tf.cast(mask, fixes.dtype)[:, None] for mask in tf.unstack(valid, axis=1)]
        for inputs, states in zip(self._inputs, self._states, strict=True):
            sequence = self._run(inputs, states, sequence, masks)
        return sequence[-1]

    def _run(self, inputs: dict[str, Any], states: dict[str, Any], sequence: list[Any], masks: list[Any]) -> list[Any]:
        """One layer: [b, c] and mask [b, 1] of each fix → its state after each, [b, width]."""
        hidden = memory = None
        found = []
        for values, mask in zip(sequence, masks, strict=True):
            given = {gate: layer(values) for gate, layer in inputs.items()}
            if hidden is None:
                hidden = memory = tf.zeros_like(given["new"])
            step = self._gru if self._cell == "gru" else self._lstm
            shown, kept = step(given, states, hidden, memory)
            hidden, memory = mask * shown + (1 - mask) * hidden, mask * kept + (1 - mask) * memory
            found.append(hidden)
        return found

    @staticmethod
    def _gru(given: dict[str, Any], states: dict[str, Any], hidden: Any, memory: Any) -> tuple[Any, Any]:
        update = tf.sigmoid(given["update"] + states["update"](hidden))
        reset = tf.sigmoid(given["reset"] + states["reset"](hidden))
        new = tf.tanh(given["new"] + reset * states["new"](hidden))
        return update * hidden + (1 - update) * new, memory

    @staticmethod
    def _lstm(given: dict[str, Any], states: dict[str, Any], hidden: Any, memory: Any) -> tuple[Any, Any]:
        take, keep, show = (tf.sigmoid(given[g] + states[g](hidden)) for g in ("input", "forget", "output"))
        memory = keep * memory + take * tf.tanh(given["new"] + states["new"](hidden))
        return show * tf.tanh(memory), memory


class Attention(tf_keras.layers.Layer):  # type: ignore[misc]
    """Blocks of attention among the fixes; a missing one is not looked at. The base fix's own vector is the result."""

    def __init__(self, width: int, layers: int = 2, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dense, norm = tf_keras.layers.Dense, tf_keras.layers.LayerNormalization
        self._heads = heads
        self._embed = dense(width, name="embed")
        self._blocks = [
            {
                **{
                    f"{part}_{h}": dense(width // heads, use_bias=False, name=f"{part}_{i}_{h}")
                    for part in ("query", "key", "value")
                    for h in range(heads)
                },
                "out": dense(width, name=f"out_{i}"),
                "wide": dense(2 * width, activation="gelu", name=f"wide_{i}"),
                "narrow": dense(width, name=f"narrow_{i}"),
                "before": norm(name=f"before_{i}"),
                "between": norm(name=f"between_{i}"),
            }
            for i in range(layers)
        ]

    def call(self, fixes: Any, valid: Any) -> Any:
        """Fixes [b, f, c], masks [b, f] → [b, width]."""
        values = self._embed(fixes)
        hide = (tf.cast(valid, values.dtype)[:, None, :] - 1.0) * 1e4
        for block in self._blocks:
            seen = block["before"](values)
            attended = [self._look(block, h, seen, hide) for h in range(self._heads)]
            values += block["out"](tf.concat(attended, axis=-1))
            values += block["narrow"](block["wide"](block["between"](values)))
        return values[:, -1]

    def _look(self, block: dict[str, Any], head: int, seen: Any, hide: Any) -> Any:
        """[b, f, c] → [b, f, c/heads]: each fix's mean of all, weighted by how well its query meets their keys."""
        query, key, value = (block[f"{part}_{head}"](seen) for part in ("query", "key", "value"))
        likeness = tf.matmul(query, key, transpose_b=True) / math.sqrt(query.shape[-1])
        return tf.matmul(tf.nn.softmax(likeness + hide), value)
