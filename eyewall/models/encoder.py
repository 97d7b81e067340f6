"""The encoder of pictures that pretraining makes, and that centre finding and fusion begin from.

Convolutions and group normalisation alone: nothing in it knows the size of a picture or the rest of the batch, so that
one set of weights reads a square about a storm and a tile of a basin, on any number of replicas.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import ContractError
from eyewall.models.encoder_card import WEIGHTS_NAME, EncoderCard

#: Group normalisation over groups of so many channels.
_GROUP = 8
#: What the coarsest map's rows and columns are of a picture's: pictures are multiples of it.
STRIDE = 16


class Stage(tf_keras.layers.Layer):  # type: ignore[misc]
    """Half the rows and columns, other channels: a strided convolution and a residual one."""

    def __init__(self, channels: int, kernel: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        groups = max(1, channels // _GROUP)
        self._down = tf_keras.layers.Conv2D(channels, kernel, strides=2, padding="same", name="down")
        self._down_norm = tf_keras.layers.GroupNormalization(groups=groups, name="down_norm")
        self._deepen = tf_keras.layers.Conv2D(channels, 3, padding="same", name="deepen")
        self._deepen_norm = tf_keras.layers.GroupNormalization(groups=groups, name="deepen_norm")

    def call(self, values: Any) -> Any:
        """[b, y, x, c] → [b, y/2, x/2, channels]."""
        values = tf.nn.gelu(self._down_norm(self._down(values)))
        return values + tf.nn.gelu(self._deepen_norm(self._deepen(values)))


class Encoder(tf_keras.layers.Layer):  # type: ignore[misc]
    """Planes of a picture → four maps of features, at a half to a sixteenth of its resolution."""

    def __init__(self, channels: Sequence[int] = (16, 24, 48, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = tuple(channels)
        self._stages = [Stage(c, kernel=5 if i == 0 else 3, name=f"stage_{i}") for i, c in enumerate(self.channels)]

    def call(self, planes: Any) -> list[Any]:
        """Planes [b, y, x, 2] → maps [b, y/2, x/2, c0] … [b, y/16, x/16, c3], finest first.

        Plane 0 is (value − mean) / std of the encoder's card, 0 where missing; plane 1 is 1 where known. Rows run from
        north to south; y and x are multiples of 16.
        """
        maps = []
        for stage in self._stages:
            planes = stage(planes)
            maps.append(planes)
        return maps

    def embed(self, planes: Any) -> Any:
        """Planes [b, y, x, 2] → the mean over the coarsest map, [b, c3]."""
        return tf.reduce_mean(self(planes)[-1], axis=(1, 2))


class MapHead(tf_keras.layers.Layer):  # type: ignore[misc]
    """The encoder's maps → values at its finest resolution: coarse maps are enlarged and added to finer ones."""

    def __init__(self, outputs: int, width: int = 24, last_bias: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._width = width
        self._outputs, self._last_bias = outputs, last_bias

    def build(self, shapes: Any) -> None:
        """Layers by the number of maps."""
        groups = max(1, self._width // _GROUP)
        count = range(len(shapes))
        self._lateral = [tf_keras.layers.Conv2D(self._width, 1, name=f"lateral_{i}") for i in count]
        self._mix = [tf_keras.layers.Conv2D(self._width, 3, padding="same", name=f"mix_{i}") for i in count]
        self._norm = [tf_keras.layers.GroupNormalization(groups=groups, name=f"norm_{i}") for i in count]
        self._out = tf_keras.layers.Conv2D(
            self._outputs,
            1,
            bias_initializer=tf_keras.initializers.Constant(self._last_bias),
            kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.02),
            dtype="float32",
            name="out",
        )
        super().build(shapes)

    def call(self, maps: list[Any]) -> Any:
        """Maps of `Encoder` → [b, y/2, x/2, outputs] float32."""
        values: Any = None
        for i in reversed(range(len(maps))):
            here = self._lateral[i](maps[i])
            if values is not None:
                here += tf.repeat(tf.repeat(values, 2, axis=1), 2, axis=2)
            values = tf.nn.gelu(self._norm[i](self._mix[i](here)))
        return self._out(values)


# --- weights as arrays ------------------------------------------------------------------------------------------------


def weights_to_bytes(weights: Sequence[Any]) -> bytes:
    """Arrays in their order → a NumPy archive; equal weights are equal bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"w{i:03d}": np.asarray(w) for i, w in enumerate(weights)}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def weights_from(file: Path, layer: Any) -> None:
    """Give a built ``layer`` the weights of an archive. Raises ContractError when they do not fit."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            layer.set_weights([stored[name] for name in sorted(stored.files)])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ContractError(f"the weights in {str(file)!r} do not fit: {error}; make the artifact again") from error


def build_encoder(channels: Sequence[int], px: int) -> Encoder:
    """An encoder with its weights created."""
    encoder = Encoder(channels, name="encoder")
    encoder(np.zeros((1, px, px, 2), np.float32))
    return encoder


def load_encoder(folder: Path) -> tuple[Encoder, EncoderCard]:
    """The encoder of an artifact of kind ``encoder``, with its weights, and its card. Raises ContractError."""
    card = EncoderCard.read(folder)
    encoder = build_encoder(card.channels, card.scale.px)
    weights_from(folder / WEIGHTS_NAME, encoder)
    return encoder, card
