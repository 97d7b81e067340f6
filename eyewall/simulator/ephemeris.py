"""Where the sun and the moon are, to fill the navigation block: low-precision formulas of the Astronomical Almanac.

Good to about 0.02° (sun) and 0.5° (moon) between 1950 and 2050; equinox of date is taken for J2000.
"""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

AU_KM = 149597870.7
_EARTH_RADIUS_KM = 6378.14
_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_OBLIQUITY_RAD = np.radians(23.439)


def _equatorial(lon_rad: float, lat_rad: float, distance_km: float) -> npt.NDArray[np.float64]:
    x = np.cos(lat_rad) * np.cos(lon_rad)
    y = np.cos(lat_rad) * np.sin(lon_rad)
    z = np.sin(lat_rad)
    tilted = (
        x,
        y * np.cos(_OBLIQUITY_RAD) - z * np.sin(_OBLIQUITY_RAD),
        y * np.sin(_OBLIQUITY_RAD) + z * np.cos(_OBLIQUITY_RAD),
    )
    return np.array(tilted) * distance_km


def sun_km(time: datetime) -> npt.NDArray[np.float64]:
    """Position of the sun, equatorial inertial [3], km."""
    days = (time - _J2000).total_seconds() / 86400
    mean_lon = np.radians(280.460 + 0.9856474 * days)
    anomaly = np.radians(357.528 + 0.9856003 * days)
    lon = mean_lon + np.radians(1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    distance = AU_KM * (1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2 * anomaly))
    return _equatorial(float(lon), 0.0, float(distance))


def moon_km(time: datetime) -> npt.NDArray[np.float64]:
    """Position of the moon, equatorial inertial [3], km."""
    century = (time - _J2000).total_seconds() / 86400 / 36525

    def sine(start_deg: float, rate_deg: float) -> float:
        return float(np.sin(np.radians(start_deg + rate_deg * century)))

    def cosine(start_deg: float, rate_deg: float) -> float:
        return float(np.cos(np.radians(start_deg + rate_deg * century)))

    lon_deg = (
        218.32 + 481267.881 * century + 6.29 * sine(135.0, 477198.87) - 1.27 * sine(259.3, -413335.36)
        + 0.66 * sine(235.7, 890534.22) + 0.21 * sine(269.9, 954397.74) - 0.19 * sine(357.5, 35999.05)
    )  # fmt: skip
    lat_deg = (
        5.13 * sine(93.3, 483202.02) + 0.28 * sine(228.2, 960400.89) - 0.28 * sine(318.3, 6003.15)
        - 0.17 * sine(217.6, -407332.21)
    )  # fmt: skip
    parallax_deg = (
        0.9508 + 0.0518 * cosine(135.0, 477198.87) + 0.0095 * cosine(259.3, -413335.36)
        + 0.0078 * cosine(235.7, 890534.22) + 0.0028 * cosine(269.9, 954397.74)
    )  # fmt: skip
    distance = _EARTH_RADIUS_KM / np.sin(np.radians(parallax_deg))
    return _equatorial(float(np.radians(lon_deg)), float(np.radians(lat_deg)), float(distance))
