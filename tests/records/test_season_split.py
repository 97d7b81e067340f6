"""No storm and no season stands in two splits, whichever way one tries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.errors import InputError, LeakError
from eyewall.records.split import SampleKeys, SplitYears, check_no_leak

YEARS = SplitYears(2001, 2004, 2005, 2006)
NEW_YEAR_S = 1104537600  # 2005-01-01 00:00 UTC


def keys(*rows):
    """(storm, season, base time in s, lat, lon) each."""
    storm, season, time_s, lat, lon = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return SampleKeys(
        np.array(storm, object), np.array(season, np.int64), np.array(time_s, np.int64),
        np.array(lat, float), np.array(lon, float),
    )  # fmt: skip


CLEAN = {
    "train": keys(("A", 2003, 0, 10.0, 150.0), ("B", 2004, NEW_YEAR_S, 12.0, 140.0)),
    "val": keys(("C", 2005, NEW_YEAR_S, 20.0, 130.0)),
    "test": keys(("D", 2006, NEW_YEAR_S + 9, 12.0, 140.0)),
}


def test_a_clean_split_passes():
    check_no_leak(CLEAN)


@pytest.mark.parametrize(
    ("split", "row", "message"),
    [
        pytest.param("val", ("A", 2005, 5, 1.0, 1.0), "storm A stands in train and in val", id="same_storm"),
        pytest.param("test", ("E", 2004, 5, 1.0, 1.0), "season 2004 stands in train and in test", id="same_season"),
        pytest.param(
            "test", ("E", 2006, NEW_YEAR_S, 12.1, 140.1), r"storms B \(train\) and E \(test\) are 16 km apart",
            id="storm_under_another_id",  # 0.1 deg north 11.1 km, 0.1 deg east at 12 N 10.9 km: 15.5 km
        ),
        pytest.param(
            "val", ("B2", 2005, NEW_YEAR_S, 12.0, 140.0), "one storm under two ids", id="over_new_year_by_other_id"
        ),
        pytest.param("val", ("B", 2005, NEW_YEAR_S + 21600, 12.5, 139.0), "storm B", id="over_new_year_same_id"),
    ],
)  # fmt: skip
def test_a_leak_is_refused(split, row, message):
    old = CLEAN[split]
    rows = list(zip(old.storm_id, old.season, old.base_time_s, old.lat_deg, old.lon_deg, strict=True))
    with pytest.raises(LeakError, match=message) as caught:
        check_no_leak(CLEAN | {split: keys(*rows, row)})

    assert caught.value.exit_code == 65


def test_a_duplicate_across_the_date_line_is_seen():
    """180.0 E and 179.9 W (180.1 E) are 11 km apart at the equator, however the longitude is written."""
    with pytest.raises(LeakError, match="11 km apart"):
        check_no_leak({"train": keys(("A", 2003, 0, 0.0, 180.0)), "val": keys(("B", 2005, 0, 0.0, -179.9))})


def test_two_storms_at_one_time_are_no_leak():
    """A pair that dances about each other keeps more than 100 km; 1 degree of latitude is 111 km."""
    check_no_leak({"train": keys(("A", 2003, 0, 10.0, 150.0)), "val": keys(("B", 2005, 0, 11.0, 150.0))})


@given(years=st.tuples(*[st.integers(1950, 2020)] * 4).map(sorted), season=st.integers(1940, 2030))
def test_a_season_has_one_split_and_it_is_the_one_whose_span_holds_it(years, season):
    split_years = SplitYears(*years)
    homes = [s for s in ("train", "val", "test") if (p := split_years.span(s)) and p[0] <= season <= p[1]]

    assert homes == ([split_years.split_of(season)] if split_years.split_of(season) else [])


def test_seasons_out_of_order_are_refused_with_the_numbers():
    with pytest.raises(InputError, match=r"train 2001-2010, val to 2005, test to 2012 are not in order"):
        SplitYears(2001, 2010, 2005, 2012)


def test_the_boundary_years_go_where_the_job_says():
    assert [YEARS.split_of(y) for y in (2000, 2001, 2004, 2005, 2006, 2007)] == [
        None, "train", "train", "val", "test", None,
    ]  # fmt: skip
