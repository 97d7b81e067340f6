"""Split by storm *and* season, and the check that nothing stands in two splits.

Samples of one storm are close to copies of each other, and storms of one season share sea surface temperatures and
circulation, so that a model is only ever judged on seasons it has not seen. A storm that crosses New Year belongs to
the season that names it (`season` of the best-track table), with all its samples.

A season number alone does not prove anything: the same storm may stand in two files, or in one file under two ids
(IBTrACS has pairs of near-duplicates), with another season. `check_no_leak` therefore compares times and positions too.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import distance_km
from eyewall.contracts.errors import InputError, LeakError
from eyewall.records.schema import SPLITS, Split

#: Two centres closer than this at one time are one storm: real ones merge long before (Fujiwhara pairs keep > 100 km).
SAME_STORM_KM: Final = 50.0


@dataclass(frozen=True)
class SplitYears:
    """Seasons of each split, inclusive; a split whose end equals the one before is empty."""

    train_from: int
    train_to: int
    val_to: int
    test_to: int

    def __post_init__(self) -> None:
        if not self.train_from <= self.train_to <= self.val_to <= self.test_to:
            raise InputError(
                f"seasons train {self.train_from}-{self.train_to}, val to {self.val_to}, test to {self.test_to} are"
                " not in order: give train_from <= train_to <= val_to <= test_to"
            )

    def split_of(self, season: int) -> Split | None:
        """The split of a season, None outside all of them."""
        if not self.train_from <= season <= self.test_to:
            return None
        return "train" if season <= self.train_to else "val" if season <= self.val_to else "test"

    def span(self, split: Split) -> tuple[int, int] | None:
        """First and last season of ``split``, None when it is empty."""
        first, last = {
            "train": (self.train_from, self.train_to),
            "val": (self.train_to + 1, self.val_to),
            "test": (self.val_to + 1, self.test_to),
        }[split]
        return (first, last) if first <= last else None


@dataclass(frozen=True)
class SampleKeys:
    """What tells samples apart, shape [n] each: ids, seconds since 1970 UTC, and the base position in degrees."""

    storm_id: npt.NDArray[np.object_]
    season: npt.NDArray[np.int64]
    base_time_s: npt.NDArray[np.int64]
    lat_deg: npt.NDArray[np.float64]
    lon_deg: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.storm_id)


def check_no_leak(splits: Mapping[Split, SampleKeys]) -> None:
    """Raises LeakError when a storm or a season stands in two splits, or one storm does under two ids.

    One storm under two ids: two samples of different splits at one base time, less than SAME_STORM_KM apart.
    """
    _check_distinct({split: set(keys.season.tolist()) for split, keys in splits.items()}, "season")
    _check_distinct({split: set(keys.storm_id.tolist()) for split, keys in splits.items()}, "storm")
    _check_positions(splits)


def _check_distinct(values: Mapping[Split, set[object]], what: str) -> None:
    home: dict[object, Split] = {}
    for split in SPLITS:
        for value in sorted(values.get(split, ()), key=str):
            if value in home:
                raise LeakError(
                    f"{what} {value} stands in {home[value]} and in {split}: give each {what} to one split only"
                )
            home[value] = split


def _check_positions(splits: Mapping[Split, SampleKeys]) -> None:
    at_time: dict[int, list[tuple[Split, int]]] = defaultdict(list)
    for split, keys in splits.items():
        for row, time_s in enumerate(keys.base_time_s.tolist()):
            at_time[time_s].append((split, row))
    for time_s, samples in at_time.items():
        if len({split for split, _ in samples}) > 1:
            _check_one_time(splits, time_s, samples)


def _check_one_time(splits: Mapping[Split, SampleKeys], time_s: int, samples: list[tuple[Split, int]]) -> None:
    for position, (split_a, a) in enumerate(samples):
        for split_b, b in samples[position + 1 :]:
            if split_a == split_b:
                continue
            one, two = splits[split_a], splits[split_b]
            apart_km = float(distance_km(one.lat_deg[a], one.lon_deg[a], two.lat_deg[b], two.lon_deg[b]))
            if apart_km < SAME_STORM_KM:
                when = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M")
                raise LeakError(
                    f"storms {one.storm_id[a]} ({split_a}) and {two.storm_id[b]} ({split_b}) are {apart_km:.0f} km"
                    f" apart at {when} UTC, one storm under two ids: keep one of them in the best tracks"
                )
