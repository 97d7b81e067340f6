"""Scores: medians by hand, misses that count, a threshold that balances, and circles that hold what they say."""

from datetime import UTC, datetime

import numpy as np
import pytest

from eyewall.besttrack.sphere import destination
from eyewall.centre.cases import Case
from eyewall.centre.guesses import read_guesses
from eyewall.centre.locate import Found
from eyewall.centre.scores import basin_scores, best_threshold, guess_scores, median_with_interval, radius_factors
from eyewall.centre.search import Guess, Position
from eyewall.contracts.errors import InputError


def position(storm, error_km, *, wind_kt=50.0, guess_km=200.0, expected=0.9, radius_km=50.0, frame="f", known=True):
    """A place ``error_km`` east of its storm at 20 N, 130 E."""
    truth = Case(frame, datetime(2005, 8, 1, tzinfo=UTC), storm, 2005, 20.0, 130.0, wind_kt)
    lat, lon = (float(v) for v in destination(20.0, 130.0, error_km, 0.0))
    found = Found(lat, lon, (radius_km, 2 * radius_km), expected)
    guess_lat, guess_lon = (float(v) for v in destination(20.0, 130.0, 0.0, guess_km))
    guess = Guess(frame, "2005-08-01T00:00:00Z", storm, guess_lat, guess_lon, truth)
    return Position(frame, guess.time_utc, storm, found, guess, truth if known else None)


def test_the_median_and_its_interval_come_from_whole_storms():
    """Storm a errs by 10 in 3 frames, b by 90 in 1: the median is 10; drawn anew it is 10 or, with b twice, 90."""
    scores = median_with_interval(np.array([10.0, 10, 10, 90]), ["a", "a", "a", "b"], 400)

    assert scores == {"n": 4, "storms": 2, "median_km": 10.0, "interval_95_km": [10.0, 90.0], "mean_km": 30.0}


def test_scores_stand_beside_those_of_the_guess_and_by_intensity():
    positions = [position("a", e) for e in (10, 20, 60)] + [position("b", 99, wind_kt=90.0, guess_km=300)]
    positions += [position("c", 7, known=False), position("d", 30, wind_kt=np.nan)]

    scores = guess_scores(positions, 200)

    assert scores["n"] == 5  # the one without a best track is none of them
    assert scores["median_km"] == 30
    assert scores["guess_median_km"] == 200
    assert scores["by_intensity"]["tropical storm, 34-63 kt"]["median_km"] == 20
    assert scores["by_intensity"]["typhoon, 85 kt and more"]["n"] == 1
    assert scores["by_intensity"]["wind unknown"]["median_km"] == 30
    assert scores["within_68_and_95_circle_pct"] == [60, 100]  # of 50 km: 10, 20, 30; of 100: all
    assert guess_scores([position("c", 7, known=False)], 200) == {"n": 0}


def test_basin_wide_a_miss_is_infinitely_far():
    """Three cases, one found at 40 km, one below the threshold, one not at all: found 1 in 3, and no median."""
    found, unsure = position("a", 40.0), position("b", 10.0, expected=0.1)
    false = position("x", 0.0, known=False)
    cases = [found.truth, unsure.truth, position("c", 0.0).truth]

    scores = basin_scores([found, unsure, false], cases, 4, 0.5, 200)

    assert scores["found_pct"] == 33.3
    assert scores["all"]["median_km"] is None
    assert scores["those_found"]["median_km"] == 40
    assert scores["false_places_a_frame"] == 0.25


def test_the_threshold_balances_finds_and_misses():
    """F1 of 4 cases: 0.9 alone 2·1/(1+4) = 0.4, with 0.8 0.67, 0.7 (false) 0.57, 0.6 0.75, and 0.1 (false) 0.67."""
    positions = [position("a", 9, expected=0.9), position("b", 9, expected=0.8)]
    positions += [position("x", 9, expected=0.7, known=False), position("c", 9, expected=0.6)]
    positions += [position("y", 9, expected=0.1, known=False)]

    assert best_threshold(positions, 4) == 0.6
    assert best_threshold([], 4) == 0.5


def test_factors_make_circles_hold_their_share():
    """Errors of 1, 2 … 100 km and radii of 50 and 100: 68 % need 69 km (the next higher one), 95 % 96."""
    positions = [position(f"s{e}", float(e)) for e in range(1, 101)]

    low, high = radius_factors(positions)

    assert (low * 50, high * 100) == pytest.approx((69, 96), abs=0.1)
    assert radius_factors(positions[:5]) == (1.0, 1.0)


def test_guesses_are_read_and_what_is_wrong_is_named_by_its_line(tmp_path):
    file = tmp_path / "guesses.csv"
    file.write_text("time_utc,storm_id,lat_deg,lon_deg\n2005-08-01T00:33:00Z,200509,20.5,129.5\n")
    table, sha256 = read_guesses(str(file))

    assert table.time_utc[0] == np.datetime64("2005-08-01T00:33")
    assert table.storm_id[0] == "200509"
    assert len(sha256) == 64

    file.write_text("time_utc,storm_id,lat_deg,lon_deg\n2005-08-01,a,20,130\n2005-08-01,a,120,130\n")
    with pytest.raises(InputError, match="line 3"):
        read_guesses(str(file))
    file.write_text("time_utc,lat_deg,lon_deg\n2005-08-01,20,130\n")
    with pytest.raises(InputError, match="storm_id"):
        read_guesses(str(file))
    with pytest.raises(InputError, match="cannot be read"):
        read_guesses(str(tmp_path / "absent.csv"))
