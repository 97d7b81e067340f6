"""`eyewall.besttrack.baselines.Cliper` inside a TensorFlow graph: the forecast that every model corrects.

The formulas are the numpy ones (see there); a test compares both to within 0.1 km. Inputs and outputs are float32 as
in a request; the regression itself runs in float64, because its 55 terms partly cancel and it costs next to nothing.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.besttrack.baselines import PREDICTORS, Cliper
from eyewall.contracts.features import (
    DAY_OF_YEAR,
    FIX_AGES_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    REQUIRED_FIX_AGES_H,
)
from eyewall.models import sphere_tf

_MARGIN = 0.1  # of a predictor's range: a season may well be a little further north than all before it


class CliperGraph:
    """CLIPER's displacement of a batch; nothing in it is trained."""

    def __init__(self, values: dict[str, Any]) -> None:
        """``values`` as ``Cliper.to_json`` gives them. Raises ContractError when they are not of this version."""
        cliper = Cliper.from_json(values)
        self.values = values
        self._form = cliper.form
        self._coefficients = cliper.coefficients  # [l, t, 2]
        self._least, self._greatest = cliper.ranges  # [l, 9] each
        self._lon_origin_deg = cliper.lon_origin_deg
        self._scales = np.array(values["predictor_scales"], np.float64)
        self._km_per_deg = float(values["km_per_deg"])
        self._min_cos_lat = float(values["min_cos_lat"])
        self._year_days = float(values["year_days"])

    def __call__(self, features: dict[str, Any]) -> Any:
        """Features [b, …] of contracts.features → displacement [b, l, 2], km east and north, float32."""
        wide = {name: tf.cast(features[name], tf.float64) for name in (*_FIXES, *_BASE)}
        lat, lon = wide[PAST_LAT_DEG][:, -1:], wide[PAST_LON_DEG][:, -1:]
        cos_lat = tf.maximum(tf.cos(lat * (np.pi / 180)), self._min_cos_lat)
        values = self._predictors(wide, lat, lon, cos_lat)[:, None, :]
        clipped = tf.minimum(tf.maximum(values, self._least), self._greatest)  # [b, l, 9]: a lead may be unclipped
        flat_km = tf.einsum("blt,ltc->blc", self._terms(clipped / self._scales), self._coefficients)
        ahead_lat = lat + flat_km[:, :, 1] / self._km_per_deg
        ahead_lon = lon + flat_km[:, :, 0] / (self._km_per_deg * cos_lat)
        return tf.cast(sphere_tf.displacement_km(lat, lon, ahead_lat, ahead_lon), tf.float32)

    def inside(self, features: dict[str, Any]) -> Any:
        """Features → [b], 1 where every predictor is known and about within its range of the fit, else 0.

        The last tenth of a range may be added on either side; sampled cases of the fit's own seasons are all inside.
        """
        wide = {name: tf.cast(features[name], tf.float64) for name in (*_FIXES, *_BASE)}
        lat, lon = wide[PAST_LAT_DEG][:, -1:], wide[PAST_LON_DEG][:, -1:]
        cos_lat = tf.maximum(tf.cos(lat * (np.pi / 180)), self._min_cos_lat)
        values = self._predictors(wide, lat, lon, cos_lat)
        least, greatest = self._least.min(axis=0), self._greatest.max(axis=0)
        margin = np.where(np.isfinite(greatest), _MARGIN * (greatest - least), 0.0)
        within = tf.reduce_all((values >= least - margin) & (values <= greatest + margin), axis=-1)
        known = [wide[PAST_FIX_VALID][:, FIX_AGES_H.index(age)] > 0 for age in (0, *REQUIRED_FIX_AGES_H)]
        return tf.cast(tf.reduce_all(tf.stack([within, *known]), axis=0), tf.float32)

    def _predictors(self, wide: dict[str, Any], lat: Any, lon: Any, cos_lat: Any) -> Any:
        """[b, 9], in the order of PREDICTORS, not clipped."""
        wind = (wide[PAST_WIND_KT][:, -1:] - 60.0) * wide[PAST_WIND_VALID][:, -1:]
        angle = wide[DAY_OF_YEAR][:, None] * (2 * np.pi / self._year_days)
        motion = [self._motion_kmh(wide, lat, lon, cos_lat, hours) for hours in (12, 24)]
        east_of_origin = tf.math.floormod(lon - self._lon_origin_deg + 180.0, 360.0) - 180.0
        columns = [lat - 20.0, east_of_origin, *motion, wind, tf.sin(angle), tf.cos(angle)]
        return tf.ensure_shape(tf.concat(columns, axis=1), (None, len(PREDICTORS)))

    def _motion_kmh(self, wide: dict[str, Any], lat: Any, lon: Any, cos_lat: Any, hours: int) -> Any:
        """Flat motion [b, 2] over the last ``hours``, over fewer where that fix is missing, 0 without any."""
        motion = tf.zeros_like(tf.concat([lat, lat], axis=1))
        for age in (6, 12, 24):
            if age <= hours:
                at = slice(FIX_AGES_H.index(age), FIX_AGES_H.index(age) + 1)
                turn = tf.math.floormod(lon - wide[PAST_LON_DEG][:, at] + 180.0, 360.0) - 180.0
                north = self._km_per_deg * (lat - wide[PAST_LAT_DEG][:, at])
                since = tf.concat([self._km_per_deg * cos_lat * turn, north], axis=1) / age
                motion = tf.where(wide[PAST_FIX_VALID][:, at] > 0, since, motion)
        return motion

    def _terms(self, scaled: Any) -> Any:
        """[b, l, 9] → [b, l, t]: 1, then the predictors, then their products, as far as the form goes."""
        parts = [tf.ones_like(scaled[..., :1])]
        if self._form != "mean":
            parts.append(scaled)
        if self._form == "quadratic":
            i, j = np.triu_indices(len(PREDICTORS))
            parts.append(tf.gather(scaled, i, axis=-1) * tf.gather(scaled, j, axis=-1))
        return tf.concat(parts, axis=-1)


_FIXES = (PAST_LAT_DEG, PAST_LON_DEG, PAST_FIX_VALID)
_BASE = (PAST_WIND_KT, PAST_WIND_VALID, DAY_OF_YEAR)
