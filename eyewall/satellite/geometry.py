"""Areas: the wanted latitude–longitude grid, and the way from any picture to it by nearest pixel.

A geostationary picture (and every other one on a map projection) is a regular grid in its projection, so the pixel
nearest to a place is found by projecting the place, not by searching a tree of all pixels: each target pixel is
projected once, which is remembered for the next slot, and only the rows and columns hit are ever calibrated. The
result equals pyresample's nearest neighbour but for ties (nearest in the projection, not on the ground), which a test
bounds. Nearest keeps each value as the satellite measured it; averaging is left to who knows the scale he wants.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.contracts.fields import Area
from eyewall.satellite.frame import Image

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

#: For swaths, which have no projection: how far the nearest pixel may be, in pixels of the target grid.
_SWATH_RADIUS_PX = 1.5
_KM_PER_DEG = 111.2


def grid(name: str, projection: Any, shape: tuple[int, int], extent: tuple[float, float, float, float]) -> Any:
    """A pyresample AreaDefinition: ``shape`` (rows, columns), ``extent`` the outer edges left, bottom, right, top."""
    from pyresample.geometry import AreaDefinition

    rows, columns = shape
    return AreaDefinition(name, name, name, projection, columns, rows, extent)  # type: ignore[no-untyped-call]


def target_area(area: Area) -> Any:
    """``area`` as a pyresample AreaDefinition in EPSG:4326, north up; whole pixels only, counted from the north-west.

    Longitudes run on from west, so that a box across the date line has an extent such as 160–200.
    """
    columns = int((area.east_deg - area.west_deg) / area.deg_per_px + 1e-6)
    rows = int((area.north_deg - area.south_deg) / area.deg_per_px + 1e-6)
    extent = (
        area.west_deg,
        area.north_deg - rows * area.deg_per_px,
        area.west_deg + columns * area.deg_per_px,
        area.north_deg,
    )
    return grid("latlon", "EPSG:4326", (rows, columns), extent)


def north_up(data: Any, area: Any) -> tuple[Any, Any]:
    """``data`` [y, x] and its area with north at the top and west on the left, whatever the scan order was."""
    left, bottom, right, top = (float(edge) for edge in area.area_extent)
    if top < bottom:
        data, bottom, top = data[::-1], top, bottom
    if right < left:
        data, left, right = data[:, ::-1], right, left
    return data, grid(area.area_id, area.crs, area.shape, (left, bottom, right, top))


def join(data: Any, areas: list[Any]) -> tuple[Any, Any]:
    """Strips of one image that do not touch (a segment between them is missing) → one image, NaN in the gaps.

    ``data`` [y, x] holds the strips one below the other in the order of ``areas``, which differ in their y extent.
    """
    import dask.array

    da: Any = dask.array
    strips, at = [], 0
    for area in areas:
        strips.append(north_up(data[at : at + area.shape[0]], area))
        at += area.shape[0]
    strips.sort(key=lambda strip: -strip[1].area_extent[3])
    first = strips[0][1]
    left, _, right, top = first.area_extent
    step = first.pixel_size_y
    pieces, row = [], 0
    for values, area in strips:
        begin = round((top - area.area_extent[3]) / step)
        if begin > row:
            pieces.append(da.full((begin - row, values.shape[1]), np.nan, dtype=values.dtype))
        pieces.append(values)
        row = begin + area.shape[0]
    extent = (left, top - row * step, right, top)
    return da.concatenate(pieces, axis=0), grid(first.area_id, first.crs, (row, first.shape[1]), extent)


def resample(data: Any, source: Any, target: Any) -> Image:
    """``data`` [y, x] of ``source`` at the nearest pixel of each pixel of ``target`` [rows, columns]; NaN outside.

    ``data`` may be a dask array: only the window that is hit is computed.
    """
    if not hasattr(source, "area_extent"):
        return _resample_swath(data, source, target)
    row, column, hit = _pixels(_key(source), _key(target))
    out = np.full(target.shape, np.nan, dtype=np.float32)
    if hit.any():
        rows, columns = slice(row.min(), row.max() + 1), slice(column.min(), column.max() + 1)
        window = np.asarray(data[rows, columns], dtype=np.float32)
        out[hit] = window[row - rows.start, column - columns.start]
    return out


_Key = tuple[str, tuple[float, ...], tuple[int, int]]


def _key(area: Any) -> _Key:
    return area.crs.to_wkt(), tuple(float(edge) for edge in area.area_extent), (int(area.shape[0]), int(area.shape[1]))


@lru_cache(maxsize=2)
def _pixels(source: _Key, target: _Key) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Row and column of ``source`` for the pixels of ``target`` where ``hit`` [rows, columns] holds."""
    (_, (left, bottom, right, top), (rows, columns)) = source
    x, y = _projected(source[0], target)
    if _is_geographic(source[0]):
        x = min(left, right) + np.mod(x - min(left, right), 360.0)
    with np.errstate(invalid="ignore"):
        column = np.floor((x - left) * (columns / (right - left)))
        row = np.floor((top - y) * (rows / (top - bottom)))
        hit = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return row[hit].astype(np.intp), column[hit].astype(np.intp), hit


@lru_cache(maxsize=2)
def _projected(wkt: str, target: _Key) -> tuple[Floats, Floats]:
    """Coordinates in the projection ``wkt`` of the pixel centres of a lat/lon ``target``; inf where not visible.

    Kept apart from `_pixels`, since a target sector moves from slot to slot and its projection does not.
    """
    (_, (left, bottom, right, top), (rows, columns)) = target
    lon_deg = left + (np.arange(columns) + 0.5) * ((right - left) / columns)
    lat_deg = top - (np.arange(rows) + 0.5) * ((top - bottom) / rows)
    return project(wkt, *np.meshgrid(lat_deg, lon_deg, indexing="ij"))


def project(crs: Any, lat_deg: Floats, lon_deg: Floats) -> tuple[Floats, Floats]:
    """Places → x, y of ``crs`` (anything that PROJ takes); inf where the projection shows no such place."""
    from pyproj import Proj

    if _is_geographic(crs):
        return lon_deg, lat_deg
    x, y = Proj(crs)(np.mod(lon_deg + 180.0, 360.0) - 180.0, lat_deg)
    return np.asarray(x), np.asarray(y)


@lru_cache(maxsize=8)
def _is_geographic_text(wkt: str) -> bool:
    from pyproj import CRS

    return bool(CRS.from_user_input(wkt).is_geographic)


def _is_geographic(crs: Any) -> bool:
    return isinstance(crs, str) and _is_geographic_text(crs)


def _resample_swath(data: Any, source: Any, target: Any) -> Image:
    from pyresample.kd_tree import resample_nearest

    if not hasattr(source, "lons"):
        raise InputError(f"a picture with the geometry {type(source).__name__} cannot be put on a grid: use --dataset")
    values = np.ma.masked_invalid(np.asarray(data, dtype=np.float32))
    degrees = float(target.pixel_size_x)
    radius_m = 1000 * _KM_PER_DEG * degrees * _SWATH_RADIUS_PX
    nearest: Any = resample_nearest
    return np.asarray(nearest(source, values, target, radius_m, fill_value=np.nan), dtype=np.float32)
