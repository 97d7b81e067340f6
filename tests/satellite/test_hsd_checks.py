"""AHI HSD files: every header block is walked, and the name has to agree with the header."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from satellite_files import SLOT

from eyewall.contracts.errors import CorruptFile
from eyewall.satellite import hsd
from eyewall.satellite.satpy_names import facts_of
from eyewall.simulator.disk import Sector, disk_segment
from eyewall.simulator.hsd import encode

NAME = "HS_H09_20200905_0000_B13_R301_R20_S0101.DAT"
SECTOR = Sector("R301", 2500, 1500, 6, 4)  # six columns, four lines: the header does not care


@pytest.fixture(scope="module")
def good() -> bytes:
    """A whole Target Area file of 6 × 4 pixels."""
    import numpy as np

    return encode(250.0 + np.arange(24.0).reshape(4, 6), SECTOR, SLOT)


def check(content: bytes, folder: Path, name: str = NAME) -> None:
    path = folder / name
    path.write_bytes(content)
    facts = facts_of("ahi_hsd", name)
    assert facts is not None
    hsd.check(path, facts)


def test_a_whole_file_passes(good: bytes, tmp_path: Path) -> None:
    check(good, tmp_path)


def test_a_segment_of_the_full_disk_passes(tmp_path: Path) -> None:
    import numpy as np

    sector = disk_segment(4)
    content = encode(np.full((sector.lines, sector.columns), 251.5), sector, SLOT)
    check(content, tmp_path, "HS_H09_20200905_0000_B13_FLDK_R20_S0410.DAT")


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.9999))
def test_a_file_cut_anywhere_is_refused(good: bytes, tmp_path_factory, part: float) -> None:
    with pytest.raises(CorruptFile):
        check(good[: int(part * len(good))], tmp_path_factory.mktemp("cut"))


def test_a_byte_too_many_is_refused(good: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=f"has {len(good) + 1} bytes: header and data add up to {len(good)}"):
        check(good + b"\0", tmp_path)


def put(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:offset] + value + content[offset + len(value) :]


# Offsets: block 1 has 282 bytes, 2 has 50, 3 has 127, 4 has 139, 5 has 147, 6 has 259; 7 begins at 1004.
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(put(0, b"\x02"), "does not begin with the basic information block", id="first block's number"),
        pytest.param(put(3, b"\x0c\0"), "says 12 blocks: there are 11", id="number of blocks"),
        pytest.param(put(5, b"\x01"), "byte order flag is 1", id="big endian"),
        pytest.param(put(283, b"\x33\0"), "block 2 says 51 bytes: it has 50", id="a block's length"),
        pytest.param(put(282, b"\x09"), "block 2 is expected at byte 282, but block 9", id="a block's number"),
        pytest.param(put(1052, b"\0\0"), "block 8 says 0 bytes", id="a block without length"),
        pytest.param(put(70, b"\xff\xff\0\0"), "the header says 65535 bytes: its blocks add up to", id="header length"),
        pytest.param(put(74, b"\xff\0\0\0"), "the header says 255 data bytes: 6 x 4 pixels", id="data length"),
        pytest.param(put(287, b"\0\0"), "differ|no pixel", id="no columns"),
        pytest.param(put(15, b"8"), "name says satellite H09, the header says H08", id="another satellite"),
        pytest.param(put(44, b"\x0a\0"), "name says slot 0000, the header says 0010", id="another slot"),
        pytest.param(put(38, b"FLDK"), "name says area R301, the header says FLDK", id="another area"),
        pytest.param(put(601, b"\x0e\0"), "name says band 13, the header says 14", id="another band"),
        pytest.param(put(1007, b"\x0a"), "number of segments 1, the header says 10", id="another count of segments"),
        pytest.param(put(1008, b"\x02"), "name says segment 1, the header says 2", id="another segment"),
        pytest.param(put(46, b"\xff" * 8), "is no modified Julian day", id="observation time is NaN"),
        pytest.param(put(52, b"\xe0\x40"), "the scan began", id="another day"),
    ],
)
def test_a_wrong_field_is_named(good: bytes, tmp_path: Path, spoil, message: str) -> None:
    spoilt = spoil(good)
    assert spoilt != good

    with pytest.raises(CorruptFile, match=message):
        check(spoilt, tmp_path)


def test_an_undefined_timeline_is_no_contradiction(good: bytes, tmp_path: Path) -> None:
    """Housekeeping data carry 65535 there."""
    check(put(44, b"\xff\xff")(good), tmp_path)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 1400), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_header_never_escapes_as_another_error(
    good: bytes, tmp_path_factory, position: int, bit: int
) -> None:
    spoilt = bytearray(good)
    spoilt[position] ^= 1 << bit
    with contextlib.suppress(CorruptFile):  # any other exception fails the test
        check(bytes(spoilt), tmp_path_factory.mktemp("flip"))


@pytest.mark.parametrize("kind", ["header_block_length", "wrong_name", "short_data"])
def test_the_simulators_damage_is_seen(good: bytes, tmp_path: Path, kind: str) -> None:
    """Kinds of damage that leave the compression sound."""
    import bz2

    from eyewall.simulator import damage

    packed, name = damage.KINDS[kind](good, NAME + ".bz2")

    with pytest.raises(CorruptFile):
        check(bz2.decompress(packed), tmp_path, name.removesuffix(".bz2"))
