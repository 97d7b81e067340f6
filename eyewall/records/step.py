"""``eyewall records``: best tracks and frames → a records artifact, named by what determines it.

The name is the sha256 of the inputs' digests, the job's fields and this format's number. Tracks are read and frames
hashed to know it; no image is cut out when the artifact is there already.
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
from eyewall.records.build import Imagery, build, fixes_by_storm, rows_of, sample_keys
from eyewall.records.frames import FrameCache
from eyewall.records.inputs import damaged_frames, frames_sha256, stream_frames, within_reach
from eyewall.records.schema import SPLITS, RecordsSchema
from eyewall.records.split import SplitYears, check_no_leak
from eyewall.storage import Store

#: Raised whenever the same inputs would give other bytes.
FORMAT: Final = 1
FRAMES_NAME: Final = "frames.csv"
_NOT_THE_RESULT: Final = {"store", "receipt", "tracks"}  #: fields that say where, not what


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

    keys, hashes = [], {}
    if job.stream is not None and job.frames:
        keys = within_reach(stream_frames(store, job.stream), cases.base_time, job.max_frame_age_h)
        hashes = frames_sha256(store, keys)
    provisional = Manifest(
        kind="records",
        code_version=__version__,
        inputs={"tracks": tracks_sha256(job.tracks, job.tracks_format), "frames": digest_of_files(hashes.items())},
        config=_config(job),
    )
    path = artifact_dir("records", provisional.sha256())
    manifest = store.read_manifest(path)
    if manifest is None:
        imagery, spec = None, ImageSpec(frames=0, px=job.px, km_per_px=job.km_per_px)
        if job.stream is not None and job.frames:
            cache = FrameCache(store)
            for frame, reason in damaged_frames(store, hashes).items():
                cache.leave_out(frame, reason)
            imagery = Imagery(
                store, job.stream, keys, fixes_by_storm(table), job.max_frame_age_h, job.min_frame_gap_h, cache
            )
            spec = _image_spec(job, imagery)
        with store.staging(path) as folder:
            schema = build(folder, cases, years, spec, job.shards, imagery, frames_only=job.frames_only, box=job.box)
            _require_written_training(schema, job, cases)
            if imagery is not None:
                _write_frames(folder, hashes, imagery.cache)
            manifest = store.commit(folder, path, _complete(provisional, schema, imagery))
    _warn_of_empty_splits(manifest)
    return Receipt(
        verb=job.verb, result=Reference(uri=path, sha256=manifest.sha256()), summary=_summary(path, manifest)
    )


def _config(job: RecordsJob) -> dict[str, Any]:
    """The fields that decide the result. The default box goes unsaid: records made before boxes keep their names."""
    unsaid = {"box"} if job.box == DEFAULT_BOX else set()
    return job.model_dump(mode="json", exclude=_NOT_THE_RESULT | unsaid) | {"format": FORMAT}


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


def _write_frames(folder: Path, hashes: dict[str, str], cache: FrameCache) -> None:
    """Lineage: every frame within reach, its sha256, how many samples took it, and whether it could be read."""
    with (folder / FRAMES_NAME).open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["path", "sha256", "samples", "state"])
        for path, sha256 in hashes.items():
            used = cache.used.get(path, 0)
            state = "unreadable" if path in cache.unreadable else "used" if used else "unused"
            rows.writerow([path, sha256, used, state])


def _complete(provisional: Manifest, schema: RecordsSchema, imagery: Imagery | None) -> Manifest:
    cache = imagery.cache if imagery is not None else None
    counts = {str(split): schema.counts[split] for split in SPLITS}
    counts |= {f"{split}_storms": schema.storms[split] for split in SPLITS}
    counts |= {f"{split}_with_frames": schema.with_frames[split] for split in SPLITS}
    counts["frames_in_reach"] = len(imagery.keys) if imagery is not None else 0
    counts["frames_used"] = len(cache.used) if cache is not None else 0
    counts["frames_unreadable"] = len(cache.unreadable) if cache is not None else 0
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
