"""What a training knows before its first step: the records' geometry, CLIPER as fitted on them, the scales."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.baselines import Cliper
from eyewall.besttrack.cases import Cases
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    BASE_TIME_S,
    DAY_OF_YEAR,
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    PAST_LAT_DEG,
    PAST_PRESSURE_HPA,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    SEASON,
    STORM_ID,
    TARGET_DISPLACEMENT_KM,
    TARGET_VALID,
    TRACK_FEATURES,
    ImageSpec,
)
from eyewall.contracts.jobs import TrainJob
from eyewall.models.card import Normalisation
from eyewall.models.registry import images_of
from eyewall.records.dataset import load, read_schema
from eyewall.records.schema import FeatureStatistics, RecordsSchema, Split
from eyewall.training.model_inputs import ModelInputs, refuse_leak

_READ_ROWS = 256
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """The same in every replica: it follows from the records and the job alone."""

    job: TrainJob
    folder: Path  #: the records
    schema: RecordsSchema
    images: ImageSpec  #: what the model takes; frames 0: none
    cliper: Cliper
    scale_km: tuple[float, ...]  #: per lead, mean error of CLIPER on the train split
    lead_weight: tuple[float, ...]  #: per lead, samples over those of them that have a target; 0 where none has
    normalisation: Normalisation
    cliper_error_km: Floats  #: [n, l] of CLIPER on the cases of its fit; NaN where there is no target
    inputs: ModelInputs = field(default_factory=ModelInputs)  #: trained models that this one begins with


def make_plan(job: TrainJob, folder: Path, inputs: ModelInputs | None = None) -> Plan:
    """Read the records' schema and fit CLIPER, or take the track model's. Raises InputError, LeakError."""
    inputs = inputs or ModelInputs()
    schema = read_schema(folder)
    images = images_of(job.model, schema.images)
    if not schema.counts["train"]:
        raise InputError(
            "the records hold no training sample: choose other --train-from and --train-to seasons for them"
        )
    train = read_cases(folder, "train")
    if inputs.track is not None:
        return _corrected(job, folder, schema, images, train, inputs)
    fitted = train.select(strong_enough(train.features, job.min_wind_kt))
    if not len(fitted):
        raise InputError(
            f"none of the {len(train)} training samples has a wind of {job.min_wind_kt:g} kt: lower --min-wind-kt"
        )
    cliper = Cliper.fit(fitted)
    error = np.linalg.norm(fitted.targets[TARGET_DISPLACEMENT_KM] - cliper.predict_km(fitted.features), axis=-1)
    error[fitted.targets[TARGET_VALID] == 0] = np.nan
    has = np.isfinite(error).any(axis=0)
    mean_km = np.array([np.nanmean(at_lead) if known else 0.0 for at_lead, known in zip(error.T, has, strict=True)])
    # Where CLIPER is perfect or has nothing to go by, ten km an hour keeps the division defined.
    scale_km = np.where(mean_km > 1.0, mean_km, 10.0 * np.array(LEADS_H))
    return Plan(
        job=job,
        folder=folder,
        schema=schema,
        images=images,
        cliper=cliper,
        scale_km=tuple(float(v) for v in scale_km),
        lead_weight=_lead_weight(train),
        normalisation=_normalisation(schema).model_copy(
            update={
                "lon_origin_deg": cliper.lon_origin_deg,
                "lat_origin_deg": math.copysign(20.0, float(np.median(train.features[PAST_LAT_DEG][:, -1]))),
            }
        ),
        cliper_error_km=error,
        inputs=inputs,
    )


def _corrected(
    job: TrainJob, folder: Path, schema: RecordsSchema, images: ImageSpec, train: Cases, inputs: ModelInputs
) -> Plan:
    """The plan of a model that corrects a trained one: CLIPER, scales and the track's normalisation are that one's."""
    assert inputs.track is not None
    card = inputs.track.card
    refuse_leak(inputs, schema)
    own = _normalisation(schema)
    return Plan(
        job=job,
        folder=folder,
        schema=schema,
        images=images,
        cliper=Cliper.from_json(card.cliper),
        scale_km=card.scale_km,
        lead_weight=_lead_weight(train),
        normalisation=card.normalisation.model_copy(update={"image_mean": own.image_mean, "image_std": own.image_std}),
        cliper_error_km=np.zeros((0, len(LEADS_H))),
        inputs=inputs,
    )


def _lead_weight(train: Cases) -> tuple[float, ...]:
    """Per lead, samples over those of them that have a target; 0 where none has."""
    count = (train.targets[TARGET_VALID] > 0).sum(axis=0)
    return tuple(float(v) for v in np.where(count > 0, len(train) / np.maximum(count, 1), 0.0))


def judged(plan: Plan, features: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Which samples [n] of ``features`` validation judges by: strong enough, and with a frame where images correct."""
    strong = strong_enough(features, plan.job.min_wind_kt)
    if plan.inputs.track is None:
        return strong
    return np.asarray(strong & (features[IMAGE_VALID].max(axis=-1) > 0))


def strong_enough(features: dict[str, Any], min_wind_kt: float) -> npt.NDArray[np.bool_]:
    """Which samples [n] of ``features`` CLIPER is fitted on and validation judges by; 0 takes unknown winds too."""
    if min_wind_kt <= 0:
        return np.ones(len(features[PAST_WIND_KT]), np.bool_)
    return np.asarray((features[PAST_WIND_VALID][:, -1] > 0) & (features[PAST_WIND_KT][:, -1] >= min_wind_kt))


def _normalisation(schema: RecordsSchema) -> Normalisation:
    """Of the records' own statistics; the defaults where the train split has no value at all."""
    statistics = schema.statistics.get("train", {})
    values: dict[str, float] = {}
    for feature, key, unit in (
        (PAST_WIND_KT, "wind", "_kt"),
        (PAST_PRESSURE_HPA, "pressure", "_hpa"),
        (IMAGES, "image", ""),
    ):
        found: FeatureStatistics | None = statistics.get(feature)
        if found is not None and found.count and found.std > 0:
            values |= {f"{key}_mean{unit}": found.mean, f"{key}_std{unit}": found.std}
    return Normalisation(**values)


def batches(folder: Path, split: Split) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(features, targets, meta) of a split in the order on disk, NumPy arrays of up to 256 rows."""
    yield from load(folder, split, batch=_READ_ROWS, with_meta=True).as_numpy_iterator()


def read_cases(folder: Path, split: Split) -> Cases:
    """A split as best-track cases: everything but the images. The split must not be empty."""
    wanted = (*TRACK_FEATURES, DAY_OF_YEAR)
    parts = [({k: f[k] for k in wanted}, t, m) for f, t, m in batches(folder, split)]
    features, targets, meta = (
        {name: np.concatenate([part[which][name] for part in parts]) for name in parts[0][which]} for which in range(3)
    )
    return Cases(
        storm_id=np.array([storm.decode() for storm in meta[STORM_ID]], dtype=object),
        season=meta[SEASON],
        base_time=meta[BASE_TIME_S].astype("datetime64[s]").astype("datetime64[ns]"),
        features=features,
        targets=targets,
    )
