"""Which frames determine a set of records: every one that a sample could take, by its content.

Frames are named by the sha256 of their content (`sums`), not by size or time stamp: a frame made anew with the same
content changes nothing, a bit that flipped does. Only frames within reach of a base time count, so that tomorrow's slot
does not make yesterday's records anew.
"""

import contextlib
import json
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.progress import progress
from eyewall.records.sums import Sums, hexadecimal
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store


def stream_frames(store: Store, stream: str) -> FrameTable:
    """Every frame of a stream, sorted. Raises InputError, naming the streams that there are, when it has none."""
    frames = FrameTable.of(store, stream)
    if not len(frames):
        streams: list[str] = []
        with contextlib.suppress(OSError):
            streams = sorted(str(name).rsplit("/", 1)[-1] for name in store.fs.ls(store.full("frames"), detail=False))
        raise InputError(
            f"stream {stream!r} has no frames in store {store.url!r}: ingest some first, or give one of {streams}"
        )
    return frames


def within_reach(frames: FrameTable, base_times: npt.NDArray[np.datetime64], max_frame_age_h: float) -> FrameTable:
    """The frames that lie 0 to ``max_frame_age_h`` hours before at least one base time (UTC)."""
    bases = np.unique(base_times.astype("datetime64[ns]"))
    if not len(bases):
        return frames[:0]
    times = frames.times.astype("datetime64[ns]")
    after = np.searchsorted(bases, times)  # the first base time at or after each frame
    wait = bases[np.minimum(after, len(bases) - 1)] - times
    return frames.take((after < len(bases)) & (wait <= np.timedelta64(timedelta(hours=max_frame_age_h))))


def in_reach_of(
    base_times: npt.NDArray[np.datetime64], frames: FrameTable, max_frame_age_h: float
) -> npt.NDArray[np.bool_]:
    """Which base times (UTC) [m] have a frame 0 to ``max_frame_age_h`` hours before them."""
    if not len(frames):
        return np.zeros(len(base_times), dtype=bool)
    times, bases = frames.times.astype("datetime64[ns]"), base_times.astype("datetime64[ns]")
    before = np.searchsorted(times, bases, side="right") - 1  # the last frame at or before each base time
    age = bases - times[np.maximum(before, 0)]
    return np.asarray((before >= 0) & (age <= np.timedelta64(timedelta(hours=max_frame_age_h))))


def damaged_frames(store: Store, frames: FrameTable, sums: Sums) -> dict[str, str]:
    """Path → reason of the frames whose content is not what the manifest beside them says it was.

    A flipped bit need not make a netCDF file unreadable. A frame without a manifest is taken as it is.
    """
    from eyewall.satellite.frame import manifest_path

    found = {}
    with progress("records: manifests", total=len(frames), unit="frames") as advance:
        for row in range(len(frames)):
            path = frames[row].path
            advance()
            beside = manifest_path(path)
            if not store.exists(beside):
                continue
            try:
                expected = json.loads(store.read_bytes(beside))["files"][0]["sha256"]
            except (ValueError, LookupError, TypeError):
                found[path] = "its manifest is not valid: ingest its slot again"
                continue
            if hexadecimal(sums, row) != expected:
                found[path] = "its content differs from its manifest: ingest its slot again"
    return found
