"""Slices of the sample: by stage of the storm's track (recurvature) and by intensity at the base time.

**Stage.** Recurvature is the change of the track from north-westward through north to north-eastward (Dobos and
Elsberry 1993, Monthly Weather Review 121, "Forecasting tropical cyclone recurvature. Part I", who time it in
categories of 12 hours). From the whole best track of a storm we take its westernmost fix as the turn, if it came from
at least `MIN_ZONAL_DEG` further east, later got as far east again, and gained latitude (poleward) from the first of
those to the second. Base times within `TURN_H` hours of the turn are ``in``, earlier ones ``before``, later ones
``after`` recurvature; all of a storm without such a turn are ``no_turn``. The stage uses the future of the storm on
purpose: it sorts cases after the event, and no method sees it.

**Intensity.** The classes of RSMC Tokyo by 10-minute sustained wind at the base time (knots): TD below 34, TS 34-47,
STS 48-63, TY 64 and above; ``unknown`` where the best track gives no wind.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack.table import LAT_DEG, LON_DEG, STORM_ID, TIME_UTC
from eyewall.verification.metrics import Bools, Floats

STAGES: Final = ("before", "in", "after", "no_turn")
INTENSITIES: Final = ("TD", "TS", "STS", "TY", "unknown")

#: Degrees of longitude to the east of the turn that a storm must come from and reach again: no loop, no wobble.
MIN_ZONAL_DEG: Final = 2.0
#: Hours about the turn that count as being in recurvature.
TURN_H: Final = 12
#: Lower bounds, kt, of TS, STS and TY.
WIND_BOUNDS_KT: Final = (34.0, 48.0, 64.0)

Times = npt.NDArray[np.datetime64]
Texts = npt.NDArray[np.object_]


def turn_time(times: Times, lat_deg: Floats, lon_deg: Floats) -> np.datetime64 | None:
    """When the storm turns from westward to eastward motion, or None when it never does; fixes [t] in order of time."""
    if len(times) < 3:
        return None
    east_deg = np.degrees(np.unwrap(np.radians(lon_deg)))  # no jump at Greenwich
    west = int(np.argmin(east_deg))
    eastern = east_deg >= east_deg[west] + MIN_ZONAL_DEG
    before, after = np.flatnonzero(eastern[:west]), np.flatnonzero(eastern[west:]) + west
    if before.size == 0 or after.size == 0:
        return None
    poleward = abs(lat_deg[after[0]]) > abs(lat_deg[before[-1]])
    return times[west] if poleward else None


def stages(storm_id: Texts, base_time: Times, table: pd.DataFrame) -> Texts:
    """Stage of each case [n], one of `STAGES`, from the best tracks of ``table``."""
    turns: dict[str, np.datetime64 | None] = {
        str(storm): turn_time(fixes[TIME_UTC].to_numpy(), fixes[LAT_DEG].to_numpy(), fixes[LON_DEG].to_numpy())
        for storm, fixes in table[table[STORM_ID].isin(set(storm_id))].groupby(STORM_ID, sort=True)
    }

    def stage(storm: str, time: np.datetime64) -> str:
        turn = turns.get(storm)
        if turn is None:
            return "no_turn"
        hours = (time - turn) / np.timedelta64(1, "h")
        return "in" if abs(hours) <= TURN_H else "before" if hours < 0 else "after"

    return np.array([stage(str(s), t) for s, t in zip(storm_id, base_time, strict=True)], dtype=object)


def intensities(wind_kt: Floats) -> Texts:
    """Class of each case [n], one of `INTENSITIES`, from its wind at the base time (NaN where unknown)."""
    classes = np.array(INTENSITIES[:4], dtype=object)[np.digitize(wind_kt, WIND_BOUNDS_KT)]
    return np.where(np.isnan(wind_kt), "unknown", classes)


def masks(classes: Texts, labels: tuple[str, ...]) -> dict[str, Bools]:
    """Class → mask [n] of its cases; every case is in exactly one of ``labels``, and an empty class is there too."""
    return {label: np.asarray(classes == label) for label in labels}
