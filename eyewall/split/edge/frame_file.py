"""One frame's file, read as if it came from an enemy: ``.npy`` with one array, or ``.npz`` with an array an input.

Nothing is believed before it is checked against what the file really holds: no pickles, no links, no devices, no
header or archive that claims more than the limit, no name that could climb out of a folder.
"""

import hashlib
import io
import math
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import safe_key
from eyewall.split.edge.packet import Array

SUFFIXES = (".npy", ".npz")
_MOST_INPUTS = 32
_LONGEST_HEADER = 10_000
_INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_READ_BYTES = 2**20


def read_bytes(path: Path, largest: int) -> tuple[bytes, os.stat_result]:
    """Content and status of a plain file of at most ``largest`` bytes. Raises InputError for anything else.

    Raises FileNotFoundError when it has gone.
    """
    try:
        # Opening a pipe would wait for its writer, and a link may lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"cannot be opened as a plain file: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise InputError("is no plain file")
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_size > largest:
            raise InputError(f"has {status.st_size} bytes: the limit is {largest} (--frame-mb)")
        chunks, left = [], largest + 1  # it may grow while it is read
        while left > 0 and (chunk := stream.read(min(left, _READ_BYTES))):
            chunks.append(chunk)
            left -= len(chunk)
        data = b"".join(chunks)
    if len(data) != status.st_size:
        raise InputError(f"changed from {status.st_size} to {len(data)} bytes while it was read")
    return data, status


def frame_id(name: str, data: bytes) -> str:
    """``<name>-<16 digits of sha256>``: the same content under the same name is the same frame; plain ASCII."""
    return f"{safe_key(name)[:80]}-{hashlib.sha256(data).hexdigest()[:16]}"


def parse(name: str, data: bytes, largest: int) -> dict[str, Array]:
    """Arrays by input name; one without a name (``.npy``) under ``""``. Raises InputError with the reason."""
    if name.endswith(".npy"):
        return {"": _array(data, largest)}
    try:
        return _archive(data, largest)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"is no .npz archive: {error}") from None


def _archive(data: bytes, largest: int) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if not 0 < len(members) <= _MOST_INPUTS:
            raise InputError(f"has {len(members)} arrays: 1 to {_MOST_INPUTS} are taken")
        left = largest
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in arrays or not _INPUT_NAME.fullmatch(name):
                raise InputError(f"has an array named {name[:80]!r}: names are plain, and stand once")
            with archive.open(member) as stream:
                content = stream.read(left + 1)  # whatever the directory claims
            left -= len(content)
            if left < 0:
                raise InputError(f"unpacks to more than {largest} bytes (--frame-mb)")
            arrays[name] = _array(content, largest)
    return arrays


def _array(data: bytes, largest: int) -> Array:
    """The array of an ``.npy`` file's content, whose size must be exactly what its header says."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, by_columns, dtype = read(stream, max_header_size=_LONGEST_HEADER)
    except KeyError:
        raise InputError(f"has an .npy version that is not taken: {version}") from None
    except Exception as error:  # a header is parsed as Python; what a forged one raises is numpy's secret
        raise InputError(f"has no .npy header: {str(error)[:200]}") from None
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(f"holds {str(dtype)[:80]}: numbers of at most 8 bytes are taken")
    need = math.prod(shape) * dtype.itemsize
    have = len(data) - stream.tell()
    if need != have or any(n < 0 for n in shape):
        raise InputError(f"claims {list(shape)[:8]} of {dtype}, {need} bytes, and has {have}")
    if need > largest or len(shape) > 8 or not need:
        raise InputError(f"holds an array of shape {list(shape)[:8]}: empty, or too large")
    array = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")
    return np.ascontiguousarray(array.astype(dtype.newbyteorder("="), copy=False))
