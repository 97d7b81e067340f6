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
    LEADS_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
)
from eyewall.models import coast, sphere_tf
from eyewall.models.card import Normalisation

_AGES_H = np.array(FIX_AGES_H[:-1], np.float32)
_TYPICAL_SPEED_KMH = 20.0  # mean speed of a typhoon; only brings displacements to order one
_CHANGE_AGES_H = (12, 24)  # over which changes of intensity are taken
_DAYS_A_YEAR = 365.25
_SOLSTICE_DAY = 10.0  # before the first day of the year
_TILT_DEG = 23.44


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


def fix_sequence(features: dict[str, Any], normalisation: Normalisation) -> tuple[Any, Any]:
    """Features → the fixes one by one, oldest first, [b, f, 10] of order one, and their masks [b, f].

    Of each: where it lies from the base fix, the motion since the fix before, wind and pressure with their masks, its
    latitude and its age.
    """
    moved, _ = past_displacements_km(features)
    valid = features[PAST_FIX_VALID]
    place = tf.concat([moved, tf.zeros_like(moved[:, :1])], axis=1)
    both = (valid[:, 1:] * valid[:, :-1])[..., None]
    leg = (place[:, 1:] - place[:, :-1]) * both / (6.0 * _TYPICAL_SPEED_KMH)
    n = normalisation
    wind, pressure = features[PAST_WIND_VALID], features[PAST_PRESSURE_VALID]
    columns = [
        (features[PAST_WIND_KT] - n.wind_mean_kt) / n.wind_std_kt * wind,
        wind,
        (features[PAST_PRESSURE_HPA] - n.pressure_mean_hpa) / n.pressure_std_hpa * pressure,
        pressure,
        (features[PAST_LAT_DEG] - n.lat_origin_deg) / 10.0 * valid,
        tf.ones_like(valid) * np.array(FIX_AGES_H, np.float32) / 48.0,
    ]
    parts = [place / 500.0, tf.pad(leg, ((0, 0), (1, 0), (0, 0))), tf.stack(columns, axis=-1)]
    return tf.concat(parts, axis=-1), valid


def heading(cliper_km: Any) -> Any:
    """CLIPER's displacements [b, l, 2] km → the direction of the first 12 h as a unit vector [b, 2], east and north."""
    ahead = cliper_km[:, LEADS_H.index(12)]
    return ahead / tf.sqrt(tf.reduce_sum(tf.square(ahead), axis=-1, keepdims=True) + 1.0)


def outlook_vector(features: dict[str, Any], cliper_km: Any) -> Any:
    """Features, and CLIPER's displacements [b, l, 2] km → [b, 30], order one: the coast, the sun, speed and turning."""
    lat, lon = features[PAST_LAT_DEG][:, -1:], features[PAST_LON_DEG][:, -1:]
    return tf.concat([*_coast(lat, lon, cliper_km), *_sun(lat, features[DAY_OF_YEAR]), *_turning(features)], axis=-1)


def _coast(lat: Any, lon: Any, cliper_km: Any) -> list[Any]:
    """Distance to the coast here and where CLIPER will be, far and near; and its slope here: [b, 6], [b, 6], [b, 2]."""
    ahead_lat, ahead_lon = sphere_tf.destination(lat, lon, cliper_km[..., 0], cliper_km[..., 1])
    km = coast.distance_km(tf.concat([lat, ahead_lat], axis=1), tf.concat([lon, ahead_lon], axis=1))
    slope = [
        coast.distance_km(lat + north, lon + east) - coast.distance_km(lat - north, lon - east)
        for north, east in ((1.0, 0.0), (0.0, 1.0))
    ]
    return [tf.clip_by_value(km / 300.0, -2.0, 3.0), tf.tanh(km / 100.0), tf.concat(slope, axis=1) / 220.0]


def _sun(lat: Any, day_of_year: Any) -> list[Any]:
    """Latitude from the sun's, the second harmonic of the year and the hour of the day: [b, 1] each."""
    year = day_of_year[:, None] * (2 * np.pi / _DAYS_A_YEAR)
    hour = tf.math.floormod(day_of_year[:, None], 1.0) * (2 * np.pi)
    declination = -_TILT_DEG * tf.cos((day_of_year[:, None] + _SOLSTICE_DAY) * (2 * np.pi / _DAYS_A_YEAR))
    return [(lat - declination) / 15.0, tf.sin(2 * year), tf.cos(2 * year), tf.sin(hour), tf.cos(hour)]


def _turning(features: dict[str, Any]) -> list[Any]:
    """Speed and heading over the last 6 h [b, 3]; turn and steadiness of the last 12 h against those before [b, 2]."""
    moved, valid = past_displacements_km(features)
    at = {age: FIX_AGES_H.index(age) for age in (6, 12, 24)}

    def leg(newer: int, older: int) -> Any:
        """Motion between two fixes, km/h east and north; 0 where one is missing."""
        both = valid[:, at[older], None] * (valid[:, at[newer], None] if newer else 1.0)
        since = moved[:, at[newer]] if newer else 0.0
        return (since - moved[:, at[older]]) * both / float(older - newer)

    last, late, early = leg(0, 6), leg(0, 12), leg(12, 24)
    speed = tf.sqrt(tf.reduce_sum(tf.square(last), axis=-1, keepdims=True) + 1e-6)
    turn = late[:, 0] * early[:, 1] - late[:, 1] * early[:, 0]
    steady = tf.reduce_sum(late * early, axis=-1)
    return [speed / _TYPICAL_SPEED_KMH, last / speed, tf.stack([turn, steady], axis=-1) / 200.0]


def image_planes(features: dict[str, Any], normalisation: Normalisation) -> Any:
    """Images [b, k, y, x, 1] → [b, k, y, x, 2]: normalised value (0 where a pixel is missing), and the pixel mask."""
    pixels = features[IMAGES]
    known = tf.cast(pixels > 0, tf.float32)
    scaled = (pixels - normalisation.image_mean) / normalisation.image_std * known
    return tf.concat([scaled, known], axis=-1)
