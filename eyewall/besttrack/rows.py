"""From what a reader parsed to the one table: every row is checked, units and longitudes are made one, order is fixed.

A reader gives raw rows (strings or numbers, in the columns of table.py plus the line each stands on); a row that cannot
be used is refused with its line and a reason, and never fails its neighbours, unless most of the file is like that.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import wrap_lon_deg
from eyewall.contracts.errors import TrackError

log = logging.getLogger(__name__)

LINE: Final = "line"  #: 1-based line of the file (data row, where the file has no lines)
#: 1-minute → 10-minute sustained wind at sea (Harper et al. 2010, WMO/TD-No. 1555, table 1.1).
TEN_MINUTE_PER_ONE_MINUTE_WIND: Final = 0.93
MAX_BAD_SHARE: Final = 0.5
MAX_REJECTED_KEPT: Final = 200  # of the reasons; all of them are counted
_FIRST_TIME, _LAST_TIME = pd.Timestamp("1840-01-01"), pd.Timestamp("2100-01-01")  # IBTrACS begins in 1842
_WIND_KT_MAX, _PRESSURE_HPA_RANGE = 250.0, (800.0, 1100.0)


@dataclass
class Rejected:
    """Rows refused so far: how many, and line and reason of the first MAX_REJECTED_KEPT."""

    count: int = 0
    kept: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        """Count one more row, at a 1-based ``line``."""
        self.count += 1
        if len(self.kept) < MAX_REJECTED_KEPT:
            self.kept.append((line, reason))


@dataclass
class RawRows:
    """What a reader hands over, unchecked; the wind already means 10 minutes."""

    frame: pd.DataFrame  #: columns LINE and those of table.py; INTERPOLATED may be absent
    rejected: Rejected = field(default_factory=Rejected)


def finish(raw: RawRows, source: str) -> pd.DataFrame:
    """Raw rows → the table of table.py, with ``attrs["rejected"]`` [(line, reason)] and ``attrs["rejected_count"]``.

    Positions must be finite, latitudes −90…90, longitudes −180…360, times 1840–2100; winds and pressures that cannot
    be are taken as unknown. Of two rows for one storm and time the one that knows more stays. Raises TrackError when no
    row is usable, or more than half are not.
    """
    rows = raw.frame.reset_index(drop=True)
    if t.INTERPOLATED not in rows:
        rows[t.INTERPOLATED] = False
    time_text, lat_text, lon_text = (rows[c].copy() for c in (t.TIME_UTC, t.LAT_DEG, t.LON_DEG))
    rows[t.TIME_UTC] = _times(rows[t.TIME_UTC])
    for column in (t.LAT_DEG, t.LON_DEG, t.WIND_KT, t.PRESSURE_HPA):
        rows[column] = pd.to_numeric(rows[column], errors="coerce").astype(np.float64)
    rows.loc[~rows[t.WIND_KT].between(0, _WIND_KT_MAX, inclusive="right"), t.WIND_KT] = np.nan
    rows.loc[~rows[t.PRESSURE_HPA].between(*_PRESSURE_HPA_RANGE), t.PRESSURE_HPA] = np.nan

    lat, lon = rows[t.LAT_DEG], rows[t.LON_DEG]
    checks = (
        (rows[t.TIME_UTC].isna(), "time", time_text, "is not a time from 1840 to 2100"),
        (~np.isfinite(lat), "latitude", lat_text, "is not a number"),
        (~np.isfinite(lon), "longitude", lon_text, "is not a number"),
        (~lat.between(-90, 90), "latitude", lat_text, "is outside -90..90 degrees"),
        (~lon.between(-180, 360), "longitude", lon_text, "is outside -180..360 degrees"),
        (rows[t.SEASON].isna(), "storm id", rows[t.STORM_ID], "names no year"),
    )
    good = pd.Series(True, index=rows.index)
    for bad, what, values, why in checks:
        refused = bad & good
        for line, value in zip(rows.loc[refused, LINE].tolist(), values[refused].tolist(), strict=True):
            raw.rejected.add(int(line), f"{what} {_shown(value)} {why}")
        good &= ~bad
    rows = rows[good]
    _refuse_if_mostly_bad(len(rows), raw.rejected, source)
    rows[t.LON_DEG] = wrap_lon_deg(rows[t.LON_DEG])
    result = one_row_per_time(rows, source)
    result.attrs = {"rejected": sorted(raw.rejected.kept), "rejected_count": raw.rejected.count}
    for line, reason in sorted(raw.rejected.kept)[:5]:
        log.warning("%s line %d refused: %s", source, line, reason)
    if raw.rejected.count > 5:
        log.warning("%s: %d rows refused in all", source, raw.rejected.count)
    return result


def _refuse_if_mostly_bad(good: int, rejected: Rejected, source: str) -> None:
    line, reason = min(rejected.kept, default=(1, "no row follows the header"))
    if not good:
        raise TrackError(f"{source} holds no usable fix (line {line}: {reason}): give a best-track file with positions")
    if rejected.count > MAX_BAD_SHARE * (good + rejected.count):
        raise TrackError(
            f"{source}: {rejected.count} of {good + rejected.count} rows are unusable, the first at line {line}: "
            f"{reason}; repair the file or name its format"
        )


def _times(values: pd.Series) -> pd.Series:
    """Times or ISO-like text → naive UTC; NaT where it is neither."""
    utc = pd.to_datetime(values, errors="coerce", utc=True, format=None if _is_time(values) else "ISO8601")
    naive = utc.dt.tz_localize(None)
    # Nanoseconds end in 2262: what is out of range is refused before it can overflow.
    return naive.where(naive.between(_FIRST_TIME, _LAST_TIME)).dt.as_unit("ns")


def _is_time(values: pd.Series) -> bool:
    return bool(pd.api.types.is_datetime64_any_dtype(values))


def one_row_per_time(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Sorted by storm and time; of several rows for one, the best known: analysed, then with wind, then the first."""
    ranked = rows.assign(_unknown=rows[[t.WIND_KT, t.PRESSURE_HPA]].isna().sum(axis=1))
    ranked = ranked.sort_values([t.STORM_ID, t.TIME_UTC, t.INTERPOLATED, "_unknown"], kind="stable")
    unique = ranked.drop_duplicates([t.STORM_ID, t.TIME_UTC])
    if len(unique) < len(rows):
        log.info("%s: %d further rows for a storm and time that has one", source, len(rows) - len(unique))
    return unique[list(t.COLUMNS)].astype(t.DTYPES).reset_index(drop=True)


def _shown(value: Any) -> str:
    return "(blank)" if value is None or value != value or not str(value).strip() else repr(str(value)[:40])
