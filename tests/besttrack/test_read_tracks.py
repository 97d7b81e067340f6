"""Files, folders and URLs of best tracks: told by their content, and refused in one sentence."""

import gzip
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.read import detect_format, read_tracks
from eyewall.besttrack.table import COLUMNS, DTYPES
from eyewall.contracts.errors import TrackError

CSV = (
    "SID,ISO_TIME,LAT,LON,WMO_WIND,WMO_PRES\n"
    "2001152N10131,2001-06-01 00:00:00,10.5,131.5,40,998\n"
    "2001152N10131,2001-06-01 06:00:00,10.9,130.8,45,995\n"
)
JMA = "66666 0101  001 0001 0101 0 6             TOY                 20010601\n01060100 002 3 105 1315  998     040\n"
DECK = "WP, {}, 2001060{}00,   , BEST,   0, 105N, 1315E,  45,  998, TS,\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(CSV, "ibtracs", id="ibtracs"),
        pytest.param("\ufeff" + CSV, "ibtracs", id="ibtracs with a byte-order mark"),
        pytest.param("broken line\n" + JMA, "jma", id="jma after a broken line"),
        pytest.param(DECK.format("01", 1), "atcf", id="atcf"),
        pytest.param(
            "2007\t10\t03\t00\t2\t19.7\t146.7\t1008.0\t0.0\t0.0\t0\t0\n", "digital_typhoon", id="digital typhoon"
        ),
        pytest.param("a,b,c\n1,2,3\n", None, id="some other CSV"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_format_is_told_by_the_content(content: str, expected: str | None) -> None:
    """Whatever the file is called."""
    assert detect_format(content.encode()) == expected


def test_a_gzipped_file_at_a_url_reads_like_a_plain_one(tmp_path: Path) -> None:
    """A memory:// file stands for any URL."""
    (tmp_path / "plain").write_text(CSV)
    with fsspec.open("memory://tracks/some.gz", "wb") as file:
        file.write(gzip.compress(CSV.encode()))

    pd.testing.assert_frame_equal(read_tracks("memory://tracks/some.gz"), read_tracks(str(tmp_path / "plain")))


def test_the_table_has_its_columns_and_types(tmp_path: Path) -> None:
    """As table.py says, sorted by storm and time."""
    (tmp_path / "t").write_text(CSV)
    table = read_tracks(str(tmp_path / "t"))
    assert tuple(table.columns) == COLUMNS
    assert {column: str(dtype) for column, dtype in table.dtypes.items()} == DTYPES


def test_a_folder_of_bdecks_is_one_table_and_other_files_are_passed_over(tmp_path: Path) -> None:
    """A README, a hidden file and a sub-folder do no harm; a storm in two files is one storm."""
    (tmp_path / "bwp012001.dat").write_text(DECK.format("01", 1) + DECK.format("01", 2))
    (tmp_path / "bwp022001.dat").write_text(DECK.format("02", 3))
    (tmp_path / "bwp012001.dat.copy").write_text(DECK.format("01", 2))
    (tmp_path / "README").write_text("Not a track.")
    (tmp_path / ".hidden").write_text(JMA)
    (tmp_path / "older").mkdir()

    table = read_tracks(str(tmp_path))

    assert table["storm_id"].tolist() == ["WP012001", "WP012001", "WP022001"]


def test_a_broken_file_of_a_folder_is_told_and_its_neighbours_stay(tmp_path: Path) -> None:
    """An empty deck of three is refused as a row would be."""
    for number in ("01", "02"):
        (tmp_path / f"bwp{number}2001.dat").write_text(DECK.format(number, 1))
    (tmp_path / "bwp032001.dat").write_text(DECK.format("03", 1).replace("105N", "995N"))

    table = read_tracks(str(tmp_path))

    assert sorted(set(table["storm_id"])) == ["WP012001", "WP022001"]
    assert table.attrs["rejected_count"] == 1
    assert "bwp032001.dat" in table.attrs["rejected"][0][1]


def test_a_folder_of_two_formats_is_refused(tmp_path: Path) -> None:
    """Two agencies' tracks of one storm would count twice."""
    (tmp_path / "a.txt").write_text(JMA)
    (tmp_path / "b.csv").write_text(CSV)
    with pytest.raises(TrackError, match="mixes formats"):
        read_tracks(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty: give", id="empty"),
        pytest.param(b" \n\n", "is empty: give", id="blank"),
        pytest.param(b"hello\n", "begins with 'hello.*no best track", id="something else"),
        pytest.param(bytes(range(256)), "no best track", id="binary"),
        pytest.param(gzip.compress(CSV.encode())[:30], "broken gzip file", id="cut gzip"),
    ],
)
def test_what_is_no_best_track_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    """TrackError with the file's name and a remedy."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TrackError, match=message):
        read_tracks(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("{tmp}/nowhere.csv", "no best tracks at", id="no such file"),
        pytest.param("{tmp}", "0 usable best tracks", id="empty folder"),
        pytest.param("nosuch://host/file", "cannot be read", id="unknown protocol"),
    ],
)
def test_a_wrong_path_is_one_clear_error(tmp_path: Path, path: str, message: str) -> None:
    """TrackError that names the path."""
    with pytest.raises(TrackError, match=message):
        read_tracks(path.format(tmp=tmp_path))


def test_naming_the_wrong_format_is_an_error_not_an_empty_table(tmp_path: Path) -> None:
    """A CSV read as RSMC Tokyo text has no usable line."""
    (tmp_path / "t.csv").write_text(CSV)
    with pytest.raises(TrackError, match="holds no usable fix"):
        read_tracks(str(tmp_path / "t.csv"), "jma")


@pytest.mark.parametrize("flip", range(0, 200, 23))
def test_a_flipped_bit_gives_a_table_or_a_track_error(tmp_path: Path, flip: int) -> None:
    """Never another exception, never a position off the globe."""
    damaged = bytearray(CSV.encode())
    damaged[flip % len(damaged)] ^= 0x40
    (tmp_path / "t.csv").write_bytes(damaged)
    try:
        table = read_tracks(str(tmp_path / "t.csv"))
    except TrackError:
        return
    assert table["lat_deg"].between(-90, 90).all()
    assert np.isfinite(table["lon_deg"]).all()
