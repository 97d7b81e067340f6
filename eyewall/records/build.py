"""Cases and frames → samples in shards, in bounded memory, and from where a killed run was.

A season's base times are taken in the order of time, so that storms that live at once share what is read of a frame,
and in *parts* of `PART_ROWS`. What costs time is done part by part (`workers`; several processes may): a part's
samples are cut out and stored (`parts`), and a run that finds a part leaves it alone. Then the parts are read one after
another (`build`): each sample is counted into the statistics in the order in which it was made; its storm's records
wait in a buffer (in memory up to a megabyte, then on disk) until the season is done, and stay together in their shard.
So the bytes of the result depend neither on who made which part, nor on how often it was interrupted.

Without images a sample is made in no time, and no parts are stored. At no time is more in memory than a few frames and
one sample, beside the best tracks and some fifty bytes for each frame of the stream.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack.cases import Cases
from eyewall.besttrack.table import STORM_ID as STORM_COLUMN
from eyewall.contracts.errors import StorageError
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
from eyewall.progress import progress
from eyewall.records.example import encode
from eyewall.records.frames import FRAME_BYTES, FrameCache
from eyewall.records.images import storm_images
from eyewall.records.parts import Found, Parts
from eyewall.records.schema import SPLITS, RecordsSchema, Split
from eyewall.records.split import SampleKeys, SplitYears
from eyewall.records.sums import Sums, hexadecimal
from eyewall.records.writer import RecordsWriter
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store

#: Base times a part: some seconds to a minute of work, and at most some 10 MB of three frames of 64 × 64 pixels each.
PART_ROWS: Final = 256
_BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True)
class Imagery:
    """Where the images of the samples come from, and the rules by which frames are chosen."""

    store: Store
    keys: FrameTable
    sums: Sums  #: sha256 of each of them
    fixes: dict[str, pd.DataFrame]  #: storm id → its rows of the best-track table
    max_frame_age_h: float
    min_frame_gap_h: float
    damaged: dict[str, str] = field(default_factory=dict)  #: frames to be left out, and why
    frame_bytes: int = FRAME_BYTES

    @cached_property
    def cache(self) -> FrameCache:
        """The frames last read, in this process."""
        cache = FrameCache(self.store, self.frame_bytes, self._sha256_of)
        for path, reason in self.damaged.items():
            cache.leave_out(path, reason)
        return cache

    def _sha256_of(self, path: str) -> str:
        return hexadecimal(self.sums, self.keys.row(path))

    def __getstate__(self) -> dict[str, Any]:
        """Another process has a cache of its own."""
        return {name: value for name, value in self.__dict__.items() if name != "cache"}

    def of(self, storm_id: str, base_time: np.datetime64, spec: ImageSpec) -> dict[str, Any]:
        """IMAGES, IMAGE_AGE_H and IMAGE_VALID of a storm at a base time."""
        return dict(
            storm_images(
                self.store,
                self.keys.stream,
                self.keys,
                self.fixes[storm_id],
                base_time,
                spec,
                max_frame_age_h=self.max_frame_age_h,
                min_frame_gap_h=self.min_frame_gap_h,
                cache=self.cache,
            )
        )


@dataclass(frozen=True)
class Work:
    """What is to be made: samples of ``cases`` in the seasons of ``years``; ``frames_only`` drops those without one."""

    cases: Cases
    years: SplitYears
    spec: ImageSpec
    imagery: Imagery | None = None
    frames_only: bool = False


@dataclass(frozen=True)
class Part:
    """Some base times of one season, by time and then by storm; ``rows`` are rows of the cases."""

    number: int
    split: Split
    season: int
    rows: npt.NDArray[np.intp]


@dataclass
class Usage:
    """Of the frames of a table: how many samples took each [n], and why some could not be read, by path."""

    samples: npt.NDArray[np.int64]
    unreadable: dict[str, str] = field(default_factory=dict)


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


def parts_of(work: Work) -> list[Part]:
    """Every part, in the order in which they are joined: by season and time."""
    cases = work.cases
    order = np.lexsort((cases.storm_id.astype(str), cases.base_time))
    found: list[Part] = []
    for season in np.unique(cases.season):
        split = work.years.split_of(int(season))
        rows = order[cases.season[order] == season] if split is not None else order[:0]
        for begin in range(0, len(rows), PART_ROWS):
            assert split is not None
            found.append(Part(len(found), split, int(season), rows[begin : begin + PART_ROWS]))
    return found


# --- the parts


def missing(work: Work, parts: Parts) -> list[Part]:
    """The parts that have to be made."""
    return [part for part in parts_of(work) if parts.note(part.number, len(part.rows)) is None]


def make_part(work: Work, parts: Parts, part: Part) -> None:
    """Make and store one part."""
    assert work.imagery is not None
    cache = work.imagery.cache
    found = Found(Counter(), {})
    cache.report_to(found)
    parts.write(part.number, len(part.rows), _records(work, part), found)


def _records(work: Work, part: Part) -> Iterator[bytes]:
    """The serialised samples of a part."""
    for row in part.rows:
        sample = _sample(work, int(row))
        if not work.frames_only or np.any(sample.get(IMAGE_VALID, 0)):
            yield encode(sample, work.spec)


def _sample(work: Work, row: int) -> dict[str, Any]:
    cases = work.cases
    storm_id, base_time = str(cases.storm_id[row]), cases.base_time[row]
    sample: dict[str, Any] = {name: values[row] for name, values in (cases.features | cases.targets).items()}
    sample |= {STORM_ID: storm_id, SEASON: int(cases.season[row]), BASE_TIME_S: int(seconds(base_time))}
    if work.imagery is not None and work.spec.frames:
        sample |= work.imagery.of(storm_id, base_time, work.spec)
    return sample


# --- the whole


def build(
    folder: Path, work: Work, shards: int, parts: Parts | None = None, *, box: str = DEFAULT_BOX
) -> tuple[RecordsSchema, Usage | None]:
    """Write the shards, the schema and the statistics into ``folder``; also how the frames were used, if there are any.

    ``parts``, all of them made, are needed where ``work`` has imagery. ``box`` is noted in the schema. Raises LeakError
    (nothing is to be kept of the folder then), and StorageError.
    """
    usage = Usage(np.zeros(len(work.imagery.keys), dtype=np.int64)) if work.imagery is not None else None
    todo = parts_of(work)
    total = sum(len(part.rows) for part in todo)
    with (
        RecordsWriter(folder, work.spec, work.years, shards, box) as writer,
        progress("records: shards", total=total, unit="samples") as advance,
    ):
        for season in sorted({part.season for part in todo}):
            buffers: dict[str, IO[bytes]] = {}
            try:
                for part in (each for each in todo if each.season == season):
                    if parts is None:
                        records = _records(work, part)
                    else:
                        _count(usage, work, parts, part)
                        records = parts.read(part.number, folder)
                    for record in records:
                        storm_id, framed = writer.take(part.split, record)
                        if storm_id not in buffers:
                            buffers[storm_id] = tempfile.SpooledTemporaryFile(max_size=_BUFFER_BYTES, dir=str(folder))  # noqa: SIM115
                        buffers[storm_id].write(framed)
                    advance(len(part.rows), f"season {season}")
                split = work.years.split_of(season)
                assert split is not None
                for storm_id in sorted(buffers):
                    buffers[storm_id].seek(0)
                    writer.append(split, storm_id, buffers[storm_id])
            finally:
                for buffer in buffers.values():
                    buffer.close()
        return writer.finish(), usage


def _count(usage: Usage | None, work: Work, parts: Parts, part: Part) -> None:
    note = parts.note(part.number, len(part.rows))
    if note is None:
        raise StorageError(f"part {part.number} of {parts.path} has gone or was damaged meanwhile: run the step again")
    if usage is None or work.imagery is None:
        return
    for path, samples in note.used.items():
        usage.samples[work.imagery.keys.row(path)] += samples
    usage.unreadable |= note.unreadable
