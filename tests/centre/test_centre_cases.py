"""Cases: the right storms in the right frames, at the frames' own times."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.testing import straight_track
from eyewall.centre.cases import Case, by_frame, find_cases, of_seasons, some_storms
from eyewall.centre.charts import Charts
from eyewall.centre.inputs import frames_of
from eyewall.contracts.errors import InputError
from eyewall.satellite.index import FrameKey


def test_a_storm_is_where_its_track_is_at_the_frames_time(toy_archive, toy_tracks):
    """Fixes at 0 and 6 h, 0.5 degrees north and 0.75 west; at 1.5 h a quarter of the way: 0.125 and 0.1875."""
    store, _ = toy_archive
    frames = frames_of(store, "toy", 2001, 2001)

    cases = find_cases(frames.keys, toy_tracks, Charts(store, 20.0))

    first = next(case for case in cases if case.storm_id == "2001150N12140")
    assert first.time == datetime(2001, 5, 30, 1, 30, tzinfo=UTC)
    assert (first.lat_deg, first.lon_deg) == pytest.approx((11.125, 139.8125), abs=2e-3)
    assert first.wind_kt == 50
    assert len(cases) == 16  # two storms in each of eight frames
    assert {len(some) for some in by_frame(cases).values()} == {2}


def test_a_storm_outside_the_frame_or_outside_its_life_is_no_case(toy_archive):
    store, _ = toy_archive
    keys = frames_of(store, "toy", 2001, 2001).keys
    far = straight_track("2001150N12175", 2001, "2001-05-30T00:00", fixes=5, lon_deg=175.0)
    later = straight_track("2001170N12140", 2001, "2001-06-20T00:00", fixes=5)

    assert find_cases(keys, pd.concat([far, later], ignore_index=True), Charts(store, 20.0)) == []


def test_a_frame_of_one_storm_is_not_another_storms(toy_archive, toy_tracks):
    """Storm-centred archives name the storm in the frame."""
    store, _ = toy_archive
    keys = [FrameKey(key.time, "2001150N12140", key.path) for key in frames_of(store, "toy", 2001, 2001).keys]

    assert {case.storm_id for case in find_cases(keys, toy_tracks, Charts(store, 20.0))} == {"2001150N12140"}


def test_a_frame_that_cannot_be_read_shows_no_storm(toy_archive, toy_tracks):
    store, _ = toy_archive
    keys = frames_of(store, "toy", 2001, 2001).keys
    charts = Charts(store, 20.0)
    charts.leave_out(keys[0].path, "damaged on purpose")

    assert {case.path for case in find_cases(keys, toy_tracks, charts)} == {key.path for key in keys[1:]}


def case(storm_id, season, year):
    return Case(
        "frames/s/2001/01/01/20010101T000000Z.nc",
        datetime(year, 1, 1, tzinfo=UTC),
        storm_id,
        season,
        10.0,
        130.0,
        np.nan,
    )


def test_around_new_year_a_case_with_a_foot_in_another_split_is_in_none():
    """A storm of season 2006 in a frame of January 2007, with training to 2006."""
    cases = [case("a", 2006, 2006), case("b", 2006, 2007), case("c", 2007, 2007)]

    assert [c.storm_id for c in of_seasons(cases, 2001, 2006)] == ["a"]
    assert [c.storm_id for c in of_seasons(cases, 2007, 2008)] == ["c"]


def test_a_share_of_storms_is_of_whole_storms_and_a_smaller_one_is_part_of_a_larger():
    cases = [case(name, 2001, 2001) for name in "aabbbcdd"]
    order = {"a": "3", "b": "1", "c": "0", "d": "2"}

    half, quarter = (some_storms(cases, share, order) for share in (0.5, 0.25))

    assert [c.storm_id for c in half] == ["b", "b", "b", "c"]
    assert [c.storm_id for c in quarter] == ["c"]
    assert some_storms(cases, 1.0, order) == cases
    assert some_storms(cases, 0.01, order) == quarter  # one storm at least


def test_years_without_a_frame_are_refused_with_those_that_there_are(toy_archive):
    store, _ = toy_archive

    with pytest.raises(InputError, match="2001-2004"):
        frames_of(store, "toy", 2010, 2012)
    with pytest.raises(InputError, match="backwards"):
        frames_of(store, "toy", 2003, 2002)
