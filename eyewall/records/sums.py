"""sha256 of every frame of a stream, remembered by what the file system says of it, so that each is hashed once.

    frames/<stream>/.sums/<YYYY>.csv       name, bytes, mtime_ns, ctime_ns, sha256 of the frames of a year

Records are named by the content of the frames that they could take; 200,000 of them are 60 GB to read. What has still
the same size and the same times was not written since. A file that was changed so short a time before it was hashed
that its times could not show another change (git calls that racy) is not remembered. Whoever reads a frame compares
its content again (`eyewall.records.frames`), so that a bit that flips on the disk later is found there, and forgotten
here: the next run names it anew.

Nothing depends on these files but time: damaged or lost ones are made again, and on an object store there are none.
"""

import contextlib
import csv
import hashlib
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import StorageError
from eyewall.contracts.layout import frame_sums_path
from eyewall.progress import Advance, progress
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store

Sums = npt.NDArray[np.uint8]  #: [n, 32]

_THREADS: Final = 4
_AT_ONCE: Final = 256  #: a pool keeps something of every task that it is given
#: Coarser than any file system's clock in use here (FAT: 2 s).
_RACY_NS: Final = 2 * 10**9


class _Seen(NamedTuple):
    """What the file system says of a file."""

    bytes: int
    mtime_ns: int
    ctime_ns: int


def frames_sha256(store: Store, frames: FrameTable) -> Sums:
    """sha256 of the content of each frame, [n, 32], in the order of ``frames``. Raises StorageError."""
    sums = np.empty((len(frames), 32), dtype=np.uint8)
    years = frames.times.astype("datetime64[Y]")
    with progress("records: hashing", total=len(frames), unit="frames") as advance:
        for year in np.unique(years):
            rows = np.flatnonzero(years == year)
            _one_year(store, frames, int(rows[0]), int(rows[-1]) + 1, str(year), sums, advance)
    return sums


def forget(store: Store, path: str) -> None:
    """Remember nothing more of the year of a frame: its content is not what it was."""
    _, stream, year, *_ = path.split("/")
    store.remove(frame_sums_path(stream, year))


def hexadecimal(sums: Sums, row: int) -> str:
    """One sum as text."""
    return bytes(sums[row]).hex()


def pairs(frames: FrameTable, sums: Sums) -> Iterator[tuple[str, str]]:
    """Path and sha256 of each frame."""
    for row in range(len(frames)):
        yield frames[row].path, hexadecimal(sums, row)


def _one_year(
    store: Store, frames: FrameTable, first: int, stop: int, year: str, sums: Sums, advance: Advance
) -> None:  # fmt: skip
    """The sums of rows ``first`` to ``stop``, which are of one ``year``."""
    notes = _read_notes(store, frames.stream, year)
    kept: dict[str, tuple[_Seen, str]] = {}
    news = False

    def one(path: str) -> tuple[str, _Seen | None, str, bool]:
        seen = _look(store, path)
        name = path.rsplit("/", 1)[-1]
        noted = notes.get(name)
        if noted is not None and noted[0] == seen:
            return name, seen, noted[1], True
        racy = seen is not None and time.time_ns() - max(seen.mtime_ns, seen.ctime_ns) < _RACY_NS
        sha256 = _hash(store, path)
        return name, None if racy or _look(store, path) != seen else seen, sha256, False

    with ThreadPoolExecutor(_THREADS) as pool:
        for begin in range(first, stop, _AT_ONCE):
            end = min(begin + _AT_ONCE, stop)
            paths = [frames[row].path for row in range(begin, end)]
            for row, (name, seen, sha256, known) in enumerate(pool.map(one, paths), start=begin):
                sums[row] = np.frombuffer(bytes.fromhex(sha256), dtype=np.uint8)
                news = news or not known
                if seen is not None:
                    kept[name] = seen, sha256
            advance(end - begin)
    if news and kept and store.is_local:
        _write_notes(store, frames.stream, year, kept)


def _hash(store: Store, path: str) -> str:
    try:
        with store.fs.open(store.full(path), "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"frame {path} in store {store.url!r} cannot be read: {error.strerror}") from error


def _look(store: Store, path: str) -> _Seen | None:
    """What is known of a file without reading it; None where that says nothing."""
    if not store.is_local:
        return None
    try:
        there = Path(store.full(path)).stat()
    except OSError as error:
        raise StorageError(f"frame {path} in store {store.url!r} cannot be read: {error.strerror}") from error
    return _Seen(there.st_size, there.st_mtime_ns, there.st_ctime_ns)


# --- the notes


def _read_notes(store: Store, stream: str, year: str) -> dict[str, tuple[_Seen, str]]:
    """Name → what was seen, and its sha256; nothing of what cannot be understood."""
    path = frame_sums_path(stream, year)
    if not store.is_local or not store.exists(path):
        return {}
    found = {}
    for cells in csv.reader(store.read_bytes(path).decode(errors="replace").splitlines()):
        with contextlib.suppress(ValueError):
            name, size, mtime_ns, ctime_ns, sha256 = cells
            if len(bytes.fromhex(sha256)) == 32:
                found[name] = _Seen(int(size), int(mtime_ns), int(ctime_ns)), sha256
    return found


def _write_notes(store: Store, stream: str, year: str, notes: dict[str, tuple[_Seen, str]]) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in sorted(notes):
        rows.writerow([name, *notes[name][0], notes[name][1]])
    store.write_bytes(frame_sums_path(stream, year), text.getvalue().encode())
