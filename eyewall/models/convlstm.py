"""A convolutional LSTM over frames that come when they come.

Frames of an archive have no cadence: two may lie an hour apart or a day. The age of each and the gap since the one
before enter as planes beside the picture, and where a frame is missing the state passes through unchanged.

Method: Shi et al. 2015 (ConvLSTM); the gap as an input, and a mask that holds the state: Che et al. 2018 (GRU-D).
"""

from typing import Any

import tensorflow as tf
import tf_keras

from eyewall.models.perceptron import Perceptron

_TYPICAL_AGE_H = 12.0


class ConvLSTMCell(tf_keras.layers.Layer):  # type: ignore[misc]
    """One step: maps [b, y, x, c] and state → state, by four gates of 3×3 convolutions."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self._gates = [
            tf_keras.layers.Conv2D(
                channels, 3, padding="same", bias_initializer="ones" if gate == "forget" else "zeros",
                name=f"conv_{gate}",
            )
            for gate in ("input", "forget", "output", "new")
        ]  # fmt: skip

    def call(self, values: Any, hidden: Any, memory: Any) -> tuple[Any, Any]:
        """Maps [b, y, x, c], hidden and memory [b, y, x, channels] → hidden and memory."""
        both = tf.concat([values, hidden], axis=-1)
        take, keep, show, new = (gate(both) for gate in self._gates)
        memory = tf.sigmoid(keep) * memory + tf.sigmoid(take) * tf.tanh(new)
        return tf.sigmoid(show) * tf.tanh(memory), memory


class ConvLSTMEncoder(tf_keras.layers.Layer):  # type: ignore[misc]
    """Frames → an embedding [b, width], which is 0 for a sample without any frame; oldest frame first."""

    def __init__(self, channels: tuple[int, ...] = (16, 32, 32), width: int = 32, **kwargs: Any) -> None:
        """``channels``: of the strided convolutions before the cell; the last number is the cell's too."""
        super().__init__(**kwargs)
        self.every_slot = True  # a sequence has its slots, present or not
        self._pool = tf_keras.layers.AveragePooling2D(2, padding="same", name="pool")
        self._convolutions = [
            tf_keras.layers.Conv2D(c, 3, strides=2, padding="same", activation="gelu", name=f"conv_{i}")
            for i, c in enumerate(channels)
        ]
        self._norms = [
            tf_keras.layers.GroupNormalization(groups=min(8, c), name=f"norm_{i}") for i, c in enumerate(channels)
        ]
        self._cell = ConvLSTMCell(channels[-1], name="cell")
        self._flat = tf_keras.layers.Flatten(name="flat")
        self._frame = tf_keras.layers.Dense(width, activation="gelu", name="frame")
        self._sequence = Perceptron((width,), name="sequence")

    def call(self, planes: Any, age_h: Any, valid: Any) -> Any:
        """Planes [b, k, y, x, 2], ages [b, k] h, masks [b, k] → [b, width]."""
        hidden = memory = before_h = started = None
        for slot in range(planes.shape[1]):
            maps = self._pool(planes[:, slot])
            for convolve, norm in zip(self._convolutions, self._norms, strict=True):
                maps = norm(convolve(maps))
            here = tf.cast(valid[:, slot, None, None, None], maps.dtype)
            age = tf.cast(age_h[:, slot, None, None, None], maps.dtype) * here
            if hidden is None:
                hidden = memory = tf.zeros_like(maps)
                before_h = started = tf.zeros_like(age)
            gap_h = (before_h - age) * here * started  # 0 at the oldest frame
            times = tf.concat([age, gap_h], axis=-1) / _TYPICAL_AGE_H
            values = tf.concat([maps, times * tf.ones_like(maps[..., :1])], axis=-1)  # the times as planes
            shown, kept = self._cell(values, hidden, memory)
            hidden, memory = here * shown + (1 - here) * hidden, here * kept + (1 - here) * memory
            before_h, started = here * age + (1 - here) * before_h, tf.maximum(here, started)
        seen = self._sequence(self._frame(self._flat(hidden)))
        return seen * tf.cast(tf.reduce_max(valid, axis=-1, keepdims=True), seen.dtype)
