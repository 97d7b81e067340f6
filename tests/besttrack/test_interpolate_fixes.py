"""Positions between fixes: on the great circle, across the date line, and nowhere that nobody looked."""

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.interpolate import position_at
from eyewall.besttrack.sphere import distance_km
from eyewall.besttrack.testing import straight_track
from eyewall.contracts.errors import InputError

TRACK = straight_track(
    start="2001-09-01T00:00", fixes=3, lat_deg=20.0, lat_step_deg=1.0, lon_deg=178.5, lon_step_deg=1.0
)


def at(*times: str) -> np.ndarray:
    """Times on 1–2 September 2001."""
    return np.array([f"2001-09-{time}" for time in times], dtype="datetime64[ns]")


def test_a_time_at_a_fix_gives_that_fix() -> None:
    """First, middle and last."""
    lat, lon, valid = position_at(TRACK, at("01T00:00", "01T06:00", "01T12:00"))
    np.testing.assert_allclose(lat, [20.0, 21.0, 22.0], atol=1e-9)
    np.testing.assert_allclose(lon, [178.5, 179.5, 180.5], atol=1e-9)
    assert valid.all()


def test_between_two_fixes_the_storm_moves_steadily_across_the_date_line() -> None:
    """At 08:00 a third of the way from (21, 179.5) to (22, 180.5) is gone, in a straight line on the sphere."""
    lat, lon, _ = position_at(TRACK, at("01T08:00"))
    whole = float(distance_km(21.0, 179.5, 22.0, 180.5))
    assert float(distance_km(21.0, 179.5, lat[0], lon[0])) == pytest.approx(whole / 3)
    assert float(distance_km(lat[0], lon[0], 22.0, 180.5)) == pytest.approx(whole * 2 / 3)


def test_longitudes_around_greenwich_do_not_sweep_round_the_world() -> None:
    """From 359.5 to 0.5 the way is 1°, not 359°."""
    track = straight_track(fixes=2, lat_deg=5.0, lat_step_deg=0.0, lon_deg=359.5, lon_step_deg=1.0)
    _, lon, _ = position_at(track, track["time_utc"].iloc[:1] + pd.Timedelta(hours=3))
    assert min(lon[0], 360.0 - lon[0]) == pytest.approx(0.0, abs=1e-6)


def test_outside_the_track_nothing_is_said() -> None:
    """NaN with False, before the first fix and after the last."""
    lat, lon, valid = position_at(TRACK, at("01T00:00", "02T13:00")[::-1] - np.timedelta64(1, "m"))
    assert np.isnan(lat).all()
    assert np.isnan(lon).all()
    assert not valid.any()


def test_a_gap_longer_than_the_limit_is_not_bridged_but_its_ends_are_known() -> None:
    """Fixes 18 h apart: the middle is unknown by default and known with a limit of 18 h."""
    track = straight_track(start="2001-09-01T00:00", fixes=2, step_h=18)
    times = at("01T00:00", "01T09:00", "01T18:00")
    assert position_at(track, times)[2].tolist() == [True, False, True]
    assert position_at(track, times, max_gap_h=18.0)[2].tolist() == [True, True, True]


def test_the_order_of_rows_does_not_matter_and_no_fix_is_no_position() -> None:
    """A shuffled track gives the same; an empty one gives NaN."""
    times = at("01T03:00", "01T09:00")
    np.testing.assert_array_equal(position_at(TRACK.iloc[[2, 0, 1]], times)[0], position_at(TRACK, times)[0])
    assert not position_at(TRACK.iloc[:0], times)[2].any()


def test_two_storms_at_once_are_refused() -> None:
    """Their fixes would be joined into one zigzag."""
    with pytest.raises(InputError, match="given 2 storms"):
        position_at(pd.concat([TRACK, straight_track("other")]), at("01T03:00"))
