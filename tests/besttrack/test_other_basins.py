"""Other basins by settings alone: the same tracks elsewhere on the globe have the same cases and the same errors."""

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.baselines import Cliper, persistence_km, predictors
from eyewall.besttrack.cases import Cases, SampleRules, build_cases, what_there_is
from eyewall.besttrack.sphere import shortest_arc_deg
from eyewall.besttrack.testing import elsewhere, toy_tracks
from eyewall.contracts import features as f
from eyewall.contracts.fields import DEFAULT_BOX

FIT, JUDGED = toy_tracks(seed=2, seasons=range(2001, 2009), storms=3), toy_tracks(seed=9, seasons=(2010,), storms=3)
HOME = SampleRules.within(DEFAULT_BOX, 34.0)
PLACES = [
    pytest.param("100,-60,180,0", 0.0, True, id="south"),
    pytest.param("-80,0,0,60", 180.0, False, id="Atlantic up to Greenwich"),
    pytest.param("-30,0,50,60", 230.0, False, id="over Greenwich"),
    pytest.param("-30,-60,50,0", 230.0, True, id="south, over Greenwich"),
    pytest.param("140,-60,-140,0", 40.0, True, id="south, over the date line"),
]


def cases(table: pd.DataFrame, rules: SampleRules) -> Cases:
    """All seasons."""
    return build_cases(table, rules, 2001, 2010)


@pytest.mark.parametrize(("box", "east_deg", "southern"), PLACES)
def test_the_same_tracks_elsewhere_have_the_same_forecasts(box: str, east_deg: float, southern: bool) -> None:
    """CLIPER in all forms and persistence, fitted there and judged there: the same displacements to 50 m in 2000 km.

    That holds because moving the origin of a predictor, or turning its sign, gives the same polynomials.
    """
    rules = SampleRules.within(box, 34.0)
    fit, judged = cases(FIT, HOME), cases(JUDGED, HOME)
    fit_there, there = (cases(elsewhere(x, east_deg=east_deg, southern=southern), rules) for x in (FIT, JUDGED))
    mirror = np.array([1.0, -1.0 if southern else 1.0])

    assert len(there) == len(judged) > 50
    np.testing.assert_allclose(persistence_km(there.features), persistence_km(judged.features) * mirror, atol=0.05)
    for form in ("mean", "linear", "quadratic"):
        expected = Cliper.fit(fit, form).predict_km(judged.features) * mirror  # type: ignore[arg-type]
        found = Cliper.fit(fit_there, form)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.predict_km(there.features), expected, atol=0.05)


def test_nothing_jumps_at_greenwich_in_a_basin_that_lies_over_it() -> None:
    """A hair's breadth to either side of 0 the predictors are alike; counted from 135 E in 0-360 they are 360 apart."""
    over = cases(elsewhere(FIT, east_deg=230.0), SampleRules.within("-30,0,50,60", 34.0))
    cliper = Cliper.fit(over)
    west, east = ({k: v[:1].copy() for k, v in over.features.items()} for _ in range(2))
    west[f.PAST_LON_DEG][:] = 359.9999
    east[f.PAST_LON_DEG][:] = 0.0

    assert cliper.lon_origin_deg != 135.0
    assert np.abs(cliper.predict_km(west) - cliper.predict_km(east)).max() < 0.1
    at = predictors(west, cliper.lon_origin_deg)[0, 1], predictors(east, cliper.lon_origin_deg)[0, 1]
    assert at[1] - at[0] == pytest.approx(1e-4, abs=2e-5)


def test_in_the_western_north_pacific_longitude_is_counted_from_135_east() -> None:
    """As in the published check table."""
    assert Cliper.fit(cases(FIT, HOME)).lon_origin_deg == 135.0


@pytest.mark.parametrize(
    ("lon_deg", "arc"),
    [
        pytest.param([100, 140, 180], (100, 80), id="in the middle of 0 to 360"),
        pytest.param([350, 5, 20], (350, 30), id="over Greenwich"),
        pytest.param([-170, 170], (170, 20), id="over the date line"),
        pytest.param([42.5], (42.5, 0), id="one point"),
    ],
)
def test_the_shortest_arc_leaves_out_the_widest_gap(lon_deg: list[float], arc: tuple[float, float]) -> None:
    """West end and width."""
    assert shortest_arc_deg(lon_deg) == pytest.approx(arc)


def test_rules_and_files_say_in_words_where_they_are() -> None:
    """For sentences that tell why nothing was found."""
    assert "within 330 to 410 E, 60 S to 0 N" in SampleRules.within("-30,-60,50,0", 34.0).in_words()
    southern = elsewhere(JUDGED, east_deg=230.0, southern=True)
    rules = SampleRules.within("-30,-60,50,0", 34.0)
    n = len(southern)
    assert what_there_is(southern, rules, 2010, 2010).startswith("seasons 2010-2010, 3")
    assert what_there_is(southern, rules, 2010, 2010).endswith(
        f" S; of {n} fixes in 2010-2010 {n} lie in the box, {n} with a known wind"
    )
    assert f"of {n} fixes in 2010-2010 0 lie" in what_there_is(southern, HOME, 2010, 2010)
    no_wind = what_there_is(southern.assign(wind_kt=np.nan), rules, 2010, 2010)
    assert no_wind.endswith("0 with a known wind (--min-wind-kt 0 takes unknown ones)")


@pytest.mark.shared_data
def test_real_storms_beyond_the_date_line_and_in_the_bay_of_bengal_count_in_their_boxes(shared_data) -> None:  # type: ignore[no-untyped-def]
    """The file has no other basin, but storms that leave this one: counted a second way, by pandas."""
    from eyewall.besttrack.read import read_tracks

    table = read_tracks(str(shared_data / "besttrack" / "ibtracs_wp_1951_2018.parquet"))
    found = build_cases(table, SampleRules.within("170,0,-150,60", 34.0), 1951, 2018)

    fixes = table[table["lon_deg"].between(170, 210) & (table["wind_kt"] >= 34) & (table["lat_deg"].between(0, 60))]
    synoptic = fixes[(fixes["time_utc"].dt.hour % 6 == 0) & (fixes["time_utc"].dt.minute == 0)]
    known = set(zip(table["storm_id"], table["time_utc"], strict=True))
    hours = [pd.Timedelta(hours=h) for h in (-6, -12, -24)]
    leads = [pd.Timedelta(hours=h) for h in (6, 12, 24, 48, 72)]
    expected = {
        (storm, time)
        for storm, time in zip(synoptic["storm_id"], synoptic["time_utc"], strict=True)
        if all((storm, time + h) in known for h in hours) and any((storm, time + h) in known for h in leads)
    }
    assert set(zip(found.storm_id, pd.DatetimeIndex(found.base_time), strict=True)) == expected
    assert (found.features[f.PAST_LON_DEG][:, -1] > 180).sum() > 100
    cliper = Cliper.fit(found)
    assert cliper.lead_forms[:2] == ("quadratic", "quadratic")
    assert np.isfinite(cliper.predict_km(found.features)).all()
