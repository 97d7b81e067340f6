"""Satellite files spoilt on purpose, each in a way that happens: what the checks before the reader must catch.

Every kind is a function from the whole file (uncompressed) and its proper name to what is written under which name.
Damaged files belong to slots between the regular ones, so that no storm loses a picture by them.
"""

import bz2
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from eyewall.simulator import hsd_layout as hsd

Damage = Callable[[bytes, str], tuple[bytes, str]]
_BZ2_LEVEL = 1


def truncated(content: bytes, name: str) -> tuple[bytes, str]:
    """The transfer broke off after three fifths."""
    packed = bz2.compress(content, _BZ2_LEVEL)
    return packed[: len(packed) * 3 // 5], name


def bit_flip(content: bytes, name: str) -> tuple[bytes, str]:
    """One bit of the compressed stream is wrong: its checksum tells."""
    packed = bytearray(bz2.compress(content, _BZ2_LEVEL))
    packed[len(packed) // 2] ^= 0x10
    return bytes(packed), name


def empty(content: bytes, name: str) -> tuple[bytes, str]:
    """Zero bytes: the name was made, the content never came."""
    return b"", name


def header_block_length(content: bytes, name: str) -> tuple[bytes, str]:
    """Block 3 claims another length than the format gives it; the compression is sound."""
    spoilt = bytearray(content)
    at = hsd.FIXED_BLOCK_LENGTHS[1] + hsd.FIXED_BLOCK_LENGTHS[2] + 1
    spoilt[at : at + 2] = (hsd.FIXED_BLOCK_LENGTHS[3] + 13).to_bytes(2, "little")
    return bz2.compress(bytes(spoilt), _BZ2_LEVEL), name


def wrong_name(content: bytes, name: str) -> tuple[bytes, str]:
    """A whole file under a name that says another time (ten minutes later) than its header."""
    stamp = name.split("_")[2:4]
    later = datetime.strptime("".join(stamp), "%Y%m%d%H%M") + timedelta(minutes=10)  # noqa: DTZ007 - only shifted
    return bz2.compress(content, _BZ2_LEVEL), name.replace("_".join(stamp), f"{later:%Y%m%d_%H%M}")


def not_bzip2(content: bytes, name: str) -> tuple[bytes, str]:
    """A whole file that says ``.bz2`` but was never compressed."""
    return content, name


def short_data(content: bytes, name: str) -> tuple[bytes, str]:
    """Sound compression around an image that lacks its last lines."""
    return bz2.compress(content[: -len(content) // 4], _BZ2_LEVEL), name


def error_page(content: bytes, name: str) -> tuple[bytes, str]:
    """A server's error page saved under the file's name."""
    return b"<html><head><title>503 Service Unavailable</title></head><body></body></html>\n", name


#: In the order in which `SimulateJob.bad_files` takes them.
KINDS: Final[dict[str, Damage]] = {
    kind.__name__: kind
    for kind in (truncated, bit_flip, empty, header_block_length, wrong_name, not_bzip2, short_data, error_page)
}
