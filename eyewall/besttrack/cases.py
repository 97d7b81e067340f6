"""Cases: which fixes of a best-track table are forecast base times, what was known then, and what came after.

The sample rules are those of the forecast centres' verifications and of our check table: a base time is a synoptic
fix of at least gale force inside the basin with the past that persistence and CLIPER need; its target at a lead is the
same storm's fix at that time, whatever the storm's intensity has become. Every method is judged on the same cases.

Nothing after the base time enters a feature: a past fix is looked up at base time minus its age, never interpolated.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import displacement_km, shortest_arc_deg
from eyewall.contracts import features as f
from eyewall.contracts.errors import InputError, TrackError
from eyewall.contracts.fields import Box, box_text, parse_box

Array = npt.NDArray[Any]
_NO_FIX = -1


@dataclass(frozen=True)
class SampleRules:
    """What makes a fix a base time. The box is closed and may cross Greenwich (west 350, east 20)."""

    min_wind_kt: float = 34.0  #: weakest 10-minute wind; an unknown wind fails, unless this is 0
    west_deg: float = 100.0
    east_deg: float = 180.0
    south_deg: float = 0.0
    north_deg: float = 60.0
    hours: tuple[int, ...] = (0, 6, 12, 18)  #: UTC hours, on the hour

    @classmethod
    def within(cls, box: str, min_wind_kt: float) -> Self:
        """The rules for a box as jobs have it, ``"west,south,east,north"``. Raises ValueError when it is none."""
        return cls(min_wind_kt=min_wind_kt, **parse_box(box)._asdict())

    @property
    def box(self) -> str:
        """``"west,south,east,north"``, as jobs have it."""
        return box_text(Box(self.west_deg, self.south_deg, self.east_deg, self.north_deg))

    def in_words(self) -> str:
        """``fixes at 00/06/12/18 UTC with a wind of at least 34 kt within …``: for errors and reports."""
        hours = "/".join(f"{hour:02d}" for hour in self.hours)
        return (
            f"fixes at {hours} UTC with a wind of at least {self.min_wind_kt:g} kt within {self.west_deg:g} to"
            f" {self.east_deg:g} E, {_latitude(self.south_deg)} to {_latitude(self.north_deg)}, and fixes 6, 12 and"
            " 24 h before"
        )


def _latitude(deg: float) -> str:
    return f"{abs(deg):g} {'S' if deg < 0 else 'N'}"


@dataclass(frozen=True)
class Cases:
    """n forecast cases, sorted by storm and base time."""

    storm_id: Array  #: [n] object
    season: Array  #: [n] int64, the year that names the storm
    base_time: Array  #: [n] datetime64[ns], UTC
    features: dict[str, Array]  #: [n, *shape] float32; keys TRACK_FEATURES and DAY_OF_YEAR of contracts.features
    targets: dict[str, Array]  #: [n, *shape] float32; keys and shapes of contracts.features.target_shapes

    def __len__(self) -> int:
        return len(self.storm_id)

    def select(self, which: Array | slice) -> "Cases":
        """The cases of a boolean mask [n], of indices, or of a slice; arrays are views or copies as numpy does it."""
        return Cases(
            self.storm_id[which],
            self.season[which],
            self.base_time[which],
            {name: values[which] for name, values in self.features.items()},
            {name: values[which] for name, values in self.targets.items()},
        )


def what_there_is(table: pd.DataFrame, rules: SampleRules, season_from: int, season_to: int) -> str:
    """What a best-track table holds where no case was found, for errors: its extent, and how far its fixes come.

    ``seasons 1951-2018, 95 to 202 E, 2 N to 58 N; of 4810 fixes in 1960-1965 4790 lie in the box, 0 with a known wind``
    """
    west, width = shortest_arc_deg(table[t.LON_DEG])
    south, north = (_latitude(round(float(value))) for value in (table[t.LAT_DEG].min(), table[t.LAT_DEG].max()))
    seasons = f"{int(table[t.SEASON].min())}-{int(table[t.SEASON].max())}"
    asked = table[table[t.SEASON].between(season_from, season_to)]
    inside = asked[_inside(asked[t.LAT_DEG].to_numpy(), asked[t.LON_DEG].to_numpy(), rules)]
    known = int(inside[t.WIND_KT].notna().sum())
    return (
        f"seasons {seasons}, {west:.0f} to {west + width:.0f} E, {south} to {north}; of {len(asked)} fixes in"
        f" {season_from}-{season_to} {len(inside)} lie in the box, {known} with a known wind"
        + (" (--min-wind-kt 0 takes unknown ones)" if len(inside) and not known else "")
    )


def _inside(lat_deg: Array, lon_deg: Array, rules: SampleRules) -> Array:
    width = (rules.east_deg - rules.west_deg) % 360.0 or 360.0
    inside = np.mod(lon_deg - rules.west_deg, 360.0) <= width
    return np.asarray(inside & (lat_deg >= rules.south_deg) & (lat_deg <= rules.north_deg))


def build_cases(table: pd.DataFrame, rules: SampleRules, season_from: int, season_to: int) -> Cases:
    """Every case of the seasons ``season_from`` … ``season_to`` (both inclusive) of a best-track table.

    A case has fixes at REQUIRED_FIX_AGES_H and a target at one lead at least; TARGET_VALID says which leads. Other
    missing history is 0 with mask 0. The order of the rows of ``table`` does not matter. None found: an empty Cases.
    """
    fixes = _Fixes.of(table)
    known = [fixes.at(-age) != _NO_FIX for age in f.REQUIRED_FIX_AGES_H]
    future = np.any([fixes.at(lead) != _NO_FIX for lead in f.LEADS_H], axis=0)
    in_season = (fixes.season >= season_from) & (fixes.season <= season_to)
    base = np.flatnonzero(in_season & _obeys(fixes, rules) & np.all(known, axis=0) & future)
    return _cases(fixes, base)


def case_at(table: pd.DataFrame, storm_id: str, base_time: Any) -> Cases:
    """The one case (n = 1) of ``storm_id`` at ``base_time`` (anything pandas takes as a time, UTC), for a forecast.

    No sample rule is asked and no target needed; history that does not exist has mask 0. Raises TrackError when the
    storm is not in the table or has no fix at that very time.
    """
    time = pd.Timestamp(base_time)
    time = time if time.tz is None else time.tz_convert("UTC").tz_localize(None)
    storm = table[table[t.STORM_ID] == storm_id]
    if storm.empty:
        raise TrackError(f"storm {storm_id!r} is not in the best tracks: check its id, they hold {_some_ids(table)}")
    fixes = _Fixes.of(storm)
    base = np.flatnonzero(fixes.time == time.to_datetime64())
    if not base.size:
        first, last = (f"{pd.Timestamp(value):%Y-%m-%d %H:%M}" for value in (fixes.time[0], fixes.time[-1]))
        raise TrackError(
            f"storm {storm_id} has no fix at {time:%Y-%m-%d %H:%M} UTC: take a time of its fixes, {first} to {last}"
        )
    return _cases(fixes, base[:1])


class _Fixes(NamedTuple):
    """The table's columns as arrays [r], sorted by storm and time, and a key that finds a storm's fix at a time."""

    storm_id: Array
    season: Array
    time: Array
    lat_deg: Array
    lon_deg: Array
    wind_kt: Array
    pressure_hpa: Array
    key: Array  # [r] int64: strictly increasing, storm number in the high part, seconds in the low part

    @classmethod
    def of(cls, table: pd.DataFrame) -> "_Fixes":
        ids = table[t.STORM_ID].to_numpy(dtype=object)
        code, _ = pd.factorize(ids, sort=True)
        time = table[t.TIME_UTC].to_numpy(dtype="datetime64[ns]")
        seconds = time.astype("datetime64[s]").astype(np.int64)
        # Room enough around the times that a look-up days away cannot reach the next storm.
        margin = 3600 * 2 * (max(f.LEADS_H) + max(f.FIX_AGES_H))
        first, last = (int(seconds.min()), int(seconds.max())) if len(seconds) else (0, 0)
        key = code.astype(np.int64) * (last - first + 2 * margin) + (seconds - first + margin)
        order = np.argsort(key, kind="stable")
        if np.any(np.diff(key[order]) == 0):
            where = order[int(np.flatnonzero(np.diff(key[order]) == 0)[0])]
            raise InputError(
                f"storm {ids[where]} has two fixes at {time[where]}: one row per storm and time is allowed"
            )
        lat, lon, wind, pressure = (
            table[column].to_numpy(dtype=np.float64)[order]
            for column in (t.LAT_DEG, t.LON_DEG, t.WIND_KT, t.PRESSURE_HPA)
        )
        season = table[t.SEASON].to_numpy(dtype=np.int64)[order]
        return cls(ids[order], season, time[order], lat, lon, wind, pressure, key[order])

    def at(self, hours: int, rows: Array | None = None) -> Array:
        """Row of the same storm's fix ``hours`` after each row (all, or ``rows``); -1 where there is none."""
        wanted = (self.key if rows is None else self.key[rows]) + 3600 * hours
        if not len(self.key):
            return np.full(wanted.shape, _NO_FIX)
        found = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return np.where(self.key[found] == wanted, found, _NO_FIX)


def _obeys(fixes: _Fixes, rules: SampleRules) -> Array:
    """Which rows [r] are strong enough, inside the box and at a synoptic hour."""
    seconds = fixes.time.astype("datetime64[s]").astype(np.int64) % 86400
    strong = (fixes.wind_kt >= rules.min_wind_kt) | (rules.min_wind_kt <= 0)
    inside = _inside(fixes.lat_deg, fixes.lon_deg, rules)
    return np.asarray(inside & strong & np.isin(seconds, [3600 * hour for hour in rules.hours]))


def _cases(fixes: _Fixes, base: Array) -> Cases:
    """Features and targets of the base rows [n]."""
    past = np.stack([fixes.at(-age, base) for age in f.FIX_AGES_H], axis=1)  # [n, f] rows
    future = np.stack([fixes.at(lead, base) for lead in f.LEADS_H], axis=1)  # [n, l] rows
    has_fix, has_target = past != _NO_FIX, future != _NO_FIX
    wind, pressure = fixes.wind_kt[past], fixes.pressure_hpa[past]
    has_wind, has_pressure = has_fix & np.isfinite(wind), has_fix & np.isfinite(pressure)
    moved = displacement_km(
        fixes.lat_deg[base][:, None], fixes.lon_deg[base][:, None], fixes.lat_deg[future], fixes.lon_deg[future]
    )
    features = {
        f.PAST_LAT_DEG: _masked(fixes.lat_deg[past], has_fix),
        f.PAST_LON_DEG: _masked(fixes.lon_deg[past], has_fix),
        f.PAST_WIND_KT: _masked(wind, has_wind),
        f.PAST_PRESSURE_HPA: _masked(pressure, has_pressure),
        f.PAST_FIX_VALID: has_fix.astype(np.float32),
        f.PAST_WIND_VALID: has_wind.astype(np.float32),
        f.PAST_PRESSURE_VALID: has_pressure.astype(np.float32),
        f.DAY_OF_YEAR: day_of_year(fixes.time[base]),
    }
    targets = {
        f.TARGET_DISPLACEMENT_KM: _masked(moved, has_target[:, :, None]),
        f.TARGET_LAT_DEG: _masked(fixes.lat_deg[future], has_target),
        f.TARGET_LON_DEG: _masked(fixes.lon_deg[future], has_target),
        f.TARGET_VALID: has_target.astype(np.float32),
    }
    return Cases(fixes.storm_id[base], fixes.season[base], fixes.time[base], features, targets)


def day_of_year(times: Array) -> Array:
    """Day of the year [n] float32 with its fraction, of datetime64 UTC: 1 January 06:00 is 1.25."""
    days = times - times.astype("datetime64[Y]")
    return np.asarray(1.0 + days / np.timedelta64(1, "D"), dtype=np.float32)


def _masked(values: Array, valid: Array) -> Array:
    """Float32 with 0 where not valid: NaN never enters a record."""
    return np.where(valid, values, 0.0).astype(np.float32)


def _some_ids(table: pd.DataFrame) -> str:
    ids = sorted(map(str, table[t.STORM_ID].unique()))
    return "no storm" if not ids else f"{len(ids)} storms from {ids[0]} to {ids[-1]}"
