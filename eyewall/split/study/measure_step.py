"""The step ``eyewall measure-split``: one part of the study on every link, found or measured.

What is measured is kept link by link under ``runs/``, so that a measurement that was killed goes on with the next
link. Times differ from run to run: the artifact's name is of what was asked for, and the first one there is kept.
"""

import contextlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eyewall import __version__
from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import artifact_dir, digest_of, run_dir
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split_jobs import MeasureSplitJob
from eyewall.progress import progress
from eyewall.split.study.link import LinkSpec
from eyewall.split.study.measure import UNSHAPED, links_of, measure_link, turns_of
from eyewall.split.study.parts import PreparedPart, inputs_of, prepare
from eyewall.split.study.prepare import Bench
from eyewall.split.study.results import MEASUREMENT_NAME, Cell, Measurement
from eyewall.storage import Artifact, Store

KIND = "measurement"
#: Raise it when the same job would be measured in another way.
MEASUREMENT_FORMAT = 1
_NOT_DECISIVE = {"store", "receipt", "images", "model_ref", "records_ref"}


def run(job: MeasureSplitJob) -> Receipt:
    """Measure, unless the store has it. Raises InputError for what the part lacks, and as `Rig`."""
    store = Store(job.store)
    inputs = inputs_of(job, store)
    config = {name: value for name, value in job.model_dump(mode="json").items() if name not in _NOT_DECISIVE}
    digest = digest_of({"format": MEASUREMENT_FORMAT, "inputs": inputs, **config})
    path = artifact_dir("measurements", digest)
    manifest = store.read_manifest(path)
    if manifest is None:
        measured = _measure(job, store, f"{run_dir(f'measure-split-{digest[:16]}')}/links.json")
        made = Manifest(kind=KIND, code_version=__version__, inputs=inputs, config=config)
        with store.staging(path) as folder:
            values = measured.model_dump(mode="json")
            (folder / MEASUREMENT_NAME).write_text(json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n")
            manifest = store.commit(folder, path, made)
    artifact = Artifact(store, path, manifest)
    return Receipt(verb=job.verb, result=artifact.reference, summary=_summary(read(artifact)) | {"measurement": path})


def read(artifact: Artifact) -> Measurement:
    """The measurement of an artifact. Raises ContractError when it is none."""
    path = f"{artifact.path}/{MEASUREMENT_NAME}"
    return Measurement.parse(artifact.store.read_json(path), path)


def _measure(job: MeasureSplitJob, store: Store, kept_at: str) -> Measurement:
    with _scratch() as folder:
        with progress(job.verb) as advance:
            bench = Bench(folder, say=lambda sentence: advance(0, f"{job.part}: {sentence}"))
            part = prepare(job, store, bench)
        set_up, cells = _measure_links(job, store, bench, kept_at)
    kind, *sentences = set_up
    return Measurement(
        part=job.part,
        model=part.model,
        frame=part.frame,
        link_kind=kind,
        set_up=(*sentences, *part.notes, _machine()),
        client_cpu=job.client_cpu,
        batch=job.batch,
        candidates=tuple(bench.candidates),
        unshaped=tuple(cell for cell in cells if cell.link == UNSHAPED),
        cells=tuple(cell for cell in cells if cell.link != UNSHAPED),
        **_measured_by(part),
    )


def _measured_by(part: PreparedPart) -> dict[str, Any]:
    fields = ("jpeg_bytes", "losses", "loss_unit", "quality", "scored")
    return {name: getattr(part, name) for name in fields}


def _measure_links(
    job: MeasureSplitJob, store: Store, bench: Bench, kept_at: str
) -> tuple[tuple[str, ...], list[Cell]]:
    """How it was measured (the kind of link first), and the cells of every link; those that are kept are not redone."""
    from eyewall.split.study.rig import Rig

    kept: dict[str, Any] = store.read_json(kept_at) if store.exists(kept_at) else {"set_up": None, "links": {}}
    links: list[LinkSpec] = [UNSHAPED, *links_of(job.bandwidths_mbps, job.rtts_ms)]
    missing = [link for link in links if link.name not in kept["links"]]
    if missing:
        with Rig(bench, job.link, job.client_cpu, job.batch) as rig:
            set_up = [rig.link.kind, *rig.describe()]
            if kept["set_up"] not in (None, set_up):
                raise InputError(
                    f"{kept_at!r} was begun as {kept['set_up']}, now it would be {set_up}: remove it to begin anew"
                )
            total = turns_of(bench, len(missing), job.requests)
            with progress(job.verb, total=total, unit="turns") as advance:
                for link in missing:
                    cells = measure_link(rig, bench, link, job.requests, job.seed, advance)
                    kept["set_up"] = set_up
                    kept["links"][link.name] = [cell.model_dump(mode="json") for cell in cells]
                    store.write_json(kept_at, kept)
    cells = [Cell.model_validate(cell) for link in links for cell in kept["links"][link.name]]
    return tuple(kept["set_up"]), cells


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="eyewall-split-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _machine() -> str:
    load = os.getloadavg()[1]
    return (
        f"{os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}, {platform.machine()}, load"
        f" {load:.1f} over the last 5 minutes of it"
    )


def _summary(measured: Measurement) -> dict[str, Any]:
    """Best way by link, and how many were measured."""
    best = {}
    for link in measured.links():
        cell = min((c for c in measured.cells if c.link == link), key=lambda c: c.total_s.median)
        best[link.name] = f"{cell.way}, {cell.total_s.median * 1000:.1f} ms"
    return {
        "part": measured.part, "link": measured.link_kind, "ways": len(measured.candidates), "best": best,
    }  # fmt: skip
