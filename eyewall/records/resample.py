"""One frame → a storm-centred square in kilometres.

The target is an azimuthal-equidistant grid about the storm (Snyder 1987, "Map Projections: A Working Manual", ch. 25,
on our sphere), so that a pixel is as many kilometres everywhere and a storm at 40° N looks like one at 10° N. Each of
its pixels is looked up in the frame's own projection: longitude and latitude → projection → row and column, which
treats lat/lon boxes (also across the date line), Lambert, azimuthal and geostationary views alike.

A frame much finer than the target is averaged in whole blocks first (brightness temperatures, or grey levels), since
picking every tenth pixel would make noise of its small clouds; then the lookup is bilinear. Missing pixels have no
weight; a target pixel with less than half of its weight known is missing.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]


@lru_cache(maxsize=64)
def _projection(wkt: str) -> Any:
    from pyproj import Proj

    return Proj(wkt)


@dataclass(frozen=True)
class Grid:
    """The pixels of a frame: its CRS, the outer edges in CRS units (left, bottom, right, top), and its shape.

    Left may exceed right, and bottom top: SEVIRI's own scan order is south to north and east to west.
    """

    wkt: str
    geographic: bool
    extent: tuple[float, float, float, float]
    rows: int
    columns: int

    @classmethod
    def of(cls, area: Any) -> Self:
        """The grid of a pyresample AreaDefinition."""
        extent = tuple(float(edge) for edge in area.area_extent)
        return cls(area.crs.to_wkt(), bool(area.crs.is_geographic), extent, int(area.height), int(area.width))  # type: ignore[arg-type]

    def row_column(self, lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
        """Fractional row and column (0 is the centre of the first pixel), NaN where the projection shows no such point.

        A point outside the frame has coordinates outside of −0.5 … n − 0.5.
        """
        left, bottom, right, top = self.extent
        if self.geographic:
            west = min(left, right)
            x, y = west + np.mod(lon_deg - west, 360.0), np.asarray(lat_deg, dtype=np.float64)
        else:
            x, y = _projection(self.wkt)(np.mod(lon_deg + 180.0, 360.0) - 180.0, lat_deg)
        column = (x - left) * self.columns / (right - left) - 0.5
        row = (top - y) * self.rows / (top - bottom) - 0.5
        seen = np.isfinite(column) & np.isfinite(row)
        return np.where(seen, row, np.nan), np.where(seen, column, np.nan)

    def shows(self, lat_deg: float, lon_deg: float) -> bool:
        """Whether the point lies within the frame."""
        row, column = self.row_column(np.array([lat_deg]), np.array([lon_deg]))
        return bool((-0.5 <= row[0] <= self.rows - 0.5) & (-0.5 <= column[0] <= self.columns - 0.5))


def storm_grid(lat_deg: float, lon_deg: float, px: int, km_per_px: float) -> tuple[Floats, Floats]:
    """Latitude and longitude (0–360), shape [px, px], of the square about a point; row 0 is north, column 0 west.

    With an even ``px`` the point lies on the corner of the four middle pixels.
    """
    axis_km = (np.arange(px) - (px - 1) / 2) * km_per_px
    east_km, north_km = np.meshgrid(axis_km, -axis_km)
    return destination(lat_deg, lon_deg, east_km, north_km)


def crop(data: Image, grid: Grid, lat_deg: float, lon_deg: float, px: int, km_per_px: float) -> Image:
    """The square of ``px`` × ``px`` pixels about a point from ``data`` [row, column]; NaN where nothing is known."""
    row, column = grid.row_column(*storm_grid(lat_deg, lon_deg, px, km_per_px))
    factor = _whole_factor(row, column)
    if factor > 1:
        data, row, column = _block_means(data, row, column, factor)
    return bilinear(data, row, column)


def _whole_factor(row: Floats, column: Floats) -> int:
    """How many whole frame pixels one target pixel spans (root of the area), at least 1."""
    down = row[1:, :-1] - row[:-1, :-1], column[1:, :-1] - column[:-1, :-1]
    across = row[:-1, 1:] - row[:-1, :-1], column[:-1, 1:] - column[:-1, :-1]
    area = np.abs(down[0] * across[1] - down[1] * across[0])
    area = area[np.isfinite(area)]
    return max(1, int(np.sqrt(np.median(area)) + 1e-6)) if area.size else 1


def _block_means(data: Image, row: Floats, column: Floats, factor: int) -> tuple[Image, Floats, Floats]:
    """The part of ``data`` around the wanted coordinates in means over factor × factor, and the coordinates in it.

    Blocks are counted from the frame's first pixel, so that what is averaged does not depend on what is wanted.
    """
    if not np.isfinite(row).any():
        return data[:1, :1], row, column
    first, stop = [], []
    for wanted, size in ((row, data.shape[0]), (column, data.shape[1])):
        low = int(np.clip(np.floor(np.nanmin(wanted) / factor - 1), 0, size // factor))
        high = int(np.clip(np.ceil(np.nanmax(wanted) / factor + 2), low + 1, -(-size // factor)))
        first.append(low * factor)
        stop.append(max(high, low + 1) * factor)
    part = data[first[0] : stop[0], first[1] : stop[1]]
    padding = [(0, stop[axis] - first[axis] - part.shape[axis]) for axis in (0, 1)]
    part = np.pad(part, padding, constant_values=np.nan)
    blocks = part.reshape(part.shape[0] // factor, factor, part.shape[1] // factor, factor)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    means = np.where(2 * count >= factor**2, total / np.maximum(count, 1), np.nan).astype(np.float32)
    middle = (factor - 1) / 2
    inside = (row >= -0.5) & (row <= data.shape[0] - 0.5) & (column >= -0.5) & (column <= data.shape[1] - 0.5)
    reduced = ((wanted - begin - middle) / factor for wanted, begin in ((row, first[0]), (column, first[1])))
    # The padding beyond the frame's last row must not be mistaken for the frame.
    reduced_row, reduced_column = (np.where(inside, wanted, np.nan) for wanted in reduced)
    return means, reduced_row, reduced_column


def bilinear(data: Image, row: Floats, column: Floats) -> Image:
    """``data`` at fractional rows and columns; NaN outside its pixels and where less than half the weight is known."""
    rows, columns = data.shape
    inside = (row >= -0.5) & (row <= rows - 0.5) & (column >= -0.5) & (column <= columns - 0.5)
    # Up to half a pixel beyond the centres of the outermost pixels is still their own area.
    row = np.clip(np.where(inside, row, 0), 0, rows - 1)
    column = np.clip(np.where(inside, column, 0), 0, columns - 1)
    top, left = np.floor(row).astype(np.intp), np.floor(column).astype(np.intp)
    down, across = row - top, column - left
    total = np.zeros(row.shape)
    known = np.zeros(row.shape)
    for i, j, weight in (
        (top, left, (1 - down) * (1 - across)),
        (top, left + 1, (1 - down) * across),
        (top + 1, left, down * (1 - across)),
        (top + 1, left + 1, down * across),
    ):
        values = data[np.minimum(i, rows - 1), np.minimum(j, columns - 1)]
        weight = np.where(np.isfinite(values), weight, 0)
        total += weight * np.where(np.isfinite(values), values, 0)
        known += weight
    found = inside & (known >= 0.5)
    return np.where(found, total / np.where(found, known, 1), np.nan).astype(np.float32)
