"""``eyewall records``: best tracks and frames → a records artifact, named by what determines it.

The name is the sha256 of the inputs' digests, the job's fields and this format's number. Tracks are read and frames
hashed to know it (each once: `sums`); no image is cut out when the artifact is there already. A killed run goes on with
the parts that it has stored (`build`).
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from eyewall import __version__
from eyewall.besttrack.cases import Cases, SampleRules, build_cases, what_there_is
from eyewall.besttrack.digest import tracks_sha256
from eyewall.besttrack.read import read_tracks
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import ImageSpec
from eyewall.contracts.fields import DEFAULT_BOX
from eyewall.contracts.jobs import RecordsJob
from eyewall.contracts.layout import artifact_dir, digest_of_files
from eyewall.contracts.manifest import Manifest, Receipt, Reference
from eyewall.records.build import Imagery, Usage, Work, build, fixes_by_storm, rows_of, sample_keys
from eyewall.records.frames import FRAME_BYTES
from eyewall.records.inputs import damaged_frames, in_reach_of, stream_frames, within_reach
from eyewall.records.parts import Parts
from eyewall.records.schema import SPLITS, RecordsSchema
from eyewall.records.split import SplitYears, check_no_leak
from eyewall.records.sums import Sums, frames_sha256, hexadecimal, pairs
from eyewall.records.workers import make_missing
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store

#: Raised whenever the same inputs would give other bytes.
FORMAT: Final = 1
FRAMES_NAME: Final = "frames.csv"
_NOT_THE_RESULT: Final = {"store", "receipt", "tracks", "processes"}  #: fields that say where and how, not what
LEAST_SHARDS: Final = 4
#: A shard is what one reader takes at a time; beyond this one there are more of them, unless the job says how many.
SHARD_BYTES: Final = 512 * 2**20


def run(job: RecordsJob) -> Receipt:
    """Make the records, or find them made.

    Raises InputError (no training storm, unknown stream, mixed quantities), TrackError and LeakError; nothing is
    stored then.
    """
    years = SplitYears(job.train_from, job.train_to, job.val_to, job.test_to)
    if job.frames_only and (job.stream is None or not job.frames):
        raise InputError("--frames-only drops every sample without a frame: give a --stream, and --frames of 1 or more")
    store = Store(job.store)
    table = read_tracks(job.tracks, job.tracks_format)
    cases = build_cases(table, SampleRules.within(job.box, job.min_wind_kt), years.train_from, years.test_to)
    _require_training_storms(cases, years, job, table)
    check_no_leak(sample_keys(cases, years))

    frames, sums = _frames(store, job, cases)
    shards = job.shards or shards_by_size(cases, years, frames, job)
    provisional = Manifest(
        kind="records",
        code_version=__version__,
        inputs={
            "tracks": tracks_sha256(job.tracks, job.tracks_format),
            "frames": digest_of_files(pairs(frames, sums) if frames is not None else ()),
        },
        config=_config(job, shards),
    )
    path = artifact_dir("records", provisional.sha256())
    manifest = store.read_manifest(path)
    if manifest is None:
        work = Work(cases, years, ImageSpec(frames=0, px=job.px, km_per_px=job.km_per_px))
        if frames is None:
            manifest = _build(store, path, provisional, job, work, shards, None)
        else:
            imagery = Imagery(
                store, frames, sums, fixes_by_storm(table), job.max_frame_age_h, job.min_frame_gap_h,
                damaged_frames(store, frames, sums), FRAME_BYTES // job.processes,
            )  # fmt: skip
            work = Work(cases, years, _image_spec(job, imagery), imagery, job.frames_only)
            manifest = _resume(store, path, provisional, job, work, shards)
    _warn_of_empty_splits(manifest)
    return Receipt(
        verb=job.verb, result=Reference(uri=path, sha256=manifest.sha256()), summary=_summary(path, manifest)
    )


def _frames(store: Store, job: RecordsJob, cases: Cases) -> tuple[FrameTable | None, Sums]:
    """The frames that a sample could take, and their sums; None for samples without images."""
    if job.stream is None or not job.frames:
        return None, np.empty((0, 32), dtype=np.uint8)
    frames = within_reach(stream_frames(store, job.stream), cases.base_time, job.max_frame_age_h)
    return frames, frames_sha256(store, frames)


def shards_by_size(cases: Cases, years: SplitYears, frames: FrameTable | None, job: RecordsJob) -> int:
    """Files a split: so many that those of the largest split would have `SHARD_BYTES` on average at most.

    Reckoned as if every sample that can have a frame had all of them, from what is there before anything is made; never
    below `LEAST_SHARDS`, which records had before this.
    """
    if frames is None:
        return LEAST_SHARDS
    filmed = in_reach_of(cases.base_time, frames, job.max_frame_age_h)
    samples = max(int(filmed[rows_of(cases, years, split)].sum()) for split in SPLITS)
    return max(LEAST_SHARDS, -(-samples * job.frames * 2 * job.px**2 // SHARD_BYTES))


def _resume(
    store: Store, path: str, provisional: Manifest, job: RecordsJob, work: Work, shards: int
) -> Manifest:  # fmt: skip
    """Make the parts that are missing, and the records of all of them."""
    parts = Parts(store, path)
    with parts.lock():
        manifest = store.read_manifest(path)  # another process may have built them meanwhile
        if manifest is None:
            try:
                make_missing(work, parts, job.processes)
                manifest = _build(store, path, provisional, job, work, shards, parts)
            except InputError:  # a retry would end like this one
                parts.clear()
                raise
        parts.clear()
    return manifest


def _build(
    store: Store, path: str, provisional: Manifest, job: RecordsJob, work: Work, shards: int, parts: Parts | None
) -> Manifest:
    with store.staging(path) as folder:
        schema, usage = build(folder, work, shards, parts, box=job.box)
        _require_written_training(schema, job, work.cases)
        if usage is not None and work.imagery is not None:
            _write_frames(folder, work.imagery, usage)
        return store.commit(folder, path, _complete(provisional, schema, work.imagery, usage))


def _config(job: RecordsJob, shards: int) -> dict[str, Any]:
    """The fields that decide the result. The default box goes unsaid: records made before boxes keep their names."""
    unsaid = {"box"} if job.box == DEFAULT_BOX else set()
    return job.model_dump(mode="json", exclude=_NOT_THE_RESULT | unsaid) | {"format": FORMAT, "shards": shards}


def _require_training_storms(cases: Cases, years: SplitYears, job: RecordsJob, table: pd.DataFrame) -> None:
    rules = SampleRules.within(job.box, job.min_wind_kt)
    rows = {split: rows_of(cases, years, split) for split in SPLITS}
    if not len(rows["train"]):
        others = ", ".join(f"{len(rows[split])} {split}" for split in ("val", "test"))
        raise InputError(
            f"no training storm: the tracks hold 0 cases of seasons {years.train_from}-{years.train_to}"
            f" ({rules.in_words()}; {others});"
            f" the file has {what_there_is(table, rules, years.train_from, years.train_to)}:"
            " change --train-from, --train-to, --min-wind-kt or --box"
        )


def _warn_of_empty_splits(manifest: Manifest) -> None:
    """Seasons were asked for and hold nothing: a typing error, or a file that ends before."""
    for split, span in manifest.extra["seasons"].items():
        if span is not None and not manifest.counts[split]:
            sys.stderr.write(
                f"records: warning: no {split} sample in seasons {span[0]}-{span[1]}: check the seasons, --box and"
                " --min-wind-kt if there should be some\n"
            )


def _require_written_training(schema: RecordsSchema, job: RecordsJob, cases: Cases) -> None:
    if not schema.storms["train"]:
        raise InputError(
            f"no training storm: none of {len(cases)} cases in seasons {job.train_from}-{job.train_to} has a frame of"
            f" stream {job.stream!r} (with a frame: {schema.counts['val']} val, {schema.counts['test']} test):"
            " change the seasons, raise --max-frame-age-h, or give --no-frames-only"
        )


def _image_spec(job: RecordsJob, imagery: Imagery) -> ImageSpec:
    """The job's geometry with the quantity of the first frame that can be read; all others must have the same."""
    frames = (imagery.cache.frame(key.path) for key in imagery.keys)
    quantity = next((frame.quantity for frame in frames if frame is not None), "brightness_temperature_k")
    return ImageSpec.model_validate(
        {"frames": job.frames, "px": job.px, "km_per_px": job.km_per_px, "quantity": quantity}
    )


def _write_frames(folder: Path, imagery: Imagery, usage: Usage) -> None:
    """Lineage: every frame within reach, its sha256, how many samples took it, and whether it could be read."""
    bad = imagery.damaged.keys() | usage.unreadable.keys()
    with (folder / FRAMES_NAME).open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["path", "sha256", "samples", "state"])
        for row, key in enumerate(imagery.keys):
            used = int(usage.samples[row])
            state = "unreadable" if key.path in bad else "used" if used else "unused"
            rows.writerow([key.path, hexadecimal(imagery.sums, row), used, state])


def _complete(
    provisional: Manifest, schema: RecordsSchema, imagery: Imagery | None, usage: Usage | None
) -> Manifest:  # fmt: skip
    counts = {str(split): schema.counts[split] for split in SPLITS}
    counts |= {f"{split}_storms": schema.storms[split] for split in SPLITS}
    counts |= {f"{split}_with_frames": schema.with_frames[split] for split in SPLITS}
    counts |= {"frames_in_reach": 0, "frames_used": 0, "frames_unreadable": 0}
    if imagery is not None and usage is not None:
        counts["frames_in_reach"] = len(imagery.keys)
        counts["frames_used"] = int(np.count_nonzero(usage.samples))
        counts["frames_unreadable"] = len(imagery.damaged.keys() | usage.unreadable.keys())
    extra: dict[str, Any] = {
        "seasons": json.loads(json.dumps(schema.seasons)),  # tuples as lists, as they come back from the file
        "images": schema.images.model_dump(mode="json"),
    }
    return provisional.model_copy(update={"counts": counts, "extra": extra})


def _summary(path: str, manifest: Manifest) -> dict[str, Any]:
    """All of it from the manifest, so that a run that found the records says the same as the one that made them."""
    counts = manifest.counts
    return {
        "records": path,
        "samples": {split: counts[split] for split in SPLITS},
        "with_frames": {split: counts[f"{split}_with_frames"] for split in SPLITS},
        "storms": {split: counts[f"{split}_storms"] for split in SPLITS},
        "seasons": {split: manifest.extra["seasons"][split] for split in SPLITS},
        "frames": {name: counts[f"frames_{name}"] for name in ("in_reach", "used", "unreadable")},
        "bytes": int(np.sum([entry.bytes for entry in manifest.files])),
    }
