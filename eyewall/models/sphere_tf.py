"""`eyewall.besttrack.sphere` inside a TensorFlow graph: the same convention and radius, of the inputs' float type.

Haversine and the azimuthal-equidistant forms keep about a metre in float32 away from the poles, where storms are;
a test compares every function with its numpy twin.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.besttrack.sphere import EARTH_RADIUS_KM

_RADIANS = float(np.pi / 180.0)


def displacement_km(lat1_deg: Any, lon1_deg: Any, lat2_deg: Any, lon2_deg: Any) -> Any:
    """Displacement of point 2 from point 1, km: [..., 2] of (east, north) for [...] degrees; inputs broadcast."""
    lat1, lat2 = lat1_deg * _RADIANS, lat2_deg * _RADIANS
    # The difference is wrapped in degrees first: 359.9 to 0.1 is 0.2 degrees, and float32 keeps all its digits.
    dlon_deg = lon2_deg - lon1_deg
    dlon = (dlon_deg - 360.0 * tf.round(dlon_deg / 360.0)) * _RADIANS
    sin_half_lat, sin_half_lon = tf.sin((lat2 - lat1) / 2), tf.sin(dlon / 2)
    h = tf.square(sin_half_lat) + tf.cos(lat1) * tf.cos(lat2) * tf.square(sin_half_lon)
    distance = 2 * EARTH_RADIUS_KM * tf.asin(tf.sqrt(tf.clip_by_value(h, 0.0, 1.0)))
    # cos(lat1) sin(lat2) - sin(lat1) cos(lat2) cos(dlon), rewritten without the cancellation of two near-equal terms.
    x = tf.sin(lat2 - lat1) + 2 * tf.sin(lat1) * tf.cos(lat2) * tf.square(sin_half_lon)
    y = tf.sin(dlon) * tf.cos(lat2)
    bearing = tf.atan2(y, x)
    return tf.stack([distance * tf.sin(bearing), distance * tf.cos(bearing)], axis=-1)


def destination(lat_deg: Any, lon_deg: Any, east_km: Any, north_km: Any) -> tuple[Any, Any]:
    """The point at a displacement from (lat, lon): latitude and longitude (0–360), degrees; inputs broadcast."""
    lat = lat_deg * _RADIANS
    angle = tf.sqrt(tf.square(east_km) + tf.square(north_km)) / EARTH_RADIUS_KM
    bearing = tf.atan2(east_km, north_km)
    sin_lat2 = tf.sin(lat) * tf.cos(angle) + tf.cos(lat) * tf.sin(angle) * tf.cos(bearing)
    lat2 = tf.asin(tf.clip_by_value(sin_lat2, -1.0, 1.0))
    dlon = tf.atan2(tf.sin(bearing) * tf.sin(angle) * tf.cos(lat), tf.cos(angle) - tf.sin(lat) * sin_lat2)
    lon2_deg = tf.math.floormod(lon_deg + dlon / _RADIANS, 360.0)
    # A tiny negative sum rounds up to 360 itself in float32; the contract is 0 <= lon < 360.
    return lat2 / _RADIANS, tf.where(lon2_deg >= 360.0, tf.zeros_like(lon2_deg), lon2_deg)
