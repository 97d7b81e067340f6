"""RSMC Tokyo text, ATCF b-decks and Digital Typhoon's TSV and CSV: their units, centuries, blanks and broken lines."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.read import read_tracks
from eyewall.contracts.errors import TrackError

JMA = """\
66666 5101  003 0001 5101 0 6             TOYONE              19510301
51021900 002 2 200 1385 1010
51021906 002 3 205 1391 1000     040     00000 0000 30060 0050
51021912 002 3 210 1801  998     000                                   #
66666 4901  001 0002 4901 0 6             TOYTWO              20490301
49010100 002 5 087 1429  950     085     00000 0000 30060 0050
"""


def test_jma_text_becomes_the_table(tmp_path: Path) -> None:
    """Tenths of degrees, centuries 1951–2049, ids with the full year, wind 000 or none unknown, '#' no wind."""
    (tmp_path / "bst.txt").write_text(JMA)

    table = read_tracks(str(tmp_path / "bst.txt"))

    assert table["storm_id"].tolist() == ["195101"] * 3 + ["204901"]
    assert table["season"].tolist() == [1951] * 3 + [2049]
    assert table["name"].tolist() == ["TOYONE"] * 3 + ["TOYTWO"]
    assert table["time_utc"].iloc[[0, 3]].tolist() == [pd.Timestamp(1951, 2, 19), pd.Timestamp(2049, 1, 1)]
    np.testing.assert_allclose(table["lat_deg"], [20.0, 20.5, 21.0, 8.7])
    np.testing.assert_allclose(table["lon_deg"], [138.5, 139.1, 180.1, 142.9])
    np.testing.assert_allclose(table["wind_kt"], [np.nan, 40.0, np.nan, 85.0])
    np.testing.assert_allclose(table["pressure_hpa"], [1010.0, 1000.0, 998.0, 950.0])


def test_a_storm_across_new_year_keeps_its_number_and_season(tmp_path: Path) -> None:
    """Number 0027 (2000) with a fix on 1 January 2001 stays season 2000."""
    (tmp_path / "b.txt").write_text(
        "66666 0027  002 0027 0027 0 6             TOY                 20010301\n"
        "00123118 002 3 100 1301 1000     040\n01010100 002 3 104 1295  998     040\n"
    )
    table = read_tracks(str(tmp_path / "b.txt"))
    assert table["season"].tolist() == [2000, 2000]
    assert table["time_utc"].dt.year.tolist() == [2000, 2001]


def test_a_jma_file_cut_short_says_which_storm_and_keeps_the_rest(tmp_path: Path) -> None:
    """The header promises three fixes, two came; the broken third line is told by its own line."""
    cut = [*JMA.splitlines()[:3], "51021912 002 3 21"]
    (tmp_path / "cut.txt").write_text("\n".join(cut))

    table = read_tracks(str(tmp_path / "cut.txt"))

    assert len(table) == 2
    assert [line for line, _ in table.attrs["rejected"]] == [4]

    (tmp_path / "short.txt").write_text("\n".join(JMA.splitlines()[:3]))
    rejected = read_tracks(str(tmp_path / "short.txt")).attrs["rejected"]
    assert rejected == [(1, "header promises 3 fixes, 2 follow: is the file complete?")]


def test_jma_fixes_without_a_valid_header_are_refused(tmp_path: Path) -> None:
    """They would otherwise be counted to the storm before."""
    lines = JMA.splitlines()
    lines[4] = "66666 4X01  001"
    (tmp_path / "b.txt").write_text("\n".join(lines))
    table = read_tracks(str(tmp_path / "b.txt"))
    assert table["storm_id"].unique().tolist() == ["195101"]
    assert [line for line, _ in table.attrs["rejected"]] == [5, 6]


def bdeck(
    time: str, lat: str, lon: str, wind: str, radius: str = "34", name: str = "TOY", number: str = "WP, 31"
) -> str:
    """One padded row of a b-deck."""
    rest = (
        f"{radius:>3}, NEQ,  125,  100,   90,   95, 1008,  230,  15,   0,   0,   W,   0,    ,   0,   0, {name:>10}, D, "
    )
    return f"{number}, {time},   , BEST,   0, {lat:>4}, {lon:>5}, {wind:>3},  985, TS, {rest}"


def test_a_bdeck_becomes_the_table(tmp_path: Path) -> None:
    """One fix per time whatever its radii, hemispheres, 1-minute wind × 0.93 (100 → 93), last name, id of the file."""
    rows = [
        bdeck("2018102400", "86N", "1694E", "15", "0", "INVEST"),
        *(bdeck("2018102406", "91N", "1799E", "100", radius) for radius in ("34", "50", "64")),
        bdeck("2018102412", "4S", "1795W", "0", "0"),
    ]
    (tmp_path / "bwp312018.dat").write_text("\n".join(rows))

    table = read_tracks(str(tmp_path / "bwp312018.dat"))

    assert table["storm_id"].tolist() == ["WP312018"] * 3
    assert table["season"].tolist() == [2018] * 3
    assert table["name"].tolist() == ["TOY"] * 3
    np.testing.assert_allclose(table["lat_deg"], [8.6, 9.1, -0.4])
    np.testing.assert_allclose(table["lon_deg"], [169.4, 179.9, 180.5])
    np.testing.assert_allclose(table["wind_kt"], [13.95, 93.0, np.nan])


def test_numbers_that_start_again_are_other_storms(tmp_path: Path) -> None:
    """Two decks after each other in a file of another name: WP 01 of 2019 and of 2020; the south's year is the next."""
    rows = [
        bdeck("2019010100", "86N", "1694E", "35", number="WP, 01"),
        bdeck("2019010106", "88N", "1684E", "35", number="WP, 01"),
        bdeck("2020050500", "96N", "1494E", "35", number="WP, 01"),
        bdeck("2020111500", "96S", "0694E", "35", number="SH, 01"),
    ]
    (tmp_path / "all.txt").write_text("\n".join(rows))
    table = read_tracks(str(tmp_path / "all.txt"))
    assert dict(zip(table["storm_id"], table["season"], strict=True)) == {
        "SH012021": 2021,
        "WP012019": 2019,
        "WP012020": 2020,
    }


def test_bdeck_rows_without_a_position_or_shape_are_refused(tmp_path: Path) -> None:
    """0N 0E is no position; a letter in a latitude is shown; a cut line is told."""
    good = [bdeck(f"20181024{hour:02d}", "91N", f"17{hour:02d}E", "65") for hour in (0, 6, 12, 18)]
    bad = [bdeck("2018102500", "0N", "0E", "65"), bdeck("2018102506", "9x1N", "1700E", "65"), "WP, 31, 20181025"]
    (tmp_path / "bwp312018.dat").write_text("\n".join(good + bad))
    table = read_tracks(str(tmp_path / "bwp312018.dat"))
    assert len(table) == 4
    assert table.attrs["rejected"] == [
        (5, "latitude (blank) is not a number"),
        (6, "latitude '9x1N' is not a number"),
        (7, "'WP, 31, 20181025' is not basin, number, time, …, latitude, longitude, wind, pressure"),
    ]


def tsv(hour: int, lat: float, wind: float, interpolated: int) -> str:
    """One hourly row as Digital Typhoon has it: 20 columns."""
    numbers = f"{lat:.6f}\t{146.5 + hour / 10:.6f}\t1005.500000\t{wind:.6f}\t0.000000"
    return f"2007\t10\t03\t{hour:02d}\t3\t{numbers}" + "\t0" * 9 + f"\t{interpolated}"


def test_digital_typhoon_becomes_the_table(tmp_path: Path) -> None:
    """The storm is the file's name; 1 at the end is interpolated, and its wind below 35 kt came from an unknown one."""
    lines = [tsv(0, 19.7, 0, 0), tsv(1, 19.9, 17.5, 1), tsv(2, 20.1, 37.5, 1), tsv(3, 20.3, 40, 0)]
    (tmp_path / "200717.tsv").write_text("\n".join(lines))

    table = read_tracks(str(tmp_path / "200717.tsv"))

    assert set(table["storm_id"]) == {"200717"}
    assert set(table["season"]) == {2007}
    assert table["interpolated"].tolist() == [False, True, True, False]
    np.testing.assert_allclose(table["wind_kt"], [np.nan, np.nan, 37.5, 40.0])
    np.testing.assert_allclose(table["pressure_hpa"], 1005.5)
    np.testing.assert_allclose(table["lon_deg"], [146.5, 146.6, 146.7, 146.8])


def test_a_digital_typhoon_file_without_its_storm_in_the_name_is_refused(tmp_path: Path) -> None:
    """Nothing inside says which storm it is."""
    (tmp_path / "track.tsv").write_text(tsv(0, 19.7, 40, 0))
    with pytest.raises(TrackError, match=r"track\.tsv: .*named by its storm.*rename the file"):
        read_tracks(str(tmp_path / "track.tsv"))


#: The columns of the data set's metadata: best track, then the picture of the hour.
METADATA = (
    "year,month,day,hour,grade,lat,lng,pressure,wind,dir50,long50,short50,dir30,long30,short30,landfall,intp,"
    "file_1,mask_1,mask_1_pct"
)


def metadata(hour: int, lat: object, wind: object, interpolated: object, name: str = "x.h5") -> str:
    return f"2007,10,3,{hour},3,{lat},146.7,1008,{wind},0,0,0,0,0,0,0,{interpolated},{name},0,0.0"


def test_the_data_sets_own_metadata_say_what_the_track_says(tmp_path: Path) -> None:
    """The same storm in both layouts is the same table; blanks and −1 are unknown."""
    hours = [(0, 19.7, 0, 0), (1, 19.9, 17.5, 1), (2, 20.1, 37.5, 1), (3, 20.3, 40, 0)]
    (tmp_path / "tsv").mkdir()
    (tmp_path / "tsv" / "200717.tsv").write_text("\n".join(tsv(*hour) for hour in hours))
    (tmp_path / "200717.csv").write_text("\ufeff" + "\r\n".join([METADATA, *(metadata(*hour) for hour in hours)]))

    table = read_tracks(str(tmp_path / "200717.csv"))
    assert table.attrs["format"] == "digital_typhoon"
    columns = [column for column in table if column not in ("lon_deg", "pressure_hpa")]
    pd.testing.assert_frame_equal(table[columns], read_tracks(str(tmp_path / "tsv" / "200717.tsv"))[columns])
    assert table["lon_deg"].tolist() == [146.7] * 4
    assert table["wind_kt"].isna().tolist() == [True, True, False, False]  # 17.5 kt: drawn from an unknown one


def test_metadata_without_an_hour_or_a_position_are_refused_line_by_line(tmp_path: Path) -> None:
    lines = [
        METADATA,
        metadata(0, 19.7, -1, 0),
        metadata(1, "", 40, 0),
        metadata("x", 20.1, 40, 0),  # type: ignore[arg-type]
        metadata(3, 20.3, 40, ""),
        metadata(4, 20.5, 40, "0.0"),
        metadata(5, 20.7, 40, 1, name='"a,b.h5"'),
        metadata(6, -1, 40, 0).replace("146.7", "-1"),
        metadata(7, 21.1, 40, 1),
    ]
    (tmp_path / "200717.csv").write_text("\n".join(lines))
    table = read_tracks(str(tmp_path / "200717.csv"))

    assert table["time_utc"].dt.hour.tolist() == [0, 4, 5, 7]
    assert [line for line, _ in table.attrs["rejected"]] == [3, 4, 5, 8]
    assert table["wind_kt"].isna().tolist() == [True, False, False, False]
