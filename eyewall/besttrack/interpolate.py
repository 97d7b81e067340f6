"""Where a storm was between its fixes: along the great circle of the two fixes around, at steady speed.

Agencies fix a storm every three or six hours; a satellite frame is taken in between. Across a longer gap nobody looked,
so nothing is said there.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import interpolate
from eyewall.contracts.errors import InputError

MAX_GAP_H = 12.0


def position_at(
    storm_fixes: pd.DataFrame, times: Any, max_gap_h: float = MAX_GAP_H
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Latitude [t], longitude 0–360 [t] (degrees) and validity [t] of one storm at ``times`` [t] (datetime64, UTC).

    ``storm_fixes`` holds one storm's rows of the table, in any order. NaN and False before the first fix, after the
    last, and between fixes more than ``max_gap_h`` apart; a time at a fix gives that fix. Raises InputError for two
    storms.
    """
    if storm_fixes[t.STORM_ID].nunique() > 1:
        raise InputError(
            f"position_at was given {storm_fixes[t.STORM_ID].nunique()} storms, of which "
            f"{storm_fixes[t.STORM_ID].iloc[0]}: give the fixes of one"
        )
    wanted = np.asarray(times, dtype="datetime64[ns]")
    nowhere = np.full(wanted.shape, np.nan)
    if storm_fixes.empty:
        return nowhere, nowhere.copy(), np.zeros(wanted.shape, dtype=bool)
    fixes = storm_fixes.sort_values(t.TIME_UTC)
    known = fixes[t.TIME_UTC].to_numpy(dtype="datetime64[ns]")
    lat, lon = fixes[t.LAT_DEG].to_numpy(np.float64), fixes[t.LON_DEG].to_numpy(np.float64)
    before = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 1)
    after = np.clip(np.searchsorted(known, wanted, side="left"), 0, len(known) - 1)
    gap_h = (known[after] - known[before]) / np.timedelta64(1, "h")
    since_h = (wanted - known[before]) / np.timedelta64(1, "h")
    valid = (wanted >= known[0]) & (wanted <= known[-1]) & (gap_h <= max_gap_h)
    fraction = np.divide(since_h, gap_h, out=np.zeros(wanted.shape), where=gap_h > 0)
    there_lat, there_lon = interpolate(lat[before], lon[before], lat[after], lon[after], fraction)
    return np.where(valid, there_lat, np.nan), np.where(valid, there_lon, np.nan), valid
