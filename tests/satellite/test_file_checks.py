"""Containers are read to their end: nothing that is cut, flipped or misnamed gets past."""

import bz2
import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.contracts.errors import CorruptFile, InputError
from eyewall.satellite import checks

CONTENT = bytes(np.random.default_rng(5).integers(0, 7, 4000, dtype=np.uint8))


both = pytest.mark.parametrize(
    ("suffix", "pack"), [pytest.param(".bz2", bz2.compress, id="bzip2"), pytest.param(".gz", gzip.compress, id="gzip")]
)


@both
def test_a_whole_stream_is_unpacked_under_its_plain_name(tmp_path: Path, suffix: str, pack) -> None:
    packed = tmp_path / f"a.DAT{suffix}"
    packed.write_bytes(pack(CONTENT))
    (tmp_path / "scratch").mkdir()

    plain = checks.unpack(packed, tmp_path / "scratch")

    assert plain.name == "a.DAT"
    assert plain.read_bytes() == CONTENT


@both
@settings(max_examples=40, deadline=None)
@given(part=st.floats(0.001, 0.999))
def test_a_stream_cut_anywhere_is_refused(tmp_path_factory, suffix: str, pack, part: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = pack(CONTENT)
    packed = folder / f"a.DAT{suffix}"
    packed.write_bytes(whole[: max(1, int(len(whole) * part))])
    (folder / "scratch").mkdir()

    with pytest.raises(CorruptFile, match=r"truncated|is not|checksum|is empty"):
        checks.unpack(packed, folder / "scratch")


@both
@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(
    tmp_path_factory, suffix: str, pack, position: float, bit: int
) -> None:
    """Some bits of the containers mean nothing (gzip's time stamp, padding): then the content must be the same."""
    folder = tmp_path_factory.mktemp("flip")
    spoilt = bytearray(pack(CONTENT))
    spoilt[int(position * len(spoilt))] ^= 1 << bit
    packed = folder / f"a.DAT{suffix}"
    packed.write_bytes(spoilt)
    (folder / "scratch").mkdir()

    try:
        plain = checks.unpack(packed, folder / "scratch")
    except CorruptFile:
        return
    assert plain.read_bytes() == CONTENT


@both
def test_plain_content_under_a_compressed_name_is_refused(tmp_path: Path, suffix: str, pack) -> None:
    packed = tmp_path / f"a.DAT{suffix}"
    packed.write_bytes(CONTENT)

    with pytest.raises(CorruptFile, match=f"ends with {suffix} but the content is not"):
        checks.unpack(packed, tmp_path)


@both
def test_an_empty_stream_is_refused(tmp_path: Path, suffix: str, pack) -> None:
    packed = tmp_path / f"a.DAT{suffix}"
    packed.write_bytes(pack(b""))

    with pytest.raises(CorruptFile, match="is empty"):
        checks.unpack(packed, tmp_path)


@both
def test_a_small_archive_that_swells_is_refused(tmp_path: Path, suffix: str, pack, monkeypatch) -> None:
    monkeypatch.setattr(checks, "MAX_PLAIN_BYTES", 2**20)
    packed = tmp_path / f"a.DAT{suffix}"
    packed.write_bytes(pack(bytes(2**21)))

    with pytest.raises(CorruptFile, match="more than 1048576 bytes"):
        checks.unpack(packed, tmp_path)


@both
def test_the_head_of_a_packed_file_is_its_plain_head(tmp_path: Path, suffix: str, pack) -> None:
    packed = tmp_path / f"a.DAT{suffix}"
    packed.write_bytes(pack(CONTENT))

    assert checks.head(packed, 10) == CONTENT[:10]


def test_an_empty_file_is_corrupt_and_a_missing_one_is_not(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()

    with pytest.raises(CorruptFile, match="the file is empty"):
        checks.check_size(empty)
    with pytest.raises(InputError, match="cannot be read"):
        checks.check_readable(tmp_path / "missing")


def test_a_garbled_head_is_no_head(tmp_path: Path) -> None:
    file = tmp_path / "a.bz2"
    file.write_bytes(b"BZh9 this is not bzip2")

    assert checks.head(file, 10) == b""


def test_netcdf_and_hdf5_pass_and_their_halves_do_not(tmp_path: Path) -> None:
    whole = tmp_path / "whole.nc"
    with h5py.File(whole, "w") as file:
        file["values"] = np.arange(5000.0)
    half = tmp_path / "half.nc"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    hollow = tmp_path / "hollow.nc"
    h5py.File(hollow, "w").close()
    page = tmp_path / "page.nc"
    page.write_text("<html>503</html>")
    classic = tmp_path / "classic.nc"
    classic.write_bytes(b"CDF\x01" + bytes(28))

    checks.check_container(whole)
    checks.check_container(classic)
    with pytest.raises(CorruptFile, match="truncated"):
        checks.check_container(half)
    with pytest.raises(CorruptFile, match="holds nothing"):
        checks.check_container(hollow)
    with pytest.raises(CorruptFile, match="neither netCDF nor HDF5"):
        checks.check_container(page)
