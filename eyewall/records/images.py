"""The past frames of a storm at a base time: which ones, and where in them the storm is.

Only what was known at the base time is used: frames with a nominal time at or before it, and positions interpolated
between fixes at or before it. (A scan that is named 00:00 ends some minutes after 00:00; its name counts.) A frame
younger than the last fix, or older than the first one, has no position and is left out.

Which frame shows the storm? The storm's centre must lie in it, and at least half of the square about the storm must
be known: a target sector that follows another storm fails that. Frames of storm-centred archives carry the storm in
their ``part``; where part and storm id are written alike (both six digits, say) they must also be equal, otherwise
(an archive by JMA number, tracks by IBTrACS id) the coverage alone decides.
"""

import bisect
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from eyewall.besttrack.table import STORM_ID, TIME_UTC
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, ImageSpec
from eyewall.records.frames import FrameCache
from eyewall.satellite.index import FrameKey, FrameTable
from eyewall.storage import Store


def as_utc(time: datetime | np.datetime64) -> datetime:
    """Any time → aware UTC; naive ones are UTC."""
    stamp = pd.Timestamp(time)
    aware = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return aware.to_pydatetime()


def times_of(keys: Sequence[FrameKey]) -> npt.NDArray[np.datetime64]:
    """Nominal times as datetime64[ns] UTC, shape [n], as best-track tables have them."""
    if isinstance(keys, FrameTable):
        return keys.times.astype("datetime64[ns]")
    return np.array([as_utc(key.time).replace(tzinfo=None) for key in keys], dtype="datetime64[ns]")


def candidates(
    frame_keys: Sequence[FrameKey], base_time: datetime | np.datetime64, max_frame_age_h: float
) -> Sequence[FrameKey]:
    """The part of the sorted ``frame_keys`` with 0 ≤ age ≤ ``max_frame_age_h``, by bisection."""
    base = as_utc(base_time)
    first = bisect.bisect_left(frame_keys, base - timedelta(hours=max_frame_age_h), key=lambda key: key.time)
    stop = bisect.bisect_right(frame_keys, base, key=lambda key: key.time)
    return frame_keys[first:stop]


def storm_images(
    store: Store,
    stream: str,
    frame_keys: Sequence[FrameKey],
    track_positions: pd.DataFrame,
    base_time: datetime | np.datetime64,
    spec: ImageSpec,
    *,
    max_frame_age_h: float = 12.0,
    min_frame_gap_h: float = 1.0,
    cache: FrameCache | None = None,
) -> dict[str, npt.NDArray[np.float32]]:
    """The newest ``spec.frames`` frames that show the storm, cut out around it, oldest first and at the end of axis k.

    ``frame_keys`` is what `eyewall.satellite.index.list_frames` gives for ``stream``; ``track_positions`` the fixes of
    one storm (`eyewall.besttrack.table`), of which those after ``base_time`` (UTC) are not looked at. Two frames of a
    sample are at least ``min_frame_gap_h`` apart. A ``cache`` shared by many calls saves reading a frame again.

    Returns IMAGES [k, px, px, 1], IMAGE_AGE_H [k] and IMAGE_VALID [k], float32; pixels are rounded to 0.01 as records
    are, 0 is missing, and a real value is at least 1 grey level (or 0.01 K). Raises InputError when a frame is of
    another quantity than ``spec``, or the keys are another stream's.
    """
    if len(frame_keys) and not frame_keys[0].path.startswith(f"frames/{stream}/"):
        raise InputError(f"{frame_keys[0].path} is no frame of stream {stream!r}: give the keys of one stream")
    cache = cache if cache is not None else FrameCache(store)
    base = as_utc(base_time)
    images = np.zeros((spec.frames, spec.px, spec.px, 1), dtype=np.float32)
    age_h = np.zeros(spec.frames, dtype=np.float32)
    valid = np.zeros(spec.frames, dtype=np.float32)
    slot = spec.frames
    last: datetime | None = None
    if spec.frames:
        keys = candidates(frame_keys, base, max_frame_age_h)
        for key, lat_deg, lon_deg in _positions(keys, track_positions, base):
            if last is not None and (key.time >= last or (last - key.time) < timedelta(hours=min_frame_gap_h)):
                continue
            square = cache.square(key.path, lat_deg, lon_deg, spec)
            if square is None:
                continue
            slot -= 1
            images[slot, :, :, 0], last, valid[slot] = square, key.time, 1
            age_h[slot] = (base - key.time) / timedelta(hours=1)
            cache.count_use(key.path)
            if slot == 0:
                break
    return {IMAGES: images, IMAGE_AGE_H: age_h, IMAGE_VALID: valid}


def _positions(
    keys: Sequence[FrameKey], fixes: pd.DataFrame, base: datetime
) -> Iterator[tuple[FrameKey, float, float]]:
    """Frames that may show the storm with its position at their time, newest first."""
    from eyewall.besttrack.interpolate import position_at

    past = fixes[fixes[TIME_UTC] <= pd.Timestamp(base.replace(tzinfo=None))]
    if not len(past) or not len(keys):
        return
    storm_id = str(past[STORM_ID].iloc[0])
    lat_deg, lon_deg, known = position_at(past, times_of(keys))
    for i in range(len(keys) - 1, -1, -1):
        if known[i] and may_show(keys[i].part, storm_id):
            yield keys[i], float(lat_deg[i]), float(lon_deg[i])


def _shape(name: str) -> str:
    """``200717`` → ``999999``, ``1971127N06150`` → ``9999999A99999``."""
    return re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", name))


def may_show(part: str, storm_id: str) -> bool:
    """Whether a frame with this part may show the storm: False only for another id of the same kind."""
    return part == storm_id or _shape(part) != _shape(storm_id)
