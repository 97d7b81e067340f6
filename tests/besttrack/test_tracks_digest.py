"""The digest of best tracks covers what the table depends on, and nothing else."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from eyewall.besttrack.digest import tracks_sha256
from eyewall.besttrack.read import read_tracks
from eyewall.contracts.errors import TrackError
from eyewall.storage.store import sha256_of

DECK = "".join(
    f"WP, 31, 20181024{hour:02d},   , BEST,   0, {149 + hour}N, 1455E,  55,  985, TS,  34, NEQ\n" for hour in (0, 6, 12)
)
DT = "".join(f"2007\t10\t03\t{hour:02d}\t2\t19.5\t146.9\t1007.5\t0.0\t0\t0\t{hour % 2}\n" for hour in (0, 1, 2))
IBTRACS = "SID,ISO_TIME,LAT,LON,WMO_WIND\n2001152N10179,2001-06-01 00:00:00,10.5,130.5,40\n"


def put(path: Path, text: str) -> str:
    """The text as a file; its path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "name", "other"),
    [
        pytest.param(DECK, "bwp312018.dat", "bwp302018.dat", id="atcf"),
        pytest.param(DT, "200717.tsv", "200718.tsv", id="digital_typhoon"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_the_same_bytes_under_another_storms_name_are_other_tracks(
    tmp_path: Path, text: str, name: str, other: str, zipped: bool
) -> None:
    """Their storm ids differ, so must their digests; in another folder under the same name they are the same."""
    one, two, copy = tmp_path / name, tmp_path / other, tmp_path / "copy" / name
    for path in (one, two, copy):
        put(path, text)
        if zipped:
            path.write_bytes(gzip.compress(text.encode(), mtime=0))

    assert list(read_tracks(str(one))["storm_id"]) != list(read_tracks(str(two))["storm_id"])
    assert tracks_sha256(str(one)) != tracks_sha256(str(two))
    assert tracks_sha256(str(one)) == tracks_sha256(str(copy))
    assert tracks_sha256(str(one)) == tracks_sha256(str(one), "atcf" if text == DECK else "digital_typhoon")


def test_a_file_that_says_everything_inside_keeps_its_digest_under_any_name(tmp_path: Path) -> None:
    """It is the sha256 of its bytes, as sha256sum prints it."""
    one, two = put(tmp_path / "ibtracs.csv", IBTRACS), put(tmp_path / "copy of ibtracs.csv", IBTRACS)

    assert tracks_sha256(one) == tracks_sha256(two) == sha256_of(tmp_path / "ibtracs.csv")


def test_of_a_folder_only_what_is_read_counts(tmp_path: Path) -> None:
    """A README, a hidden file and a sub-folder change neither table nor digest; a second deck changes both."""
    put(tmp_path / "d" / "bwp312018.dat", DECK)
    table, digest = read_tracks(str(tmp_path / "d")), tracks_sha256(str(tmp_path / "d"))

    put(tmp_path / "d" / "README", "Decks of 2018.\n")
    put(tmp_path / "d" / ".bwp302018.dat.tmp", DECK)
    put(tmp_path / "d" / "old" / "bwp292018.dat", DECK)
    pd.testing.assert_frame_equal(read_tracks(str(tmp_path / "d")), table)
    assert tracks_sha256(str(tmp_path / "d")) == digest

    put(tmp_path / "d" / "bwp302018.dat", DECK.replace("1455E", "1655E"))
    assert len(read_tracks(str(tmp_path / "d"))) == 2 * len(table)
    assert tracks_sha256(str(tmp_path / "d")) != digest


def test_best_tracks_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    """As reading them says it."""
    with pytest.raises(TrackError, match=r"no best tracks at .*nowhere\.csv"):
        tracks_sha256(str(tmp_path / "nowhere.csv"))
