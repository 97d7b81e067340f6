"""The model that is trained and served: CLIPER, plus a network's correction times the lead's scale and shrinkage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.contracts.features import (
    IMAGE_AGE_H,
    IMAGE_VALID,
    LEADS_H,
    OUT_CLIPER_DISPLACEMENT_KM,
    OUT_DISPLACEMENT_KM,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    OUT_SOURCE,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    SOURCES,
    ImageSpec,
    input_shapes,
)
from eyewall.models import sphere_tf
from eyewall.models.card import Kind, Normalisation, Spread
from eyewall.models.cliper import CliperGraph
from eyewall.models.inputs import image_planes, outlook_vector, track_vector
from eyewall.models.track import Learned


class Forecaster(tf_keras.Model):  # type: ignore[misc]
    """Track forecast by one of the networks: ``displacement = CLIPER + shrinkage · scale · network(inputs)``.

    The networks end in a layer of zeros, so an untrained forecaster is CLIPER; with a shrinkage of 0 it is CLIPER at
    that lead whatever was learned. It is CLIPER too where inputs are missing or unlike all that CLIPER was fitted on,
    as nobody knows what a network makes of those; `OUT_SOURCE` says which answer was given.
    """

    def __init__(
        self,
        kind: Kind,
        network: Any,
        *,
        cliper: dict[str, Any],
        scale_km: Sequence[float],
        normalisation: Normalisation,
        shrinkage: Sequence[float] = (1.0,) * len(LEADS_H),
        spread: Spread | None = None,
    ) -> None:
        """``network`` as `eyewall.models.registry` makes it for ``kind``; ``scale_km`` and ``shrinkage`` per lead.

        Without a ``spread`` the answers have no radii.
        """
        super().__init__(name=kind)
        self.kind = kind
        self.network = network
        self._cliper = CliperGraph(cliper)
        self._scale_km = np.array(scale_km, np.float32)[:, None]
        self._shrinkage = np.array(shrinkage, np.float32)[:, None]
        self._normalisation = normalisation
        self.spread = spread

    def build_for(self, images: ImageSpec) -> None:
        """Create the weights, by a pass of one all-zero sample."""
        self({name: tf.zeros((1, *shape)) for name, shape in input_shapes(images).items()})

    def call(self, features: dict[str, Any]) -> dict[str, Any]:
        """Features [b, …] of contracts.features → displacement and CLIPER displacement, [b, l, 2] km each."""
        cliper_km, inputs = self.prepare(features)
        correction = Learned.of(self.network(*inputs)).correction * self._cliper.inside(features)[:, None, None]
        return {
            OUT_DISPLACEMENT_KM: self.corrected_km(cliper_km, correction),
            OUT_CLIPER_DISPLACEMENT_KM: cliper_km,
        }

    def prepare(self, features: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Features → CLIPER's displacement [b, l, 2] km, and the network's inputs: all that nothing is trained in."""
        cliper_km = self._cliper(features)
        track = (track_vector(features, cliper_km / self._scale_km, self._normalisation),)
        if self.kind == "track":
            return cliper_km, (tf.concat([*track, outlook_vector(features, cliper_km)], axis=-1),)
        seen = (image_planes(features, self._normalisation), features[IMAGE_AGE_H], features[IMAGE_VALID])
        return cliper_km, seen if self.kind == "image" else track + seen

    def corrected_km(self, cliper_km: Any, correction: Any) -> Any:
        """CLIPER's displacement and the network's correction, in units of the lead's scale → displacement [b, l, 2]."""
        return cliper_km + self._shrinkage * self._scale_km * correction

    def forecast(self, features: dict[str, Any]) -> dict[str, Any]:
        """Every output of the serving signature."""
        cliper_km, inputs = self.prepare(features)
        learned = Learned.of(self.network(*inputs))
        return self.answer(features, cliper_km, learned.correction, learned.log_difficulty)

    def answer(
        self, features: dict[str, Any], cliper_km: Any, correction: Any, log_difficulty: Any | None = None
    ) -> dict[str, Any]:
        """`forecast`'s outputs from CLIPER's displacement and what the network said, made elsewhere."""
        inside = self._cliper.inside(features)
        lat, lon = features[PAST_LAT_DEG][:, -1:], features[PAST_LON_DEG][:, -1:]
        moved = self.corrected_km(cliper_km, correction * inside[:, None, None])
        lat_deg, lon_deg = sphere_tf.destination(lat, lon, moved[..., 0], moved[..., 1])
        return {
            OUT_DISPLACEMENT_KM: moved,
            OUT_CLIPER_DISPLACEMENT_KM: cliper_km,
            OUT_LAT_DEG: lat_deg,
            OUT_LON_DEG: lon_deg,
            OUT_SOURCE: self._source(features, inside),
            **self._radii(cliper_km, inside, log_difficulty),
        }

    def _source(self, features: dict[str, Any], inside: Any) -> Any:
        """Index of SOURCES, float [b]."""
        if not self._shrinkage.any():
            return tf.zeros_like(inside)
        if self.kind == "track":
            return inside * SOURCES.index("track")
        seen = tf.reduce_max(features[IMAGE_VALID], axis=-1)
        blind = SOURCES.index("track" if self.kind == "fusion" else "cliper")
        return inside * tf.where(seen > 0, float(SOURCES.index(self.kind)), float(blind))

    def _radii(self, cliper_km: Any, inside: Any, log_difficulty: Any | None) -> dict[str, Any]:
        """Radii [b, l] km; none without a `Spread`."""
        if self.spread is None:
            return {}
        ones = tf.ones_like(cliper_km[..., 0])
        expected = self._scale_km[:, 0] * (ones if log_difficulty is None else tf.exp(log_difficulty))
        found = {}
        for name, factor, fixed_km in (
            (OUT_RADIUS_68_KM, self.spread.factor_68, self.spread.cliper_68_km),
            (OUT_RADIUS_95_KM, self.spread.factor_95, self.spread.cliper_95_km),
        ):
            learned_km, fixed = expected * np.array(factor, np.float32), ones * np.array(fixed_km, np.float32)
            found[name] = tf.where(inside[:, None] > 0, learned_km, fixed)
        return found
