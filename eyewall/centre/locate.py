"""From the network's maps to positions with their spread: about a first guess, and basin-wide.

About a guess: several views of it (moved and turned) are laid over one fine grid about the guess and averaged, times
what is known of the guess: that the storm is within ``search_km``. That is the probability of each place. The position
is its mean about the highest place; the radii hold 68 and 95 % of it, times factors from the validation split.

Basin-wide: overlapping tiles; a storm is where the expected number of centres within 150 km is locally the highest,
and this number says how sure it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination, distance_km
from eyewall.centre.batches import CELL_PX, MARGIN_CELLS, to_cell
from eyewall.centre.charts import Chart
from eyewall.centre.squares import Planes, View, cut, place_of
from eyewall.models.encoder_card import PictureScale
from eyewall.records.resample import bilinear

Floats = npt.NDArray[np.float64]
#: Planes [v, y, x, 2] → logarithms of the expected number of centres in each cell [v, y/2, x/2].
Maps = Callable[[Planes], npt.NDArray[np.float32]]

LEVELS: Final = (0.68, 0.95)
_STEP_KM: Final = 10.0  # of the fine grid about a guess
_NEAR_KM: Final = 30.0  # about the highest place, over which the position is averaged
_NEAR_IN_BASIN_KM: Final = 60.0  # the same where the grid is that of the cells
_STORM_KM: Final = 150.0  # within which an expected number of centres is one storm's
_APART_KM: Final = 300.0  # two storms are farther apart
_MIN_EXPECTED: Final = 0.02


@dataclass(frozen=True)
class Found:
    """A position, degrees; radii (km) of circles that hold 68 and 95 % of the probability; the expected number."""

    lat_deg: float
    lon_deg: float
    radii_km: tuple[float, float]
    expected: float


def views_of(lat_deg: float, lon_deg: float, count: int, scale: PictureScale) -> list[View]:
    """The guess itself and ``count`` − 1 places around it, turned alternately: different pixels, the same storm."""
    views = [View(lat_deg, lon_deg, scale.px, scale.km_per_px)]
    for i in range(count - 1):
        angle = 2 * np.pi * i / max(1, count - 1)
        distance = 3.5 * scale.km_per_px
        lat, lon = destination(lat_deg, lon_deg, distance * np.sin(angle), distance * np.cos(angle))
        views.append(View(float(lat), float(lon), scale.px, scale.km_per_px, turn_deg=(-1) ** i * 8.0))
    return views


def near_guess(
    maps: Maps, chart: Chart, lat_deg: float, lon_deg: float, search_km: float, scale: PictureScale, views: int
) -> Found | None:
    """The storm within ``search_km`` of a first guess; None where the frame shows nothing of it."""
    looks = views_of(lat_deg, lon_deg, views, scale)
    planes = np.stack([cut(chart, view, scale) for view in looks])
    if not planes[..., 1].any():
        return None
    axis = np.arange(-np.ceil(search_km / _STEP_KM), np.ceil(search_km / _STEP_KM) + 1) * _STEP_KM
    east, north = np.meshgrid(axis, -axis)
    lat, lon = destination(lat_deg, lon_deg, east, north)
    logits = []
    for view, logit in zip(looks, maps(planes), strict=True):
        rows, columns = view.pixels(lat, lon)
        logits.append(bilinear(logit, to_cell(rows), to_cell(columns)))
    with np.errstate(invalid="ignore"):
        mean = np.mean(logits, axis=0, dtype=np.float64)
    inside = (np.hypot(east, north) <= search_km) & np.isfinite(mean)
    if not inside.any():
        return None
    rate = np.where(inside, np.exp(np.where(inside, mean, 0)), 0)
    expected = float(rate.sum() * _STEP_KM**2 / (CELL_PX * scale.km_per_px) ** 2)
    probability = rate / rate.sum()
    x, y = centre_of(probability, east, north)
    place = destination(lat_deg, lon_deg, x, y)
    return Found(float(place[0]), float(place[1]), radii(probability, np.hypot(east - x, north - y)), expected)


def centre_of(probability: Floats, east_km: Floats, north_km: Floats) -> tuple[float, float]:
    """The mean of a probability [y, x] about its highest place, found again about each mean: (east, north) km."""
    peak = np.unravel_index(np.argmax(_smoothed(probability)), probability.shape)
    x, y = float(east_km[peak]), float(north_km[peak])
    for _ in range(4):
        near = probability * (np.hypot(east_km - x, north_km - y) <= _NEAR_KM)
        x, y = float((near * east_km).sum() / near.sum()), float((near * north_km).sum() / near.sum())
    return x, y


def _smoothed(values: Floats) -> Floats:
    """Sums over 5 × 5 pixels: the highest single pixel may stand alone."""
    padded = np.pad(values, 2)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).sum(axis=(-1, -2)))


def radii(probability: Floats, distance_km: Floats) -> tuple[float, float]:
    """Radii (km) about the position that hold LEVELS of the probability; at least half a step of the grid."""
    order = np.argsort(distance_km, axis=None, kind="stable")
    held = np.cumsum(probability.ravel()[order])
    at = [min(int(np.searchsorted(held, level)), held.size - 1) for level in LEVELS]
    low, high = (max(float(distance_km.ravel()[order[i]]), _STEP_KM / 2) for i in at)
    return low, high


# --- basin-wide -------------------------------------------------------------------------------------------------------


def tiles_of(chart: Chart, scale: PictureScale) -> list[View]:
    """Squares of the training's size that cover a chart with all but their margins.

    Not larger ones: group normalisation looks at a whole square, and a storm in a larger one stands out more than it
    ever did in the training.
    """
    left, bottom, right, top = chart.grid.extent
    unit_km = 111.2 if chart.grid.geographic else 1e-3
    height_km, width_km = abs(top - bottom) * unit_km, abs(right - left) * unit_km
    own_km = (scale.px - 2 * CELL_PX * MARGIN_CELLS) * scale.km_per_px
    down, across = max(1, int(np.ceil(height_km / own_km))), max(1, int(np.ceil(width_km / own_km)))
    middles = [
        place_of(chart.grid, (i + 0.5) * chart.grid.rows / down - 0.5, (j + 0.5) * chart.grid.columns / across - 0.5)
        for i in range(down)
        for j in range(across)
    ]
    return [View(*middle, scale.px, scale.km_per_px) for middle in middles if middle is not None]


def in_basin(maps: Maps, chart: Chart, scale: PictureScale) -> list[Found]:
    """Every storm of a frame, the surest first, down to an expected number of _MIN_EXPECTED."""
    tiles = tiles_of(chart, scale)
    if not tiles:
        return []
    places, rates = [], []
    axis = np.arange(scale.px // CELL_PX) * CELL_PX + (CELL_PX - 1) / 2
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    planes = np.stack([cut(chart, tile, scale) for tile in tiles])
    for tile, square, logit in zip(tiles, planes, maps(planes), strict=True):
        lat, lon = tile.places(rows, columns)
        known = square[::CELL_PX, ::CELL_PX, 1] > 0
        apart = np.stack([distance_km(other.lat_deg, other.lon_deg, lat, lon) for other in tiles])
        own = np.argmin(apart, axis=0) == tiles.index(tile)  # each place is judged where it is farthest from an edge
        places.append(np.stack([lat[own], lon[own]], axis=-1))
        rates.append((np.exp(logit.astype(np.float64)) * known)[own])
    rate = np.concatenate(rates)
    worth = rate > _MIN_EXPECTED / 500  # thousands of cells have none of it
    return _peaks(np.concatenate(places)[worth], rate[worth])


def _peaks(places: Floats, rates: Floats) -> list[Found]:
    """Storms of cells at ``places`` [n, 2] (latitude, longitude) with expected numbers ``rates`` [n]."""
    found: list[Found] = []
    free = np.ones(len(rates), dtype=bool)
    while free.any():
        at = int(np.argmax(np.where(free, rates, -1)))
        if rates[at] < _MIN_EXPECTED / 20:
            break
        lat, lon = places[at]
        for _ in range(4):
            distance = distance_km(lat, lon, places[:, 0], places[:, 1])
            near = rates * (distance <= _NEAR_IN_BASIN_KM)
            lat, lon = _mean_place(lat, lon, places, near)
        distance = distance_km(lat, lon, places[:, 0], places[:, 1])
        here = rates * (distance <= _STORM_KM) * free
        if here.sum() >= _MIN_EXPECTED:
            storm = rates * (distance <= _APART_KM)
            found.append(Found(lat, lon, radii(storm / storm.sum(), distance), float(here.sum())))
        free &= distance > _APART_KM
        free[at] = False
    return sorted(found, key=lambda one: -one.expected)


def _mean_place(lat_deg: float, lon_deg: float, places: Floats, weights: Floats) -> tuple[float, float]:
    """The weighted mean of places [n, 2], reckoned in km about a point near them."""
    from eyewall.besttrack.sphere import displacement_km

    chosen = weights > 0
    moved = displacement_km(lat_deg, lon_deg, places[chosen, 0], places[chosen, 1])
    mean = (moved * weights[chosen, None]).sum(axis=0) / weights[chosen].sum()
    lat, lon = destination(lat_deg, lon_deg, mean[0], mean[1])
    return float(lat), float(lon)


def shifted(lat_deg: float, lon_deg: float, search_km: float, seed: int, name: str) -> tuple[float, float]:
    """A first guess: anywhere within ``search_km`` of the position, evenly, the same for the same ``name``."""
    import hashlib

    words = np.frombuffer(hashlib.sha256(f"{seed} {name}".encode()).digest(), dtype=np.uint64)
    across, around = words[:2] / 2.0**64
    radius = search_km * np.sqrt(across)
    lat, lon = destination(lat_deg, lon_deg, radius * np.sin(2 * np.pi * around), radius * np.cos(2 * np.pi * around))
    return float(lat), float(lon)


def mean_maps(networks: Sequence[Any]) -> Maps:
    """The maps of several networks as one: the mean of their logarithms."""
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def mean(planes: Any) -> Any:
        return tf.add_n([network(planes) for network in networks]) / float(len(networks))

    def maps(planes: Planes) -> npt.NDArray[np.float32]:
        return np.asarray(mean(tf.constant(planes)), dtype=np.float32)

    return maps
