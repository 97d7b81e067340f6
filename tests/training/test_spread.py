"""The circles' radii are those that the validation split asks for, and CLIPER's where there is too little of it."""

from typing import Any

import numpy as np
import pytest
from job_maker import JobMaker

from eyewall.contracts.features import (
    LEADS_H,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
)
from eyewall.records.testing import tiny_records
from eyewall.storage import Store

SIZES = {"widths": (8,), "members": 2, "difficulty": (4,)}


@pytest.fixture
def plan(make_job: JobMaker) -> Any:
    """Of a training with 240 validation samples, twice those of the training."""
    from eyewall.training.plan import make_plan

    job = make_job()
    store = Store(job.store)
    records = tiny_records(store, train_from=2001, train_to=2002, val_to=2008, test_to=2009)
    return make_plan(job.model_copy(update={"records_ref": records.path}), records.folder())


def test_on_the_split_that_they_were_fitted_on_the_circles_hold_68_and_95_percent(plan: Any) -> None:
    """Counted from the outputs of the finished model, lead by lead, to one case and a rounding of the factor."""
    from eyewall.besttrack.sphere import distance_km
    from eyewall.training.calibration import MIN_CASES, fit_spread
    from eyewall.training.learner import make_model
    from eyewall.training.plan import batches

    model = make_model(plan, sizes=SIZES)
    rng = np.random.default_rng(2)
    model.set_weights([w + rng.normal(0, 0.1, w.shape).astype(np.float32) for w in model.get_weights()])
    model.spread = fit_spread(plan, model)
    inside: dict[str, list[Any]] = {OUT_RADIUS_68_KM: [], OUT_RADIUS_95_KM: []}
    for features, targets, _ in batches(plan.folder, "val"):
        out = {name: value.numpy() for name, value in model.forecast(features).items()}
        error = distance_km(out[OUT_LAT_DEG], out[OUT_LON_DEG], targets[TARGET_LAT_DEG], targets[TARGET_LON_DEG])
        for name, held in inside.items():
            counts = (targets[TARGET_VALID] > 0) & (out["source"] > 0)[:, None]
            held.append(np.where(counts, error <= out[name], np.nan))
    held = {name: np.concatenate(parts) for name, parts in inside.items()}
    enough = np.isfinite(held[OUT_RADIUS_68_KM]).sum(axis=0) >= MIN_CASES

    assert enough.any()
    for lead in np.flatnonzero(enough):
        assert np.nanmean(held[OUT_RADIUS_68_KM][:, lead]) == pytest.approx(0.68, abs=0.015)
        assert np.nanmean(held[OUT_RADIUS_95_KM][:, lead]) == pytest.approx(0.95, abs=0.015)


def test_with_too_little_validation_clipers_own_radii_stand_in(make_job: JobMaker) -> None:
    """The usual toy records have 40 validation samples: every radius is CLIPER's quantile on the train split."""
    from eyewall.training.calibration import fit_spread
    from eyewall.training.learner import make_model
    from eyewall.training.plan import make_plan

    job = make_job()
    plan = make_plan(job, Store(job.store).local(job.records_ref))
    spread = fit_spread(plan, make_model(plan, sizes=SIZES))
    known = plan.cliper_error_km[np.isfinite(plan.cliper_error_km[:, 2]), 2]

    assert spread.cliper_68_km[2] == pytest.approx(np.quantile(known, 0.68), abs=0.01)
    assert spread.factor_68[2] * plan.scale_km[2] == pytest.approx(spread.cliper_68_km[2], rel=1e-3)
    assert len(spread.factor_95) == len(LEADS_H)
    assert all(narrow < wide for narrow, wide in zip(spread.cliper_68_km, spread.cliper_95_km, strict=True))


def test_only_strong_enough_cases_are_fitted_on_and_judged(make_job: JobMaker) -> None:
    """The weaker ones still teach: the batches hold them, CLIPER's fit and the validation do not."""
    from eyewall.contracts.features import PAST_WIND_KT
    from eyewall.training.plan import make_plan, read_cases
    from eyewall.training.session import make_validation

    everything = make_job()
    folder = Store(everything.store).local(everything.records_ref)
    winds = {split: read_cases(folder, split).features[PAST_WIND_KT][:, -1] for split in ("train", "val")}
    limit = float(np.median(winds["train"]))
    strict = make_plan(everything.model_copy(update={"min_wind_kt": limit}), folder)

    assert len(strict.cliper_error_km) == (winds["train"] >= limit).sum() < len(winds["train"])
    assert len(make_validation(strict)) == (winds["val"] >= limit).sum()
    assert strict.schema.counts["train"] == len(winds["train"])


def test_a_wind_that_no_storm_has_is_refused_with_the_remedy(make_job: JobMaker) -> None:
    from eyewall.contracts.errors import InputError
    from eyewall.training.plan import make_plan

    job = make_job(min_wind_kt=300.0)
    with pytest.raises(InputError, match=r"none of the 120 training samples has a wind of 300 kt: lower --min-wind-kt"):
        make_plan(job, Store(job.store).local(job.records_ref))
