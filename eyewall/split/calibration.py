"""From features that were seen to the numbers of an int8 wire, and to the channels that are worth sending.

The range of every channel includes 0, which int8 then holds exactly, and is cut off where that costs less than it
gains (mean squared error over what was seen) or at a percentile. Source: Krishnamoorthi, "Quantizing deep
convolutional networks for efficient inference", 2018, sections 2.1 and 2.2.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.contracts.split import LEAST_SCALE

Method = Literal["mse", "percentile", "range"]
Float32 = npt.NDArray[np.float32]

_PERCENTILE = 0.05  # per cent of the values beyond either end
_SHRINK = np.linspace(1.0, 0.3, 29)  # parts of the full range that are tried
_LARGEST_SAMPLE = 4_000_000  # values that the search looks at, over all channels


def calibrate(
    features: npt.ArrayLike, method: Method = "mse", per_channel: bool = True
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Features [n, …, channels] → scale and zero point, one for each channel of the last axis (or one for all).

    A channel that is always 0 gets a scale of 1. Raises InputError when there are no features, or not finite ones.
    """
    values = np.asarray(features, np.float32)
    if values.ndim < 2 or values.size == 0:
        raise InputError(f"features {list(values.shape)} calibrate nothing: give at least one frame")
    if not np.isfinite(values).all():
        raise InputError("features for the calibration are not all finite: leave out the frames that make them so")
    columns = values.reshape(-1, values.shape[-1] if per_channel else 1)  # [m, c]
    low, high = _range(columns, method)
    full = (high - low) / np.float32(255)
    dead = full < LEAST_SCALE
    scale = np.where(dead, np.float32(1), full).astype(np.float32)
    zero_point = np.where(dead, 0, np.clip(np.rint(-128 - low / scale), -128, 127))
    return tuple(float(s) for s in scale), tuple(int(z) for z in zero_point)


def _range(columns: Float32, method: Method) -> tuple[Float32, Float32]:
    """Least and greatest value of each column [c] that int8 should hold; 0 is between."""
    zero = np.float32(0)
    if method == "percentile":
        low, high = np.percentile(columns, (_PERCENTILE, 100 - _PERCENTILE), axis=0).astype(np.float32)
        return np.minimum(low, zero), np.maximum(high, zero)
    low, high = np.minimum(columns.min(axis=0), zero), np.maximum(columns.max(axis=0), zero)
    return (low, high) if method == "range" else _least_error(columns, low, high)


def _least_error(columns: Float32, low: Float32, high: Float32) -> tuple[Float32, Float32]:
    every = max(1, -(-columns.size // _LARGEST_SAMPLE))
    sample = columns[::every]
    best = np.full(columns.shape[1], np.inf)
    chosen = np.ones(columns.shape[1], np.float32)
    for part in _SHRINK.astype(np.float32):
        scale = np.maximum((high - low) * part / 255, np.float32(LEAST_SCALE))
        zero_point = np.clip(np.rint(-128 - low * part / scale), -128, 127)
        steps = np.clip(np.rint(sample / scale) + zero_point, -128, 127)
        error = np.asarray(np.mean(((steps - zero_point) * scale - sample) ** 2, axis=0, dtype=np.float64))
        better = error < best
        best[better], chosen[better] = error[better], part
    return low * chosen, high * chosen


def choose_channels(features: npt.ArrayLike, channels: int) -> tuple[int, ...]:
    """The ``channels`` of the last axis that vary most from frame to frame and place to place, in their order.

    The others lose least when the tail puts their mean in their place. Raises InputError for a number out of range.
    """
    values = np.asarray(features, np.float32)
    there = values.shape[-1]
    if not 1 <= channels <= there:
        raise InputError(f"{channels} channels cannot be kept of {there}: give 1–{there}")
    lost = np.square(values - values.mean(axis=0)).sum(axis=tuple(range(values.ndim - 1)), dtype=np.float64)
    return tuple(sorted(int(i) for i in np.argsort(-lost, kind="stable")[:channels]))
