"""The picture of a forecast: satellite frames beneath, past track, forecast, CLIPER and, where known, the truth.

A plain latitude–longitude map: nothing here needs map data from the net. Each pixel of the map is looked up in the
frames' own projections, the newest frame on top, so that frames that follow the storm lie along its way.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import destination
from eyewall.contracts.features import LEADS_H, OUT_RADIUS_68_KM
from eyewall.serving.forecast_files import Point, TrackForecast, truth_points

if TYPE_CHECKING:
    from eyewall.satellite.frame import Frame

_LEAST_SPAN_DEG = 16.0
_MARGIN_DEG = 3.0
_PAST_H = 96
_MAP_PX = 720  #: of the longer side
_DPI = 120
#: Clouds at 200 K are white, sea at 300 K is black, as in every infrared picture.
_RANGES = {"brightness_temperature_k": (200.0, 305.0, "gray_r"), "grey_level": (0.0, 255.0, "gray")}

_FORECAST, _CLIPER, _TRUTH, _PAST = "#ff5a36", "#35b6ff", "#4be36b", "#ffd23f"


def draw_forecast(forecast: TrackForecast, frames: "Sequence[Frame]", *, truth: bool = False) -> bytes:
    """The map as PNG. ``frames`` oldest first; with ``truth`` the later fixes are drawn as well."""
    from matplotlib.figure import Figure

    centre = forecast.storm.base_lon_deg
    west, east, south, north = extent = _extent(forecast, truth)
    height_per_width = (north - south) / ((east - west) * _shrink(south, north))
    figure = Figure(figsize=(8.0, min(10.0, max(4.5, 8.0 * height_per_width)) + 0.6), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#16283c")
    _draw_frames(axes, frames, centre, extent)
    _draw_tracks(axes, forecast, centre, truth)
    _decorate(axes, forecast, frames, extent)
    png = io.BytesIO()
    # Without the name of the software, the same picture is the same bytes.
    figure.savefig(png, format="png", bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    return png.getvalue()


def _near(lon_deg: Any, centre_deg: float) -> npt.NDArray[np.float64]:
    """Longitudes within half a turn of the storm, so that the date line is nothing special."""
    return np.asarray(centre_deg + np.mod(np.asarray(lon_deg, dtype=np.float64) - centre_deg + 180.0, 360.0) - 180.0)


def _shrink(south: float, north: float) -> float:
    return float(np.cos(np.radians((south + north) / 2)))


def _columns(points: Sequence[Point], centre: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return _near([p["lon_deg"] for p in points], centre), np.array([p["lat_deg"] for p in points], dtype=np.float64)


def _extent(forecast: TrackForecast, truth: bool) -> tuple[float, float, float, float]:
    """West, east, south, north of a map that holds every track with a margin, and is not a narrow strip."""
    storm = forecast.storm
    shown = [_past(forecast), _later(forecast) if truth else storm.later.head(0)]
    centre = storm.base_lon_deg
    lons = [_near(rows[t.LON_DEG], centre) for rows in shown] + [_columns(forecast.points, centre)[0]]
    lats = [rows[t.LAT_DEG].to_numpy(np.float64) for rows in shown] + [_columns(forecast.points, centre)[1]]
    lon, lat = np.concatenate(lons), np.concatenate(lats)
    south, north = _widened(lat.min(), lat.max(), _LEAST_SPAN_DEG)
    west, east = _widened(lon.min(), lon.max(), max(_LEAST_SPAN_DEG, 0.9 * (north - south)) / _shrink(south, north))
    south, north = _widened(south + _MARGIN_DEG, north - _MARGIN_DEG, 0.6 * (east - west) * _shrink(south, north))
    return west, east, max(south, -85.0), min(north, 85.0)


def _past(forecast: TrackForecast) -> Any:
    fixes = forecast.storm.past
    return fixes[fixes[t.TIME_UTC] >= forecast.storm.base_time - np.timedelta64(_PAST_H, "h")]


def _later(forecast: TrackForecast) -> Any:
    fixes = forecast.storm.later
    return fixes[fixes[t.TIME_UTC] <= forecast.storm.base_time + np.timedelta64(LEADS_H[-1], "h")]


def _widened(low: float, high: float, least: float) -> tuple[float, float]:
    middle, half = (low + high) / 2, max((high - low) / 2 + _MARGIN_DEG, least / 2)
    return float(middle - half), float(middle + half)


def _draw_frames(axes: Any, frames: "Sequence[Frame]", centre: float, extent: tuple[float, ...]) -> None:
    if not frames:
        return
    from eyewall.records.resample import Grid, bilinear

    west, east, south, north = extent
    step = max(east - west, north - south) / _MAP_PX
    lon, lat = np.meshgrid(np.arange(west + step / 2, east, step), np.arange(north - step / 2, south, -step))
    picture = np.full(lon.shape, np.nan, dtype=np.float32)
    for frame in frames:
        shown = bilinear(frame.data, *Grid.of(frame.area).row_column(lat, np.mod(lon, 360.0)))
        picture = np.where(np.isfinite(shown), shown, picture)
    low, high, colours = _RANGES[frames[-1].quantity]
    axes.imshow(
        picture,
        extent=(west, west + step * picture.shape[1], north - step * picture.shape[0], north),
        vmin=low,
        vmax=high,
        cmap=colours,
        interpolation="nearest",
        zorder=0,
    )


def _draw_tracks(axes: Any, forecast: TrackForecast, centre: float, truth: bool) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3.2, foreground="black")]
    storm = forecast.storm
    start = {"lead_h": 0.0, "lat_deg": storm.base_lat_deg, "lon_deg": storm.base_lon_deg}
    past = _past(forecast)
    line: dict[str, Any] = {"linewidth": 1.8, "markersize": 4.5, "path_effects": outline, "clip_on": True}
    axes.plot(_near(past[t.LON_DEG], centre), past[t.LAT_DEG], "o-", color=_PAST, label="past track", zorder=3, **line)
    if forecast.cliper:
        axes.plot(*_columns([start, *forecast.cliper], centre), "s--", color=_CLIPER, label="CLIPER", zorder=3, **line)
    if truth and len(_later(forecast)):
        later = _later(forecast)
        axes.plot(
            np.concatenate([[storm.base_lon_deg], _near(later[t.LON_DEG], centre)]),
            np.concatenate([[storm.base_lat_deg], later[t.LAT_DEG].to_numpy(np.float64)]),
            "-", color=_TRUTH, label="best track afterwards", zorder=3, **line,
        )  # fmt: skip
        axes.plot(*_columns(truth_points(storm), centre), "D", color=_TRUTH, zorder=4, **line)
    _draw_circles(axes, forecast, centre)
    label = f"forecast, version {forecast.version}"
    if forecast.source == "cliper":
        label += " (inputs unlike its training: CLIPER)"
    axes.plot(*_columns([start, *forecast.points], centre), "o-", color=_FORECAST, label=label, zorder=5, **line)
    for point, x, y in zip(forecast.points, *_columns(forecast.points, centre), strict=True):
        axes.annotate(
            f"+{point['lead_h']:g} h", (x, y), xytext=(7, 4), textcoords="offset points", color="white", fontsize=8,
            path_effects=[withStroke(linewidth=2.2, foreground="black")], zorder=6,
        )  # fmt: skip
    axes.plot(
        storm.base_lon_deg, storm.base_lat_deg, "*", color="white", markersize=14, markeredgecolor="black", zorder=7
    )


def _draw_circles(axes: Any, forecast: TrackForecast, centre: float) -> None:
    """The circles of 68 %, great circles' ends in all directions; they may leave the map."""
    around = np.linspace(0, 2 * np.pi, 73)
    for point in forecast.points:
        if OUT_RADIUS_68_KM in point:
            east, north = (point[OUT_RADIUS_68_KM] * wave(around) for wave in (np.sin, np.cos))
            lat, lon = destination(point["lat_deg"], point["lon_deg"], east, north)
            first = point is forecast.points[0]
            label = "68 % of outcomes" if first else None
            axes.plot(_near(lon, centre), lat, "-", color=_FORECAST, linewidth=0.9, alpha=0.75, label=label, zorder=2)


def _decorate(axes: Any, forecast: TrackForecast, frames: "Sequence[Frame]", extent: tuple[float, ...]) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    west, east, south, north = extent
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect(1 / _shrink(south, north))
    for axis, name in ((axes.xaxis, _meridian), (axes.yaxis, _parallel)):
        axis.set_major_locator(MultipleLocator(5 if max(east - west, north - south) < 45 else 10))
        axis.set_major_formatter(FuncFormatter(name))
    axes.grid(color="white", alpha=0.25, linewidth=0.6)
    storm = forecast.storm
    named = f"{storm.name} ({storm.storm_id})" if storm.name and storm.name != storm.storm_id else storm.storm_id
    axes.set_title(f"{named}, forecast from {storm.base_time:%Y-%m-%d %H:%M} UTC", fontsize=11, loc="left")
    if frames:
        newest = frames[-1]
        seen = f"{newest.platform} {newest.nominal_time:%Y-%m-%d %H:%M} UTC"
        more = f", {len(frames) - 1} older beneath" if len(frames) > 1 else ""
        axes.text(1.0, -0.06, seen + more, fontsize=8, ha="right", va="top", transform=axes.transAxes)
    axes.legend(loc="best", fontsize=8, framealpha=0.85)


def _meridian(lon_deg: float, _: object = None) -> str:
    east_west = (lon_deg + 180.0) % 360.0 - 180.0
    if abs(abs(east_west) - 180.0) < 1e-6 or abs(east_west) < 1e-6:
        return f"{abs(east_west):g}°"
    return f"{abs(east_west):g}°{'E' if east_west > 0 else 'W'}"


def _parallel(lat_deg: float, _: object = None) -> str:
    return "0°" if abs(lat_deg) < 1e-6 else f"{abs(lat_deg):g}°{'N' if lat_deg > 0 else 'S'}"
