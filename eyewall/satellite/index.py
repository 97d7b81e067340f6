"""Which frames a stream holds, told from their names alone: nothing is opened, so a long series is cheap to list.

A few frames are best had as a list of keys. An archive of some 200,000 is a `FrameTable`: the same sequence of keys in
a dozen bytes each, which makes a key when it is asked for.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from eyewall.contracts.layout import frame_path, parse_frame_path
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

_SUFFIX: Final = ".nc"


class FrameKey(NamedTuple):
    """One frame: nominal time (aware, UTC), part ("" where a time has one frame only), path in the store."""

    time: datetime
    part: str
    path: str


def list_frames(store: Store, stream: str) -> list[FrameKey]:
    """Every whole frame of ``stream``, sorted by time, then part.

    Files of other names, or in other folders than their names say, are passed over.
    """
    return sorted(_keys(store, stream))


class FrameTable(Sequence[FrameKey]):
    """Frames of one stream, sorted by time and part; an element is a `FrameKey`, a slice another table.

    ``times`` are the nominal times, datetime64[s] UTC, shape [n].
    """

    def __init__(
        self, stream: str, times: npt.NDArray[np.datetime64], parts: tuple[str, ...], part_of: npt.NDArray[np.int32]
    ) -> None:
        """``part_of`` [n] are indices of ``parts``, which are sorted."""
        self.stream, self.times, self._parts, self._part_of = stream, times, parts, part_of

    @classmethod
    def of(cls, store: Store, stream: str) -> Self:
        """Every whole frame of ``stream``, as `list_frames` has them."""
        numbers: dict[str, int] = {}
        stamps: list[int] = []
        part_of: list[int] = []
        for key in _keys(store, stream):
            stamps.append(int(key.time.timestamp()))
            part_of.append(numbers.setdefault(key.part, len(numbers)))
        # Numbered anew in the order of their names, so that sorting by number is sorting by part.
        parts = tuple(sorted(numbers))
        renumbered = np.empty(len(numbers), dtype=np.int32)
        renumbered[[numbers[part] for part in parts]] = np.arange(len(parts))
        times = np.array(stamps, dtype=np.int64).astype("datetime64[s]")
        part_numbers = renumbered[np.array(part_of, dtype=np.int64)]
        order = np.lexsort((part_numbers, times))
        return cls(stream, times[order], parts, part_numbers[order])

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, at: int) -> FrameKey: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> FrameKey | Self:
        if isinstance(at, slice):
            return self.take(np.arange(*at.indices(len(self))))
        row = range(len(self))[at]
        time = datetime.fromtimestamp(int(self.times[row].astype(np.int64)), UTC)
        part = self._parts[self._part_of[row]]
        return FrameKey(time, part, frame_path(self.stream, time, part))

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Self:
        """The frames of some rows (rising numbers, or a mask) as a table."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows)
        return type(self)(self.stream, self.times[numbers], self._parts, self._part_of[numbers])

    def row(self, path: str) -> int:
        """The row of a frame by its path. Raises KeyError when it is not in the table."""
        time, part = parse_frame_path(path)
        stamp = np.datetime64(time.replace(tzinfo=None), "s")
        first, stop = np.searchsorted(self.times, stamp, "left"), np.searchsorted(self.times, stamp, "right")
        for row in range(int(first), int(stop)):
            if self._parts[self._part_of[row]] == part:
                return row
        raise KeyError(path)


def _keys(store: Store, stream: str) -> Iterator[FrameKey]:
    """Every frame whose name is one, in no order that matters."""
    top = f"frames/{stream}"
    for path in _walk(store, top) if store.is_local else store.list_files(top, suffix=_SUFFIX):
        try:
            time, part = parse_frame_path(path)
        except ValueError:
            continue
        if path == frame_path(stream, time, part):
            yield FrameKey(time, part, path)


def _walk(store: Store, top: str) -> Iterator[str]:
    """Paths of the .nc files below ``top``, one folder at a time: fsspec would keep what it knows of every file."""
    root = store.full(top)
    with storage_errors(f"{top!r} in store {store.url!r}", "list"):
        for folder, inner, names in os.walk(root):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            for name in sorted(names):
                if name.endswith(_SUFFIX) and not name.startswith("."):
                    yield f"{top}{folder[len(root) :]}/{name}"
