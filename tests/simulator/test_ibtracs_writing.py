"""The best tracks read as any IBTrACS CSV does."""

import io
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from eyewall.simulator import ibtracs, storm


@pytest.fixture(scope="module")
def storms() -> list[storm.Storm]:
    """Three storms of two seasons."""
    return [
        storm.simulate(2, year, number, name, datetime(year, 9, 1, tzinfo=UTC))
        for year, number, name in ((2001, 1, "ALFA"), (2001, 2, "BRAVO"), (2002, 1, "ALFA"))
    ]


def test_the_second_row_is_units_and_the_rest_are_fixes(storms: list[storm.Storm]):
    """Read as the data set's own documentation says: skip row 1, blanks are missing."""
    text = ibtracs.to_csv(storms)
    units = text.splitlines()[1].split(",")
    header = text.splitlines()[0].split(",")
    assert dict(zip(header, units, strict=True))["WMO_WIND"] == "kts"
    table = pd.read_csv(io.StringIO(text), skiprows=[1], na_values=[" "], parse_dates=["ISO_TIME"])
    assert len(table) == sum(len(s.times) for s in storms)
    assert table["SID"].nunique() == 3
    assert table["NUMBER"].unique().tolist() == [1, 2, 3]
    one = table[table["SID"] == storms[0].sid]
    assert np.allclose(one["LAT"], storms[0].lat_deg)
    assert np.allclose(one["LON"] % 360, storms[0].lon_deg % 360)
    assert one["ISO_TIME"].tolist() == [pd.Timestamp(t.replace(tzinfo=None)) for t in storms[0].times]


def test_depressions_have_no_wind(storms: list[storm.Storm]):
    """As from RSMC Tokyo: nothing below 35 kt, pressure always, grade 2."""
    table = pd.read_csv(io.StringIO(ibtracs.to_csv(storms)), skiprows=[1], na_values=[" "])
    assert table["WMO_WIND"].isna().any()
    assert (table["WMO_WIND"].dropna() >= 35).all()
    assert table["WMO_PRES"].notna().all()
    weak = table[table["WMO_WIND"].isna()]
    assert set(weak["TOKYO_GRADE"]) <= {2, 6}


def test_the_projects_reader_takes_it(storms: list[storm.Storm], tmp_path):
    """The same fixes come back through `eyewall.besttrack.read`."""
    read = pytest.importorskip("eyewall.besttrack.read", reason="the best-track reader is not there")
    path = tmp_path / "besttrack.csv"
    path.write_text(ibtracs.to_csv(storms))
    table = read.read_tracks(str(path))
    assert len(table) == sum(len(s.times) for s in storms)
    assert set(table["storm_id"]) == {s.sid for s in storms}
    assert table["wind_kt"].max() == max(s.wind_kt.max() for s in storms)
