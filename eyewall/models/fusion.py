"""The fusion of both: the track network's correction, plus what the images add to it where there are any."""

from typing import Any

import tensorflow as tf
import tf_keras

from eyewall.models.image import ImageEncoder, availability
from eyewall.models.track import CorrectionHead, Perceptron, TrackNetwork


class FusionNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Correction from track and images; without an image it is the track network's, exactly."""

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 64),
        channels: tuple[int, ...] = (16, 32, 32),
        width: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._track = TrackNetwork(widths, name="track")
        self._encoder = ImageEncoder(channels, width, name="encoder")
        self._joint = Perceptron((width,), name="joint")
        self._head = CorrectionHead(name="head")

    def call(self, track: Any, planes: Any, age_h: Any, valid: Any) -> Any:
        """Track vector [b, n], planes [b, k, y, x, 2], ages and masks [b, k] → correction [b, l, 2]."""
        seen = self._encoder(planes, age_h, valid)
        # The images speak on the ground of the same track, so their part may depend on it; the gate is outside.
        joint = self._joint(tf.concat([track, seen], axis=-1))
        return self._track(track) + self._head(joint) * availability(valid)[..., None]
