"""Which frames determine a set of records: every one that a sample could take, by its content.

Frames are named by the sha256 of their content, not by size or time stamp: a frame made anew with the same content
changes nothing, a bit that flipped does. Only frames within reach of a base time count, so that tomorrow's slot does
not make yesterday's records anew. Hashing runs at about 1 GB/s a core, some milliseconds a frame.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError, StorageError
from eyewall.contracts.manifest import Manifest
from eyewall.progress import counted
from eyewall.records.images import times_of
from eyewall.storage import Store

if TYPE_CHECKING:
    from eyewall.satellite.index import FrameKey


def stream_frames(store: Store, stream: str) -> "list[FrameKey]":
    """Every frame of a stream, sorted. Raises InputError, naming the streams that there are, when it has none."""
    from eyewall.satellite.index import list_frames

    keys: list[FrameKey] = list_frames(store, stream)
    if not keys:
        streams: list[str] = []
        with contextlib.suppress(OSError):
            streams = sorted(str(name).rsplit("/", 1)[-1] for name in store.fs.ls(store.full("frames"), detail=False))
        raise InputError(
            f"stream {stream!r} has no frames in store {store.url!r}: ingest some first, or give one of {streams}"
        )
    return keys


def within_reach(
    keys: "Sequence[FrameKey]", base_times: npt.NDArray[np.datetime64], max_frame_age_h: float
) -> "list[FrameKey]":
    """The frames that lie 0 to ``max_frame_age_h`` hours before at least one base time (UTC)."""
    bases = np.unique(base_times.astype("datetime64[ns]"))
    if not len(bases):
        return []
    times = times_of(keys)
    after = np.searchsorted(bases, times)  # the first base time at or after each frame
    wait = bases[np.minimum(after, len(bases) - 1)] - times
    near = (after < len(bases)) & (wait <= np.timedelta64(timedelta(hours=max_frame_age_h)))
    return [key for key, is_near in zip(keys, near, strict=True) if is_near]


def frames_sha256(store: Store, keys: "Sequence[FrameKey]") -> dict[str, str]:
    """Path → sha256 of the content of each frame, in the order of ``keys``. Raises StorageError."""

    def one(key: "FrameKey") -> tuple[str, str]:
        try:
            with store.fs.open(store.full(key.path), "rb") as stream:
                return key.path, hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise StorageError(f"frame {key.path} in store {store.url!r} cannot be read: {error.strerror}") from error

    with ThreadPoolExecutor(4) as pool:
        return dict(counted(pool.map(one, keys), "records: hashing", total=len(keys), unit="frames"))


def damaged_frames(store: Store, hashes: Mapping[str, str]) -> dict[str, str]:
    """Path → reason of the frames whose content is not what the manifest beside them says it was.

    A flipped bit need not make a netCDF file unreadable. A frame without a manifest is taken as it is.
    """
    from eyewall.satellite.frame import manifest_path

    found = {}
    for path, sha256 in hashes.items():
        beside = manifest_path(path)
        if not store.exists(beside):
            continue
        try:
            expected = Manifest.model_validate_json(store.read_bytes(beside)).files[0].sha256
        except (ValueError, IndexError):
            found[path] = "its manifest is not valid: ingest its slot again"
            continue
        if sha256 != expected:
            found[path] = "its content differs from its manifest: ingest its slot again"
    return found
