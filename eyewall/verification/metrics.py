"""Errors of forecast positions against best tracks: great-circle, along-track, cross-track; case by case.

Axes: n case, l lead. Everything is NaN exactly where `TrackErrors.valid` or `TrackErrors.motion_valid` says so; nothing
is ever averaged over a NaN.

Sign convention, as in the Met Office's tropical cyclone verification (Heming 2016, Meteorological Applications,
"Tropical cyclone tracking and verification techniques for Met Office numerical weather prediction models", and its
web appendix "measures of error"):

- along-track error > 0: the forecast lies ahead of the observed position along the observed track (too fast);
- cross-track error > 0: the forecast lies to the right of the observed track. (The Met Office turns this sign round in
  the southern hemisphere; we keep "right" everywhere.)

The observed track's direction is that in which the storm *arrives* at the verifying position: along the great circle
from its fix `MOTION_H` hours earlier. Where that fix is missing, or the storm has not moved, there is no direction:
both components are NaN there although the distance is not.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import bearing_rad, displacement_km, distance_km

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Hours before the verifying time from which the observed direction of motion is taken: best tracks are six-hourly.
MOTION_H: Final = 6
#: Storms that moved less than this (km in `MOTION_H` hours) have no direction: fixes are given to 0.1°, some 10 km.
STATIONARY_KM: Final = 1.0


@dataclass(frozen=True)
class TrackErrors:
    """Errors of one method, each of shape [n, l]."""

    km: Floats  #: great-circle distance of the forecast from the truth, >= 0; NaN where not ``valid``
    along_km: Floats  #: > 0: forecast ahead of the truth; NaN where not ``motion_valid``
    cross_km: Floats  #: > 0: forecast to the right of the truth's track; NaN where not ``motion_valid``
    valid: Bools  #: truth and forecast are both there
    motion_valid: Bools  #: ``valid``, and the truth's direction of motion is known


def arrival_bearing_rad(earlier_lat_deg: Any, earlier_lon_deg: Any, lat_deg: Any, lon_deg: Any) -> Floats:
    """Direction of motion on arrival at (lat, lon) from the earlier point, radians clockwise from north.

    The final bearing of the great circle, which is the reverse of the initial bearing back. NaN where a point is
    missing or the storm moved less than `STATIONARY_KM`. Inputs broadcast.
    """
    back = bearing_rad(lat_deg, lon_deg, earlier_lat_deg, earlier_lon_deg)
    moved = distance_km(earlier_lat_deg, earlier_lon_deg, lat_deg, lon_deg)
    return np.where(moved >= STATIONARY_KM, back + np.pi, np.nan)


def track_errors(
    forecast_lat_deg: Floats, forecast_lon_deg: Floats, truth_lat_deg: Floats, truth_lon_deg: Floats, motion_rad: Floats
) -> TrackErrors:
    """Errors of forecast positions; every argument has shape [n, l], NaN where missing.

    ``motion_rad``: the truth's direction of motion at the lead, as `arrival_bearing_rad` gives it. The error vector is
    the displacement of the forecast from the truth (azimuthal equidistant about the truth), so that
    along² + cross² = distance² holds exactly.
    """
    vector = displacement_km(truth_lat_deg, truth_lon_deg, forecast_lat_deg, forecast_lon_deg)
    east, north = vector[..., 0], vector[..., 1]
    km = distance_km(truth_lat_deg, truth_lon_deg, forecast_lat_deg, forecast_lon_deg)
    along = east * np.sin(motion_rad) + north * np.cos(motion_rad)
    cross = east * np.cos(motion_rad) - north * np.sin(motion_rad)
    return TrackErrors(km, along, cross, np.isfinite(km), np.isfinite(along))
