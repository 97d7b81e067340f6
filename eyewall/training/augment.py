"""Training images as they might have been: turned, shifted, faded; and the targets turned with them.

Geography is kept: a storm seen in a mirror would turn the wrong way round and recurve into the tropics, so nothing is
flipped. A turned scene belongs to a turned motion, but the steering currents of 15° N are not those of 15° E: turns are
small, and what is turned with them is not the forecast but its *correction*, about the answer that it starts from, and
the heading that the network is told. Shifts are as uncertain as best-track centres are, and what grey an image has
changes with satellite and hour.

The numbers are drawn for each row of the global batch from (seed, step), so that neither how a batch is shared out nor
an interruption changes what is trained on.
"""

from typing import Any, Final

import numpy as np
import tensorflow as tf

from eyewall.contracts.features import IMAGES, ImageSpec

#: Five numbers of a standard normal distribution for each row, cut at ±2, which augmentation turns into changes.
CHANCE: Final = "augmentation"
NUMBERS: Final = 5
TURN_DEG = 10.0  #: standard deviation of the turns
SHIFT_KM = 20.0  #: of the shifts, each way: about the uncertainty of best-track centres of mature storms (Landsea and
# Franklin 2013, figure 4, give 15-35 nautical miles for weaker ones)
CONTRAST, BRIGHTNESS = 0.05, 0.02  #: of the factor on values, and of an addition relative to the brightest value


def draw(seed: int, step: Any, batch: int) -> Any:
    """Numbers [batch, NUMBERS] of the rows of one global batch."""
    return tf.random.stateless_truncated_normal((batch, NUMBERS), seed=tf.stack([tf.cast(seed, tf.int64), step]))


def augmented(features: dict[str, Any], images: ImageSpec) -> dict[str, Any]:
    """Features with CHANCE → features with changed images; 0 is missing, and so is what comes from outside."""
    chance = features[CHANCE]
    pixels = features[IMAGES]
    known = tf.cast(pixels > 0, tf.float32)
    planes = tf.concat([pixels, known], axis=-1)
    k = int(planes.shape[1])
    rows = tf.reshape(planes, (-1, images.px, images.px, 2))
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=rows,
        transforms=tf.repeat(_transforms(chance, images), k, axis=0),
        output_shape=tf.constant([images.px, images.px]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    value, seen = tf.unstack(tf.reshape(moved, tf.shape(planes)), axis=-1)
    # Where known and missing pixels were mixed the value is that of the known ones.
    value = tf.where(seen > 0.5, value / tf.maximum(seen, 0.5), 0.0)[..., None]
    gain, offset = (chance[:, i, None, None, None, None] for i in (3, 4))
    brightest = tf.reduce_max(pixels, axis=(1, 2, 3, 4), keepdims=True)
    faded = value * (1 + CONTRAST * gain) + BRIGHTNESS * offset * brightest
    return features | {IMAGES: tf.where(value > 0, tf.maximum(faded, 0.01), 0.0)}


def _transforms(chance: Any, images: ImageSpec) -> Any:
    """[b, NUMBERS] → [b, 8] from a pixel of the result (column, row) to where it comes from in the image."""
    cos, sin = tf.cos(turn_rad(chance)), tf.sin(turn_rad(chance))
    shift = chance[:, 1:3] * SHIFT_KM / images.km_per_px
    middle = (images.px - 1) / 2
    # Rows run southwards: a turn to the left on the map takes its values from a turn to the right in the picture.
    a0, a1, b0, b1 = cos, -sin, sin, cos
    a2 = middle - a0 * middle - a1 * middle + shift[:, 0]
    b2 = middle - b0 * middle - b1 * middle + shift[:, 1]
    nothing = tf.zeros_like(a0)
    return tf.stack([a0, a1, a2, b0, b1, b2, nothing, nothing], axis=-1)


def turn_rad(chance: Any) -> Any:
    """Turns [b], to the left on the map."""
    return chance[:, 0] * np.float32(np.deg2rad(TURN_DEG))


def turned(vectors: Any, chance: Any) -> Any:
    """Vectors [b, …, 2] (east, north), turned to the left as the rows' images are."""
    rows = turn_rad(chance)[(...,) + (None,) * (len(vectors.shape) - 2)]
    cos, sin = tf.cos(rows), tf.sin(rows)
    east, north = tf.unstack(vectors, axis=-1)
    return tf.stack([cos * east - sin * north, sin * east + cos * north], axis=-1)


def turned_targets(features: dict[str, Any], start_km: Any, target_km: Any) -> Any:
    """Targets [b, l, 2] whose difference from where the forecast starts is turned as the images are."""
    return start_km + turned(target_km - start_km, features[CHANCE])
