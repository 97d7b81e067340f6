"""CLIPER in the graph is CLIPER in numpy."""

from typing import Any

import numpy as np
import pytest

from eyewall.besttrack.baselines import Cliper
from eyewall.besttrack.cases import Cases
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
