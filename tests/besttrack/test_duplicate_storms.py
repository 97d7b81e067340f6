"""One storm under two ids: what counts as one, and which track stays."""

import logging

import pandas as pd
import pytest

from eyewall.besttrack.duplicates import drop_duplicates, find_duplicates
from eyewall.besttrack.testing import straight_track

LONG = straight_track("2001150N12140", fixes=20)


def test_the_longer_of_two_equal_tracks_stays_and_the_other_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """0.2° of latitude apart is 22 km: one storm."""
    short = straight_track("2001150N12141", fixes=12, lat_deg=12.2)

    with caplog.at_level(logging.WARNING):
        table = drop_duplicates(pd.concat([short, LONG]), "certain", "t.csv")

    assert set(table["storm_id"]) == {"2001150N12140"}
    assert table.attrs["dropped_storms"] == {"2001150N12141": "2001150N12140"}
    assert "2001150N12141 is a certain duplicate of 2001150N12140" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(straight_track("B", fixes=20, lat_deg=13.0), id="111 km beside it all the way"),
        pytest.param(straight_track("B", start="2002-05-30T00:00", fixes=20), id="same places, another year"),
        pytest.param(straight_track("B", fixes=20, lat_step_deg=-0.5), id="same start, then apart"),
        pytest.param(straight_track("B", fixes=1), id="a single fix says too little"),
    ],
)
def test_other_storms_stay(other: pd.DataFrame) -> None:
    """Near is not the same."""
    assert find_duplicates(pd.concat([LONG, other])) == {}


def test_tracks_that_merely_begin_together_are_likely_duplicates() -> None:
    """Found when asked for, not by default: two analyses of one system, or two systems."""
    twin = straight_track("2001150N12141", fixes=12, lat_step_deg=-0.5, lat_deg=11.0)
    both = pd.concat([LONG, twin])
    assert find_duplicates(both, "likely") == {"2001150N12141": "2001150N12140"}
    assert find_duplicates(both, "certain") == {}
    assert find_duplicates(both, "none") == {}


def test_with_equal_lengths_the_one_with_more_winds_stays() -> None:
    """Then the smaller id, so that the choice never depends on the order of the file."""
    blank = LONG.assign(storm_id="2001149N12140", wind_kt=float("nan"))
    assert find_duplicates(pd.concat([blank, LONG])) == {"2001149N12140": "2001150N12140"}
    copy = LONG.assign(storm_id="2001151N12140")
    assert find_duplicates(pd.concat([copy, LONG])) == {"2001151N12140": "2001150N12140"}


def test_of_three_copies_one_stays() -> None:
    """Every dropped storm names the one that is really there."""
    copies = [straight_track(name, fixes=n) for name, n in (("A", 10), ("B", 20), ("C", 15))]
    assert find_duplicates(pd.concat(copies)) == {"A": "B", "C": "B"}
