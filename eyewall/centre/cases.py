"""Which storm is where in which frame: best tracks at the frames' own times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.interpolate import position_at
from eyewall.centre.charts import Charts
from eyewall.contracts.layout import parse_frame_path
from eyewall.progress import counted
from eyewall.records.images import may_show, times_of
from eyewall.satellite.index import FrameKey


@dataclass(frozen=True)
class Case:
    """One storm in one frame; wind (kt, 10-minute) is that of its last fix, NaN where unknown."""

    path: str
    time: datetime
    storm_id: str
    season: int
    lat_deg: float
    lon_deg: float
    wind_kt: float

    @property
    def follows_storm(self) -> bool:
        """Whether its frame is one of several of its time, such as a storm-centred archive has."""
        return bool(parse_frame_path(self.path)[1])


def find_cases(keys: Sequence[FrameKey], tracks: pd.DataFrame, charts: Charts) -> list[Case]:
    """Every storm of ``tracks`` that a frame shows, by frame, then storm; frames that cannot be read show none."""
    found = _by_time(keys, tracks)
    cases = []
    for key in counted(keys, "reading", unit="frames"):
        for case in found.get(key.path, ()):
            chart = charts.chart(key.path)
            if chart is not None and chart.grid.shows(case.lat_deg, case.lon_deg):
                cases.append(case)
    return cases


def _by_time(keys: Sequence[FrameKey], tracks: pd.DataFrame) -> dict[str, list[Case]]:
    """Path → the storms that have a position at the frame's time, wherever they are."""
    found: dict[str, list[Case]] = {}
    if not len(keys):
        return found
    times = times_of(keys)
    years = {int(year) for year in np.unique(times.astype("datetime64[Y]").astype(int) + 1970)}
    near = tracks[tracks[t.SEASON].isin(years | {year + 1 for year in years} | {year - 1 for year in years})]
    for storm_id, fixes in near.groupby(t.STORM_ID, sort=True):
        lat, lon, valid = position_at(fixes, times)
        ordered = fixes.sort_values(t.TIME_UTC)
        fix_times, winds = ordered[t.TIME_UTC].to_numpy("datetime64[ns]"), ordered[t.WIND_KT].to_numpy(np.float64)
        season = int(ordered[t.SEASON].iloc[0])
        for i in map(int, np.flatnonzero(valid)):
            key = keys[i]
            if not may_show(key.part, str(storm_id)):
                continue
            wind = winds[np.searchsorted(fix_times, times[i], side="right") - 1]
            case = Case(key.path, key.time, str(storm_id), season, float(lat[i]), float(lon[i]), float(wind))
            found.setdefault(key.path, []).append(case)
    return found


def of_seasons(cases: Sequence[Case], first: int, last: int) -> list[Case]:
    """The cases of storms of these seasons in frames of these years, inclusive.

    Around New Year, or in a southern summer, the two differ; a case with one of them in another split is in none.
    """
    return [case for case in cases if first <= case.season <= last and first <= case.time.year <= last]


def by_frame(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Path → its cases."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.path, []).append(case)
    return found


def some_storms(cases: Sequence[Case], share: float, order: Mapping[str, str]) -> list[Case]:
    """The cases of a ``share`` of the storms, at least one, chosen by ``order`` (storm → anything that sorts)."""
    storms = sorted({case.storm_id for case in cases}, key=lambda storm: order[storm])
    kept = set(storms[: max(1, round(share * len(storms)))])
    return [case for case in cases if case.storm_id in kept]
