"""IBTrACS: the official CSV's units row, blanks, longitudes and agencies; the same columns as Parquet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.read import read_tracks
from eyewall.contracts.errors import TrackError

HEADER = "SID,SEASON,BASIN,NAME,ISO_TIME,LAT,LON,WMO_WIND,WMO_PRES,WMO_AGENCY,TOKYO_WIND,USA_WIND"
UNITS = " ,Year, , , ,degrees_north,degrees_east,kts,mb, ,kts,kts"
# 2001-06-01 crossing 180°, −180…180 as in the official file; the second fix has blanks for wind and pressure.
ROWS = (
    "2001152N10179,2001,WP,TOYA,2001-06-01 00:00:00,10.5,179.4,40,998,tokyo,40,50",
    "2001152N10179,2001,WP,TOYA,2001-06-01 03:00:00,10.8,-179.9, , , , , ",
    "2001152N10179,2001,EP,TOYA,2001-06-01 06:00:00,11.1,-179.2,60,990,hurdat_epa, ,60",
    "2001340S12170,2002,SP,TOYB,2001-12-06 00:00:00,-12.25,170.0,45,993,nadi, ,55",
)


def write(path: Path, *lines: str) -> str:
    """The lines as a file; its path as text."""
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_the_official_csv_becomes_the_table(tmp_path: Path) -> None:
    """Units row skipped, blanks unknown, longitudes 0–360, United States' 1-minute wind converted: 60 × 0.93 = 55.8."""
    table = read_tracks(write(tmp_path / "ibtracs.WP.list.v04r01.csv", HEADER, UNITS, *ROWS))

    assert list(table["storm_id"]) == ["2001152N10179"] * 3 + ["2001340S12170"]
    np.testing.assert_allclose(table["lon_deg"], [179.4, 180.1, 180.8, 170.0])
    np.testing.assert_allclose(table["lat_deg"], [10.5, 10.8, 11.1, -12.25])
    np.testing.assert_allclose(table["wind_kt"], [40.0, np.nan, 55.8, 45.0])
    np.testing.assert_allclose(table["pressure_hpa"], [998.0, np.nan, 990.0, 993.0])
    assert list(table["name"]) == ["TOYA"] * 3 + ["TOYB"]
    assert table["time_utc"].iloc[1] == pd.Timestamp("2001-06-01 03:00")
    assert table.attrs["rejected_count"] == 0


@pytest.mark.parametrize(
    ("sid", "season"),
    [
        pytest.param("2001152N10179", 2001, id="north"),
        pytest.param("2001365N10179", 2001, id="north, over New Year"),
        pytest.param("2001340S12170", 2002, id="south, December: the summer that ends in 2002"),
        pytest.param("2002010S12170", 2002, id="south, January of the same summer"),
        pytest.param("2001182S12170", 2002, id="south, 1 July"),
        pytest.param("2001181S12170", 2001, id="south, 30 June"),
        pytest.param("2004182S12170", 2004, id="south, 30 June of a leap year"),
    ],
)
@pytest.mark.parametrize("with_season", [True, False])
def test_the_season_is_the_year_in_the_sid_and_of_a_southern_summer_that_in_which_it_ends(
    tmp_path: Path, sid: str, season: int, with_season: bool
) -> None:
    """A summer that is cut in two at New Year would be trained on and judged; a column SEASON need not be there."""
    header, row = (
        ("SID,SEASON,ISO_TIME,LAT,LON", f"{sid},1999,") if with_season else ("SID,ISO_TIME,LAT,LON", f"{sid},")
    )
    table = read_tracks(write(tmp_path / "t.csv", header, f"{row}2001-12-06 00:00:00,-12.25,170.0"))
    assert table["season"].tolist() == [season]


@pytest.mark.parametrize(
    ("column", "expected"),
    [pytest.param("TOKYO_WIND", [40.0, 50.0], id="10-minute"), pytest.param("USA_WIND", [37.2, 46.5], id="1-minute")],
)
def test_without_wmo_wind_another_agency_stands_in(tmp_path: Path, column: str, expected: list[float]) -> None:
    """As 10-minute wind: 40 × 0.93 = 37.2 and 50 × 0.93 = 46.5 from the United States."""
    rows = (f"2001152N10179,2001-06-01 {hour:02d}:00:00,10.5,130.5,{wind}" for hour, wind in ((0, 40), (6, 50)))
    table = read_tracks(write(tmp_path / "t.csv", f"SID,ISO_TIME,LAT,LON,{column}", *rows))
    np.testing.assert_allclose(table["wind_kt"], expected)


def test_bad_rows_are_refused_with_line_and_reason_and_their_neighbours_stay(tmp_path: Path) -> None:
    """No position, impossible positions, absurd and missing times, a cut row: seven of fifteen, each one told."""
    good = [f"2001152N10179,2001,WP,A,2001-06-0{d} 00:00:00,1{d}.5,13{d}.5,40,998,tokyo,40,50" for d in range(1, 9)]
    bad = [
        "2001152N10179,2001,WP,A,2001-06-09 00:00:00, , ,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,2001-06-09 06:00:00,97.5,131.5,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,2001-06-09 12:00:00,12.5,400.5,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,2001-13-45 00:00:00,12.5,131.5,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,3001-06-09 00:00:00,12.5,131.5,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,2001-06-09 18:00:00,nan,131.5,40,998,tokyo,40,50",
        "2001152N10179,2001,WP,A,2001-06-10 00:00:00,12.",
    ]

    table = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, *good, *bad))

    assert len(table) == 8
    assert table.attrs["rejected_count"] == 7
    assert table.attrs["rejected"] == [
        (11, "latitude (blank) is not a number"),
        (12, "latitude '97.5' is outside -90..90 degrees"),
        (13, "longitude '400.5' is outside -180..360 degrees"),
        (14, "time '2001-13-45 00:00:00' is not a time from 1840 to 2100"),
        (15, "time '3001-06-09 00:00:00' is not a time from 1840 to 2100"),
        (16, "latitude 'nan' is not a number"),
        (17, "6 fields, the header has 12"),
    ]


def test_a_file_that_is_mostly_bad_is_refused_whole(tmp_path: Path) -> None:
    """Two bad rows of three: one sentence with the file, the first bad line, its value and a remedy."""
    rows = [ROWS[0], *(f"2001152N10179,2001,WP,A,2001-06-0{d} 00:00:00,95,131,40,998,tokyo,40,50" for d in (2, 3))]
    path = write(tmp_path / "t.csv", HEADER, UNITS, *rows)
    with pytest.raises(TrackError, match=r"t\.csv: 2 of 3 rows are unusable, the first at line 4: latitude '95'"):
        read_tracks(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([HEADER], "no usable fix .*no row follows the header", id="header only"),
        pytest.param([HEADER, UNITS], "no usable fix", id="header and units only"),
        pytest.param(
            ["SID,ISO_TIME,LAT", "2001152N10179,2001-06-01 00:00:00,10.5"], "no column LON", id="no longitude"
        ),
    ],
)
def test_unusable_files_say_so(tmp_path: Path, lines: list[str], message: str) -> None:
    """A TrackError, not an empty table."""
    path = write(tmp_path / "t.csv", *lines)
    with pytest.raises(TrackError, match=message):
        read_tracks(path)


def test_impossible_winds_and_pressures_are_unknown_and_the_fix_stays(tmp_path: Path) -> None:
    """Fill values (−999, 0) and bit-flipped ones (9404 kt) must not become predictors."""
    rows = [
        f"2001152N10179,2001,WP,A,2001-06-0{d} 00:00:00,12.5,131.5,{wind},{pressure},tokyo, , "
        for d, wind, pressure in ((1, -999, -999), (2, 0, 0), (3, 9404, 98), (4, 55, 985))
    ]
    table = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, *rows))
    np.testing.assert_allclose(table["wind_kt"], [np.nan, np.nan, np.nan, 55.0])
    np.testing.assert_allclose(table["pressure_hpa"], [np.nan, np.nan, np.nan, 985.0])


def test_of_two_rows_for_one_storm_and_time_the_better_known_stays(tmp_path: Path) -> None:
    """Whatever their order in the file; rows come out sorted."""
    rows = [
        "2001152N10179,2001,WP,A,2001-06-02 00:00:00,13.5,131.5,60,980,tokyo, , ",
        "2001152N10179,2001,WP,A,2001-06-01 00:00:00,12.5,131.5, , ,tokyo, , ",
        "2001152N10179,2001,WP,A,2001-06-01 00:00:00,12.7,131.7,45,990,tokyo, , ",
    ]
    table = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, *rows))
    assert table["lat_deg"].tolist() == [12.7, 13.5]


def test_parquet_with_numbers_as_text_reads_alike(tmp_path: Path) -> None:
    """Blanks as ' ', longitudes as they come, times as times: the same table as from the CSV."""
    columns = HEADER.split(",")
    frame = pd.DataFrame([row.split(",") for row in ROWS], columns=columns)
    frame["ISO_TIME"] = pd.to_datetime(frame["ISO_TIME"])
    frame.to_parquet(tmp_path / "t.parquet")

    table = read_tracks(str(tmp_path / "t.parquet"))

    expected = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, *ROWS))
    pd.testing.assert_frame_equal(table, expected)


def test_a_truncated_parquet_file_is_one_clear_error(tmp_path: Path) -> None:
    """Half of a copied file names itself and the remedy."""
    whole = tmp_path / "whole.parquet"
    pd.DataFrame({"SID": ["a"], "ISO_TIME": ["b"], "LAT": [1.5], "LON": [2.5]}).to_parquet(whole)
    half = tmp_path / "half.parquet"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(TrackError, match=r"half\.parquet is not a readable Parquet file .*copy it again"):
        read_tracks(str(half))


def test_a_stray_quote_costs_one_row_at_most(tmp_path: Path) -> None:
    """IBTrACS quotes nothing, so a damaged byte must not swallow the lines after it."""
    broken = ROWS[0].replace("TOYA", '"OYA')
    table = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, broken, *ROWS[1:]))
    assert len(table) == 4


def test_a_file_saved_again_with_quotes_and_a_byte_order_mark_reads_alike(tmp_path: Path) -> None:
    """Spreadsheets write both, and CRLF."""
    lines = [",".join(f'"{field}"' for field in line.split(",")) for line in (HEADER, UNITS, *ROWS)]
    (tmp_path / "q.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    expected = read_tracks(write(tmp_path / "t.csv", HEADER, UNITS, *ROWS))
    pd.testing.assert_frame_equal(read_tracks(str(tmp_path / "q.csv")), expected)
