"""One storm under two ids: found by its fixes, resolved by keeping the longer track.

Archives that merge agencies (IBTrACS) sometimes hold a storm twice. Two grades are told apart:

- *certain*: at the times both have, the positions are the same storm's (most within 50 km of each other), and these
  times are at least half of the shorter track.
- *likely*: the tracks begin together (first fixes within a day and 200 km) and overlap for half of the shorter one, but
  drift apart afterwards. Two analyses of one system, or a pair of systems: the fixes cannot say. IBTrACS' western North
  Pacific to 2018 has five such pairs of ids, none of them a certain duplicate.
"""

import logging
from typing import Final, Literal

import numpy as np
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import distance_km

log = logging.getLogger(__name__)

Grade = Literal["certain", "likely", "none"]
SAME_POSITION_KM: Final = 50.0  # agencies' fixes of one eye differ by less; of two storms never for long
SAME_POSITION_SHARE: Final = 0.8
MIN_OVERLAP_SHARE: Final = 0.5
MIN_OVERLAP_FIXES: Final = 2
SAME_START_KM, SAME_START = 200.0, pd.Timedelta(hours=24)
_OTHER: Final = "_other"


def find_duplicates(table: pd.DataFrame, grade: Grade = "certain") -> dict[str, str]:
    """Storms to drop, each with the one that stands for it, which is kept.

    Of two the one with more fixes is kept, then with more winds, then the smaller id. "likely" includes "certain".
    """
    if grade == "none" or table.empty:
        return {}
    columns = [t.TIME_UTC, t.STORM_ID, t.LAT_DEG, t.LON_DEG]
    pairs = table[columns].merge(table[columns], on=t.TIME_UTC, suffixes=("", _OTHER))
    other = t.STORM_ID + _OTHER
    pairs = pairs[pairs[t.STORM_ID] < pairs[other]]
    pairs["apart_km"] = distance_km(*(pairs[c] for c in (t.LAT_DEG, t.LON_DEG, t.LAT_DEG + _OTHER, t.LON_DEG + _OTHER)))
    pairs["same"] = pairs["apart_km"] <= SAME_POSITION_KM
    storms = table.groupby(t.STORM_ID).agg(
        fixes=(t.TIME_UTC, "size"),
        winds=(t.WIND_KT, "count"),
        start=(t.TIME_UTC, "min"),
        lat=(t.LAT_DEG, "first"),
        lon=(t.LON_DEG, "first"),
    )
    overlap = pairs.groupby([t.STORM_ID, other]).agg(fixes=("same", "size"), same=("same", "mean")).reset_index()
    one, two = storms.loc[overlap[t.STORM_ID]], storms.loc[overlap[other]]
    shorter = np.minimum(one["fixes"].to_numpy(), two["fixes"].to_numpy())
    long_enough = (overlap["fixes"] >= MIN_OVERLAP_FIXES) & (overlap["fixes"] >= MIN_OVERLAP_SHARE * shorter)
    alike = overlap["same"].to_numpy() >= SAME_POSITION_SHARE
    if grade == "likely":
        near = distance_km(one["lat"], one["lon"], two["lat"], two["lon"]) <= SAME_START_KM
        together = np.abs(one["start"].to_numpy() - two["start"].to_numpy()) <= SAME_START.to_timedelta64()
        alike |= near & together
    found = overlap[long_enough.to_numpy() & alike]
    return _keep_the_longer(storms, list(zip(found[t.STORM_ID], found[other], strict=True)))


def drop_duplicates(table: pd.DataFrame, grade: Grade, source: str) -> pd.DataFrame:
    """The table without its duplicate storms, each one logged; ``attrs["dropped_storms"]`` says which for which."""
    dropped = find_duplicates(table, grade)
    for storm, kept in dropped.items():
        log.warning("%s: storm %s is a %s duplicate of %s and is dropped", source, storm, grade, kept)
    attrs = table.attrs | {"dropped_storms": dropped}
    if dropped:
        table = table[~table[t.STORM_ID].isin(dropped)].reset_index(drop=True)
    table.attrs = attrs
    return table


def _keep_the_longer(storms: pd.DataFrame, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """From the best known storm down: a storm that duplicates a kept one is dropped."""
    involved = sorted({storm for pair in pairs for storm in pair})
    known = {
        name: (-fixes, -winds) for name, fixes, winds in zip(storms.index, storms.fixes, storms.winds, strict=True)
    }
    ranked = sorted(involved, key=lambda storm: (*known[storm], storm))
    alike: dict[str, set[str]] = {storm: set() for storm in involved}
    for one, two in pairs:
        alike[one].add(two)
        alike[two].add(one)
    dropped: dict[str, str] = {}
    for storm in ranked:
        if storm not in dropped:
            dropped |= {twin: storm for twin in sorted(alike[storm]) if twin not in dropped and twin != storm}
    return dropped
