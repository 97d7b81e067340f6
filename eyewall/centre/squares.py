"""Squares cut from charts: at any place, turned and zoomed a little, and the way from their pixels to places and back.

A square is azimuthal-equidistant about its own middle, as the records' squares are. Turning and zooming happen in the
one interpolation that cuts it, so that no picture is resampled twice, and a storm's place turns with it. South of the
equator a square is mirrored north to south: storms turn the other way there, and a network has to know one kind only.
Nothing is ever mirrored otherwise, because the sense of rotation is what tells a storm from other clouds.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination, displacement_km
from eyewall.centre.charts import Chart
from eyewall.models.encoder_card import PictureScale
from eyewall.records.resample import Grid, bilinear

Floats = npt.NDArray[np.float64]
Planes = npt.NDArray[np.float32]

#: Places of a square that are projected exactly; those between are interpolated, to about 0.2 km.
_KNOTS: Final = 9


@dataclass(frozen=True)
class View:
    """A square: its middle in degrees, ``turn_deg`` anticlockwise, ``km_per_px``, and its pixels each way."""

    lat_deg: float
    lon_deg: float
    px: int
    km_per_px: float
    turn_deg: float = 0.0

    def _axes(self) -> tuple[float, float, float]:
        angle = np.radians(self.turn_deg)
        return float(np.cos(angle)), float(np.sin(angle)), 1.0 if self.lat_deg >= 0 else -1.0

    def places(self, row: Floats, column: Floats) -> tuple[Floats, Floats]:
        """Fractional rows and columns (0 is the first pixel's centre) → latitude and longitude (0–360), degrees."""
        cos, sin, north = self._axes()
        right = (column - (self.px - 1) / 2) * self.km_per_px
        up = ((self.px - 1) / 2 - row) * self.km_per_px
        return destination(self.lat_deg, self.lon_deg, cos * right - sin * up, north * (sin * right + cos * up))

    def pixels(self, lat_deg: Any, lon_deg: Any) -> tuple[Floats, Floats]:
        """The inverse of `places`: latitude and longitude → fractional rows and columns."""
        cos, sin, north = self._axes()
        moved = displacement_km(self.lat_deg, self.lon_deg, lat_deg, lon_deg)
        east, up = moved[..., 0], north * moved[..., 1]
        right, up = cos * east + sin * up, cos * up - sin * east
        return (self.px - 1) / 2 - up / self.km_per_px, (self.px - 1) / 2 + right / self.km_per_px


def cut(chart: Chart, view: View, scale: PictureScale) -> Planes:
    """The square of a view from a chart: planes [px, px, 2], normalised values (0 where missing) and the mask."""
    knots = np.linspace(0, view.px - 1, _KNOTS)
    rows, columns = chart.grid.row_column(*view.places(*np.meshgrid(knots, knots, indexing="ij")))
    if chart.grid.geographic and np.nanmax(columns) - np.nanmin(columns) > chart.grid.columns / 2:
        every = np.arange(view.px, dtype=np.float64)  # round the back of the globe: no straight line between knots
        rows, columns = chart.grid.row_column(*view.places(*np.meshgrid(every, every, indexing="ij")))
    else:
        weights = _weights(view.px)
        rows, columns = weights @ rows @ weights.T, weights @ columns @ weights.T
    values = bilinear(chart.values, rows, columns)
    known = np.isfinite(values)
    scaled = np.where(known, (values - scale.mean) / scale.std, 0)
    return np.stack([scaled, known], axis=-1).astype(np.float32)


@lru_cache(maxsize=16)
def _weights(px: int) -> Floats:
    """[px, knots]: linear interpolation from the knots to every pixel."""
    at = np.arange(px) * (_KNOTS - 1) / (px - 1)
    left = np.minimum(at.astype(int), _KNOTS - 2)
    weights = np.zeros((px, _KNOTS))
    weights[np.arange(px), left] = 1 - (at - left)
    weights[np.arange(px), left + 1] = at - left
    return weights


@lru_cache(maxsize=64)
def _projection(wkt: str) -> Any:
    from pyproj import Proj

    return Proj(wkt)


def place_of(grid: Grid, row: float, column: float) -> tuple[float, float] | None:
    """Latitude and longitude (0–360) of a point of a chart; None where its projection shows no place (space)."""
    left, bottom, right, top = grid.extent
    x = left + (column + 0.5) * (right - left) / grid.columns
    y = top + (row + 0.5) * (bottom - top) / grid.rows
    lon, lat = (x, y) if grid.geographic else _projection(grid.wkt)(x, y, inverse=True)
    return (float(lat), float(lon) % 360.0) if np.isfinite(lon) and abs(lat) <= 90 else None


def shaken(planes: Planes, rng: np.random.Generator) -> Planes:
    """Planes [px, px, 2] with other contrast, brightness and a little noise, as another satellite would have them."""
    values, known = planes[..., 0], planes[..., 1]
    other = values * rng.uniform(0.8, 1.25) + rng.normal(0, 0.2) + rng.normal(0, 0.05, values.shape)
    return np.stack([other * known, known], axis=-1).astype(np.float32)
