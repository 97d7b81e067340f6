"""Cases and frames → samples in shards, in bounded memory.

Base times are taken in the order of time within a season, so that storms that live at once share what is read of a
frame; each storm's records wait in a buffer (in memory up to a megabyte, then on disk) until the season is done, and
then follow each other storm by storm. At no time is more in memory than a few frames and one sample.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack.cases import Cases
from eyewall.besttrack.table import STORM_ID as STORM_COLUMN
from eyewall.contracts.features import (
    BASE_TIME_S,
    IMAGE_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    SEASON,
    STORM_ID,
    ImageSpec,
)
from eyewall.contracts.fields import DEFAULT_BOX
from eyewall.progress import counted
from eyewall.records.frames import FrameCache
from eyewall.records.images import storm_images
from eyewall.records.schema import SPLITS, RecordsSchema, Split
from eyewall.records.split import SampleKeys, SplitYears
from eyewall.records.writer import RecordsWriter
from eyewall.storage import Store

if TYPE_CHECKING:
    from eyewall.satellite.index import FrameKey

_BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True)
class Imagery:
    """Where the images of the samples come from, and the rules by which frames are chosen."""

    store: Store
    stream: str
    keys: "list[FrameKey]"  #: sorted by time
    fixes: dict[str, pd.DataFrame]  #: storm id → its rows of the best-track table
    max_frame_age_h: float
    min_frame_gap_h: float
    cache: FrameCache

    def of(self, storm_id: str, base_time: np.datetime64, spec: ImageSpec) -> dict[str, Any]:
        """IMAGES, IMAGE_AGE_H and IMAGE_VALID of a storm at a base time."""
        return dict(
            storm_images(
                self.store,
                self.stream,
                self.keys,
                self.fixes[storm_id],
                base_time,
                spec,
                max_frame_age_h=self.max_frame_age_h,
                min_frame_gap_h=self.min_frame_gap_h,
                cache=self.cache,
            )
        )


def fixes_by_storm(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The best-track table storm by storm."""
    return {str(storm_id): fixes for storm_id, fixes in table.groupby(STORM_COLUMN, sort=True)}


def sample_keys(cases: Cases, years: SplitYears) -> dict[Split, SampleKeys]:
    """What `check_no_leak` compares, of the cases of each split."""
    keys: dict[Split, SampleKeys] = {}
    for split in SPLITS:
        rows = rows_of(cases, years, split)
        keys[split] = SampleKeys(
            storm_id=cases.storm_id[rows],
            season=cases.season[rows],
            base_time_s=seconds(cases.base_time[rows]),
            lat_deg=cases.features[PAST_LAT_DEG][rows, -1].astype(np.float64),
            lon_deg=cases.features[PAST_LON_DEG][rows, -1].astype(np.float64),
        )
    return keys


def rows_of(cases: Cases, years: SplitYears, split: Split) -> npt.NDArray[np.intp]:
    """Rows of the cases that belong to ``split``."""
    span = years.span(split)
    if span is None:
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero((cases.season >= span[0]) & (cases.season <= span[1]))


def seconds(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """datetime64 UTC → seconds since 1970."""
    return times.astype("datetime64[s]").astype(np.int64)


def build(
    folder: Path,
    cases: Cases,
    years: SplitYears,
    spec: ImageSpec,
    shards: int,
    imagery: Imagery | None = None,
    *,
    frames_only: bool = False,
    box: str = DEFAULT_BOX,
) -> RecordsSchema:
    """Write the shards, the schema and the statistics of ``cases`` into ``folder``.

    Without ``imagery`` the samples are track-only, or have empty frames where ``spec`` wants some. ``frames_only``
    drops samples without a frame. ``box`` is noted in the schema. Raises LeakError (nothing is to be kept of the folder
    then) and InputError.
    """
    with RecordsWriter(folder, spec, years, shards, box) as writer:
        for split, rows in counted(
            _seasons(cases, years), "records", total=len(np.unique(cases.season)), unit="seasons"
        ):
            buffers: dict[str, IO[bytes]] = {}
            try:
                for row in rows:
                    sample = _sample(cases, int(row), spec, imagery)
                    if frames_only and not np.any(sample.get(IMAGE_VALID, 0)):
                        continue
                    storm_id = sample[STORM_ID]
                    if storm_id not in buffers:
                        buffers[storm_id] = tempfile.SpooledTemporaryFile(max_size=_BUFFER_BYTES, dir=str(folder))  # noqa: SIM115
                    buffers[storm_id].write(writer.encode(split, sample))
                for storm_id in sorted(buffers):
                    buffers[storm_id].seek(0)
                    writer.append(split, storm_id, buffers[storm_id])
            finally:
                for buffer in buffers.values():
                    buffer.close()
        return writer.finish()


def _seasons(cases: Cases, years: SplitYears) -> Iterator[tuple[Split, npt.NDArray[np.intp]]]:
    """Split and rows of each season, the rows by time and then by storm."""
    order = np.lexsort((cases.storm_id.astype(str), cases.base_time))
    for season in np.unique(cases.season):
        split = years.split_of(int(season))
        if split is not None:
            yield split, order[cases.season[order] == season]


def _sample(cases: Cases, row: int, spec: ImageSpec, imagery: Imagery | None) -> dict[str, Any]:
    storm_id, base_time = str(cases.storm_id[row]), cases.base_time[row]
    sample: dict[str, Any] = {name: values[row] for name, values in (cases.features | cases.targets).items()}
    sample |= {STORM_ID: storm_id, SEASON: int(cases.season[row]), BASE_TIME_S: int(seconds(base_time))}
    if imagery is not None and spec.frames:
        sample |= imagery.of(storm_id, base_time, spec)
    return sample
