"""TFRecord shards: their framing, names, and which storm goes into which.

Framing (tensorflow/core/lib/io/record_writer.h): length as uint64, masked crc32c of it, the bytes, masked crc32c of
them, all little-endian. Written here rather than by ``tf.io.TFRecordWriter``, which would cost the import of
TensorFlow; ``tf.data.TFRecordDataset`` reads the result (a test does).

A storm lies in one shard, as a whole, chosen by the hash of its id: adding a storm moves no other one.
"""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c

from eyewall.contracts.errors import CorruptFile

_HEADER: Final = struct.Struct("<QI")
_FOOTER: Final = struct.Struct("<I")
_MASK_DELTA: Final = 0xA282EAD8


def _masked_crc(data: bytes) -> int:
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """``data`` with the length and checksums that make it one record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + _FOOTER.pack(_masked_crc(length)) + data + _FOOTER.pack(_masked_crc(data))


def read_records(path: Path) -> Iterator[bytes]:
    """Every record of a TFRecord file, checked. Raises CorruptFile naming the file and the byte where it is damaged."""
    with path.open("rb") as stream:
        while header := stream.read(_HEADER.size):
            yield _read_one(stream, header, path)


def _read_one(stream: BinaryIO, header: bytes, path: Path) -> bytes:
    at = stream.tell() - len(header)
    remedy = "fetch or make the records again"
    if len(header) < _HEADER.size:
        raise CorruptFile(f"{path.name} ends inside a record at byte {at}: {remedy}")
    length, crc = _HEADER.unpack(header)
    if crc != _masked_crc(header[:8]):
        raise CorruptFile(f"{path.name} has a wrong checksum of a length at byte {at}: {remedy}")
    body = stream.read(length + _FOOTER.size)
    if len(body) < length + _FOOTER.size:
        raise CorruptFile(f"{path.name} ends inside a record at byte {at}: {remedy}")
    data = body[:length]
    if _FOOTER.unpack(body[length:])[0] != _masked_crc(data):
        raise CorruptFile(f"{path.name} has a wrong checksum of a record at byte {at}: {remedy}")
    return data


def shard_of(storm_id: str, shards: int) -> int:
    """Number of the shard, 0 … ``shards`` − 1, that holds every sample of the storm."""
    return int.from_bytes(hashlib.sha256(storm_id.encode()).digest()[:8], "big") % shards


def shard_name(split: str, index: int, shards: int) -> str:
    """``train-00000-of-00004.tfrecord``."""
    return f"{split}-{index:05d}-of-{shards:05d}.tfrecord"


def shard_paths(folder: Path, split: str, shards: int) -> list[Path]:
    """Every shard of a split, in order."""
    return [folder / shard_name(split, index, shards) for index in range(shards)]
