"""Is a file whole, and is it what its name says? Asked of each file by itself, before any reader sees it.

One corrupt file fails a whole satpy Scene without being named, and some corruptions (a shifted header block, a banner
burnt into the data) fail nothing at all. What is asked, in this order:

    size         there is something in it
    compression  bzip2 and gzip streams are read to their end, so that every checksum is verified
    format       the header blocks of the format and the lengths that they announce (`hsd`, `hrit`; HDF5 and netCDF
                 here); where a format has no checksum: plausible values, or a picture that decodes to its end

Every check raises CorruptFile with one sentence. Besides these, the quarantine's reasons know the checks ``name`` (no
file name of the reader), ``duplicate`` (another file holds the same segment) and ``reader`` (whole, yet unreadable).
"""

import bz2
import gzip
import stat
import zlib
from pathlib import Path
from typing import IO, Any, Final

from eyewall.contracts.errors import CorruptFile, InputError
from eyewall.storage.store import storage_errors

#: No satellite file of any format known here is near this size; a small archive that swells beyond it is no picture.
MAX_PLAIN_BYTES: Final = 4 * 2**30
_CHUNK_BYTES: Final = 2**20
_OPENERS: Final[dict[str, Any]] = {".bz2": bz2.open, ".gz": gzip.open}
_MAGIC: Final = {".bz2": b"BZh", ".gz": b"\x1f\x8b"}
HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_NETCDF_CLASSIC: Final = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def check_readable(path: Path) -> None:
    """Raises InputError for what is not there, may not be read, or is no file at all: that is not the content's fault.

    A pipe or a socket is never opened: that would wait for ever.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path} is no regular file: it is left alone")
        with path.open("rb"):
            return
    except OSError as error:
        raise InputError(f"file {path} cannot be read: {error.strerror}; check that it is there") from None


def check_size(path: Path) -> None:
    """Raises CorruptFile for an empty file."""
    if path.stat().st_size == 0:
        raise CorruptFile("the file is empty")


def is_compressed(path: Path) -> bool:
    """Whether the name says bzip2 or gzip."""
    return path.suffix in _OPENERS


def unpack(path: Path, folder: Path) -> Path:
    """Decompress ``path`` into ``folder``, to the end and with every checksum; returns the plain file.

    Raises CorruptFile when the stream is not one, is cut short or fails its checksum, StorageError when ``folder`` is
    full.
    """
    plain = folder / path.name.removesuffix(path.suffix)
    kind = {"bz2": "bzip2", "gz": "gzip"}[path.suffix.removeprefix(".")]
    with path.open("rb") as stream:
        if not stream.read(3).startswith(_MAGIC[path.suffix]):
            raise CorruptFile(f"the name ends with {path.suffix} but the content is not {kind}")
    size = 0
    with (
        _OPENERS[path.suffix](path, "rb") as stream,
        storage_errors(f"scratch files in {folder}"),
        plain.open("wb") as out,
    ):
        while chunk := _next_chunk(stream, kind):
            size += len(chunk)
            if size > MAX_PLAIN_BYTES:
                raise CorruptFile(f"the {kind} stream holds more than {MAX_PLAIN_BYTES} bytes: no satellite file")
            out.write(chunk)
    if size == 0:
        raise CorruptFile(f"the {kind} stream is empty")
    return plain


def _next_chunk(stream: IO[bytes], kind: str) -> bytes:
    try:
        return stream.read(_CHUNK_BYTES)
    except EOFError:
        raise CorruptFile(f"the {kind} stream ends too early: the file is truncated") from None
    except (OSError, zlib.error) as error:
        raise CorruptFile(f"the {kind} stream fails its checksum: {error}") from None


def head(path: Path, size: int) -> bytes:
    """The first ``size`` bytes of the plain content, as far as they can be had; b"" when they cannot."""
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as stream:
            return bytes(stream.read(size))
    except (OSError, EOFError, zlib.error):
        return b""


def check_container(path: Path) -> None:
    """NetCDF and HDF5 files of any reader: signature, and a superblock that agrees with the file's size."""
    start = head(path, 8)
    if start.startswith(_NETCDF_CLASSIC):
        return
    if start != HDF5_SIGNATURE:
        raise CorruptFile("the file is neither netCDF nor HDF5: its signature is wrong")
    import h5py

    try:
        with h5py.File(path, "r") as content:
            if not len(content):
                raise CorruptFile("the HDF5 file holds nothing")
    except (OSError, RuntimeError) as error:
        raise CorruptFile(f"the HDF5 file cannot be opened: {error}") from None
