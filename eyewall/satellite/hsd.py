"""Checks of AHI Himawari Standard Data: eleven header blocks whose numbers and lengths add up, and the data after them.

Source: JMA, "Himawari-8/9 Himawari Standard Data User's Guide", version 1.3, tables 5 and 6. Written from the guide and
not from the simulator's tables, so that each is a check of the other.

Nominal and observation time. The name and the observation timeline (block 1) carry the ten-minute slot, HHMM; the
observation start and end times are when the lines of this very file were scanned, some seconds to ten minutes later.
Frames are named by the former and carry the latter.

Actual and nominal position. Block 3 has the *projection* longitude (140.7), to which the pixels are resampled: it alone
makes the geometry. Block 4 has the satellite's *actual* sub-satellite point at the time, some hundredths of a degree
away: it is kept with the frame's quality numbers, and is wrong for locating pixels.
"""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from eyewall.contracts.errors import CorruptFile
from eyewall.satellite.formats import NameFacts

_BLOCKS: Final = 11
#: Blocks without a repeated part never change their length.
_FIXED_LENGTHS: Final = {1: 282, 2: 50, 3: 127, 4: 139, 5: 147, 6: 259, 7: 47, 11: 259}
#: Only the error information (block 10) has a length of four bytes.
_WIDE_BLOCK: Final = 10
_MJD_EPOCH: Final = datetime(1858, 11, 17, tzinfo=UTC)
#: A scan starts within its ten-minute slot; housekeeping may move it by some minutes, never by more than another slot.
_MAX_DELAY: Final = timedelta(minutes=20)
_MAX_HEADER_BYTES: Final = 2**20


def check(path: Path, facts: NameFacts) -> None:
    """Raises CorruptFile when the uncompressed file at ``path`` is not what its name says, or not whole."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(_MAX_HEADER_BYTES)
    starts = _block_starts(header)
    _check_lengths(header, starts, size)
    _check_identity(header, starts, path.name, facts)


def _number(header: bytes, layout: str, offset: int) -> int:
    try:
        value: int = struct.unpack_from("<" + layout, header, offset)[0]
    except struct.error:
        raise CorruptFile(f"the header ends at byte {len(header)}: the file is truncated") from None
    return value


def _block_starts(header: bytes) -> dict[int, int]:
    """Offset of each block; raises CorruptFile where the chain of numbers and lengths breaks."""
    if _number(header, "B", 0) != 1 or _number(header, "H", 1) != _FIXED_LENGTHS[1]:
        raise CorruptFile("the file does not begin with the basic information block of Himawari Standard Data")
    if (count := _number(header, "H", 3)) != _BLOCKS:
        raise CorruptFile(f"the header says {count} blocks: there are {_BLOCKS}")
    if (order := _number(header, "B", 5)) != 0:
        raise CorruptFile(f"the byte order flag is {order}: 0 (little endian) is the only one that satpy reads")
    starts, at = {}, 0
    for number in range(1, _BLOCKS + 1):
        found, length = _number(header, "B", at), _number(header, "I" if number == _WIDE_BLOCK else "H", at + 1)
        if found != number:
            raise CorruptFile(f"header block {number} is expected at byte {at}, but block {found} stands there")
        expected = _FIXED_LENGTHS.get(number)
        if expected is not None and length != expected:
            raise CorruptFile(f"header block {number} says {length} bytes: it has {expected}")
        if length < 3:  # number and length themselves
            raise CorruptFile(f"header block {number} says {length} bytes: it cannot hold its own length")
        starts[number] = at
        at += length
    starts[_BLOCKS + 1] = at
    return starts


def _check_lengths(header: bytes, starts: dict[int, int], size: int) -> None:
    header_bytes, data_bytes = _number(header, "I", 70), _number(header, "I", 74)
    if header_bytes != starts[_BLOCKS + 1]:
        raise CorruptFile(f"the header says {header_bytes} bytes: its blocks add up to {starts[_BLOCKS + 1]}")
    block = starts[2]
    bits, columns, lines = (_number(header, "H", block + offset) for offset in (3, 5, 7))
    if _number(header, "B", block + 9) == 0 and data_bytes != columns * lines * bits // 8:
        raise CorruptFile(f"the header says {data_bytes} data bytes: {columns} x {lines} pixels of {bits} bits differ")
    if not columns or not lines:
        raise CorruptFile(f"the header says {columns} columns and {lines} lines: there is no pixel")
    if size != header_bytes + data_bytes:
        raise CorruptFile(f"the file has {size} bytes: header and data add up to {header_bytes + data_bytes}")


def _check_identity(header: bytes, starts: dict[int, int], name: str, facts: NameFacts) -> None:
    """The name's satellite, time, band, area and segment against the header's."""
    parts = name.split("_")  # HS_H09_20200905_0000_B13_R301_R20_S0101.DAT
    satellite = header[6:22].rstrip(b"\0 ").decode("ascii", "replace")
    _same("satellite", parts[1], f"H{satellite[-1:]:0>2}")
    timeline = _number(header, "H", 44)
    if timeline % 100 < 60 and timeline < 2400:  # otherwise a fill value
        _same("slot", parts[3], f"{timeline:04d}")
    start_mjd = struct.unpack_from("<d", header, 46)[0]
    if not 0 < start_mjd < 100_000:  # until the year 2132; NaN fails too
        raise CorruptFile(f"the observation start time is {start_mjd}: it is no modified Julian day")
    start = _MJD_EPOCH + timedelta(days=start_mjd)
    if abs(start - facts.time) > _MAX_DELAY:
        raise CorruptFile(f"the name says {facts.time:%Y-%m-%d %H:%M:%S}, the scan began {start:%Y-%m-%d %H:%M:%S} UTC")
    _same("area", parts[5], header[38:42].rstrip(b"\0 ").decode("ascii", "replace"))
    _same("band", int(parts[4][1:]), _number(header, "H", starts[5] + 3))
    _same("number of segments", facts.segments, _number(header, "B", starts[7] + 3))
    _same("segment", facts.segment, _number(header, "B", starts[7] + 4))


def _same(what: str, in_name: object, in_header: object) -> None:
    if in_name != in_header:
        raise CorruptFile(f"the name says {what} {in_name}, the header says {in_header}")
