"""Every method's forecasts for the same cases, as positions: the baselines' and the models'.

Positions have shape [n, l], degrees; NaN where a method gives none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eyewall import quiet
from eyewall.besttrack.baselines import Cliper, no_motion_km, persistence_km
from eyewall.besttrack.cases import Cases
from eyewall.besttrack.sphere import destination
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    BASE_TIME_S,
    IMAGE_FEATURES,
    IMAGE_VALID,
    LEADS_H,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    OUT_SOURCE,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    STORM_ID,
)
from eyewall.verification.metrics import Floats
from eyewall.verification.verified_model import Arrays, VerifiedModel

Positions = tuple[Floats, Floats]

#: Rows of a request: bounds the memory that images take.
BATCH = 256


@dataclass(frozen=True)
class Baselines:
    """Positions by each of `eyewall.verification.report.BASELINES`, and what the fit of CLIPER came to by lead."""

    positions: dict[str, Positions]
    cliper_forms: tuple[str, ...]  #: [l] "quadratic", or the simpler form that the number of cases allows


def baselines(cases: Cases, fit_cases: Cases) -> Baselines:
    """Every baseline's positions for ``cases``, fitted on ``fit_cases``."""
    cliper = Cliper.fit(fit_cases, form="quadratic")
    displacements = {
        "no_motion": no_motion_km(cases.features),
        "mean_displacement": Cliper.fit(fit_cases, form="mean").predict_km(cases.features),
        "persistence_6h": persistence_km(cases.features, hours=6),
        "persistence_12h": persistence_km(cases.features, hours=12),
        "cliper_linear": Cliper.fit(fit_cases, form="linear").predict_km(cases.features),
        "cliper": cliper.predict_km(cases.features),
    }
    lat, lon = (cases.features[name][:, -1:].astype(np.float64) for name in (PAST_LAT_DEG, PAST_LON_DEG))
    positions = {name: destination(lat, lon, km[..., 0], km[..., 1]) for name, km in displacements.items()}
    return Baselines(positions, cliper.lead_forms)


@dataclass
class RecordImages:
    """The images of a records artifact's test split, joined to cases by storm and base time."""

    folder: Path
    storm_base: dict[tuple[str, int], int] = field(default_factory=dict)  #: (storm, base time in s) → case

    @classmethod
    def of(cls, folder: Path, cases: Cases) -> "RecordImages":
        """Index of ``cases``; the records are read anew by each `batches`, so that memory stays bounded."""
        seconds = cases.base_time.astype("datetime64[s]").astype(np.int64)
        keys = zip(map(str, cases.storm_id), map(int, seconds), strict=True)
        return cls(folder, {key: index for index, key in enumerate(keys)})

    def batches(self) -> Iterator[tuple[np.ndarray, Arrays]]:
        """(case indices [b], image inputs by name, each [b, …]) for the samples that are cases and have a frame."""
        from eyewall.records.dataset import load

        quiet.import_tensorflow()
        for features, _, meta in load(self.folder, "test", batch=BATCH, with_meta=True):
            if IMAGE_VALID not in features:
                return  # track-only records
            storms = (storm.decode() for storm in meta[STORM_ID].numpy())
            keys = zip(storms, map(int, meta[BASE_TIME_S].numpy()), strict=True)
            case = np.array([self.storm_base.get(key, -1) for key in keys], dtype=np.int64)
            wanted = (case >= 0) & (features[IMAGE_VALID].numpy() > 0).any(axis=1)
            if wanted.any():
                yield case[wanted], {name: features[name].numpy()[wanted] for name in IMAGE_FEATURES}

    def with_frames(self, count: int) -> np.ndarray:
        """Mask [n] of the ``count`` cases that have at least one frame."""
        mask = np.zeros(count, dtype=np.bool_)
        for case, _ in self.batches():
            mask[case] = True
        return mask


@dataclass(frozen=True)
class ModelAnswer:
    """What a model says of each case."""

    positions: Positions
    radii_km: dict[str, Floats]  #: OUT_RADIUS_68_KM and OUT_RADIUS_95_KM → [n, l]; empty where it gives none
    source: np.ndarray | None  #: [n] index of SOURCES; None where it does not say


def model_answer(model: VerifiedModel, cases: Cases, images: RecordImages | None) -> ModelAnswer:
    """A model's answers; cases without a frame in ``images`` are asked without images (masks at 0)."""
    predict = model.load()
    wanted = (len(cases), len(LEADS_H))
    found = {name: np.full(wanted, np.nan) for name in (OUT_LAT_DEG, OUT_LON_DEG)}
    left = np.ones(len(cases), dtype=np.bool_)

    def ask(index: np.ndarray, extra: Arrays) -> None:
        answer = predict({name: values[index] for name, values in cases.features.items()} | extra)
        for name in (OUT_LAT_DEG, OUT_LON_DEG):
            if name not in answer or answer[name].shape != (len(index), len(LEADS_H)):
                shape = answer[name].shape if name in answer else None
                raise InputError(
                    f"model {model.uri!r} answers {name} in the shape {shape} instead of"
                    f" {(len(index), len(LEADS_H))}: give one with the signature of eyewall.contracts.features"
                )
        for name in (OUT_LAT_DEG, OUT_LON_DEG, *_RADII, OUT_SOURCE):
            if name in answer:
                whole = found.setdefault(name, np.full((len(cases), *answer[name].shape[1:]), np.nan))
                whole[index] = answer[name]
        left[index] = False

    if images is not None and model.may_take_images:
        for index, batch in images.batches():
            ask(index, batch)
    rest = np.flatnonzero(left)
    for start in range(0, len(rest), BATCH):
        ask(rest[start : start + BATCH], {})
    radii = {name: found[name] for name in _RADII if found.get(name) is not None and found[name].shape == wanted}
    source = found.get(OUT_SOURCE)
    return ModelAnswer((found[OUT_LAT_DEG], found[OUT_LON_DEG]), radii, None if source is None else source.astype(int))


_RADII = (OUT_RADIUS_68_KM, OUT_RADIUS_95_KM)
