"""Which frames a stream holds, told from their names alone: nothing is opened, so a long series is cheap to list."""

from datetime import datetime
from typing import NamedTuple

from eyewall.contracts.layout import parse_frame_path
from eyewall.storage import Store


class FrameKey(NamedTuple):
    """One frame: nominal time (aware, UTC), part ("" where a time has one frame only), path in the store."""

    time: datetime
    part: str
    path: str


def list_frames(store: Store, stream: str) -> list[FrameKey]:
    """Every whole frame of ``stream``, sorted by time, then part. Files of other names are passed over."""
    keys = []
    for path in store.list_files(f"frames/{stream}", suffix=".nc"):
        try:
            time, part = parse_frame_path(path)
        except ValueError:
            continue
        keys.append(FrameKey(time, part, path))
    return sorted(keys)
