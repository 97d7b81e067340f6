"""From a request's features to what networks eat: derived, of order one, and blind to whatever a mask calls missing.

Everything a network may know of the track is relative to the storm (past displacements and motion), except latitude,
longitude and season, which carry the climate. A missing value enters as 0 together with its mask.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.contracts.features import (
    DAY_OF_YEAR,
    FIX_AGES_H,
    IMAGES,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
)
from eyewall.models import sphere_tf
from eyewall.models.card import Normalisation

_AGES_H = np.array(FIX_AGES_H[:-1], np.float32)
_TYPICAL_SPEED_KMH = 20.0  # mean speed of a typhoon; only brings displacements to order one
_CHANGE_AGES_H = (12, 24)  # over which changes of intensity are taken
_DAYS_A_YEAR = 365.25


def past_displacements_km(features: dict[str, Any]) -> tuple[Any, Any]:
    """Past fixes relative to the base fix: ([b, f-1, 2] east, north km, 0 where missing; [b, f-1] mask)."""
    lat, lon = features[PAST_LAT_DEG], features[PAST_LON_DEG]
    valid = features[PAST_FIX_VALID][:, :-1] * features[PAST_FIX_VALID][:, -1:]
    # Where a fix is missing its place is taken by the base fix, so that no far-away (0, 0) enters the arithmetic.
    base_lat, base_lon = lat[:, -1:], lon[:, -1:]
    past_lat = tf.where(valid > 0, lat[:, :-1], base_lat)
    past_lon = tf.where(valid > 0, lon[:, :-1], base_lon)
    moved = sphere_tf.displacement_km(base_lat, base_lon, past_lat, past_lon)
    return moved * valid[..., None], valid


def _intensity(values: Any, valid: Any, mean: float, std: float) -> list[Any]:
    """Normalised value at the base time, its changes over `_CHANGE_AGES_H`, and the masks: each [b, 1]."""
    scaled = (values - mean) / std * valid
    parts = [scaled[:, -1:], valid[:, -1:]]
    for age_h in _CHANGE_AGES_H:
        past = FIX_AGES_H.index(age_h)
        both = valid[:, -1:] * valid[:, past : past + 1]
        parts += [(scaled[:, -1:] - scaled[:, past : past + 1]) * both, both]
    return parts


def track_vector(features: dict[str, Any], cliper_scaled: Any, normalisation: Normalisation) -> Any:
    """Features, and CLIPER's displacements [b, l, 2] in units of the lead's scale → [b, n], order one."""
    moved, valid = past_displacements_km(features)
    mean_velocity = moved / (_AGES_H * _TYPICAL_SPEED_KMH)[:, None]  # towards the past: minus the motion
    # What changed between successive six-hour legs: turning and acceleration, which a mean over 48 h hides.
    legs = moved[:, 1:] - moved[:, :-1]
    both = (valid[:, 1:] * valid[:, :-1])[..., None]
    leg_velocity = legs * both / (6.0 * _TYPICAL_SPEED_KMH)
    angle = features[DAY_OF_YEAR][:, None] * (2 * np.pi / _DAYS_A_YEAR)
    rows = tf.shape(valid)[0]
    parts = [
        tf.reshape(mean_velocity, (rows, 2 * len(_AGES_H))),
        tf.reshape(leg_velocity, (rows, 2 * (len(_AGES_H) - 1))),
        valid,
        (features[PAST_LAT_DEG][:, -1:] - normalisation.lat_origin_deg) / 10.0,
        (tf.math.floormod(features[PAST_LON_DEG][:, -1:] - normalisation.lon_origin_deg + 180.0, 360.0) - 180.0) / 15.0,
        tf.sin(angle),
        tf.cos(angle),
        tf.reshape(cliper_scaled, (rows, int(np.prod(cliper_scaled.shape[1:])))),
    ]
    n = normalisation
    parts += _intensity(features[PAST_WIND_KT], features[PAST_WIND_VALID], n.wind_mean_kt, n.wind_std_kt)
    parts += _intensity(
        features[PAST_PRESSURE_HPA], features[PAST_PRESSURE_VALID], n.pressure_mean_hpa, n.pressure_std_hpa
    )
    return tf.concat(parts, axis=-1)


def image_planes(features: dict[str, Any], normalisation: Normalisation) -> Any:
    """Images [b, k, y, x, 1] → [b, k, y, x, 2]: normalised value (0 where a pixel is missing), and the pixel mask."""
    pixels = features[IMAGES]
    known = tf.cast(pixels > 0, tf.float32)
    scaled = (pixels - normalisation.image_mean) / normalisation.image_std * known
    return tf.concat([scaled, known], axis=-1)
