"""Frames of a store and squares cut out of them, the latest ones kept in memory up to a number of bytes.

Consecutive base times share frames, and share the very squares too: a frame between two past fixes shows the storm at
the same place for every later base time. Nothing here grows with the number of frames but the names of bad ones.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from eyewall.contracts.errors import InputError, StorageError
from eyewall.contracts.features import ImageSpec
from eyewall.records.example import dequantise, quantise
from eyewall.records.parts import Found
from eyewall.records.resample import Grid, Image, crop
from eyewall.records.sums import forget
from eyewall.storage import Store

if TYPE_CHECKING:
    from eyewall.satellite.frame import Frame

LOG = logging.getLogger(__name__)

FRAME_BYTES: Final = 256 * 2**20
SQUARE_BYTES: Final = 32 * 2**20
GRID_BYTES: Final = 16 * 2**20
#: Least part of the square about the storm that a frame has to know.
MIN_VALID_FRACTION: Final = 0.5

T = TypeVar("T")


class ByteLru(Generic[T]):
    """A mapping that forgets what was asked for the longest ago once its values exceed ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def __getitem__(self, key: Hashable) -> T:
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keep ``value`` of ``size`` bytes under a key that is not there yet."""
        self._values[key] = value, size
        self._bytes += size
        while self._bytes > self._max_bytes and len(self._values) > 1:
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed


class FrameCache:
    """Frames of a store; one that cannot be read is reported once and from then on taken for absent.

    ``unreadable`` names those, with the reason; ``used`` counts by path how many samples took a frame; ``reads`` how
    often a file was opened. ``sha256_of`` says what the content of a frame must be; another one is a StorageError.
    """

    def __init__(
        self, store: Store, frame_bytes: int = FRAME_BYTES, sha256_of: Callable[[str], str] | None = None
    ) -> None:
        self._store = store
        self._sha256_of = sha256_of or (lambda _: "")
        self._frames: ByteLru[Frame] = ByteLru(frame_bytes)
        self._squares: ByteLru[Image | None] = ByteLru(SQUARE_BYTES)
        self._grids: ByteLru[Grid] = ByteLru(GRID_BYTES)  # of many more frames: one that looks elsewhere is known
        self.unreadable: dict[str, str] = {}
        self.used: Counter[str] = Counter()
        self._found: Found | None = None
        self.reads = 0

    def report_to(self, found: Found) -> None:
        """From now on count uses there, and name there, too, every bad frame that is asked for."""
        self.used, self._found = found.used, found

    def frame(self, path: str) -> "Frame | None":
        """The frame, or None when it cannot be read. Raises StorageError when the store is away."""
        if path in self.unreadable:
            if self._found is not None:
                self._found.unreadable[path] = self.unreadable[path]
            return None
        if path in self._frames:
            return self._frames[path]
        from eyewall.satellite.frame import read_frame  # xarray: not for those who only ask for the geometry

        self.reads += 1
        try:
            frame = read_frame(self._store, path, self._sha256_of(path))
        except StorageError:  # a retry may mend it, and all frames would be missing
            if self._sha256_of(path):  # it may be another frame than the one that was hashed
                forget(self._store, path)
            raise
        except Exception as error:  # whatever is wrong with one file is no reason to lose the others
            self.leave_out(path, str(error))
            return None
        grid = Grid.of(frame.area)
        if path not in self._grids:
            self._grids.put(path, grid, 500 + len(grid.wkt))
        self._frames.put(path, frame, frame.data.nbytes)
        return frame

    def leave_out(self, path: str, reason: str) -> None:
        """Treat a frame as not there, and say why."""
        self.unreadable[path] = reason
        if self._found is not None:
            self._found.unreadable[path] = reason
        LOG.warning("frame %s is left out: %s", path, reason)

    def count_use(self, path: str) -> None:
        """One more sample took the frame."""
        self.used[path] += 1

    def square(self, path: str, lat_deg: float, lon_deg: float, spec: ImageSpec) -> Image | None:
        """The square [px, px] about a point: kelvin or grey levels rounded to 0.01, 0 where missing.

        None when the point is not in the frame, less than MIN_VALID_FRACTION of the square is known, or the frame
        cannot be read. Raises InputError when it holds another quantity than ``spec``.
        """
        key = (path, lat_deg, lon_deg, spec)
        if key not in self._squares:
            square = self._cut(path, lat_deg, lon_deg, spec)
            self._squares.put(key, square, 64 if square is None else square.nbytes)
        return self._squares[key]

    def _cut(self, path: str, lat_deg: float, lon_deg: float, spec: ImageSpec) -> Image | None:
        if path in self._grids and not self._grids[path].shows(lat_deg, lon_deg):
            return None
        frame = self.frame(path)
        if frame is None:
            return None
        grid = self._grids[path] if path in self._grids else Grid.of(frame.area)
        if not grid.shows(lat_deg, lon_deg):
            return None
        if frame.quantity != spec.quantity:
            raise InputError(
                f"frame {path} holds {frame.quantity}, where {spec.quantity} is wanted: one data set takes one"
                " quantity, so keep the other in a stream of its own"
            )
        image = crop(frame.data, grid, lat_deg, lon_deg, spec.px, spec.km_per_px)
        known = np.isfinite(image)
        if known.mean() < MIN_VALID_FRACTION:
            return None
        if spec.quantity == "grey_level":  # black is a value; 0 is kept for missing
            image = np.where(known, np.maximum(image, 1), np.nan)
        return dequantise(quantise(image))
