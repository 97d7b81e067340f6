"""Which fixes are base times, what is known then, and what comes after."""

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.cases import SampleRules, build_cases, case_at
from eyewall.besttrack.sphere import displacement_km
from eyewall.besttrack.testing import straight_track, toy_tracks
from eyewall.contracts import features as f
from eyewall.contracts.errors import InputError, TrackError

RULES = SampleRules()
# 25 fixes, 6 h apart, from 30 May 00 UTC: base times need 24 h before and 6 h after, so fixes 4 … 23.
TRACK = straight_track()


def test_base_times_need_their_past_and_a_target() -> None:
    """25 fixes − 4 without t−24 − 1 without t+6 = 20; at t+72 (12 fixes later) 25 − 4 − 12 = 9 remain."""
    cases = build_cases(TRACK, RULES, 2001, 2001)
    assert len(cases) == 20
    assert cases.base_time[0] == np.datetime64("2001-05-31T00:00")
    assert cases.targets[f.TARGET_VALID].sum(axis=0).tolist() == [20, 19, 17, 13, 9]


def test_features_have_their_contract() -> None:
    """Names, shapes, float32, no NaN, zero where the mask is zero; the base fix last, the oldest first."""
    blank = TRACK.assign(pressure_hpa=np.nan)
    cases = build_cases(blank, RULES, 2001, 2001)
    shapes = {name: (len(cases), *shape) for name, shape in f.input_shapes(f.ImageSpec(frames=0)).items()}
    assert {name: values.shape for name, values in cases.features.items()} == shapes
    assert {name: v.shape for name, v in cases.targets.items()} == {
        name: (len(cases), *shape) for name, shape in f.target_shapes().items()
    }
    everything = [*cases.features.values(), *cases.targets.values()]
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in everything)
    # First case: fix 4, with fixes 0 … 4 at ages 24 … 0, nothing at 48 … 30; latitude 12 + 0.5 per fix.
    np.testing.assert_allclose(cases.features[f.PAST_LAT_DEG][0], [0, 0, 0, 0, 12.0, 12.5, 13.0, 13.5, 14.0])
    np.testing.assert_allclose(cases.features[f.PAST_LON_DEG][0, 4:], [140.0, 139.25, 138.5, 137.75, 137.0])
    assert cases.features[f.PAST_FIX_VALID][0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert not cases.features[f.PAST_PRESSURE_VALID].any()
    assert not cases.features[f.PAST_PRESSURE_HPA].any()
    assert cases.features[f.DAY_OF_YEAR][0] == 151.0  # 31 May 00 UTC of a common year
    assert cases.features[f.DAY_OF_YEAR][3] == pytest.approx(151.75)


def test_targets_are_the_later_fixes_and_their_displacement() -> None:
    """First case: fix 4 at (14, 137) goes to fix 8 at (16, 134) in 24 h; float32 keeps it to metres."""
    cases = build_cases(TRACK, RULES, 2001, 2001)
    day = f.LEADS_H.index(24)
    assert cases.targets[f.TARGET_LAT_DEG][0, day] == pytest.approx(16.0)
    assert cases.targets[f.TARGET_LON_DEG][0, day] == pytest.approx(134.0)
    expected = displacement_km(14.0, 137.0, 16.0, 134.0)
    np.testing.assert_allclose(cases.targets[f.TARGET_DISPLACEMENT_KM][0, day], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param(SampleRules(min_wind_kt=50.0), 20, id="wind at the limit counts"),
        pytest.param(SampleRules(min_wind_kt=50.1), 0, id="too weak"),
        pytest.param(SampleRules(hours=(0, 12)), 10, id="two synoptic hours of four"),
        pytest.param(SampleRules(west_deg=130.0), 10, id="east of 130: 140 − 0.75·k ≥ 130 for k ≤ 13, so fixes 4 … 13"),
        pytest.param(SampleRules(north_deg=14.0), 1, id="up to 14 north: fix 4 alone"),
        pytest.param(SampleRules(west_deg=350.0, east_deg=20.0), 0, id="a box across Greenwich"),
        pytest.param(SampleRules(west_deg=350.0, east_deg=140.0), 20, id="a box across Greenwich with the storm in it"),
    ],
)
def test_sample_rules_choose_the_base_times(rules: SampleRules, expected: int) -> None:
    """Targets are whatever comes after: outside the box and weaker as well."""
    assert len(build_cases(TRACK, rules, 2001, 2001)) == expected


def test_an_unknown_wind_is_no_base_time_unless_any_wind_is() -> None:
    """NaN is not a gale; with a limit of 0 the fix counts and its wind is masked."""
    blank = TRACK.assign(wind_kt=np.nan)
    assert len(build_cases(blank, RULES, 2001, 2001)) == 0
    cases = build_cases(blank, SampleRules(min_wind_kt=0.0), 2001, 2001)
    assert len(cases) == 20
    assert not cases.features[f.PAST_WIND_VALID].any()


def test_off_hour_fixes_are_neither_base_times_nor_in_the_way() -> None:
    """Three-hourly rows between give the same cases as without them."""
    dense = straight_track(fixes=49, step_h=3, lat_step_deg=0.25, lon_step_deg=-0.375)
    cases, expected = build_cases(dense, RULES, 2001, 2001), build_cases(TRACK, RULES, 2001, 2001)
    np.testing.assert_array_equal(cases.base_time, expected.base_time)
    np.testing.assert_allclose(cases.features[f.PAST_LAT_DEG], expected.features[f.PAST_LAT_DEG])


def test_storms_that_follow_each_other_in_the_table_never_mix() -> None:
    """B begins 6 h after A ends, at another place: no past of B and no target of A lies in the other."""
    after = straight_track("2001157N30150", start="2001-06-05T06:00", lat_deg=30.0, fixes=10)
    cases = build_cases(pd.concat([after, TRACK]), RULES, 2001, 2001)
    assert (cases.storm_id == "2001150N12140").sum() == 20
    assert (cases.storm_id == "2001157N30150").sum() == 5  # 10 − 4 − 1
    assert cases.targets[f.TARGET_LAT_DEG][cases.storm_id == "2001150N12140"].max() <= 24.0


def test_the_same_cases_whatever_the_order_of_rows() -> None:
    """Sorted by storm and time inside."""
    table = toy_tracks(seed=5, seasons=(2001,), storms=3)
    one = build_cases(table, RULES, 2001, 2001)
    two = build_cases(table.sample(frac=1.0, random_state=3), RULES, 2001, 2001)
    assert one.storm_id.tolist() == two.storm_id.tolist()
    np.testing.assert_array_equal(one.targets[f.TARGET_LAT_DEG], two.targets[f.TARGET_LAT_DEG])


def test_no_feature_knows_the_future() -> None:
    """Moving every fix after the base time leaves the features as they are."""
    base = np.datetime64("2001-06-02T00:00")
    moved = TRACK.copy()
    later = moved["time_utc"] > pd.Timestamp(base)
    moved.loc[later, ["lat_deg", "wind_kt"]] += 7.5
    before, after = (case_at(table, "2001150N12140", base) for table in (TRACK, moved))
    for name in before.features:
        np.testing.assert_array_equal(before.features[name], after.features[name])
    assert after.targets[f.TARGET_LAT_DEG][0, 0] == pytest.approx(before.targets[f.TARGET_LAT_DEG][0, 0] + 7.5)


def test_history_across_the_date_line_keeps_its_longitudes() -> None:
    """0–360 throughout, and the displacement is the short way."""
    track = straight_track(lon_deg=178.0, lon_step_deg=0.5, lat_step_deg=0.25)
    cases = build_cases(track, SampleRules(east_deg=200.0), 2001, 2001)
    assert cases.features[f.PAST_LON_DEG][0, -1] == pytest.approx(180.0)
    assert 0 < cases.targets[f.TARGET_DISPLACEMENT_KM][0, 0, 0] < 60


@pytest.mark.parametrize("fixes", [pytest.param(1, id="one fix"), pytest.param(5, id="past but no target")])
def test_a_storm_too_short_gives_no_case(fixes: int) -> None:
    """It stays in the table all the same."""
    cases = build_cases(straight_track(fixes=fixes), RULES, 2001, 2001)
    assert len(cases) == 0
    assert cases.features[f.PAST_LAT_DEG].shape == (0, len(f.FIX_AGES_H))


def test_an_empty_table_gives_no_case() -> None:
    """And no exception."""
    assert len(build_cases(TRACK.iloc[:0], RULES, 2001, 2001)) == 0


def test_seasons_are_inclusive_at_both_ends() -> None:
    """Two of three seasons."""
    table = toy_tracks(seed=1, seasons=(2001, 2002, 2003), storms=1)
    assert set(build_cases(table, RULES, 2001, 2002).season) == {2001, 2002}


def test_selecting_keeps_rows_together() -> None:
    """By mask and by index alike."""
    cases = build_cases(TRACK, RULES, 2001, 2001)
    mask = cases.targets[f.TARGET_VALID][:, -1] > 0
    by_mask, by_index = cases.select(mask), cases.select(np.flatnonzero(mask))
    assert len(by_mask) == len(by_index) == 9
    np.testing.assert_array_equal(by_mask.features[f.PAST_LAT_DEG], by_index.features[f.PAST_LAT_DEG])


def test_a_forecast_case_needs_no_target_and_no_full_past() -> None:
    """At the last fix of a two-fix storm: one past fix, no target."""
    case = case_at(straight_track(fixes=2), "2001150N12140", "2001-05-30T06:00:00+00:00")
    assert len(case) == 1
    assert case.features[f.PAST_FIX_VALID][0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert not case.targets[f.TARGET_VALID].any()


@pytest.mark.parametrize(
    ("storm", "time", "message"),
    [
        pytest.param("1999001N01001", "2001-05-30", "storm '1999001N01001' is not in", id="no such storm"),
        pytest.param("2001150N12140", "2001-05-30T01:00", "no fix at 2001-05-30 01:00 UTC", id="no such fix"),
    ],
)
def test_a_forecast_case_that_does_not_exist_is_refused(storm: str, time: str, message: str) -> None:
    """With the value and what there is."""
    with pytest.raises(TrackError, match=message):
        case_at(TRACK, storm, time)


def test_two_fixes_of_a_storm_at_one_time_are_refused() -> None:
    """The table promises one row per storm and time; a look-up in anything else would be arbitrary."""
    with pytest.raises(InputError, match="two fixes at 2001-05-30"):
        build_cases(pd.concat([TRACK, TRACK.iloc[:1]]), RULES, 2001, 2001)
