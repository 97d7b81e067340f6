"""Checks of HRIT files (JMA, EUMETSAT and others): header records that add up, and a data field of the right size.

Source: CGMS, "LRIT/HRIT Global Specification", 2.8, section 4 (primary header, image structure, annotation); the
segment identification (type 128) as in JMA's "HRIT Mission Specific Implementation" and EUMETSAT's "MSG Ground Segment
LRIT/HRIT Mission Specific Implementation".
"""

import re
import struct
from pathlib import Path
from typing import Final

from eyewall.contracts.errors import CorruptFile
from eyewall.satellite.formats import NameFacts

HEAD_BYTES: Final = 2**16
_PRIMARY, _STRUCTURE, _NAVIGATION, _ANNOTATION, _SEGMENT = 0, 1, 2, 4, 128
_PRIMARY_LENGTH: Final = 16
_IMAGE_FILE: Final = 0
_TIME_DIGITS: Final = re.compile(rb"(?<!\d)(\d{12})(?!\d)")
#: Segment identification: length of the record → format and place of the segment number in it.
_SEGMENT_NUMBER: Final = {7: (">B", 3), 13: (">H", 6)}


def records(header: bytes) -> dict[int, bytes]:
    """Header records by type, each with its three leading bytes. Raises CorruptFile where their chain breaks."""
    found: dict[int, bytes] = {}
    at, total = 0, _PRIMARY_LENGTH
    while at < total:
        if at + 3 > len(header):
            raise CorruptFile(f"the header ends at byte {len(header)} of {total}: the file is truncated")
        kind, length = struct.unpack_from(">BH", header, at)
        if at == 0:
            if kind != _PRIMARY or length != _PRIMARY_LENGTH or len(header) < _PRIMARY_LENGTH:
                raise CorruptFile("the file does not begin with the primary header of HRIT")
            total = struct.unpack_from(">I", header, 4)[0]
        if length < 3 or at + length > total:  # type and length themselves
            raise CorruptFile(f"header record {kind} at byte {at} says {length} bytes: it leaves the header of {total}")
        found.setdefault(kind, header[at : at + length])
        at += length
    return found


def check(path: Path, facts: NameFacts) -> None:
    """Raises CorruptFile when the uncompressed file at ``path`` is not what its name says, or not whole."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(16)
        wanted = struct.unpack_from(">I", header, 4)[0] if len(header) == _PRIMARY_LENGTH else 0
        if wanted > size:
            raise CorruptFile(f"the header says {wanted} header bytes: the file has {size}")
        header += stream.read(max(wanted - len(header), 0))
    found = records(header)
    file_type, header_bytes, data_bits = struct.unpack_from(">BIQ", found[_PRIMARY], 3)
    expected = header_bytes + (data_bits + 7) // 8
    if size != expected:
        raise CorruptFile(f"the file has {size} bytes: header and data field add up to {expected}")
    if file_type == _IMAGE_FILE:
        _check_image(found, data_bits)
        _check_segment(found, facts)
    _check_time(found, facts)


def sub_longitude_deg(header: bytes) -> float | None:
    """The projection's longitude out of the image navigation record, GEOS(+000.0); None when it is not there."""
    try:
        name = records(header).get(_NAVIGATION, b"")
    except CorruptFile:
        return None
    match = re.search(rb"GEOS\(([+-]?\d+(?:\.\d*)?)\)", name, re.IGNORECASE)
    return float(match[1]) if match else None


def _check_image(found: dict[int, bytes], data_bits: int) -> None:
    if _STRUCTURE not in found or len(found[_STRUCTURE]) != 9:
        raise CorruptFile("the file says that it is an image but has no image structure record")
    bits, columns, lines, compressed = struct.unpack_from(">BHHB", found[_STRUCTURE], 3)
    if not columns or not lines or bits not in (8, 10, 16):
        raise CorruptFile(f"the header says {columns} x {lines} pixels of {bits} bits: that is no image")
    if not compressed and data_bits != bits * columns * lines:
        raise CorruptFile(f"the data field says {data_bits} bits: {columns} x {lines} pixels of {bits} bits differ")


def _check_segment(found: dict[int, bytes], facts: NameFacts) -> None:
    record = found.get(_SEGMENT, b"")
    if facts.segment is None or len(record) not in _SEGMENT_NUMBER:
        return
    layout, offset = _SEGMENT_NUMBER[len(record)]
    number = struct.unpack_from(layout, record, offset)[0]
    if number != facts.segment:
        raise CorruptFile(f"the name says segment {facts.segment}, the header says {number}")


def _check_time(found: dict[int, bytes], facts: NameFacts) -> None:
    match = _TIME_DIGITS.search(found.get(_ANNOTATION, b""))
    if match and match[1].decode() != f"{facts.time:%Y%m%d%H%M}":
        raise CorruptFile(f"the name says {facts.time:%Y%m%d%H%M}, the annotation says {match[1].decode()}")
