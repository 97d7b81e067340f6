"""Geometry on the sphere: distances, bearings, displacements, interpolation. Degrees in, kilometres out.

Displacement convention: (east, north) in km are the azimuthal-equidistant coordinates of a point about the base
position, x = d·sin(bearing), y = d·cos(bearing), with d the great-circle distance. It is exactly invertible, keeps
the distance, and has no trouble at the date line. Radius as in the forecast centres' software and our check values.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_KM = 6371.0

Floats = npt.NDArray[np.float64]


def wrap_lon_deg(lon_deg: npt.ArrayLike) -> Floats:
    """Any longitude → 0 ≤ longitude < 360. Shape kept."""
    wrapped = np.mod(np.asarray(lon_deg, dtype=np.float64), 360.0)
    # A longitude a hair below 0 rounds up to 360 itself.
    return np.where(wrapped == 360.0, 0.0, wrapped)


def shortest_arc_deg(lon_deg: npt.ArrayLike) -> tuple[float, float]:
    """The shortest arc of a circle of latitude that holds all longitudes [n >= 1]: its west end in 0–360, and width."""
    lon = np.unique(wrap_lon_deg(lon_deg))
    gaps = np.diff(lon, append=lon[0] + 360.0)
    widest = int(np.argmax(gaps))
    return float(lon[(widest + 1) % len(lon)]), 360.0 - float(gaps[widest])


def distance_km(lat1_deg: Any, lon1_deg: Any, lat2_deg: Any, lon2_deg: Any) -> Floats:
    """Great-circle distance, km, by the haversine formula; inputs broadcast, NaN in gives NaN out."""
    lat1, lon1, lat2, lon2 = (
        np.radians(np.asarray(v, dtype=np.float64)) for v in (lat1_deg, lon1_deg, lat2_deg, lon2_deg)
    )
    h = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))))


def bearing_rad(lat1_deg: Any, lon1_deg: Any, lat2_deg: Any, lon2_deg: Any) -> Floats:
    """Initial bearing from point 1 to point 2, radians clockwise from north, in (-π, π]; inputs broadcast."""
    lat1, lon1, lat2, lon2 = (
        np.radians(np.asarray(v, dtype=np.float64)) for v in (lat1_deg, lon1_deg, lat2_deg, lon2_deg)
    )
    y = np.sin(lon2 - lon1) * np.cos(lat2)
    x = np.cos(lat1) * np.sin(lat2) - np.sin(lat1) * np.cos(lat2) * np.cos(lon2 - lon1)
    return np.asarray(np.arctan2(y, x))


def displacement_km(lat1_deg: Any, lon1_deg: Any, lat2_deg: Any, lon2_deg: Any) -> Floats:
    """Displacement of point 2 from point 1, km: shape [..., 2] of (east, north); inputs broadcast."""
    d = distance_km(lat1_deg, lon1_deg, lat2_deg, lon2_deg)
    b = bearing_rad(lat1_deg, lon1_deg, lat2_deg, lon2_deg)
    return np.stack([d * np.sin(b), d * np.cos(b)], axis=-1)


def destination(lat_deg: Any, lon_deg: Any, east_km: Any, north_km: Any) -> tuple[Floats, Floats]:
    """The point at a displacement from (lat, lon): latitude and longitude (0–360) in degrees; inputs broadcast."""
    lat, lon = (np.radians(np.asarray(v, dtype=np.float64)) for v in (lat_deg, lon_deg))
    east, north = (np.asarray(v, dtype=np.float64) for v in (east_km, north_km))
    angle = np.hypot(east, north) / EARTH_RADIUS_KM
    bearing = np.arctan2(east, north)
    lat2 = np.arcsin(np.clip(np.sin(lat) * np.cos(angle) + np.cos(lat) * np.sin(angle) * np.cos(bearing), -1, 1))
    lon2 = lon + np.arctan2(np.sin(bearing) * np.sin(angle) * np.cos(lat), np.cos(angle) - np.sin(lat) * np.sin(lat2))
    return np.asarray(np.degrees(lat2)), wrap_lon_deg(np.degrees(lon2))


def interpolate(lat1_deg: Any, lon1_deg: Any, lat2_deg: Any, lon2_deg: Any, fraction: Any) -> tuple[Floats, Floats]:
    """The point at ``fraction`` (0–1) of the great circle from point 1 to point 2; inputs broadcast."""
    moved = displacement_km(lat1_deg, lon1_deg, lat2_deg, lon2_deg) * np.asarray(fraction, dtype=np.float64)[..., None]
    return destination(lat1_deg, lon1_deg, moved[..., 0], moved[..., 1])
