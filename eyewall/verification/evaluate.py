"""One verification from beginning to end: sample, forecasts of every method, errors, report; and the table of cases."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    LEADS_H,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
)
from eyewall.contracts.jobs import VerifyJob
from eyewall.records.schema import RecordsSchema, read_schema
from eyewall.records.statistics import skew
from eyewall.storage import Artifact
from eyewall.verification.coverage import answers_by_source, coverage_scores
from eyewall.verification.forecasts import ModelAnswer, Positions, RecordImages, baselines, model_answer
from eyewall.verification.metrics import Bools, Floats, track_errors
from eyewall.verification.report import (
    METHODS,
    Errors,
    Report,
    Sample,
    Verified,
    everything,
    lead_scores,
    sliced_scores,
)
from eyewall.verification.sample import VerificationSample, build_sample
from eyewall.verification.slices import INTENSITIES, STAGES, Texts, intensities, masks, stages
from eyewall.verification.verified_model import VerifiedModel

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Evaluation:
    """The report and the errors of each case that it is made from."""

    report: Report
    errors: Errors
    base_time: np.ndarray  #: [n]
    stage: Texts  #: [n]
    intensity: Texts  #: [n]
    framed: Bools | None  #: [n] whether the records hold a frame for the case


def evaluate(
    job: VerifyJob,
    candidate: VerifiedModel | None,
    incumbent: VerifiedModel | None,
    records: Artifact | None,
    tell: Tell,
) -> Evaluation:
    """Verify all methods on the same cases.

    Raises what `build_sample` raises, and InputError where frames are wanted and no case has one.
    """
    tell("reading best tracks, fitting CLIPER")
    schema = read_schema(records.folder()) if records is not None else None
    sample = build_sample(job, schema)
    sample, images, framed = _join_images(job, sample, records, schema, tell)
    cases = sample.cases
    simple = baselines(cases, sample.fit_cases)
    positions = dict(simple.positions)
    answers: dict[str, ModelAnswer] = {}
    for name, model in (("model", candidate), ("incumbent", incumbent)):
        if model is not None:
            tell(f"{name} {model.uri}: forecasts for {len(cases)} cases")
            answers[name] = model_answer(model, cases, images)
            positions[name] = answers[name].positions
    tell("scoring")
    errors = _errors(sample, positions)
    stage = stages(cases.storm_id, cases.base_time, sample.truth)
    wind_known = cases.features[PAST_WIND_VALID][:, -1] > 0
    intensity = intensities(np.where(wind_known, cases.features[PAST_WIND_KT][:, -1].astype(np.float64), np.nan))
    slicings = {"stage": masks(stage, STAGES), "intensity": masks(intensity, INTENSITIES)}
    report = Report(
        sample=_sample(job, sample, framed, simple.cliper_forms, schema),
        candidate=candidate.described() if candidate else None,
        incumbent=_incumbent(job, incumbent),
        leads=lead_scores(errors, everything(errors), job.resamples, job.seed),
        slices=sliced_scores(errors, slicings, job.resamples, job.seed),
        coverage=coverage_scores(errors, answers.get("model"), job.resamples, job.seed),
        answers=answers_by_source(answers.get("model")),
    )
    return Evaluation(report, errors, cases.base_time, stage, intensity, framed)


def _join_images(
    job: VerifyJob, sample: VerificationSample, records: Artifact | None, schema: RecordsSchema | None, tell: Tell
) -> tuple[VerificationSample, RecordImages | None, Bools | None]:
    """The images of the cases, which of them have any, and the sample cut to those where the job wants it."""
    if records is None or schema is None:
        return sample, None, None
    if not schema.images.frames:  # reading them to find that out would wait for TensorFlow's import
        if job.frames_only:
            raise InputError(f"{records.path} hold no frames at all: drop --frames-only, or give records with --stream")
        return sample, None, np.zeros(len(sample.cases), dtype=np.bool_)
    tell(f"joining the frames of {records.path}")
    folder = records.folder()
    images = RecordImages.of(folder, sample.cases)
    framed = images.with_frames(len(sample.cases))
    if not job.frames_only:
        return sample, images, framed
    if not framed.any():
        raise InputError(
            f"none of the {len(sample.cases)} cases in seasons {job.season_from}-{job.season_to} has a frame in the"
            f" test split of {records.path}: verify the records' test seasons with the same best tracks, or drop"
            " --frames-only"
        )
    cut = sample.select(framed)
    return cut, RecordImages.of(folder, cut.cases), np.ones(len(cut.cases), dtype=np.bool_)


def _errors(sample: VerificationSample, positions: dict[str, Positions]) -> Errors:
    targets = sample.cases.targets
    counted = targets[TARGET_VALID] > 0
    lat, lon = (
        np.where(counted, targets[name].astype(np.float64), np.nan) for name in (TARGET_LAT_DEG, TARGET_LON_DEG)
    )
    order: list[str] = [name for name in METHODS if name in positions]
    methods = {name: track_errors(*positions[name], lat, lon, sample.motion_rad) for name in order}
    return Errors(LEADS_H, sample.cases.storm_id, counted, methods)


def _sample(
    job: VerifyJob,
    sample: VerificationSample,
    framed: Bools | None,
    cliper_forms: tuple[str, ...],
    records: RecordsSchema | None,
) -> Sample:
    return Sample(
        seasons=(job.season_from, job.season_to),
        fit_seasons=sample.fit_seasons,
        cases=len(sample.cases),
        storms=len(set(sample.cases.storm_id)),
        fit_cases=len(sample.fit_cases),
        fit_storms=len(set(sample.fit_cases.storm_id)),
        fit_left_out=sample.fit_left_out,
        cliper_forms={str(lead): form for lead, form in zip(LEADS_H, cliper_forms, strict=True)},
        cases_with_frames=None if framed is None else int(framed.sum()),
        skew=_skew(records) if records is not None else (),
        min_wind_kt=job.min_wind_kt,
        box=sample.rules.box,
        frames_only=job.frames_only,
        resamples=job.resamples,
        seed=job.seed,
    )


def _skew(records: RecordsSchema) -> tuple[str, ...]:
    """Where the records' test split is unlike their training split: a model is asked there what it has not learned."""
    train, test = (records.statistics.get(split, {}) for split in ("train", "test"))
    return tuple(skew(train, test)) if train and test else ()


def _incumbent(job: VerifyJob, incumbent: VerifiedModel | None) -> Verified | None:
    """The incumbent as the report names it.

    An incumbent that has seen the verified seasons is compared with all the same: that can only hold a better
    candidate back, never let a worse one through. But it is said.
    """
    if incumbent is None:
        return None
    overlap = incumbent.overlap(job.season_from, job.season_to)
    return incumbent.described(overlap and f"the incumbent {overlap}, which flatters it here")


def write_cases(path: Path, evaluation: Evaluation) -> None:
    """One row per case and lead that counts: who, when, which slices, and each method's errors in km (a metre)."""
    errors = evaluation.errors
    row, lead = np.nonzero(errors.counted)
    columns: dict[str, object] = {
        "storm_id": errors.storm_id[row],
        "base_time": pd.DatetimeIndex(evaluation.base_time[row]).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lead_h": np.array(errors.leads_h)[lead],
        "stage": evaluation.stage[row],
        "intensity": evaluation.intensity[row],
    }
    if evaluation.framed is not None:
        columns["has_frame"] = evaluation.framed[row].astype(int)
    for method, each in errors.methods.items():
        for what in ("km", "along_km", "cross_km"):
            values: Floats = getattr(each, what)
            columns[f"{method}_{what}"] = values[row, lead]
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.3f", lineterminator="\n")
