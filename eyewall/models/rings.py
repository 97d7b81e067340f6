"""A wide scene in a few dozen numbers: how much high cloud lies around the storm in each ring, and on which side.

What steers a storm lies far from its eye: the clouds of a trough, the clear air of the subtropical ridge, a
neighbour. From each ring about the centre the mean cloudiness is taken and its first harmonic, a vector towards the
cloudier side. A correction is the sum of four vectors a ring, each times a learned number: that vector, the same
turned by 90°, and the mean along and across CLIPER's heading. Turn the scene and the heading, and the correction
turns with them: what augmentation by rotated pictures and targets would have to teach is built in. With some dozens
of storms that have frames, forty numbers can be learned, a convolution network's thousands cannot
(docs/architecture/11-images.md).
"""

import itertools
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import LEADS_H, ImageSpec

#: Radii, km: from the rain bands outwards. The nearest rings told nothing that the track does not (11-images.md).
EDGES_KM: Final = (700.0, 1000.0, 1450.0)
#: What the means and the vectors of such rings are like in the mean (grey-level frames 1998-2006).
_MEAN, _STD, _VECTOR = 0.35, 0.16, 0.17
#: Cloud is counted from the mean of all pixels to half a standard deviation beyond it.
_PER_STD = 2.0
#: Of the squares of the weights in the loss: half of a ridge of 30 on 370 cases, about as many as have frames. AdamW's
#: own decay weakens all weights alike, however little the data say of them.
PENALTY: Final = 30 / (2 * 370)


class RingsNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Correction from the rings of a wide scene; none where there is no image."""

    def __init__(self, images: ImageSpec, edges_km: tuple[float, ...] = EDGES_KM, **kwargs: Any) -> None:
        """Of pictures as ``images`` says. Raises InputError when they are too small for the rings."""
        super().__init__(**kwargs)
        self._masks, self._east, self._north = ring_masks(images.px, images.km_per_px, edges_km)
        # On printed pictures what is cold is bright; a brightness temperature is low there.
        self._sign = 1.0 if images.quantity == "grey_level" else -1.0

    def build(self, shape: Any) -> None:
        """Weights [p, l], all zero at first: an untrained network corrects nothing."""
        self.kernel = self.add_weight(name="kernel", shape=(4 * len(self._masks), len(LEADS_H)), initializer="zeros")
        super().build(shape)

    def call(self, heading: Any, planes: Any, age_h: Any, valid: Any) -> Any:
        """Heading [b, 2], planes [b, k, y, x, 2], ages and masks [b, k] → correction [b, l, 2]; ages do not matter."""
        vectors = self.vectors(heading, planes, valid)
        return tf.einsum("bpc,pl->blc", vectors, self.kernel) * tf.reduce_max(valid, axis=-1)[:, None, None]

    def penalty(self) -> Any:
        """What is added to the mean loss of samples and leads, []."""
        return PENALTY * tf.reduce_sum(tf.square(self.kernel)) / len(LEADS_H)

    def vectors(self, heading: Any, planes: Any, valid: Any) -> Any:
        """Heading [b, 2], planes [b, k, y, x, 2], masks [b, k] → what the weights are factors of, [b, p, 2]."""
        known = planes[..., 1] * valid[:, :, None, None]
        cloud = tf.clip_by_value(self._sign * _PER_STD * planes[..., 0], 0.0, 1.0) * known
        frames = tf.reduce_sum(known, axis=1)
        cloud = tf.reduce_sum(cloud, axis=1) / tf.maximum(frames, 1.0)  # [b, y, x]: the mean of the frames
        return self._of_rings(cloud, tf.cast(frames > 0, tf.float32), heading)

    def _of_rings(self, cloud: Any, known: Any, heading: Any) -> Any:
        """Cloud and what is known of it [b, y, x], heading [b, 2] → [b, p, 2], order one."""
        pixels = tf.maximum(tf.einsum("byx,ryx->br", known, self._masks), 1.0)
        mean = tf.einsum("byx,ryx->br", cloud, self._masks) / pixels
        # Relative to the ring's own mean, so that a ring that is half unknown does not lean towards its known side.
        over = (cloud[:, None] - mean[..., None, None]) * known[:, None] * self._masks
        side = tf.stack([tf.einsum("bryx,yx->br", over, part) for part in (self._east, self._north)], axis=-1)
        side /= pixels[..., None] * _VECTOR
        along = ((mean - _MEAN) / _STD)[..., None] * heading[:, None]
        return tf.concat([side, turned(side), along, turned(along)], axis=1)


def turned(vectors: Any) -> Any:
    """[…, 2] (east, north), a quarter of a turn to the left."""
    return tf.stack([-vectors[..., 1], vectors[..., 0]], axis=-1)


def ring_masks(px: int, km_per_px: float, edges_km: tuple[float, ...]) -> tuple[Any, Any, Any]:
    """Which pixels lie in each ring [r, y, x], and the unit vector from the centre to each pixel, east and north.

    Raises InputError when the picture does not hold the last ring.
    """
    reach_km = px / 2 * km_per_px
    if reach_km < edges_km[-1]:
        raise InputError(
            f"pictures of {px} px of {km_per_px:g} km reach {reach_km:g} km and the rings {edges_km[-1]:g} km:"
            " make records of --px 32 --km-per-px 100, or take another --encoder"
        )
    offset_km = (np.arange(px) - px / 2 + 0.5) * km_per_px
    east, north = np.meshgrid(offset_km, -offset_km)
    radius = np.maximum(np.hypot(east, north), 1e-3)
    inside = [(radius >= inner) & (radius < outer) for inner, outer in itertools.pairwise(edges_km)]
    return np.stack(inside).astype(np.float32), (east / radius).astype(np.float32), (north / radius).astype(np.float32)
