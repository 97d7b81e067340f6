"""How much of a learned correction is believed, and what the validation score says."""

import numpy as np
import pytest

from eyewall.besttrack.cases import Cases
from eyewall.besttrack.sphere import destination
from eyewall.contracts.features import (
    FIX_AGES_H,
    LEADS_H,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    TARGET_DISPLACEMENT_KM,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
)
from eyewall.training.validation import Validation

STORMS, PER_STORM = 20, 10
ERROR_KM = 100.0  # of "CLIPER" here, eastward
RIGHT = np.array([ERROR_KM, 0.0])  # the correction that mends it


def cases(storms: int = STORMS) -> tuple[Cases, np.ndarray]:
    """Cases of storms near 18 N that go north-west, and a CLIPER that is 100 km too far west at every lead."""
    rng = np.random.default_rng(1)
    n = storms * PER_STORM
    truth = rng.normal((-300, 200), 60, (n, len(LEADS_H), 2))
    lat, lon = rng.uniform(14, 22, n), rng.uniform(120, 150, n)
    target_lat, target_lon = destination(lat[:, None], lon[:, None], truth[..., 0], truth[..., 1])
    past = np.ones(len(FIX_AGES_H))
    made = Cases(
        storm_id=np.repeat([f"S{i:02d}" for i in range(storms)], PER_STORM).astype(object),
        season=np.full(n, 2009),
        base_time=np.full(n, np.datetime64("2009-08-01", "ns")),
        features={PAST_LAT_DEG: lat[:, None] * past, PAST_LON_DEG: lon[:, None] * past},
        targets={
            TARGET_DISPLACEMENT_KM: truth,
            TARGET_LAT_DEG: target_lat,
            TARGET_LON_DEG: target_lon,
            TARGET_VALID: np.ones((n, len(LEADS_H))),
        },
    )
    return made, truth - RIGHT


def test_a_correction_that_is_right_is_believed_wholly() -> None:
    """Shrinkage 1, no error left, score 0."""
    made, cliper = cases()

    skill = Validation(made, cliper).judge(cliper + RIGHT)

    assert skill.shrinkage.tolist() == [1.0] * len(LEADS_H)
    assert skill.cliper_km == pytest.approx([ERROR_KM] * len(LEADS_H), rel=0.01)
    assert skill.score == pytest.approx(0.0, abs=1e-3)


def test_a_correction_that_does_harm_is_not_believed_at_all() -> None:
    """Towards the wrong side: shrinkage 0, which is CLIPER, score 1."""
    made, cliper = cases()

    skill = Validation(made, cliper).judge(cliper - 0.4 * RIGHT)

    assert skill.shrinkage.tolist() == [0.0] * len(LEADS_H)
    assert skill.model_km.tolist() == skill.cliper_km.tolist()
    assert skill.score == 1.0


def test_a_correction_twice_too_long_is_halved() -> None:
    """200 km where 100 are right."""
    made, cliper = cases()

    assert Validation(made, cliper).judge(cliper + 2 * RIGHT).shrinkage.tolist() == [0.5] * len(LEADS_H)


def test_each_lead_is_judged_by_itself() -> None:
    """Right at the first lead, harmful at the second, nothing at the others."""
    made, cliper = cases()
    correction = np.zeros_like(cliper)
    correction[:, 0], correction[:, 1] = (ERROR_KM, 0), (-ERROR_KM, 0)

    skill = Validation(made, cliper).judge(cliper + correction)

    assert skill.shrinkage.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    # (0 + 1 + 1 + 1 + 1) / 5
    assert skill.score == pytest.approx(0.8, abs=1e-3)


def test_the_luck_of_two_storms_out_of_twenty_is_not_believed() -> None:
    """A gain in two storms' 20 cases and none elsewhere is within one standard error over storms; in all it is not."""
    made, cliper = cases()
    lucky = np.isin(made.storm_id, ["S03", "S11"])
    noise = np.random.default_rng(2).choice([-1.0, 1.0], (STORMS, 1)).repeat(PER_STORM, axis=0)
    correction = np.zeros_like(cliper)
    correction[..., 0] = np.where(lucky[:, None], ERROR_KM, 60 * noise)

    # Six storms' worth of harm and of good cancel; the mean gain is what the two lucky ones bring.
    assert Validation(made, cliper).judge(cliper + correction).shrinkage.max() < 0.5


def test_one_storm_alone_proves_nothing() -> None:
    """Its cases are not independent: the correction is dropped even though it is right."""
    made, cliper = cases(storms=1)

    assert Validation(made, cliper).judge(cliper + RIGHT).shrinkage.tolist() == [0.0] * len(LEADS_H)


def test_a_lead_without_any_target_falls_back_on_cliper() -> None:
    """It has no error to be judged by, and does not enter the score."""
    made, cliper = cases()
    made.targets[TARGET_VALID][:, 4] = 0

    skill = Validation(made, cliper).judge(cliper + RIGHT)

    assert skill.n.tolist() == [200, 200, 200, 200, 0]
    assert skill.shrinkage.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert np.isnan(skill.model_km[4])
    assert skill.score == pytest.approx(0.0, abs=1e-3)


def test_without_a_validation_split_nothing_is_believed() -> None:
    """No case, no evidence."""
    skill = Validation(None, np.zeros((0, len(LEADS_H), 2))).judge(np.zeros((0, len(LEADS_H), 2)))

    assert skill.shrinkage.tolist() == [0.0] * len(LEADS_H)
    assert skill.score == 1.0
