"""The circles' coverage is counted, not assumed; the model card says what the report says."""

from pathlib import Path

import numpy as np
import pytest

from eyewall.contracts.features import OUT_RADIUS_68_KM, OUT_RADIUS_95_KM, ImageSpec
from eyewall.models.card import ModelCard, Normalisation
from eyewall.verification.coverage import answers_by_source, coverage_scores
from eyewall.verification.forecasts import ModelAnswer
from eyewall.verification.metrics import TrackErrors
from eyewall.verification.model_card import card_text, failures
from eyewall.verification.plot import draw_calibration
from eyewall.verification.report import Errors, Report, Sample, Verified, everything, lead_scores

N = 400


def made(seed: int = 3, *, worse: bool = False) -> tuple[Errors, ModelAnswer]:
    """Cases of 20 storms at 6 and 12 h whose errors are exponential with a mean that each case knows, 30–150 km.

    The second lead has a target for every other case. 1 − exp(−r/m) = 0.68 at r = 1.1394 m, and 0.95 at 2.9957 m.
    """
    random = np.random.default_rng(seed)
    mean = random.uniform(30, 150, (N, 1)) * np.ones((1, 2))
    km = random.exponential(mean)
    cliper = km * (0.8 if worse else 1.25)
    counted = np.stack([np.ones(N, bool), np.arange(N) % 2 == 0], axis=1)
    storm = np.array([f"storm{i // 20:02d}" for i in range(N)], dtype=object)
    methods = {
        name: TrackErrors(np.where(counted, e, np.nan), e * 0.5, e * 0.25, counted, counted)
        for name, e in (("cliper", cliper), ("model", km))
    }
    radii = {OUT_RADIUS_68_KM: 1.1394 * mean, OUT_RADIUS_95_KM: 2.9957 * mean}
    nowhere = np.zeros((N, 2))
    source = np.where(np.arange(N) < 12, 0, 1)
    return Errors((6, 12), storm, counted, methods), ModelAnswer((nowhere, nowhere), radii, source)


def report(*, worse: bool = False) -> Report:
    """A report of those cases; the slice *in* is the last tenth."""
    errors, answer = made(worse=worse)
    late = np.arange(N) >= N - 40
    return Report(
        sample=Sample(
            seasons=(2011, 2012), fit_seasons=(1977, 2010), cases=N, storms=20, fit_cases=999, fit_storms=50,
            cliper_forms={"6": "quadratic", "12": "quadratic"}, min_wind_kt=34.0,
            frames_only=False, resamples=200, seed=0,
        ),
        candidate=Verified(uri="models/abc", sha256="0" * 64, publishable=True),
        leads=lead_scores(errors, everything(errors), 200, 0),
        slices={"stage": {"in": lead_scores(errors, late, 200, 0), "after": lead_scores(errors, ~late, 200, 0)}},
        coverage=coverage_scores(errors, answer, 200, 0),
        answers=answers_by_source(answer),
    )  # fmt: skip


def card() -> ModelCard:
    """A card of a small training."""
    return ModelCard(
        kind="track", images=ImageSpec(frames=0), parameters=321, records_sha256="ab" * 32,
        seasons={"train": (1977, 2010), "val": (2011,), "test": ()}, samples={"train": 40, "val": 9, "test": 0},
        strategy="single", workers=1, ps=0, steps=10, batch=8, learning_rate=3e-3, seed=4, best_step=5,
        loss_first=0.9, loss_last=0.4, val_km={}, shrinkage={"24": 0.8}, cliper={}, scale_km=(1.0,) * 5,
        normalisation=Normalisation(), min_wind_kt=34.0,
    )  # fmt: skip


def test_circles_of_the_right_size_hold_what_they_say() -> None:
    """Within two standard errors of 400 and of 200 cases: 100 sqrt(0.68 · 0.32 / 200) = 3.3."""
    found = coverage_scores(*made(), resamples=200, seed=0)

    assert [found[lead].n for lead in ("6", "12")] == [400, 200]
    for at in found.values():
        assert at.within_68_pct == pytest.approx(68, abs=6.6)
        assert at.within_95_pct == pytest.approx(95, abs=3.1)
        assert at.within_68_ci95_pct is not None
        assert at.within_68_ci95_pct[0] < at.within_68_pct < at.within_68_ci95_pct[1]


def test_the_count_is_that_of_a_plain_loop() -> None:
    """Second method, without arrays."""
    errors, answer = made()
    km, r68 = errors.methods["model"].km, answer.radii_km[OUT_RADIUS_68_KM]
    inside = sum(1 for case in range(0, N, 2) if km[case, 1] <= r68[case, 1])

    assert coverage_scores(errors, answer, 200, 0)["12"].within_68_pct == pytest.approx(inside / 2)


def test_circles_that_know_hard_cases_lie_on_the_diagonal_and_equal_circles_do_not() -> None:
    """By fifths: the radius is the quantile it claims to be; with equal radii the quantiles spread all the same."""
    errors, answer = made()
    known = coverage_scores(errors, answer, 200, 0)["6"].bins
    ratios = [b.error_68_km / b.radius_68_km for b in known]

    assert [b.n for b in known] == [80] * 5
    assert all(0.7 < ratio < 1.4 for ratio in ratios)
    assert known[-1].error_68_km > 2 * known[0].error_68_km


def test_circles_half_as_wide_are_found_out() -> None:
    """1 − exp(−1.1394 / 2) = 43 %."""
    errors, answer = made()
    half = ModelAnswer(answer.positions, {k: v / 2 for k, v in answer.radii_km.items()}, None)

    assert coverage_scores(errors, half, 200, 0)["6"].within_68_pct == pytest.approx(43, abs=6)


def test_a_model_without_circles_has_no_coverage() -> None:
    errors, answer = made()

    assert coverage_scores(errors, None, 200, 0) == {}
    assert coverage_scores(errors, ModelAnswer(answer.positions, {}, None), 200, 0) == {}
    assert answers_by_source(ModelAnswer(answer.positions, {}, None)) is None


def test_answers_are_counted_by_what_they_rest_on() -> None:
    assert answers_by_source(made()[1]) == {"cliper": 12, "track": 388}


def test_the_card_has_data_seasons_scores_slices_coverage_and_failures() -> None:
    """Everything that the issue of a model asks first, and equal reports are equal text."""
    text = card_text(report(), card(), plots=True)

    assert "| train | 1977–2010 | 40 |" in text
    assert "| 6 h | 400 / 20 |" in text
    assert "+20.0 %" in text  # 1 − 1 / 1.25
    assert "| stage in | +20.0 % (40) | – |" in text  # 20 cases at 12 h are too few to name
    assert "circle of 68 %" in text
    assert "![calibration](calibration.png)" in text
    assert "12 of 400 answers were CLIPER's" in text
    assert text == card_text(report(), card(), plots=True)


def test_what_is_worse_than_cliper_is_named_as_a_failure() -> None:
    """CLIPER's errors are 0.8 of the model's here: 25 % worse in every slice of at least 30 cases."""
    sentences = failures(report(worse=True))

    assert "stage *in* at 6 h: 25.0 % worse than CLIPER (40 cases of 2 storms)" in sentences
    assert not any("at 12 h" in s and "*in*" in s for s in sentences)


def test_the_calibration_plot_is_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_calibration(report(), tmp_path / name)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 5000
