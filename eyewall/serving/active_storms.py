"""Which storms to forecast at a base time, and what the model is told of each.

A storm is active when it has a fix in the six hours up to the base time. Its forecast starts from the newest of these
fixes that has the past which the sample rule of training demands: a model knows nothing of storms without it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.cases import case_at
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import FIX_AGES_H as AGES_H
from eyewall.contracts.features import PAST_FIX_VALID, REQUIRED_FIX_AGES_H

ACTIVE_H = 6.0
Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class ActiveStorm:
    """One storm to forecast: its fixes (all of them, later ones included), its base fix and track features [1, …]."""

    storm_id: str
    name: str
    base_time: pd.Timestamp  #: naive UTC: the fix that the forecast starts from
    base_lat_deg: float
    base_lon_deg: float
    fixes: pd.DataFrame
    features: Arrays

    @property
    def past(self) -> pd.DataFrame:
        """Fixes up to the base time."""
        return self.fixes[self.fixes[t.TIME_UTC] <= self.base_time]

    @property
    def later(self) -> pd.DataFrame:
        """Fixes after the base time: the truth, where it is known."""
        return self.fixes[self.fixes[t.TIME_UTC] > self.base_time]


def naive_utc(time: datetime) -> pd.Timestamp:
    """Aware UTC → the naive UTC of best-track tables."""
    return pd.Timestamp(time).tz_convert("UTC").tz_localize(None)


def active_storms(
    table: pd.DataFrame, base_time: pd.Timestamp, storm_id: str | None = None
) -> tuple[list[ActiveStorm], dict[str, str]]:
    """Storms to forecast at ``base_time`` (naive UTC), sorted by id, and those that cannot be, with the reason.

    ``storm_id`` asks for one storm only. Raises InputError when that one is unknown or cannot be forecast.
    """
    recent = table[(table[t.TIME_UTC] <= base_time) & (table[t.TIME_UTC] >= base_time - pd.Timedelta(hours=ACTIVE_H))]
    ids = sorted(recent[t.STORM_ID].astype(str).unique())
    if storm_id is not None:
        _check_known(table, storm_id)
        if storm_id not in ids:
            raise InputError(
                f"storm {storm_id!r} has no fix in the {ACTIVE_H:g} h before {base_time:%Y-%m-%d %H:%M} UTC:"
                f" {_life(table, storm_id)}"
            )
        ids = [storm_id]
    storms, passed_over = [], {}
    for one in ids:
        fixes = table[table[t.STORM_ID] == one].sort_values(t.TIME_UTC)
        storm = _storm(fixes, one, recent[recent[t.STORM_ID] == one])
        if storm is None:
            passed_over[one] = f"no fix has one {', '.join(str(h) for h in REQUIRED_FIX_AGES_H)} h before it yet"
        else:
            storms.append(storm)
    if storm_id is not None and not storms:
        raise InputError(f"storm {storm_id!r} cannot be forecast at {base_time}: {passed_over[storm_id]}")
    return storms, passed_over


def _check_known(table: pd.DataFrame, storm_id: str) -> None:
    if not (table[t.STORM_ID] == storm_id).any():
        raise InputError(
            f"storm {storm_id!r} is not in the tracks: they hold {table[t.STORM_ID].nunique()} other storms"
        )


def _life(table: pd.DataFrame, storm_id: str) -> str:
    times = table.loc[table[t.STORM_ID] == storm_id, t.TIME_UTC]
    return f"its fixes reach from {times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M}"


def _storm(fixes: pd.DataFrame, storm_id: str, recent: pd.DataFrame) -> ActiveStorm | None:
    required = [AGES_H.index(age) for age in REQUIRED_FIX_AGES_H]
    for _, fix in recent.sort_values(t.TIME_UTC, ascending=False).iterrows():
        case = case_at(fixes, storm_id, fix[t.TIME_UTC])
        if case.features[PAST_FIX_VALID][0, required].all():
            return ActiveStorm(
                storm_id=storm_id,
                name=str(fix[t.NAME] or ""),
                base_time=pd.Timestamp(fix[t.TIME_UTC]),
                base_lat_deg=float(fix[t.LAT_DEG]),
                base_lon_deg=float(fix[t.LON_DEG]),
                fixes=fixes,
                features=dict(case.features),
            )
    return None


def fixes_sha256(storm: ActiveStorm, with_later: bool) -> str:
    """Digest of the fixes that a forecast rests on, and of the later ones where they are drawn as well."""
    import hashlib

    used: Any = storm.fixes if with_later else storm.past
    columns = [t.TIME_UTC, t.LAT_DEG, t.LON_DEG, t.WIND_KT, t.PRESSURE_HPA]
    return hashlib.sha256(used[columns].to_csv(index=False).encode()).hexdigest()
