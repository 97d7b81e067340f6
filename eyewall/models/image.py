"""The image networks: storm-centred frames → one vector per sample, and a correction from it.

Frames share their weights. Most samples of a long best track have no frame at all, so the convolutions run on the
frames that exist and nowhere else: a batch without any image costs next to nothing.
"""

from collections.abc import Callable
from typing import Any, Literal

import tensorflow as tf
import tf_keras

from eyewall.models.convlstm import ConvLSTMEncoder
from eyewall.models.perceptron import Perceptron
from eyewall.models.track import CorrectionHead

_TYPICAL_AGE_H = 12.0


class FrameEncoder(tf_keras.layers.Layer):  # type: ignore[misc]
    """Frames → an embedding [b, width], which is 0 for a sample without any frame: what every encoder does alike.

    `_encode` turns frames into vectors, one by one; `_join` makes one vector of a sample's.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: Encode absent frames as well, and drop what comes out: for devices that need shapes known beforehand.
        self.every_slot = False
        self._sequence = Perceptron((width,), name="sequence")

    def _encode(self, frames: Any) -> Any:
        """[m, y, x, 2] → [m, width]."""
        raise NotImplementedError

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
        age_h, valid = tf.cast(age_h, per_frame.dtype), tf.cast(valid, per_frame.dtype)
        known = tf.concat([per_frame, age_h / _TYPICAL_AGE_H * valid, valid], axis=-1)
        return self._sequence(known) * availability(valid)


class ImageEncoder(FrameEncoder):
    """A small CNN for each frame, a dense layer over all of them.

    Each convolution halves rows and columns; group normalisation knows nothing of the other samples of the batch.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 32), width: int = 32, **kwargs: Any) -> None:
        super().__init__(width, **kwargs)
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

    def _encode(self, frames: Any) -> Any:
        """[m, y, x, 2] → [m, width]."""
        values = self._pool(frames)  # 64×64 pixels of 20 km hold little that 32×32 of 40 km do not
        for convolve, norm in zip(self._convolutions, self._norms, strict=True):
            values = norm(convolve(values))
        return self._frame(self._flat(values))


class PretrainedEncoder(FrameEncoder):
    """The encoder of `eyewall pretrain` for each frame, squeezed by a dense layer; frozen if that is wanted."""

    def __init__(
        self,
        channels: tuple[int, ...],
        width: int = 8,
        *,
        frozen: bool = False,
        rescale: tuple[float, float] = (1.0, 0.0),
        **kwargs: Any,
    ) -> None:
        """``rescale``: factor and offset from the records' normalised values to the encoder's own."""
        from eyewall.models.encoder import Encoder

        super().__init__(width, **kwargs)
        self.pretrained = Encoder(channels, name="pretrained")
        self.pretrained.trainable = not frozen
        self._rescale = rescale
        self._frame = tf_keras.layers.Dense(width, activation="gelu", name="frame")

    def _encode(self, frames: Any) -> Any:
        """[m, y, x, 2] → [m, width]."""
        factor, offset = self._rescale
        known = frames[..., 1:]
        return self._frame(self.pretrained.embed(tf.concat([(frames[..., :1] * factor + offset) * known, known], -1)))


def availability(valid: Any) -> Any:
    """1 where a sample has at least one frame: [b, k] → [b, 1]."""
    return tf.reduce_max(valid, axis=-1, keepdims=True)


class ImageNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Correction from the images, and the heading that CLIPER gives the storm; none where there is no image."""

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 32, 32),
        width: int = 32,
        encoder: Literal["cnn", "convlstm", "pretrained"] = "cnn",
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """``options``: further arguments of the encoder."""
        super().__init__(**kwargs)
        made = {"cnn": ImageEncoder, "convlstm": ConvLSTMEncoder, "pretrained": PretrainedEncoder}[encoder]
        self.encoder = made(channels, width, name="encoder", **(options or {}))
        #: For devices among which ``seen`` is shared out: two values more, and the whole is no multiple of them.
        self.gather: Callable[[Any], Any] = lambda seen: seen
        # The same scene means something else to a storm that goes the other way.
        self.joint = Perceptron((width,), name="joint")
        self.head = CorrectionHead(name="head")

    def call(self, heading: Any, planes: Any, age_h: Any, valid: Any) -> Any:
        """Heading [b, 2], planes [b, k, y, x, 2], ages and masks [b, k] → correction [b, l, 2], in units of a scale."""
        seen = self.encoder(planes, age_h, valid)
        joint = self.joint(tf.concat([tf.cast(heading, seen.dtype), self.gather(seen)], axis=-1))
        return tf.cast(self.head(joint), tf.float32) * availability(valid)[..., None]
