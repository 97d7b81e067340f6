"""What a step of this room reads: a stream's frames of some years, by content, with their charts."""

from dataclasses import dataclass

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import digest_of_files
from eyewall.records.inputs import damaged_frames, stream_frames
from eyewall.records.sums import frames_sha256, pairs
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store


@dataclass(frozen=True)
class Frames:
    """Frames in the order of time, one number for their contents, and path → reason of those that are damaged."""

    keys: FrameTable
    sha256: str
    damaged: dict[str, str]


def in_years(keys: FrameTable, first: int, last: int) -> FrameTable:
    """The frames of the years ``first`` to ``last``, inclusive."""
    years = keys.times.astype("datetime64[Y]").astype(int) + 1970
    return keys.take((years >= first) & (years <= last))


def frames_of(store: Store, stream: str, first_year: int, last_year: int) -> Frames:
    """The frames of a stream in the years given, inclusive. Raises InputError when there is none, StorageError."""
    if first_year > last_year:
        raise InputError(f"years {first_year}-{last_year} run backwards: give the first one first")
    every = stream_frames(store, stream)
    keys = in_years(every, first_year, last_year)
    if not len(keys):
        raise InputError(
            f"stream {stream!r} has no frame in {first_year}-{last_year}: its frames are of"
            f" {every[0].time.year}-{every[-1].time.year}"
        )
    sums = frames_sha256(store, keys)
    return Frames(keys, digest_of_files(pairs(keys, sums)), damaged_frames(store, keys, sums))
