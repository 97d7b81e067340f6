"""The image CNN: storm-centred frames → one vector per sample, and a correction from it.

Frames share their weights. Most samples of a long best track have no frame at all, so the convolutions run on the
frames that exist and nowhere else: a batch without any image costs next to nothing.
"""

from typing import Any

import tensorflow as tf
import tf_keras

from eyewall.models.track import CorrectionHead, Perceptron

_TYPICAL_AGE_H = 12.0


class ImageEncoder(tf_keras.layers.Layer):  # type: ignore[misc]
    """Frames → an embedding [b, width], which is 0 for a sample without any frame.

    Each convolution halves rows and columns; group normalisation knows nothing of the other samples of the batch.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 32), width: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: Encode absent frames as well, and drop what comes out: for devices that need shapes known beforehand.
        self.every_slot = False
        self._convolutions = [
            tf_keras.layers.Conv2D(c, 3, strides=2, padding="same", activation="gelu", name=f"conv_{i}")
            for i, c in enumerate(channels)
        ]
        self._norms = [
            tf_keras.layers.GroupNormalization(groups=min(8, c), name=f"norm_{i}") for i, c in enumerate(channels)
        ]
        self._pool = tf_keras.layers.AveragePooling2D(2, padding="same", name="pool")
        self._flat = tf_keras.layers.Flatten(name="flat")
        self._frame = tf_keras.layers.Dense(width, activation="gelu", name="frame")
        self._sequence = Perceptron((width,), name="sequence")

    def _encode(self, frames: Any) -> Any:
        """[m, y, x, 2] → [m, width]."""
        values = self._pool(frames)  # 64×64 pixels of 20 km hold little that 32×32 of 40 km do not
        for convolve, norm in zip(self._convolutions, self._norms, strict=True):
            values = norm(convolve(values))
        return self._frame(self._flat(values))

    def call(self, planes: Any, age_h: Any, valid: Any) -> Any:
        """Planes [b, k, y, x, 2], ages [b, k] h, masks [b, k] → [b, width]."""
        k, y, x, c = planes.shape[1:]
        if self.every_slot:
            encoded = self._encode(tf.reshape(planes, (-1, y, x, c))) * tf.reshape(valid, (-1, 1))
            return self._join(tf.reshape(encoded, (-1, k * encoded.shape[-1])), age_h, valid)
        slots = tf.shape(valid)[0] * k
        frames = tf.reshape(planes, (slots, y, x, c))
        present = tf.where(tf.reshape(valid, (slots,)) > 0)
        # Convolutions refuse an empty batch: slot 0 is always encoded as well, and its result dropped if it is absent.
        chosen = tf.concat([present, tf.zeros((1, 1), present.dtype)], axis=0)
        encoded = self._encode(tf.gather_nd(frames, chosen))[:-1]
        width = encoded.shape[-1]
        spread = tf.scatter_nd(present, encoded, tf.stack([tf.cast(slots, present.dtype), width]))
        return self._join(tf.reshape(spread, (-1, k * width)), age_h, valid)

    def _join(self, per_frame: Any, age_h: Any, valid: Any) -> Any:
        """Encoded frames [b, k·width], 0 where there is none → [b, width]."""
        known = tf.concat([per_frame, age_h / _TYPICAL_AGE_H * valid, valid], axis=-1)
        return self._sequence(known) * availability(valid)


def availability(valid: Any) -> Any:
    """1 where a sample has at least one frame: [b, k] → [b, 1]."""
    return tf.reduce_max(valid, axis=-1, keepdims=True)


class ImageNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Correction from the images alone; none where there is no image."""

    def __init__(self, channels: tuple[int, ...] = (16, 32, 32), width: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._encoder = ImageEncoder(channels, width, name="encoder")
        self._head = CorrectionHead(name="head")

    def call(self, planes: Any, age_h: Any, valid: Any) -> Any:
        """Planes [b, k, y, x, 2], ages and masks [b, k] → correction [b, l, 2], in units of the lead's scale."""
        return self._head(self._encoder(planes, age_h, valid)) * availability(valid)[..., None]
