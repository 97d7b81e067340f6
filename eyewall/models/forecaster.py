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
    PAST_LAT_DEG,
    PAST_LON_DEG,
    ImageSpec,
    input_shapes,
)
from eyewall.models import sphere_tf
from eyewall.models.card import Kind, Normalisation
from eyewall.models.cliper import CliperGraph
from eyewall.models.inputs import image_planes, track_vector


class Forecaster(tf_keras.Model):  # type: ignore[misc]
    """Track forecast by one of the networks: ``displacement = CLIPER + shrinkage · scale · network(inputs)``.

    The networks end in a layer of zeros, so an untrained forecaster is CLIPER; with a shrinkage of 0 it is CLIPER at
    that lead whatever was learned.
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
    ) -> None:
        """``network`` as `eyewall.models.registry` makes it for ``kind``; ``scale_km`` and ``shrinkage`` per lead."""
        super().__init__(name=kind)
        self.kind = kind
        self.network = network
        self._cliper = CliperGraph(cliper)
        self._scale_km = np.array(scale_km, np.float32)[:, None]
        self._shrinkage = np.array(shrinkage, np.float32)[:, None]
        self._normalisation = normalisation

    def build_for(self, images: ImageSpec) -> None:
        """Create the weights, by a pass of one all-zero sample."""
        self({name: tf.zeros((1, *shape)) for name, shape in input_shapes(images).items()})

    def call(self, features: dict[str, Any]) -> dict[str, Any]:
        """Features [b, …] of contracts.features → displacement and CLIPER displacement, [b, l, 2] km each."""
        cliper_km, inputs = self.prepare(features)
        return {
            OUT_DISPLACEMENT_KM: self.corrected_km(cliper_km, self.network(*inputs)),
            OUT_CLIPER_DISPLACEMENT_KM: cliper_km,
        }

    def prepare(self, features: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Features → CLIPER's displacement [b, l, 2] km, and the network's inputs: all that nothing is trained in."""
        cliper_km = self._cliper(features)
        track = (track_vector(features, cliper_km / self._scale_km, self._normalisation),)
        if self.kind == "track":
            return cliper_km, track
        seen = (image_planes(features, self._normalisation), features[IMAGE_AGE_H], features[IMAGE_VALID])
        return cliper_km, seen if self.kind == "image" else track + seen

    def corrected_km(self, cliper_km: Any, correction: Any) -> Any:
        """CLIPER's displacement and the network's correction, in units of the lead's scale → displacement [b, l, 2]."""
        return cliper_km + self._shrinkage * self._scale_km * correction

    def forecast(self, features: dict[str, Any]) -> dict[str, Any]:
        """Every output of the serving signature: `call`'s, and the positions that it leads to."""
        out = self(features)
        lat, lon = features[PAST_LAT_DEG][:, -1:], features[PAST_LON_DEG][:, -1:]
        moved = out[OUT_DISPLACEMENT_KM]
        lat_deg, lon_deg = sphere_tf.destination(lat, lon, moved[..., 0], moved[..., 1])
        return {**out, OUT_LAT_DEG: lat_deg, OUT_LON_DEG: lon_deg}
