"""The model that is trained and served: CLIPER, plus a network's correction times the lead's scale and shrinkage.

A fusion may also stand on a trained track-only model, its ``base``: then the network corrects the base's answer.
"""

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
from eyewall.models.inputs import fix_sequence, heading, image_planes, outlook_vector, track_vector
from eyewall.models.track import Learned


class Forecaster(tf_keras.Model):  # type: ignore[misc]
    """Track forecast by one of the networks: ``displacement = start + shrinkage · scale · network(inputs)``.

    Where it starts is CLIPER, or the answer of the ``base``, a whole track-only forecaster that is not trained any
    more; CLIPER, scales and normalisation are the base's then, and without an image the answer is the base's, exactly.
    The networks end in a layer of zeros, so an untrained forecaster is where it starts; with a shrinkage of 0 it is
    that at that lead whatever was learned. It is CLIPER where inputs are missing or unlike all that CLIPER was fitted
    on, as nobody knows what a network makes of those; `OUT_SOURCE` says which answer was given.
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
        base: "Forecaster | None" = None,
    ) -> None:
        """``network`` as `eyewall.models.registry` makes it for ``kind``; ``scale_km`` and ``shrinkage`` per lead.

        Without a ``spread`` the answers have no radii; with a ``base`` it is of those that saw an image. CLIPER,
        scales and normalisation of wind, pressure and position have to be the base's.
        """
        super().__init__(
            name=kind, dtype="float32"
        )  # under mixed precision too: degrees and kilometres are no bfloat16
        self.kind = kind
        self._base = (lambda: base) if base is not None else None  # hidden from Keras: no weights of this model
        self.network = network
        self._cliper = CliperGraph(cliper)
        self._scale_km = np.array(scale_km, np.float32)[:, None]
        self._shrinkage = np.array(shrinkage, np.float32)[:, None]
        self._normalisation = normalisation
        self.spread = spread

    @property
    def base(self) -> "Forecaster | None":
        """The track-only forecaster that this one corrects; none where it corrects CLIPER."""
        return self._base() if self._base is not None else None

    @property
    def cliper_json(self) -> dict[str, Any]:
        """Its CLIPER, as ``Cliper.to_json`` gives it."""
        return self._cliper.values

    def build_for(self, images: ImageSpec) -> None:
        """Create the weights, by a pass of one all-zero sample."""
        self({name: tf.zeros((1, *shape)) for name, shape in input_shapes(images).items()})

    def call(self, features: dict[str, Any]) -> dict[str, Any]:
        """Features [b, …] of contracts.features → displacement and CLIPER displacement, [b, l, 2] km each."""
        start_km, inputs = self.prepare(features)
        correction = Learned.of(self.network(*inputs)).correction * self._cliper.inside(features)[:, None, None]
        return {
            OUT_DISPLACEMENT_KM: self.corrected_km(start_km, correction),
            OUT_CLIPER_DISPLACEMENT_KM: start_km if self._base is None else self._cliper(features),
        }

    def prepare(self, features: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Features → where the forecast starts [b, l, 2] km, and the network's inputs: what nothing is trained in."""
        cliper_km = self._cliper(features)
        if self.kind == "track":
            return cliper_km, self._track_inputs(features, cliper_km)
        planes = image_planes(features, self._normalisation)
        of_image = (heading(cliper_km), planes, features[IMAGE_AGE_H], features[IMAGE_VALID])
        if self.base is not None:
            return self.base(features)[OUT_DISPLACEMENT_KM], of_image
        return cliper_km, of_image if self.kind == "image" else self._track_inputs(features, cliper_km) + of_image

    def _track_inputs(self, features: dict[str, Any], cliper_km: Any) -> tuple[Any, ...]:
        vector = track_vector(features, cliper_km / self._scale_km, self._normalisation)
        inputs = (tf.concat([vector, outlook_vector(features, cliper_km)], axis=-1),)
        ensemble = getattr(self.network, "track", self.network)
        if getattr(ensemble, "reads_fixes", False):
            return inputs + fix_sequence(features, self._normalisation)
        return inputs

    def corrected_km(self, start_km: Any, correction: Any) -> Any:
        """Where it starts and the network's correction, in units of the lead's scale → displacement [b, l, 2] km."""
        return start_km + self._shrinkage * self._scale_km * correction

    def forecast(self, features: dict[str, Any]) -> dict[str, Any]:
        """Every output of the serving signature."""
        start_km, inputs = self.prepare(features)
        learned = Learned.of(self.network(*inputs))
        return self.answer(features, start_km, learned.correction, learned.log_difficulty)

    def answer(
        self, features: dict[str, Any], start_km: Any, correction: Any, log_difficulty: Any | None = None
    ) -> dict[str, Any]:
        """`forecast`'s outputs from where it starts and what the network said, made elsewhere."""
        inside = self._cliper.inside(features)
        lat, lon = features[PAST_LAT_DEG][:, -1:], features[PAST_LON_DEG][:, -1:]
        moved = self.corrected_km(start_km, correction * inside[:, None, None])
        lat_deg, lon_deg = sphere_tf.destination(lat, lon, moved[..., 0], moved[..., 1])
        of_base = self.base.forecast(features) if self.base is not None else None
        source = self._source(features, inside, of_base)
        return {
            OUT_DISPLACEMENT_KM: moved,
            OUT_CLIPER_DISPLACEMENT_KM: start_km if of_base is None else of_base[OUT_CLIPER_DISPLACEMENT_KM],
            OUT_LAT_DEG: lat_deg,
            OUT_LON_DEG: lon_deg,
            OUT_SOURCE: source,
            **self._radii(moved, inside, log_difficulty, source, of_base),
        }

    def _source(self, features: dict[str, Any], inside: Any, of_base: dict[str, Any] | None) -> Any:
        """Index of SOURCES, float [b]."""
        blind = tf.zeros_like(inside) if of_base is None else of_base[OUT_SOURCE]
        if not self._shrinkage.any():
            return blind
        if self.kind == "track":
            return inside * SOURCES.index("track")
        if of_base is None and self.kind == "fusion":
            blind = tf.ones_like(inside) * SOURCES.index("track")
        seen = tf.reduce_max(features[IMAGE_VALID], axis=-1)
        return inside * tf.where(seen > 0, float(SOURCES.index(self.kind)), blind)

    def _radii(
        self, moved: Any, inside: Any, log_difficulty: Any | None, source: Any, of_base: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Radii [b, l] km; none without a `Spread`. The base's, but where an image was seen and a spread is known."""
        blind = {name: of_base[name] for name in _RADII if name in of_base} if of_base is not None else {}
        if self.spread is None or (of_base is not None and not blind):
            return blind
        ones = tf.ones_like(moved[..., 0])
        expected_km = self._scale_km[:, 0] * (ones if log_difficulty is None else tf.exp(log_difficulty))
        if of_base is not None:
            # The base has expected more or less of the case already: its own circle says how much.
            expected_km = of_base[OUT_RADIUS_68_KM] / np.array(self.base.spread.factor_68, np.float32)  # type: ignore[union-attr]
        found = {}
        for name, factor, fixed_km in (
            (OUT_RADIUS_68_KM, self.spread.factor_68, self.spread.cliper_68_km),
            (OUT_RADIUS_95_KM, self.spread.factor_95, self.spread.cliper_95_km),
        ):
            learned_km, fixed = expected_km * np.array(factor, np.float32), ones * np.array(fixed_km, np.float32)
            found[name] = tf.where(inside[:, None] > 0, learned_km, fixed)
            if name in blind:
                saw = source[:, None] == float(SOURCES.index(self.kind))
                found[name] = tf.where(saw, found[name], blind[name])
        return found


_RADII = (OUT_RADIUS_68_KM, OUT_RADIUS_95_KM)
