"""The verification report: its schema, and how it is made from errors. ``report.json`` of an evaluation artifact.

    {"leads": {"24": {"n": 2215, "storms": 110, "cliper": {"mean_km": 185.1, "ci95_km": [171.9, 200.0], …}, …}, …},
     "slices": {"stage": {"before": {"24": {…}, …}, …}, "intensity": {…}}, "sample": {…}, "candidate": {…}, …}

Every method is scored on the same cases (homogeneous), lead by lead: a case counts where the truth has a fix at the
lead. A method that gives no finite position for a case that counts has no score at that lead (``mean_km`` null,
``missing`` says for how many): leaving its hard cases out would flatter it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from eyewall.contracts.fields import DEFAULT_BOX, BoxText
from eyewall.verification.bootstrap import MIN_STORMS, interval, resampled_means, storm_weights
from eyewall.verification.metrics import Bools, Floats, TrackErrors
from eyewall.verification.slices import Texts
from eyewall.verification.sums import StormSums, storm_sums

BASELINES: Final = (
    "no_motion",
    "mean_displacement",
    "persistence_6h",
    "persistence_12h",
    "cliper_linear",
    "cliper",
)
METHODS: Final = (*BASELINES, "model", "incumbent")
#: What skill is measured against.
REFERENCE: Final = "cliper"
#: Pairs whose difference is reported: field → (method, other).
DIFFERENCES: Final = {
    "model_minus_cliper": ("model", "cliper"),
    "model_minus_incumbent": ("model", "incumbent"),
}
#: Decimals that are kept: a metre, a thousandth of a per cent; sums beyond that depend on the order of addition.
DECIMALS: Final = 3

Interval = tuple[float, float]


class _Part(BaseModel):
    """No unknown fields, no NaN, no infinity: a report that holds one is not a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Score(_Part):
    """One method at one lead; see `eyewall.verification.metrics` for the signs."""

    mean_km: float | None = Field(
        None, ge=0, description="mean great-circle error; null where the method missed a case"
    )
    ci95_km: Interval | None = Field(None, description="95 % interval by resampling storms; null with one storm")
    missing: int = Field(0, ge=0, description="cases that count, for which the method gave no finite position")
    along_km: float | None = Field(None, description="mean along-track error, > 0: ahead of the truth")
    cross_km: float | None = Field(None, description="mean cross-track error, > 0: right of the truth's track")
    along_abs_km: float | None = Field(None, description="mean size of the along-track error")
    cross_abs_km: float | None = Field(None, description="mean size of the cross-track error")
    skill_pct: float | None = Field(None, description="100 (1 - mean / CLIPER's mean); > 0: better than CLIPER")
    skill_ci95_pct: Interval | None = None

    @model_serializer(mode="wrap")
    def _missing_mean_is_null(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is absent is left out, but for the mean: a reader finds null there, not nothing."""
        values: dict[str, Any] = serialise(self)
        return {"mean_km": None} | values


class Difference(_Part):
    """Mean of the paired differences of two methods' errors on the same cases; < 0: the first is better."""

    mean_km: float
    ci95_km: Interval | None = None


class LeadScores(_Part):
    """All methods at one lead, on the same ``n`` cases of ``storms`` storms; no scores where n is 0."""

    n: int = Field(ge=0)
    storms: int = Field(ge=0)
    no_motion: Score | None = None
    mean_displacement: Score | None = None
    persistence_6h: Score | None = None
    persistence_12h: Score | None = None
    cliper_linear: Score | None = None
    cliper: Score | None = None
    model: Score | None = None
    incumbent: Score | None = None
    model_minus_cliper: Difference | None = None
    model_minus_incumbent: Difference | None = None

    def score(self, method: str) -> Score | None:
        """The score of one of `METHODS`, if there is one."""
        found: Score | None = getattr(self, method)
        return found


def _by_hours(leads: dict[str, LeadScores]) -> dict[str, LeadScores]:
    if not all(lead.isdecimal() for lead in leads):
        raise ValueError(f"leads {list(leads)} are not whole hours")
    return dict(sorted(leads.items(), key=lambda item: int(item[0])))


#: Lead in hours, as text → scores; in the order of time.
Leads = Annotated[dict[str, LeadScores], AfterValidator(_by_hours)]


class CoverageBin(_Part):
    """A fifth of the cases at a lead, by the size of the circle that the model draws."""

    n: int = Field(ge=1)
    radius_68_km: float = Field(description="mean radius of their 68 % circles")
    error_68_km: float = Field(description="what 68 % of their errors do not exceed; the same in a calibrated model")


class Coverage(_Part):
    """How many outcomes the candidate's circles of 68 and 95 % hold at one lead."""

    n: int = Field(ge=1)
    within_68_pct: float
    within_68_ci95_pct: Interval | None = Field(None, description="95 % interval by resampling storms")
    within_95_pct: float
    within_95_ci95_pct: Interval | None = None
    radius_68_km: float = Field(description="mean radius")
    radius_95_km: float
    bins: tuple[CoverageBin, ...] = Field(description="from the smallest circles to the largest")


class Verified(_Part):
    """A model that was verified: where it is, and what its card says of the seasons it has seen."""

    uri: str = Field(description="path in the store, or the folder's name where it is not in the store")
    sha256: str = Field(description="of its manifest, or of its files where it has no manifest")
    publishable: bool = Field(description="a model artifact of the store, which is what publish takes")
    copy_of: str | None = Field(None, description="of a served version: sha256 of the manifest of the model it copies")
    kind: str | None = Field(None, description="what its card calls it; null without a card")
    seen_seasons: tuple[int, int] | None = Field(None, description="first and last season of training and validation")
    cliper_cases: dict[str, int] | None = Field(
        None, description="lead in hours → training samples of the CLIPER inside it; null without a card"
    )
    cliper_forms: dict[str, str] | None = Field(None, description="lead in hours → form that it was fitted in")
    note: str | None = Field(None, description="what a reader of its scores has to know")


class Sample(_Part):
    """Which cases were verified, and on which the baselines were fitted."""

    seasons: tuple[int, int] = Field(description="asked for, inclusive")
    fit_seasons: tuple[int, int] = Field(description="asked for, inclusive")
    cases: int = Field(ge=1)
    storms: int = Field(ge=1)
    fit_cases: int = Field(ge=1, description="cases that the CLIPER of this report was fitted on")
    fit_storms: int = Field(ge=1)
    fit_left_out: tuple[str, ...] = Field((), description="storms of the fit seasons left out: they are verified")
    cliper_forms: dict[str, str] = Field(
        description="lead in hours → form that CLIPER was fitted in: quadratic, or simpler where cases are few"
    )
    cases_with_frames: int | None = Field(None, description="cases with a frame in the records; null without records")
    skew: tuple[str, ...] = Field((), description="where the records' test split is unlike their training split")
    min_wind_kt: float
    box: BoxText = Field(DEFAULT_BOX, description="west,south,east,north that holds the base positions, degrees")
    frames_only: bool
    resamples: int
    seed: int


class Report(_Part):
    """The whole report. `Report.model_validate` refuses NaN, an empty one, and any other schema."""

    schema_version: Literal[1] = 1
    kind: Literal["track_verification"] = "track_verification"
    sample: Sample
    candidate: Verified | None = None
    incumbent: Verified | None = None
    leads: Leads = Field(min_length=1, description="lead in hours → scores")
    slices: dict[str, dict[str, Leads]] = Field(default_factory=dict, description="slicing → class → lead → scores")
    coverage: dict[str, Coverage] = Field(
        default_factory=dict, description="lead in hours → coverage of the candidate's circles; empty where it has none"
    )
    answers: dict[str, int] | None = Field(
        None, description="what the candidate's answers rest on → cases: cliper where inputs were missing or unlike"
        " its training; null where it does not say",
    )  # fmt: skip


@dataclass(frozen=True)
class Errors:
    """Errors of every method on one set of cases: what the whole report is made from."""

    leads_h: tuple[int, ...]  #: [l]
    storm_id: Texts  #: [n]
    counted: Bools  #: [n, l] the truth has a fix at the lead
    methods: Mapping[str, TrackErrors]  #: in the order of METHODS, each [n, l]


def lead_scores(errors: Errors, within: Bools, resamples: int, seed: int) -> Leads:
    """Scores by lead of the cases ``within`` [n] (a slice, or all of them).

    The storms that have a case at the lead are resampled ``resamples`` times, the same draws for every method.
    """
    counted = errors.counted & within[:, None]
    sums: dict[str, StormSums] = {}
    missing: dict[str, list[int]] = {}
    for method, each in errors.methods.items():
        gone = counted & ~each.valid
        missing[method] = [int(count) for count in gone.sum(axis=0)]
        sums[method] = storm_sums(errors.storm_id, each, counted & each.valid)
    scores: Leads = {}
    for index, lead_h in enumerate(errors.leads_h):
        n = int(counted[:, index].sum())
        storms = len(set(errors.storm_id[counted[:, index]]))
        at_lead = {m: sums[m].at_lead(index) for m in errors.methods if not missing[m][index]}
        weights = storm_weights(storms, resamples, seed) if storms >= MIN_STORMS else None
        found = _methods(at_lead, weights) if n else {}
        gaps = {m: Score(mean_km=None, missing=missing[m][index]) for m in errors.methods if missing[m][index]}
        scores[str(lead_h)] = LeadScores.model_validate({"n": n, "storms": storms, **found, **gaps})
    return scores


def _methods(sums: Mapping[str, StormSums], weights: Floats | None) -> dict[str, Score | Difference]:
    """Scores and differences at one lead; ``sums`` [s, 1] are over the same cases for every method."""
    resampled = {m: resampled_means(weights, s.km, s.n)[:, 0] for m, s in sums.items()} if weights is not None else {}
    reference = sums.get(REFERENCE)
    found: dict[str, Score | Difference] = {}
    for method, s in sums.items():
        mean = _mean(s.km, s.n)
        skill: float | None = None
        skill_ci: Interval | None = None
        if reference is not None and method != REFERENCE and (reference_km := float(reference.km.sum())) > 0:
            skill = _round(100.0 * (1.0 - float(s.km.sum()) / reference_km))
            if resampled:
                skill_ci = _interval(100.0 * (1.0 - resampled[method] / resampled[REFERENCE]))
        found[method] = Score(
            mean_km=mean,
            ci95_km=_interval(resampled[method]) if resampled else None,
            along_km=_mean(s.along_km, s.motion_n),
            cross_km=_mean(s.cross_km, s.motion_n),
            along_abs_km=_mean(s.along_abs_km, s.motion_n),
            cross_abs_km=_mean(s.cross_abs_km, s.motion_n),
            skill_pct=skill,
            skill_ci95_pct=skill_ci,
        )
    for field, (method, other) in DIFFERENCES.items():
        if method in sums and other in sums:
            difference = float((sums[method].km - sums[other].km).sum() / sums[method].n.sum())
            ci = _interval(resampled[method] - resampled[other]) if resampled else None
            found[field] = Difference(mean_km=_round(difference), ci95_km=ci)
    return found


def _round(value: float) -> float:
    return round(value, DECIMALS) + 0.0  # no minus zero


def _mean(total: Floats, count: Floats) -> float | None:
    cases = float(count.sum())
    return _round(float(total.sum()) / cases) if cases else None


def _interval(values: Floats) -> Interval | None:
    found = interval(values)
    return None if found is None else (_round(found[0]), _round(found[1]))


def sliced_scores(
    errors: Errors, slicings: Mapping[str, Mapping[str, Bools]], resamples: int, seed: int
) -> dict[str, dict[str, Leads]]:
    """Scores by lead in every class of every slicing; a class may be small: its n and storms say so."""
    return {
        name: {label: lead_scores(errors, mask, resamples, seed) for label, mask in classes.items()}
        for name, classes in slicings.items()
    }


def everything(errors: Errors) -> Bools:
    """The mask [n] of all cases."""
    return np.ones(len(errors.storm_id), dtype=np.bool_)
