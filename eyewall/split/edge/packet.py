"""Frames on their way: what came from the source, and the packet of features that crosses the link or waits on disk."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_HEADER_BYTES = struct.Struct("<I")
#: Types that a packet may carry; none whose decoding could run anything.
_DTYPES = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"})
_FORMAT = 1


@dataclass(frozen=True)
class FrameKey:
    """Which frame: ``id`` is its name and a digest of its content, ``number`` counts frames in the order of intake.

    ``name``, ``bytes`` and ``mtime_ns`` are of the file it came from, so that a restart need not read it again.
    """

    id: str
    number: int
    name: str = ""
    bytes: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True)
class Frame:
    """One frame: inputs of the model by name, without a batch axis, and when it was taken in (seconds, Unix time)."""

    key: FrameKey
    inputs: Arrays
    taken_at_s: float


@dataclass
class Packet:
    """One request: ``tensors`` have a batch axis of as many frames as there are ``keys``.

    ``model`` is the served model that answers it, ``digest`` that of the wire contract (empty: a whole model is asked).
    """

    keys: tuple[FrameKey, ...]
    way: str
    model: str
    digest: str
    tensors: dict[str, Array]
    taken_at_s: tuple[float, ...]
    place: Any = field(default=None, compare=False)  #: where it stands in the spool, if it does
    ready_s: float = field(default=0.0, compare=False)  #: monotonic clock when its head was through

    @property
    def content_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(array.nbytes for array in self.tensors.values())

    def parts(self) -> list["Packet"]:
        """Itself as packets of one frame each."""
        return [
            Packet(
                (key,),
                self.way,
                self.model,
                self.digest,
                {name: array[i : i + 1] for name, array in self.tensors.items()},
                self.taken_at_s[i : i + 1],
                self.place,
            )
            for i, key in enumerate(self.keys)
        ]

    def to_bytes(self) -> bytes:
        """As kept on disk: the length of a header, the header as JSON, the tensors one after the other."""
        header = {
            "format": _FORMAT,
            "keys": [[key.id, key.number, key.name, key.bytes, key.mtime_ns] for key in self.keys],
            "way": self.way,
            "model": self.model,
            "digest": self.digest,
            "taken_at_s": self.taken_at_s,
            "tensors": [[name, array.dtype.name, array.shape] for name, array in self.tensors.items()],
        }
        text = json.dumps(header).encode()
        content = [a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes() for a in self.tensors.values()]
        return b"".join([_HEADER_BYTES.pack(len(text)), text, *content])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Packet":
        """The inverse of `to_bytes`. Raises InputError when ``data`` is not what it gave."""
        try:
            (length,) = _HEADER_BYTES.unpack_from(data)
            header = json.loads(data[4 : 4 + length])
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']}")
            tensors, at = {}, 4 + length
            for name, dtype, shape in header["tensors"]:
                if dtype not in _DTYPES:
                    raise ValueError(f"type {dtype}")
                count = int(np.prod(shape, dtype=np.int64))
                little = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), count, at).reshape(shape)
                tensors[str(name)] = little.astype(np.dtype(dtype), copy=False)
                at += little.nbytes
            if at != len(data):
                raise ValueError(f"{len(data) - at} bytes too many")
            keys = tuple(FrameKey(*key) for key in header["keys"])
            times = tuple(map(float, header["taken_at_s"]))
            return cls(keys, header["way"], header["model"], header["digest"], tensors, times)
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise InputError(f"a packet of {len(data)} bytes cannot be read: {error}") from None
