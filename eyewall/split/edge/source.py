"""Where frames come from: a folder that is watched, or arrays on standard input.

A folder keeps its files until their frames are done, so nothing is lost however the edge ends. A stream cannot be read
again: its frames go to the spool before they are sent.
"""

import io
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.split.edge import frame_file
from eyewall.split.edge.packet import Array, FrameKey

_log = logging.getLogger("eyewall.edge")


@dataclass(frozen=True)
class Found:
    """A frame that was found: its arrays (``""``: without a name), or why it cannot be used."""

    key: FrameKey
    arrays: dict[str, Array] | None
    reason: str = ""


class Source(Protocol):
    """Frames in order; `Found.key.number` is given by whoever takes them in."""

    again: bool  #: whether a frame that was not finished is found again after a restart

    def frames(self, stop: threading.Event) -> Iterator[Found | None]:
        """Each frame once; None now and then while there is none, so that the caller can see whether to stop."""

    def finished(self, key: FrameKey) -> None:
        """The frame is answered, or in quarantine."""


class Folder:
    """``.npy`` and ``.npz`` files of one folder by name; those that came since, at every look.

    A file is taken once it has not changed for ``settle_s``; writers that rename into place may set it to 0. Names
    that begin with a dot are left alone: they are being written.
    """

    again = True

    def __init__(
        self,
        folder: Path,
        known: Callable[[str], bool],
        known_file: Callable[[str, int, int], bool],
        *,
        watch: bool = True,
        remove: bool = False,
        settle_s: float = 1.0,
        poll_s: float = 0.5,
        largest: int = 64 * 2**20,
    ) -> None:
        """``known`` and ``known_file`` tell what is done; ``remove`` deletes the file of an answered frame.

        Raises InputError when there is no such folder.
        """
        if not folder.is_dir():
            raise InputError(f"no folder {str(folder)!r} with frames: make it, or give --frames another")
        self._folder, self._known, self._known_file = folder, known, known_file
        self._watch, self._remove = watch, remove
        self._settle_s, self._poll_s, self._largest = settle_s, poll_s, largest
        self._seen: dict[str, tuple[int, int]] = {}

    def frames(self, stop: threading.Event) -> Iterator[Found | None]:
        """As `Source.frames`; without ``watch`` it ends once every file has been seen."""
        while not stop.is_set():
            waiting = yield from self._look(stop)
            if not self._watch and not waiting:
                return
            yield None
            stop.wait(self._poll_s)

    def _look(self, stop: threading.Event) -> Generator[Found | None, None, bool]:
        """One look; returns whether files are there that still settle."""
        try:
            names = sorted(
                entry.name
                for entry in os.scandir(self._folder)
                if entry.name.endswith(frame_file.SUFFIXES) and not entry.name.startswith(".")
            )
        except OSError as error:  # a share that is away for a while
            _log.warning("folder %s cannot be read: %s", self._folder, error.strerror)
            return False
        self._seen = {name: stamp for name, stamp in self._seen.items() if name in set(names)}
        waiting = False
        for name in names:
            if stop.is_set():
                return False
            path = self._folder / name
            try:
                status = path.lstat()
            except OSError:
                continue
            stamp = (status.st_size, status.st_mtime_ns)
            if self._seen.get(name) == stamp:
                continue
            if stat.S_ISREG(status.st_mode) and 0 <= time.time() - status.st_mtime < self._settle_s:
                waiting = True
                continue
            self._seen[name] = stamp
            if self._known_file(name, *stamp):
                self.finished(FrameKey("", -1, name, *stamp))  # killed between its answer and its removal
            elif (found := self._read(path, status)) is not None:
                yield found
        return waiting

    def _read(self, path: Path, status: os.stat_result) -> Found | None:
        name, data = path.name, b""
        try:
            data, status = frame_file.read_bytes(path, self._largest)
            key = FrameKey(frame_file.frame_id(name, data), -1, name, status.st_size, status.st_mtime_ns)
            if self._known(key.id):
                return None
            return Found(key, frame_file.parse(name, data, self._largest))
        except FileNotFoundError:
            return None
        except InputError as error:
            # What cannot be read whole is told apart by its size and time.
            content = data or f"{status.st_size} {status.st_mtime_ns}".encode()
            key = FrameKey(frame_file.frame_id(name, content), -1, name, status.st_size, status.st_mtime_ns)
            return None if self._known(key.id) else Found(key, None, f"{name!r} {error}")

    def finished(self, key: FrameKey) -> None:
        """Delete its file where that is wanted, unless it is another one by now."""
        if not self._remove or not key.name:
            return
        path = self._folder / key.name
        try:
            status = path.lstat()
            if (status.st_size, status.st_mtime_ns) == (key.bytes, key.mtime_ns):
                path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("%s cannot be removed: %s", path, error.strerror)


class Stream:
    """The bytes of ``.npy`` files one after the other, as of ``cat *.npy``; the first bad one ends it."""

    again = False

    def __init__(self, stream: BinaryIO, name: str = "stream", largest: int = 64 * 2**20) -> None:
        """``name`` is the beginning of the frames' names, which count from the hour of the start."""
        self._stream, self._largest = stream, largest
        self._name = f"{name}-{time.time_ns() // 10**6}"

    def frames(self, stop: threading.Event) -> Iterator[Found | None]:
        """As `Source.frames`; ends with the stream."""
        count = 0
        while not stop.is_set() and (data := self._one()) is not None:
            name = f"{self._name}-{count:09d}.npy"
            key = FrameKey(frame_file.frame_id(name, data), -1)
            count += 1
            try:
                yield Found(key, frame_file.parse(name, data, self._largest))
            except InputError as error:
                yield Found(key, None, f"array {count} of the stream {error}; what follows cannot be found")
                return

    def _one(self) -> bytes | None:
        """One array's bytes, header and all; what there is of a broken one; None at the end of the stream."""
        magic = self._stream.read(8)
        if not magic:
            return None
        width = {1: 2, 2: 4}.get(magic[6] if len(magic) == 8 else 0)
        if width is None or not magic.startswith(b"\x93NUMPY"):
            return magic
        length = self._stream.read(width)
        header = self._stream.read(min(int.from_bytes(length, "little"), self._largest))
        head = magic + length + header
        try:
            read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(io.BytesIO(head[8:]))
            need = int(np.prod(shape, dtype=object)) * dtype.itemsize
        except Exception:  # told by `frame_file.parse`, with the reason
            return head
        return head + self._stream.read(need) if 0 < need <= self._largest else head

    def finished(self, key: FrameKey) -> None:
        """Nothing to do: it has gone already."""
