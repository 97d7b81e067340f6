"""Where each kind of artifact lives in the store. Every path of the project is made here and nowhere else.

frames/<stream>/<YYYY>/<MM>/<DD>/<YYYYMMDDTHHMMSSZ>.nc        one frame; .json beside it is its manifest
frames/<stream>/.sums/<YYYY>.csv                              sha256 of a year's frames; made again when it is lost
quarantine/<stream>/<file>__<sha256[:12]>, ….reason.json      what was refused, and why
records/<digest>/                                             shards, schema.json, statistics.json
records/.<digest>.resuming.tmp/                               parts of records that are being built
runs/<run>/                                                   checkpoints of a training run
models/<digest>/saved_model/, model.json                      a trained candidate
networks/<digest>/weights.npz, network.json                   a network of the split study
scores/<digest>/score.json or privacy.json                    its accuracy over each wire; what leaks at each cut
measurements/<digest>/                                        times and bytes of every way on every link
studies/<digest>/                                             the split study's report
encoders/<digest>/weights.npz, encoder.json                   a pretrained encoder of pictures
centres/<digest>/weights-<n>.npz, centre.json                 a network that finds centres
positions/<digest>/positions.csv, report.json                 where it found storms, and how far off
evaluations/<digest>/report.json                              a verification
decisions/<digest>/decision.json                              a gate decision
serving/<name>/<version>/                                     the model repository (TensorFlow Serving's layout)
serving/models.json                                           which versions are served, and their labels
forecasts/<stream or track>/<YYYYMMDDTHHMMSSZ>/<storm>.json   a stored forecast
receipts/<dag>/<run>/<task>.json                              receipts of DAG runs
jobs/<job>/<attempt>/log.txt, out/                            what a job of the queue printed, and what it left
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
#: Folders of artifacts that a digest of their inputs names: what is gone from there can be made again.
CONTENT_NAMED = (
    "records", "models", "networks", "scores", "measurements", "studies", "encoders", "centres", "positions",
    "evaluations", "decisions",
)  # fmt: skip


def time_key(time: datetime) -> str:
    """``2026-11-21 04:00 UTC`` → ``20261121T040000Z``; aware times are converted, naive ones are UTC."""
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return utc.strftime(TIME_FORMAT)


def parse_time_key(key: str) -> datetime:
    """The inverse of `time_key`. Raises ValueError when ``key`` is not one."""
    return datetime.strptime(key, TIME_FORMAT).replace(tzinfo=UTC)


def safe_key(text: str) -> str:
    """Any text (a run id, a file name) → one path component: readable, and distinct for distinct texts."""
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._")[:80]
    return plain if plain == text and plain else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def digest_of(inputs: Mapping[str, Any]) -> str:
    """sha256 of what determines an artifact (sums of its inputs, fields of its job, a format number), as JSON.

    Names come in sorted order, so that equal inputs have one digest however they were gathered.
    """
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def digest_of_files(pairs: Iterable[tuple[str, str]]) -> str:
    """sha256 of (name, sha256) pairs, in their order: the one number that stands for many files."""
    digest = hashlib.sha256()
    for name, sha in pairs:
        digest.update(f"{name} {sha}\n".encode())
    return digest.hexdigest()


def frame_path(stream: str, nominal_time: datetime, part: str = "") -> str:
    """Path of the frame of ``stream`` at its nominal time (UTC).

    ``part`` tells apart frames of one time, such as the storm of a storm-centred archive.
    """
    key = time_key(nominal_time)
    name = f"{key}__{safe_key(part)}" if part else key
    return f"frames/{stream}/{key[0:4]}/{key[4:6]}/{key[6:8]}/{name}.nc"


def parse_frame_path(path: str) -> tuple[datetime, str]:
    """Nominal time (UTC) and part of a frame's path. Raises ValueError when it is not one."""
    name = path.rsplit("/", 1)[-1].removesuffix(".nc")
    key, _, part = name.partition("__")
    return parse_time_key(key), part


def frame_sums_path(stream: str, year: str) -> str:
    """Path of what is remembered of the content of a year's frames."""
    return f"frames/{stream}/.sums/{year}.csv"


def resuming_dir(artifact: str) -> str:
    """Folder of what is done of an artifact, by its own path; a staging name, which `eyewall store tidy` knows."""
    parent, _, name = artifact.rpartition("/")
    return f"{parent}/.{name}.resuming.tmp"


def quarantine_path(stream: str, file_name: str, sha256: str) -> str:
    """Path under which a refused file is kept; equal content keeps its place, other content gets another."""
    return f"quarantine/{stream}/{safe_key(file_name)}__{sha256[:12]}"


def attempt_dir(job: int, number: int) -> str:
    """Folder of one attempt of a job of the queue: ``log.txt``, and ``out/`` with what it left."""
    return f"jobs/{job}/{number}"


def artifact_dir(kind: str, digest: str) -> str:
    """Folder of a content-named artifact; ``kind`` is one of CONTENT_NAMED."""
    return f"{kind}/{digest[:16]}"


def run_dir(run: str) -> str:
    """Folder of a training run's checkpoints."""
    return f"runs/{run}"


def version_dir(name: str, version: int) -> str:
    """Folder of one served version, as TensorFlow Serving expects it."""
    return f"serving/{name}/{version}"


def forecast_dir(series: str, base_time: datetime) -> str:
    """Folder of the forecasts made for one base time."""
    return f"forecasts/{series}/{time_key(base_time)}"


def receipt_path(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Path of a task's receipt: known before the task runs, so downstream commands can name it."""
    suffix = "" if map_index < 0 else f"__{map_index}"
    return f"receipts/{safe_key(dag_id)}/{safe_key(run_id)}/{safe_key(task_id)}{suffix}.json"
