"""Two networks on the encoder: one fills in hidden patches of a picture, one says where storms have their centres.

The centre network is a Poisson point process (Daley and Vere-Jones 2003, ch. 7): ``exp(logit)`` of a cell is the
expected number of centres in it. So one training serves both questions. About a first guess the maps times what is
known of the guess's error is the probability of each place, with its spread; basin-wide the sum about a peak is the
probability that a storm is there, for none, one or three storms in view.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.models.encoder import Encoder, MapHead

#: Pixels of a cell of the map, each way.
CELL_PX = 2
#: Rate of an untrained network: about one centre in a square of 96 × 96 pixels.
_FIRST_LOGIT = -math.log(48 * 48)
#: Patches that are hidden as wholes, in pixels each way.
PATCH_PX = 8


class CentreNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Planes of a picture → the logarithm of the expected number of centres in each cell."""

    def __init__(self, channels: Sequence[int] = (16, 24, 48, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = Encoder(channels, name="encoder")
        self._head = MapHead(1, last_bias=_FIRST_LOGIT, name="head")

    def call(self, planes: Any) -> Any:
        """Planes [b, y, x, 2] as `Encoder` takes them → [b, y/2, x/2]."""
        return self._head(self.encoder(planes))[..., 0]


class FillNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Planes with hidden patches → what was there."""

    def __init__(self, channels: Sequence[int] = (16, 24, 48, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = Encoder(channels, name="encoder")
        self._head = MapHead(CELL_PX**2, name="head")

    def call(self, planes: Any) -> Any:
        """Planes [b, y, x, 2] → values [b, y, x], normalised."""
        return tf.nn.depth_to_space(self._head(self.encoder(planes)), CELL_PX)[..., 0]


def build_network(kind: type[Any], channels: Sequence[int], px: int) -> Any:
    """A network with its weights created."""
    network = kind(channels, name=kind.__name__.lower())
    network(np.zeros((1, px, px, 2), np.float32))
    return network


def centre_loss(logits: Any, wanted: Any, counted: Any) -> Any:
    """Mean negative log-likelihood of the point process, per picture.

    ``logits`` [b, i, j]; ``wanted`` [b, i, j] the centres, each spread over cells with the sum 1; ``counted`` [i, j] is
    1 in cells that are judged: those at the edge see half of a storm.
    """
    return tf.reduce_mean(tf.reduce_sum((tf.exp(logits) - wanted * logits) * counted, axis=(1, 2)))


def fill_loss(filled: Any, values: Any, judged: Any) -> Any:
    """Mean squared error [1] of ``filled`` against ``values`` [b, y, x] where ``judged`` [b, y, x] is 1."""
    return tf.reduce_sum(tf.square(filled - values) * judged) / tf.maximum(tf.reduce_sum(judged), 1.0)
