"""CLIPER in the graph is CLIPER in numpy."""

from typing import Any

import numpy as np
import pytest

from eyewall.besttrack.baselines import Cliper
from eyewall.besttrack.cases import Cases, SampleRules, build_cases
from eyewall.besttrack.testing import elsewhere, toy_tracks
from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import (
    DAY_OF_YEAR,
    FIX_AGES_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_WIND_KT,
    PAST_WIND_VALID,
)
from eyewall.models.cliper import CliperGraph


def unlike_the_toy(n: int = 400) -> dict[str, np.ndarray]:
    """Features all over the basin and the year, some across the date line, some with a fix or the wind missing."""
    rng = np.random.default_rng(7)
    ages = np.array(FIX_AGES_H)
    lat = rng.uniform(2, 50, (n, 1)) - rng.uniform(-0.2, 0.3, (n, 1)) * ages / 6 + rng.normal(0, 0.1, (n, len(ages)))
    lon = rng.uniform(100, 190, (n, 1)) - rng.uniform(-0.4, 0.3, (n, 1)) * ages / 6 + rng.normal(0, 0.1, (n, len(ages)))
    fix_valid = (rng.random((n, len(ages))) > 0.1).astype(np.float32)
    fix_valid[:, -1] = 1
    wind_valid = (rng.random((n, len(ages))) > 0.1).astype(np.float32)
    values = {
        PAST_LAT_DEG: lat * fix_valid,
        PAST_LON_DEG: lon * fix_valid,
        PAST_WIND_KT: rng.uniform(20, 120, lat.shape) * wind_valid,
        PAST_FIX_VALID: fix_valid,
        PAST_WIND_VALID: wind_valid,
        DAY_OF_YEAR: rng.uniform(1, 366, n),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


@pytest.mark.parametrize(
    ("box", "east_deg", "southern"),
    [
        pytest.param("-30,-60,50,0", 230.0, True, id="south over Greenwich"),
        pytest.param("140,0,-140,60", 40, False, id="date line"),
    ],
)
def test_equals_it_in_other_basins(box: str, east_deg: float, southern: bool) -> None:
    """Fitted and asked there, on the cases of the fit and on storms all over the globe, which are clipped."""
    tracks = elsewhere(toy_tracks(seed=2, seasons=range(2001, 2009), storms=3), east_deg=east_deg, southern=southern)
    cases = build_cases(tracks, SampleRules.within(box, 34.0), 2001, 2008)
    cliper = Cliper.fit(cases)
    assert cliper.lead_forms[0] == "quadratic"

    for features in (cases.features, unlike_the_toy()):
        got = CliperGraph(cliper.to_json())(features).numpy()
        assert np.abs(got - cliper.predict_km(features)).max() < 0.1


def test_far_outside_the_fit_both_clip_alike(cases: Cases) -> None:
    """Winds to 400 kt and leaps of 40 degrees in 12 h: every forecast the same, and none beyond the globe."""
    cliper = Cliper.fit(cases)
    features = unlike_the_toy()
    features[PAST_WIND_KT] *= 4
    features[PAST_LON_DEG][:, -1] = np.mod(features[PAST_LON_DEG][:, -1] + 40, 360)

    got = CliperGraph(cliper.to_json())(features).numpy()

    assert np.abs(got - cliper.predict_km(features)).max() < 0.1
    unclipped = CliperGraph(cliper.to_json() | {"predictor_ranges": [None] * 5})(features).numpy()
    assert np.linalg.norm(got - unclipped, axis=-1).max() > 1000


@pytest.mark.parametrize("form", ["mean", "linear", "quadratic"])
def test_equals_the_numpy_cliper_within_a_tenth_of_a_kilometre(cases: Cases, form: Any) -> None:
    """Fitted on toy storms, asked about others: also where the fit goes wild, and with fixes and winds missing."""
    cliper = Cliper.fit(cases, form)
    features = unlike_the_toy()

    got = CliperGraph(cliper.to_json())(features).numpy()

    want = cliper.predict_km(features)
    plausible = np.linalg.norm(want, axis=-1) < 8000  # beyond, both are nonsense, and bearings near the antipode differ
    assert plausible.sum() > 500
    assert got.dtype == np.float32
    assert np.abs(got - want)[plausible].max() < 0.1


def test_equals_it_on_the_training_cases_too(cases: Cases) -> None:
    """Where it will be used: within ten metres."""
    cliper = Cliper.fit(cases)

    got = CliperGraph(cliper.to_json())(cases.features).numpy()

    assert np.abs(got - cliper.predict_km(cases.features)).max() < 0.01


def test_coefficients_of_another_format_are_refused(cases: Cases) -> None:
    """A graph with the wrong formulas would answer, wrongly."""
    values = Cliper.fit(cases).to_json() | {"format": 99}

    with pytest.raises(ContractError, match="CLIPER format is 99"):
        CliperGraph(values)
