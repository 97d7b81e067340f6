"""AdamW on a mesh: the arithmetic of `eyewall.training.loop.make_optimizer`, each variable read once and written once.

Keras' own AdamW takes a mesh too, but it writes a slot and reads it again in the same function, and DTensor of
TensorFlow 2.21 keeps no order between the two: some weights are silently updated with the slots of the step before.
Here every new value is computed from values already read, so that data alone gives the order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.experimental import dtensor

from eyewall.training.mesh import DeviceMesh


class ShardedAdamW:
    """Loshchilov and Hutter 2019; the slots of a weight lie where the weight does.

    ``variables`` are in the order of Keras' optimizer: the step, then mean and square of each weight's gradient.
    """

    def __init__(
        self,
        devices: DeviceMesh,
        weights: Sequence[Any],
        learning_rate: Callable[[Any], Any],
        *,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        self._weights = list(weights)
        self._learning_rate = learning_rate
        self._beta_1, self._beta_2, self._epsilon, self._weight_decay = beta_1, beta_2, epsilon, weight_decay
        self._done = devices.variable(np.int64(0), devices.whole(0), "iteration")
        self._slots = [
            tuple(
                devices.variable(np.zeros(w.shape, np.float32), w.layout, f"{slot}/{w.name.partition(':')[0]}")
                for slot in "mv"
            )
            for w in self._weights
        ]
        self.variables = [self._done, *(slot for pair in self._slots for slot in pair)]

    def apply(self, slopes: Sequence[Any]) -> None:
        """One step; slopes in the order of the weights."""
        done = self._done.read_value()
        rate = self._learning_rate(done)
        step = tf.cast(done + 1, tf.float32)
        alpha = rate * tf.sqrt(1 - tf.pow(self._beta_2, step)) / (1 - tf.pow(self._beta_1, step))
        for weight, (mean, square), raw in zip(self._weights, self._slots, slopes, strict=True):
            slope = dtensor.relayout(raw, weight.layout)
            old, m, v = weight.read_value(), mean.read_value(), square.read_value()
            m = m + (slope - m) * (1 - self._beta_1)
            v = v + (tf.square(slope) - v) * (1 - self._beta_2)
            # As in Keras' optimizer here: scales and offsets are not decayed.
            decayed = old - old * self._weight_decay * rate if len(weight.shape) > 1 else old
            weight.assign(decayed - m * alpha / (tf.sqrt(v) + self._epsilon))
            mean.assign(m)
            square.assign(v)
        self._done.assign(done + 1)
