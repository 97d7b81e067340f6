"""Part 3: an image or fusion model of the project, cut everywhere: track error against bytes.

Scored are the test samples that have an image; head, wire and tail run one after the other on each, so that the error
is of what would be deployed. Besides all channels of a cut, its most telling half, quarter and eighth are sent as int8
(no retraining: the tail puts the mean in the place of the others). Timed are the cuts with all channels. Cuts that are
larger than the raw images even as int8 are left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import distance_km
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
    ImageSpec,
    input_shapes,
)
from eyewall.contracts.split import WIRES, Wire
from eyewall.contracts.split_jobs import MeasureSplitJob
from eyewall.records.example import decode
from eyewall.records.schema import read_schema
from eyewall.records.shards import read_records, shard_paths
from eyewall.split.cuts import cut_points
from eyewall.split.graph import graph_of
from eyewall.split.partition import split
from eyewall.split.study.parts import PreparedPart
from eyewall.split.study.prepare import Bench
from eyewall.split.study.results import Candidate
from eyewall.storage import Artifact, Store, resolve

Arrays = dict[str, npt.NDArray[Any]]
#: Parts of a cut's channels that are tried.
_PARTS = (1, 2, 4, 8)
_CALIBRATION = 200
_TIMED_WIRES: tuple[Wire, ...] = ("float32", "int8")
_LOSS_LEAD_H = 24


def prepare(job: MeasureSplitJob, store: Store, bench: Bench) -> PreparedPart:
    """Fill ``bench`` and score every cut. Raises InputError, ContractError."""
    from eyewall.models.trained import restore
    from eyewall.split.forecaster import functional_view
    from eyewall.training.tensorflow_setup import prepare as seeded

    seeded(job.seed)
    assert job.model_ref is not None
    assert job.records_ref is not None
    model, spec = restore(resolve(store, job.model_ref, "model").folder())
    records = resolve(store, job.records_ref, "records")
    test, calibration = samples(records, "test", spec), samples(records, "train", spec, _CALIBRATION)
    view = functional_view(model, spec)
    graph = graph_of(view)
    inputs = {name: test[name] for name in input_shapes(spec)}
    known = {name: calibration[name] for name in input_shapes(spec)}
    bench.add_whole(view, {name: array[:1] for name, array in inputs.items()}, (IMAGES,))
    outputs = {name: np.asarray(value) for name, value in view(inputs, training=False).items()}
    quality = {"cloud": errors_km(outputs, test)}
    quality["client"] = quality["cloud"]
    scored: list[Candidate] = []
    tried = list(_tried(view, test[IMAGES][0].nbytes))
    for number, (cut, channels, wire, timed) in enumerate(tried, start=1):
        parts = split(graph, cut, channels=channels, wire=wire, calibration=known)
        candidate = Candidate.of_split(parts.contract)
        bench.say(f"scoring {number} of {len(tried)}, {candidate.name}")
        side = {name: test[name] for name in parts.contract.side_inputs}
        answered = parts.tail(parts.head({name: test[name] for name in parts.contract.head_inputs}), side=side)
        quality[candidate.name] = errors_km(answered, test)
        if timed:
            bench.add_split(parts)
        else:
            scored.append(candidate)
    bench.finish({name: array[:64] for name, array in inputs.items()})
    whole = quality["cloud"][str(_LOSS_LEAD_H)]
    pixels = spec.frames * spec.px * spec.px
    return PreparedPart(
        f"{model.kind} forecaster",
        f"{spec.frames} storm-centred images of {spec.px} × {spec.px}, {spec.quantity}, float32 as the model takes them"
        f" ({4 * pixels} bytes; {pixels} as grey levels of one byte)",
        (f"{len(test[IMAGES])} test samples that have an image, of {_storms(records, spec)} storms",),
        losses={way: round(figures[str(_LOSS_LEAD_H)] - whole, 4) for way, figures in quality.items()},
        loss_unit=f"km of mean error at +{_LOSS_LEAD_H} h",
        quality=quality,
        scored=tuple(scored),
    )


def _tried(view: Any, raw_bytes: int) -> Iterator[tuple[str, int, Wire, bool]]:
    """(cut, channels, wire, whether it is timed too) of every way; ``raw_bytes`` are those of a frame's images."""
    for point in cut_points(view):
        if point.bytes_int8 > raw_bytes:  # more than the raw images, whatever is done
            continue
        for part in _PARTS:
            if channels := point.shape[-1] // part:
                for wire in WIRES if part == 1 else WIRES[-1:]:
                    yield point.name, channels, wire, part == 1 and wire in _TIMED_WIRES


def errors_km(outputs: Mapping[str, npt.NDArray[Any]], truth: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Mean great-circle error by lead (hours, as text), km, over the samples whose storm has a fix then."""
    distance = distance_km(outputs[OUT_LAT_DEG], outputs[OUT_LON_DEG], truth[TARGET_LAT_DEG], truth[TARGET_LON_DEG])
    valid = truth[TARGET_VALID] > 0
    return {
        str(lead): round(float(distance[valid[:, i], i].mean()), 3)
        for i, lead in enumerate(LEADS_H)
        if valid[:, i].any()
    }


def samples(records: Artifact, part: str, spec: ImageSpec, most: int | None = None) -> Arrays:
    """The first ``most`` samples of a part with at least one image, arrays [n, …] by name. Raises InputError."""
    found = []
    for sample in _all(records, part, spec):
        if _has_image(sample):
            found.append(sample)
        if most is not None and len(found) == most:
            break
    if not found:
        raise InputError(f"{records.path!r} has no {part} sample with an image: make records with a stream of frames")
    return {name: np.stack([np.asarray(s[name], np.float32) for s in found]) for name in (*input_shapes(spec), *_TRUTH)}


_TRUTH = (TARGET_LAT_DEG, TARGET_LON_DEG, TARGET_VALID)


def _has_image(sample: Mapping[str, Any]) -> bool:
    return IMAGE_VALID in sample and bool(np.any(sample[IMAGE_VALID] > 0))


def _all(records: Artifact, part: str, spec: ImageSpec) -> Iterator[dict[str, Any]]:
    folder = records.folder()
    held = read_schema(folder).images
    if held != spec:
        raise InputError(f"{records.path!r} holds images of {held}, the model takes {spec}: give its own records")
    for path in shard_paths(folder, part, int(records.manifest.config["shards"])):
        for record in read_records(path):
            yield decode(record, spec)


def _storms(records: Artifact, spec: ImageSpec) -> int:
    return len({s["storm_id"] for s in _all(records, "test", spec) if _has_image(s)})
