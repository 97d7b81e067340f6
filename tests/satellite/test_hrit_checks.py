"""HRIT files: header records add up, the data field has its size, and the name agrees."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from satellite_files import jma_hrit

from eyewall.contracts.errors import CorruptFile
from eyewall.satellite import hrit
from eyewall.satellite.satpy_names import facts_of

NAME = "IMG_DK01B11_202009201110_007"
GOOD = jma_hrit(np.arange(24).reshape(4, 6), NAME, segment=7, segments=10, sub_lon_deg=140.7)


def check(content: bytes, folder: Path, name: str = NAME) -> None:
    path = folder / name
    path.write_bytes(content)
    facts = facts_of("ahi_hrit", name)
    assert facts is not None
    hrit.check(path, facts)


def test_a_whole_file_passes(tmp_path: Path) -> None:
    check(GOOD, tmp_path)


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.9999))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, part: float) -> None:
    with pytest.raises(CorruptFile):
        check(GOOD[: int(part * len(GOOD))], tmp_path_factory.mktemp("cut"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(GOOD + b"\0", "header and data field add up to", id="a byte too many"),
        pytest.param(b"\x01" + GOOD[1:], "does not begin with the primary header", id="no primary header"),
        pytest.param(b"<html>" + bytes(200), "does not begin with the primary header|header bytes", id="a web page"),
        pytest.param(GOOD[:17] + b"\0\x02" + GOOD[19:], "record 1 at byte 16 says 2 bytes", id="a record too short"),
        pytest.param(GOOD[:17] + b"\xff\xff" + GOOD[19:], "leaves the header", id="a record too long"),
        # bits at byte 19, columns at 20, lines at 22
        pytest.param(GOOD[:19] + b"\x07" + GOOD[20:], "pixels of 7 bits: that is no image", id="seven bits"),
        pytest.param(GOOD[:22] + b"\0\x09" + GOOD[24:], "6 x 9 pixels of 16 bits differ", id="other lines"),
    ],
)
def test_what_does_not_add_up_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CorruptFile, match=message):
        check(content, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("IMG_DK01B11_202009201110_008", "name says segment 8, the header says 7", id="segment"),
        pytest.param(
            "IMG_DK01B11_202009201120_007", "name says 202009201120, the annotation says 202009201110", id="time"
        ),
    ],
)
def test_a_wrong_name_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(CorruptFile, match=message):
        check(GOOD, tmp_path, name)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_never_escapes_as_another_error(tmp_path_factory, position: int, bit: int) -> None:
    spoilt = bytearray(GOOD)
    spoilt[position] ^= 1 << bit
    with contextlib.suppress(CorruptFile):  # any other exception fails the test
        check(bytes(spoilt), tmp_path_factory.mktemp("flip"))


def test_the_projection_longitude_is_in_the_header() -> None:
    assert hrit.sub_longitude_deg(GOOD) == 140.7
    assert hrit.sub_longitude_deg(b"garbage that is no header") is None
    assert hrit.sub_longitude_deg(b"") is None
