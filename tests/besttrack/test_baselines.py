"""Persistence and CLIPER on tracks whose answers are known."""

import json

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.baselines import (
    KM_PER_DEG,
    PREDICTOR_SCALES,
    Cliper,
    no_motion_km,
    persistence_km,
    predictor_terms,
    predictors,
)
from eyewall.besttrack.cases import Cases, SampleRules, build_cases, case_at
from eyewall.besttrack.sphere import destination, distance_km
from eyewall.besttrack.testing import straight_track, toy_tracks
from eyewall.contracts import features as f
from eyewall.contracts.errors import ContractError, InputError

TOYS = build_cases(toy_tracks(seed=2, seasons=range(2001, 2009), storms=3), SampleRules(), 2001, 2008)


def errors_km(cases: Cases, displacement_km: np.ndarray) -> np.ndarray:
    """Great-circle error [n, l], NaN without a target."""
    lat, lon = (cases.features[name][:, -1:].astype(float) for name in (f.PAST_LAT_DEG, f.PAST_LON_DEG))
    there = destination(lat, lon, displacement_km[..., 0], displacement_km[..., 1])
    error = distance_km(*there, cases.targets[f.TARGET_LAT_DEG], cases.targets[f.TARGET_LON_DEG])
    return np.where(cases.targets[f.TARGET_VALID] > 0, error, np.nan)


@pytest.mark.parametrize("hours", [6, 12])
@pytest.mark.parametrize("lon_deg", [pytest.param(140.0, id="open sea"), pytest.param(183.5, id="date line")])
def test_persistence_is_exact_for_steady_increments(hours: int, lon_deg: float) -> None:
    """Equal steps of latitude and longitude are what it continues: less than 0.1 km off at 72 h in float32."""
    cases = build_cases(straight_track(lon_deg=lon_deg), SampleRules(east_deg=190.0), 2001, 2001)
    assert np.nanmax(errors_km(cases, persistence_km(cases.features, hours))) < 0.1  # type: ignore[arg-type]


def test_no_motion_is_off_by_the_way_gone() -> None:
    """1° of latitude a step due north: 111.195 km at 6 h, twelve times as much at 72 h."""
    cases = build_cases(straight_track(lat_step_deg=1.0, lon_step_deg=0.0), SampleRules(), 2001, 2001)
    errors = errors_km(cases, no_motion_km(cases.features))
    np.testing.assert_allclose(errors[0], KM_PER_DEG * np.array([1, 2, 4, 8, 12]), atol=0.01)


def test_predictors_are_the_documented_ones() -> None:
    """By hand for the first case of the straight track: (14, 137), 50 kt, 31 May 00 UTC."""
    case = build_cases(straight_track(), SampleRules(), 2001, 2001).select(slice(0, 1))
    # Steps of +0.5° north and −0.75° east in 6 h, the same over 12 and 24 h.
    north, east = KM_PER_DEG * 0.5 / 6, KM_PER_DEG * np.cos(np.radians(14.0)) * -0.75 / 6
    angle = 2 * np.pi * 151 / 365.25
    expected = [-6.0, 2.0, east, north, east, north, -10.0, np.sin(angle), np.cos(angle)]
    np.testing.assert_allclose(predictors(case.features)[0], expected, atol=1e-4)


def test_terms_come_in_the_documented_order() -> None:
    """1, the scaled predictors, then s0², s0·s1 … s8²."""
    values = np.array([[1.5, -2.0, 3.0, 4.0, -5.0, 6.0, 7.0, 0.6, -0.8]])
    s = values[0] / np.array(PREDICTOR_SCALES)

    terms = predictor_terms(values, "quadratic")[0]

    products = [s[i] * s[j] for i in range(9) for j in range(i, 9)]
    np.testing.assert_allclose(terms, [1.0, *s, *products])
    assert [predictor_terms(values, form).shape[1] for form in ("mean", "linear", "quadratic")] == [1, 10, 55]


def test_missing_history_falls_back_to_younger_fixes() -> None:
    """With one fix 6 h ago the motion of 6 h stands for 12 and 24 h; with none the storm stays."""
    track = straight_track()
    two = case_at(track.iloc[:2], "2001150N12140", "2001-05-30T06:00")
    one = case_at(track.iloc[:1], "2001150N12140", "2001-05-30T00:00")
    np.testing.assert_allclose(predictors(two.features)[0, 2:4], predictors(two.features)[0, 4:6])
    assert np.abs(predictors(two.features)[0, 2:4]).min() > 5
    np.testing.assert_allclose(persistence_km(two.features, 12), persistence_km(two.features, 6))
    assert not persistence_km(one.features, 12).any()


def test_an_unknown_wind_counts_as_the_middle_one() -> None:
    """0 kt would be an absurdly weak storm."""
    case = build_cases(straight_track().assign(wind_kt=np.nan), SampleRules(min_wind_kt=0), 2001, 2001)
    assert not predictors(case.features)[:, 6].any()


def test_cliper_finds_a_law_that_is_linear_in_its_predictors() -> None:
    """Straight tracks of many speeds obey flat = motion × lead: every lead within 0.5 km, linear and quadratic."""
    tracks = toy_law()
    cases = build_cases(tracks, SampleRules(), 1990, 2010)
    for form in ("linear", "quadratic"):
        cliper = Cliper.fit(cases, form)
        assert cliper.lead_forms == (form,) * 5
        assert np.nanmax(errors_km(cases, cliper.predict_km(cases.features))) < 0.5


def toy_law() -> pd.DataFrame:
    """70 straight tracks with different places, speeds, winds and days."""
    random = np.random.default_rng(7)
    return pd.concat(
        straight_track(
            f"{2000 + n % 10}{100 + 3 * n:03d}N10140",
            2000 + n % 10,
            str(np.datetime64(f"{2000 + n % 10}-04-10") + 3 * n),
            lat_deg=random.uniform(8, 20),
            lon_deg=random.uniform(120, 160),
            lat_step_deg=random.uniform(-0.2, 0.8),
            lon_step_deg=random.uniform(-1.0, 1.0),
            wind_kt=random.uniform(35, 100),
        )
        for n in range(70)
    )


def test_cliper_beats_persistence_on_recurving_tracks() -> None:
    """That is what it is for: a third better at 48 h, on other storms than it was fitted on."""
    others = build_cases(toy_tracks(seed=9, seasons=(2010, 2011), storms=3), SampleRules(), 2010, 2011)
    cliper = errors_km(others, Cliper.fit(TOYS).predict_km(others.features))
    persistence = errors_km(others, persistence_km(others.features))
    assert np.nanmean(cliper[:, 3]) < 0.67 * np.nanmean(persistence[:, 3])


def test_the_mean_form_is_the_mean_displacement_of_the_training_set() -> None:
    """In flat kilometres: every case at one base position would get the same."""
    steady = build_cases(straight_track(), SampleRules(), 2001, 2001)
    cliper = Cliper.fit(steady, "mean")
    assert cliper.coefficients.shape == (5, 1, 2)
    # 0.5° north a step: 0.5·111.195·4 steps in 24 h.
    assert cliper.coefficients[2, 0, 1] == pytest.approx(KM_PER_DEG * 2.0, abs=0.01)


@pytest.mark.parametrize(
    ("cases", "form"),
    [
        pytest.param(550, "quadratic", id="ten per term of 55"),
        pytest.param(549, "linear", id="too few for quadratic"),
        pytest.param(100, "linear", id="ten per term of 10"),
        pytest.param(99, "persistence_12h", id="too few for linear"),
    ],
)
def test_with_few_cases_a_lead_takes_a_simpler_form(cases: int, form: str) -> None:
    """Never a fit of more terms than the cases can carry."""
    few = TOYS.select(np.flatnonzero(TOYS.targets[f.TARGET_VALID][:, 0] > 0)[:cases])
    assert Cliper.fit(few).lead_forms[0] == form


def test_the_last_resort_is_persistence_over_12_h_exactly() -> None:
    """Written as coefficients of the same terms, so that a graph needs no special case."""
    few = TOYS.select(slice(0, 5))
    np.testing.assert_allclose(Cliper.fit(few).predict_km(TOYS.features), persistence_km(TOYS.features, 12), atol=1e-6)


def test_far_outside_the_fit_a_forecast_stays_what_it_is_at_its_edge() -> None:
    """A parabola runs away: a storm of 200 kt is answered as the fit's strongest is, and one in the Arctic sanely."""
    cliper = Cliper.fit(TOYS)
    lo, hi = cliper.ranges[:, 0]
    seen = predictors(TOYS.features)
    np.testing.assert_array_equal((lo, hi), (seen.min(axis=0), seen.max(axis=0)))
    wild = {name: values[:1].copy() for name, values in TOYS.features.items()}
    wild[f.PAST_WIND_KT][:], wild[f.PAST_WIND_VALID][:] = 200.0, 1.0
    edge = {name: values.copy() for name, values in wild.items()}
    edge[f.PAST_WIND_KT][:] = hi[6] + 60.0

    np.testing.assert_allclose(cliper.predict_km(wild), cliper.predict_km(edge), atol=1e-3)
    unclipped = Cliper.from_json(cliper.to_json() | {"predictor_ranges": [None] * 5})
    assert np.abs(unclipped.predict_km(wild) - unclipped.predict_km(edge)).max() > 50

    wild[f.PAST_LAT_DEG][:] = 80.0 - np.array(f.FIX_AGES_H) / 6 * 2.0
    bound = np.abs(cliper.predict_km(TOYS.features)).max() * 5
    assert np.abs(cliper.predict_km(wild)).max() < bound


def test_on_the_cases_of_the_fit_nothing_is_clipped() -> None:
    """Least squares stays least squares: the same forecasts without the ranges, to the bit."""
    cliper = Cliper.fit(TOYS)
    unclipped = Cliper.from_json(cliper.to_json() | {"predictor_ranges": [None] * 5})
    has = TOYS.targets[f.TARGET_VALID] > 0

    np.testing.assert_array_equal(cliper.predict_km(TOYS.features)[has], unclipped.predict_km(TOYS.features)[has])


def test_json_of_the_first_format_still_loads_and_is_not_clipped() -> None:
    """Cards of older models have it: no ranges, and longitudes counted from 135 degrees East."""
    new = Cliper.fit(TOYS).to_json()
    old = {name: value for name, value in new.items() if name not in ("predictor_ranges", "lon_origin_deg")}
    old |= {"format": 1, "predictors": [new["predictors"][0], "lon_minus_135_deg", *new["predictors"][2:]]}

    loaded = Cliper.from_json(json.loads(json.dumps(old)))

    assert np.isinf(loaded.ranges).all()
    assert loaded.lon_origin_deg == 135.0
    has = TOYS.targets[f.TARGET_VALID] > 0
    np.testing.assert_array_equal(
        loaded.predict_km(TOYS.features)[has], Cliper.fit(TOYS).predict_km(TOYS.features)[has]
    )


def test_no_training_case_is_a_clear_error() -> None:
    """Nothing to fit: the sentence says what to change."""
    with pytest.raises(InputError, match="no training storm: 0 cases"):
        Cliper.fit(TOYS.select(slice(0, 0)))


@pytest.mark.parametrize("form", ["mean", "linear", "quadratic"])
def test_a_fit_round_trips_through_json_exactly(form: str) -> None:
    """Through text: the same forecasts to the bit."""
    cliper = Cliper.fit(TOYS, form)  # type: ignore[arg-type]
    again = Cliper.from_json(json.loads(json.dumps(cliper.to_json())))
    np.testing.assert_array_equal(again.predict_km(TOYS.features), cliper.predict_km(TOYS.features))
    assert again.to_json() == cliper.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"format": 99}, "CLIPER format is 99", id="another format"),
        pytest.param({"leads_h": [6]}, "CLIPER leads_h", id="other leads"),
        pytest.param({"coefficients": [[1.5]]}, "coefficients of form", id="wrong shape"),
        pytest.param(
            {"predictor_ranges": [None, None, None, None, [[1.5] * 9, [0.5] * 9]]}, "least", id="range upside down"
        ),
        pytest.param({"predictor_ranges": [[[1.5], [2.5]]] * 6}, "incomplete", id="ranges of six leads"),
        pytest.param({"lon_origin_deg": None}, "incomplete", id="no origin"),
        pytest.param({"form": "cubic"}, "incomplete", id="unknown form"),
        pytest.param({"coefficients": "x"}, "incomplete", id="no numbers"),
    ],
)
def test_json_that_is_not_this_fit_is_refused(change: dict[str, object], message: str) -> None:
    """Rather than a forecast from the wrong numbers."""
    with pytest.raises(ContractError, match=message):
        Cliper.from_json(Cliper.fit(TOYS, "linear").to_json() | change)


def test_the_quadratic_fit_keeps_its_coefficients_small() -> None:
    """sin² + cos² = 1 makes two terms redundant; without care they would grow without bound and fail in float32."""
    cases = build_cases(toy_law(), SampleRules(), 1990, 2010)
    assert np.abs(Cliper.fit(cases).coefficients).max() < 1e5
