"""Writes samples into the shards of a folder, with schema and statistics, and reads everything back before the end.

Samples must come split by split in any order of storms, each storm's samples together; the caller decides the order,
and equal orders give equal bytes.
"""

import io
import shutil
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

import numpy as np

from eyewall.contracts.errors import CorruptFile, LeakError
from eyewall.contracts.features import BASE_TIME_S, IMAGE_VALID, PAST_LAT_DEG, PAST_LON_DEG, SEASON, STORM_ID, ImageSpec
from eyewall.contracts.fields import DEFAULT_BOX
from eyewall.records.example import Sample, decode, encode
from eyewall.records.schema import SPLITS, RecordsSchema, Split
from eyewall.records.shards import frame_record, read_records, shard_of, shard_paths
from eyewall.records.split import SampleKeys, SplitYears, check_no_leak
from eyewall.records.statistics import Gatherer


class RecordsWriter:
    """A context in which `add` appends samples; `finish` writes the schema and checks what lies on disk."""

    def __init__(self, folder: Path, spec: ImageSpec, years: SplitYears, shards: int, box: str = DEFAULT_BOX) -> None:
        self._folder, self._spec, self._years, self._shards, self._box = folder, spec, years, shards, box
        self._files: dict[Split, list[BinaryIO]] = {
            split: [path.open("wb") for path in shard_paths(folder, split, shards)] for split in SPLITS
        }
        self._gatherers = {split: Gatherer() for split in SPLITS}
        self._counts = dict.fromkeys(SPLITS, 0)
        self._with_frames = dict.fromkeys(SPLITS, 0)
        self._storms: dict[Split, set[str]] = {split: set() for split in SPLITS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        for files in self._files.values():
            for file in files:
                file.close()

    def encode(self, split: Split, sample: Sample) -> bytes:
        """Count ``sample`` and give its framed record; `append` it later, once its storm's turn has come."""
        record = frame_record(encode(sample, self._spec))
        self._count(split, sample)
        return record

    def _count(self, split: Split, sample: Sample) -> None:
        self._gatherers[split].add(sample)
        self._counts[split] += 1
        self._with_frames[split] += bool(np.any(sample[IMAGE_VALID])) if self._spec.frames else 0

    def take(self, split: Split, record: bytes) -> tuple[str, bytes]:
        """Count a sample that was serialised before; gives its storm's id and the framed record.

        Numbers and rounded images come back from a record as they went in, so that nothing is counted otherwise than by
        `encode`.
        """
        sample = decode(record, self._spec)
        self._count(split, sample)
        return str(sample[STORM_ID]), frame_record(record)

    def append(self, split: Split, storm_id: str, framed: IO[bytes]) -> None:
        """Append the framed records of one storm, from where ``framed`` stands to its end, to the storm's shard."""
        self._storms[split].add(storm_id)
        shutil.copyfileobj(framed, self._files[split][shard_of(storm_id, self._shards)])

    def finish(self) -> RecordsSchema:
        """Close the shards, write schema.json and statistics.json, and check the whole.

        Raises LeakError when two splits share a storm or a season, CorruptFile when what is on disk is not what was
        written.
        """
        self._close()
        schema = RecordsSchema(
            images=self._spec,
            shards=self._shards,
            box=self._box,
            seasons={split: self._years.span(split) for split in SPLITS},
            counts=self._counts,
            storms={split: len(storms) for split, storms in self._storms.items()},
            with_frames=self._with_frames,
            bytes={
                split: sum(path.stat().st_size for path in shard_paths(self._folder, split, self._shards))
                for split in SPLITS
            },
            statistics={split: gatherer.result() for split, gatherer in self._gatherers.items()},
        )
        schema.write(self._folder)
        check_folder(self._folder, schema)
        return schema


def write_samples(
    folder: Path, spec: ImageSpec, years: SplitYears, shards: int, samples: Sequence[tuple[Split, Sample]]
) -> RecordsSchema:
    """Write ready samples in their order into ``folder``: for small sets and tests."""
    with RecordsWriter(folder, spec, years, shards) as writer:
        for split, sample in samples:
            writer.append(split, str(sample[STORM_ID]), io.BytesIO(writer.encode(split, sample)))
        return writer.finish()


def check_folder(folder: Path, schema: RecordsSchema) -> None:
    """Read every record in ``folder`` back: checksums, counts, seasons and leaks.

    Raises CorruptFile or LeakError.
    """
    keys = {split: _read_keys(folder, split, schema) for split in SPLITS}
    for split, found in keys.items():
        if len(found) != schema.counts[split]:
            raise CorruptFile(
                f"{folder.name} holds {len(found)} {split} samples, its schema says {schema.counts[split]}"
            )
        span = schema.seasons[split]
        outside = [s for s in set(found.season.tolist()) if span is None or not span[0] <= s <= span[1]]
        if outside:
            raise LeakError(f"{split} holds season {min(outside)}, its schema says {span}: make the records again")
    check_no_leak(keys)


def _read_keys(folder: Path, split: Split, schema: RecordsSchema) -> SampleKeys:
    names = (STORM_ID, SEASON, BASE_TIME_S, PAST_LAT_DEG, PAST_LON_DEG)
    storm_id: list[str] = []
    season, base_time_s, lat_deg, lon_deg = array("q"), array("q"), array("d"), array("d")
    for path in shard_paths(folder, split, schema.shards):
        for record in read_records(path):
            sample = decode(record, schema.images, only=names)
            storm_id.append(sys.intern(sample[STORM_ID]))
            season.append(sample[SEASON])
            base_time_s.append(sample[BASE_TIME_S])
            lat_deg.append(sample[PAST_LAT_DEG][-1])
            lon_deg.append(sample[PAST_LON_DEG][-1])
    return SampleKeys(
        storm_id=np.array(storm_id, dtype=object),
        season=np.array(season, dtype=np.int64),
        base_time_s=np.array(base_time_s, dtype=np.int64),
        lat_deg=np.array(lat_deg, dtype=np.float64),
        lon_deg=np.array(lon_deg, dtype=np.float64),
    )
