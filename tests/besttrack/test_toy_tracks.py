"""The made-up best tracks that other rooms test with."""

import pandas as pd

from eyewall.besttrack.cases import SampleRules, build_cases
from eyewall.besttrack.table import COLUMNS, DTYPES
from eyewall.besttrack.testing import straight_track, toy_tracks


def test_toy_tracks_have_the_tables_shape() -> None:
    """Columns, types, one row per storm and time, longitudes 0–360."""
    for table in (straight_track(lon_deg=-175.0), toy_tracks(seed=3, seasons=(2001, 2002), storms=2)):
        assert tuple(table.columns) == COLUMNS
        assert {column: str(dtype) for column, dtype in table.dtypes.items()} == DTYPES
        assert not table.duplicated(["storm_id", "time_utc"]).any()
        assert table["lon_deg"].between(0, 360, inclusive="left").all()


def test_the_same_seed_gives_the_same_tracks_and_another_one_others() -> None:
    """Tests that use them can compare runs."""
    one, again, other = (toy_tracks(seed=seed, seasons=(2001,), storms=2) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(one, again)
    assert not one["lat_deg"].equals(other["lat_deg"])


def test_every_toy_storm_gives_cases_in_its_season() -> None:
    """Enough of them: ten at least from each."""
    table = toy_tracks(seed=6, seasons=(2001, 2002), storms=3)
    cases = build_cases(table, SampleRules(), 2001, 2002)
    assert pd.Series(cases.storm_id).value_counts().min() >= 10
    assert pd.Series(cases.storm_id).nunique() == 6
