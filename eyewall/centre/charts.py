"""Charts: frames as the networks' training and searching read them, in bounded memory.

A frame finer than the squares that are cut from it is averaged in whole blocks once, and its burnt-in lines are painted
over; what is kept is small, and forgotten when it was not asked for the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from eyewall.centre.overlay import MIN_PICTURES, Mask, fixed_lines, paint_over
from eyewall.contracts.errors import InputError
from eyewall.models.encoder_card import PictureScale
from eyewall.progress import counted
from eyewall.records.frames import ByteLru, FrameCache
from eyewall.records.resample import Grid, Image
from eyewall.satellite.index import FrameKey
from eyewall.storage import Store

CHART_BYTES: Final = 256 * 2**20
#: Frames that are looked at to know mean, spread and lines.
SURVEY: Final = 120
_KM_PER_DEG: Final = 111.2


@dataclass(frozen=True)
class Chart:
    """One frame: values [y, x] in kelvin or grey levels, NaN where missing, and where its pixels are."""

    values: Image
    grid: Grid


def reduced(values: Image, grid: Grid, km_per_px: float) -> Chart:
    """A frame in means over as many whole pixels as fit into ``km_per_px``; what is left over at the end is lost."""
    left, bottom, right, top = grid.extent
    unit_km = _KM_PER_DEG if grid.geographic else 1e-3
    pixel_km = np.sqrt(abs(right - left) * abs(top - bottom) / (grid.rows * grid.columns)) * unit_km
    factor = max(1, int(km_per_px / pixel_km + 1e-6))
    if factor == 1:
        return Chart(values, grid)
    rows, columns = grid.rows // factor, grid.columns // factor
    blocks = values[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    means = np.where(2 * count >= factor**2, total / np.maximum(count, 1), np.nan).astype(np.float32)
    extent = (
        left,
        top + (bottom - top) * rows * factor / grid.rows,
        left + (right - left) * columns * factor / grid.columns,
        top,
    )
    return Chart(means, replace(grid, extent=extent, rows=rows, columns=columns))


class Charts:
    """The charts of a stream's frames, made when asked for; ``lines`` are those of its fixed map, if it has one."""

    def __init__(self, store: Store, km_per_px: float, lines: Mask | None = None) -> None:
        self._frames = FrameCache(store, frame_bytes=1)  # a frame is kept as its chart only
        self._charts: ByteLru[Chart | None] = ByteLru(CHART_BYTES)
        self._km_per_px = km_per_px
        self._quantity: str | None = None
        self.lines = lines

    @property
    def quantity(self) -> str | None:
        """Kelvin or grey levels, once a frame was read."""
        return self._quantity

    def chart(self, path: str) -> Chart | None:
        """The chart of a frame, None when it cannot be read. Raises InputError when it is of another quantity."""
        if path not in self._charts:
            chart = self._made(path)
            self._charts.put(path, chart, 64 if chart is None else chart.values.nbytes)
        return self._charts[path]

    def leave_out(self, path: str, reason: str) -> None:
        """Treat a frame as not there, and say why."""
        self._frames.leave_out(path, reason)

    def _made(self, path: str) -> Chart | None:
        frame = self._frames.frame(path)
        if frame is None:
            return None
        if self._quantity not in (None, frame.quantity):
            raise InputError(
                f"frame {path} holds {frame.quantity}, where {self._quantity} is wanted: one network reads one quantity"
            )
        self._quantity = frame.quantity
        chart = reduced(frame.data, Grid.of(frame.area), self._km_per_px)
        if self.lines is not None and self.lines.shape == chart.values.shape:
            chart = replace(chart, values=paint_over(chart.values, self.lines))
        return chart


def survey(
    store: Store, keys: Sequence[FrameKey], px: int, km_per_px: float, without: dict[str, str]
) -> tuple[PictureScale, Mask | None]:
    """Mean and spread of some of the frames, evenly spread, and their burnt-in lines where they are of one fixed map.

    ``without`` is path → reason of frames that are not to be read. Raises InputError when none can be read.
    """
    charts = Charts(store, km_per_px)
    for path, reason in without.items():
        charts.leave_out(path, reason)
    chosen = [keys[i] for i in np.unique(np.linspace(0, len(keys) - 1, SURVEY).astype(int))]
    found = [charts.chart(key.path) for key in counted(chosen, "survey", unit="frames")]
    seen = [chart for chart in found if chart is not None]
    known = np.concatenate([chart.values[np.isfinite(chart.values)] for chart in seen]) if seen else np.zeros(0)
    if not known.size:
        raise InputError(f"none of {len(chosen)} frames of the stream can be read: ingest its slots again")
    scale = PictureScale.model_validate(
        {
            "quantity": charts.quantity,
            "mean": round(float(known.mean(dtype=np.float64)), 4),
            "std": round(max(float(known.std(dtype=np.float64)), 1e-3), 4),
            "px": px,
            "km_per_px": km_per_px,
        }
    )
    if len({chart.grid for chart in seen}) > 1 or len(seen) < MIN_PICTURES:
        return scale, None
    lines = fixed_lines([chart.values for chart in seen])
    return scale, lines if lines.any() else None
