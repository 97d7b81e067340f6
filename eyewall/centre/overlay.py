"""Lines that are burnt into every picture of a fixed map, such as coasts and graticules: found, and painted over.

A network would read the place of a storm off them. They are told by themselves: what stands out of its surroundings by
the same amount in most pictures of years belongs to the map, not to the weather. A picture's lines are then filled from
what is beside them. Where a stream has no fixed map (a scan that follows a storm), or no lines, nothing is painted.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from eyewall.records.resample import Image

Mask = npt.NDArray[np.bool_]

#: A line stands out by this part of the pictures' standard deviation, in the median picture.
STANDS_OUT: Final = 0.12
_WINDOW: Final = 5
_ERRORS: Final = 4.0
#: Fewer pictures of one map say nothing of what is fixed.
MIN_PICTURES: Final = 20


def local_median(picture: Image) -> Image:
    """The median of the 5 × 5 pixels about each pixel of ``picture`` [y, x]; NaN are left out."""
    half = _WINDOW // 2
    padded = np.pad(picture, half, mode="reflect", reflect_type="odd")  # a slope at the edge goes on
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_WINDOW, _WINDOW))
    flat = windows.reshape(*picture.shape, -1)
    if np.isfinite(flat).all():
        return np.median(flat, axis=-1).astype(np.float32)
    with np.errstate(all="ignore"):
        return np.nanmedian(np.where(np.isfinite(flat).any(-1, keepdims=True), flat, 0), axis=-1).astype(np.float32)


def fixed_lines(pictures: Sequence[Image]) -> Mask:
    """Which pixels [y, x] of one map are burnt-in lines, told from ``pictures`` [y, x] of many days."""
    if len(pictures) < MIN_PICTURES:
        return np.zeros(pictures[0].shape if len(pictures) else (0, 0), dtype=bool)
    above = np.stack([picture - local_median(picture) for picture in pictures])
    # A median of few pictures stands out by chance as well: its standard error is 1.25 of a mean's.
    by_chance = _ERRORS * 1.25 * float(np.nanmedian(np.nanstd(above, axis=0))) / np.sqrt(len(pictures))
    stands_out = max(STANDS_OUT * float(np.nanstd(np.stack(pictures))), by_chance)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(np.median(above, axis=0)) > stands_out)


def paint_over(picture: Image, lines: Mask) -> Image:
    """``picture`` [y, x] with the pixels of ``lines`` [y, x] filled from their neighbours, ring by ring."""
    if not lines.any():
        return picture
    values = np.pad(np.where(lines, np.nan, picture), 1, constant_values=np.nan)
    wanted = np.pad(lines & np.isfinite(picture), 1)
    for _ in range(max(picture.shape)):
        rows, columns = np.nonzero(wanted & np.isnan(values))
        if not len(rows):
            break
        beside = np.stack([values[rows + i, columns + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        known = np.isfinite(beside)
        count = known.sum(axis=0)
        if not count.any():
            break
        total = np.where(known, beside, 0).sum(axis=0)
        values[rows, columns] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.asarray(values[1:-1, 1:-1], dtype=np.float32)
