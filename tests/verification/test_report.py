"""The report: scores from errors by hand, homogeneous counts, paired differences, small samples, the drawing."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from eyewall.verification.metrics import TrackErrors
from eyewall.verification.plot import draw_skill
from eyewall.verification.report import Errors, everything, lead_scores, sliced_scores
from eyewall.verification.slices import masks
from eyewall.verification.step import to_bytes
from eyewall.verification.table import report_table

NAN = float("nan")


def track(km: list[list[float]]) -> TrackErrors:
    """Errors of the given sizes: all of them along (ahead), none across."""
    sizes = np.array(km)
    valid = np.isfinite(sizes)
    return TrackErrors(sizes, sizes, 0 * sizes, valid, valid)


@pytest.fixture
def errors():
    """Three cases of storm a, one of b; two leads; b has no fix at the second lead, nor has a's last case."""
    counted = np.array([[True, True], [True, True], [True, False], [True, False]])
    methods = {
        "cliper": track([[40.0, 90.0], [50.0, 110.0], [60.0, NAN], [70.0, NAN]]),
        "model": track([[30.0, 80.0], [45.0, 100.0], [65.0, 999.0], [40.0, 999.0]]),
    }
    return Errors((6, 12), np.array(["a", "a", "a", "b"], dtype=object), counted, methods)


def test_means_are_over_the_cases_that_count_alone(errors):
    scores = lead_scores(errors, everything(errors), resamples=100, seed=0)

    six, twelve = scores["6"], scores["12"]
    # 6 h: cliper (40 + 50 + 60 + 70) / 4 = 55, model (30 + 45 + 65 + 40) / 4 = 45: 10 / 55 = 18.182 % better
    assert (six.n, six.storms) == (4, 2)
    assert (six.cliper.mean_km, six.model.mean_km, six.model.skill_pct) == (55.0, 45.0, 18.182)
    assert six.model_minus_cliper.mean_km == -10.0
    assert (six.model.along_km, six.model.cross_km) == (45.0, 0.0)
    # 12 h: the model's 999s have no truth: cliper (90 + 110) / 2 = 100, model (80 + 100) / 2 = 90
    assert (twelve.n, twelve.storms) == (2, 1)
    assert (twelve.cliper.mean_km, twelve.model.mean_km) == (100.0, 90.0)


def test_intervals_come_from_drawing_storms(errors):
    """Storm a has mean 50 over 3 cases, b 70 over one: draws aa, ab, bb give 50, 55, 70; 2.5 % of each are beyond."""
    six = lead_scores(errors, everything(errors), resamples=2000, seed=0)["6"]

    assert six.cliper.ci95_km == (50.0, 70.0)
    # model − cliper: a (−10 − 5 + 5) / 3 = −3.333, b −30: aa −3.333, bb −30
    assert six.model_minus_cliper.ci95_km == (-30.0, -3.333)


def test_one_storm_has_no_interval(errors):
    twelve = lead_scores(errors, everything(errors), resamples=100, seed=0)["12"]

    assert twelve.cliper.ci95_km is None
    assert twelve.model.skill_ci95_pct is None
    assert twelve.model_minus_cliper.ci95_km is None


def test_slices_are_scored_like_the_whole_and_say_how_small_they_are(errors):
    labels = np.array(["TS", "TY", "TY", "TS"], dtype=object)

    found = sliced_scores(errors, {"intensity": masks(labels, ("TS", "STS", "TY"))}, resamples=100, seed=0)

    six = {label: leads["6"] for label, leads in found["intensity"].items()}
    assert {label: (s.n, s.storms) for label, s in six.items()} == {"TS": (2, 2), "STS": (0, 0), "TY": (2, 1)}
    assert six["TS"].model.mean_km == 35.0  # (30 + 40) / 2
    assert six["TY"].model.mean_km == 55.0  # (45 + 65) / 2
    assert six["STS"].model is None


def test_a_method_that_misses_a_case_has_no_mean_and_the_others_keep_theirs(errors):
    gap = {**errors.methods, "model": track([[30.0, 80.0], [NAN, 100.0], [65.0, 1.0], [40.0, 1.0]])}
    holed = Errors(errors.leads_h, errors.storm_id, errors.counted, gap)

    scores = lead_scores(holed, everything(holed), resamples=100, seed=0)

    assert (scores["6"].model.mean_km, scores["6"].model.missing) == (None, 1)
    assert scores["6"].model_minus_cliper is None
    assert (scores["6"].cliper.mean_km, scores["6"].n) == (55.0, 4)
    assert scores["12"].model.mean_km == 90.0


def test_the_bytes_are_canonical_json_that_reads_back_in_the_order_of_leads(make_report, make_lead):
    leads = {"12": make_lead(9, 3, model=80.5, cliper=None), "6": make_lead(9, 3, model=30.0, cliper=40.0)}
    report = make_report(leads)

    written = to_bytes(report)

    assert json.loads(written)["leads"]["12"]["cliper"] == {"mean_km": None, "missing": 0}
    assert list(report.leads) == ["6", "12"]
    assert type(report).model_validate_json(written) == report
    assert to_bytes(type(report).model_validate_json(written)) == written


def test_the_table_fits_into_80_columns_with_every_number(make_report, make_lead):
    def scores(cliper: float) -> dict:
        lead = make_lead(2283, 110, model=cliper * 0.9, cliper=cliper, persistence_6h=cliper * 1.2, incumbent=cliper)
        for method in ("model", "cliper", "persistence_6h", "incumbent"):
            lead[method]["ci95_km"] = [lead[method]["mean_km"] * 0.95, lead[method]["mean_km"] * 1.05]
        return lead

    leads = {"6": scores(34.5), "12": scores(76.6), "24": scores(185.1), "48": scores(461.0), "72": scores(1046.3)}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report_table(make_report(leads)))

    text = console.export_text()
    assert "…" not in text
    for words in ("model", "CLIPER", "persistence", "incumbent", "1046.3", "994-1099", "2283", "110", "6 h", "72 h"):
        assert words in text


def test_a_report_with_gaps_is_drawn_all_the_same(make_report, make_lead, tmp_path):
    leads = {
        "6": make_lead(9, 3, model=30.0, cliper=40.0, persistence_6h=41.0),
        "24": make_lead(9, 3, model=None, cliper=140.0, persistence_6h=160.0),
        "72": make_lead(0, 0),
    }

    draw_skill(make_report(leads), tmp_path / "skill.png")

    assert (tmp_path / "skill.png").read_bytes().startswith(b"\x89PNG")
