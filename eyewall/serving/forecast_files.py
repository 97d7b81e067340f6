"""A forecast as files: JSON for programs, GeoJSON for maps that others draw."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import destination, distance_km
from eyewall.contracts import features as f
from eyewall.contracts.errors import ServingError
from eyewall.serving.active_storms import ActiveStorm

Point = dict[str, float]
_ISO = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class TrackForecast:
    """One storm's forecast: points with lead_h, lat_deg and lon_deg (0–360), and CLIPER's where the model gives it.

    A model that gives them adds to each point radius_68_km and radius_95_km, of the circles about it that hold 68 and
    95 % of the outcomes.
    """

    storm: ActiveStorm
    model: str
    version: int
    points: list[Point]
    cliper: list[Point] = field(default_factory=list)
    frames: tuple[str, ...] = ()  #: store paths of the frames that the model saw, oldest first
    source: str | None = None  #: one of contracts.features.SOURCES; none where the model does not say


def forecasts_of(
    storms: list[ActiveStorm],
    outputs: dict[str, npt.NDArray[Any]],
    model: str,
    version: int,
    frames: list[tuple[str, ...]],
) -> list[TrackForecast]:
    """Outputs [b, …] of one request → one forecast a storm. Raises ServingError for an answer that is no track."""
    try:
        lat, lon = outputs[f.OUT_LAT_DEG], outputs[f.OUT_LON_DEG]
    except KeyError as error:
        raise ServingError(
            f"model {model!r} version {version} gives no {error}: serve one that eyewall trained"
        ) from None
    wanted = (len(storms), len(f.LEADS_H))
    if lat.shape != wanted or lon.shape != wanted:
        raise ServingError(f"model {model!r} version {version} answers with shape {lat.shape} instead of {wanted}")
    if not (np.isfinite(lat).all() and np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):
        raise ServingError(f"model {model!r} version {version} answers with positions that are none: roll it back")
    cliper = outputs.get(f.OUT_CLIPER_DISPLACEMENT_KM)
    made = []
    for i, storm in enumerate(storms):
        of_cliper: list[Point] = []
        if cliper is not None:
            of_cliper = _points(*destination(storm.base_lat_deg, storm.base_lon_deg, cliper[i, :, 0], cliper[i, :, 1]))
        points = _points(lat[i], lon[i])
        for name, radii in _radii(outputs, wanted).items():
            points = [point | {name: round(float(km), 1)} for point, km in zip(points, radii[i], strict=True)]
        made.append(TrackForecast(storm, model, version, points, of_cliper, frames[i], _source(outputs, i)))
    return made


def _radii(outputs: dict[str, npt.NDArray[Any]], wanted: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
    """The radii [b, l] that the answer has; one that is no radius is left out rather than drawn."""
    named = {name: outputs[name] for name in (f.OUT_RADIUS_68_KM, f.OUT_RADIUS_95_KM) if name in outputs}
    return {name: km for name, km in named.items() if km.shape == wanted and np.isfinite(km).all() and (km > 0).all()}


def _source(outputs: dict[str, npt.NDArray[Any]], row: int) -> str | None:
    """In words, what the answer of a row rests on; None where the model does not say."""
    index = int(outputs[f.OUT_SOURCE][row]) if f.OUT_SOURCE in outputs else -1
    return f.SOURCES[index] if 0 <= index < len(f.SOURCES) else None


def _points(lat_deg: npt.NDArray[Any], lon_deg: npt.NDArray[Any]) -> list[Point]:
    """0.01° is a kilometre: more digits would be noise."""
    return [
        {"lead_h": lead, "lat_deg": round(float(lat), 2), "lon_deg": round(float(lon) % 360.0, 2)}
        for lead, lat, lon in zip(f.LEADS_H, lat_deg, lon_deg, strict=True)
    ]


def as_json(forecast: TrackForecast, with_truth: bool) -> dict[str, Any]:
    """The stored forecast. Numbers only: no path of a machine, no time of writing."""
    storm = forecast.storm
    document: dict[str, Any] = {
        "schema_version": 1,
        "storm": storm.storm_id,
        "name": storm.name,
        "base_time": storm.base_time.strftime(_ISO),
        "base": {"lat_deg": round(storm.base_lat_deg, 2), "lon_deg": round(storm.base_lon_deg, 2)},
        "model": {"name": forecast.model, "version": forecast.version},
        "forecast": forecast.points,
        "cliper": forecast.cliper,
        "frames": list(forecast.frames),
        "past": _fixes(storm.past.tail(len(f.FIX_AGES_H))),
    }
    if forecast.source is not None:
        document["source"] = forecast.source
    if with_truth:
        document["truth"] = truth_points(storm)
        document["error_km"] = _errors_km(forecast.points, document["truth"])
    return document


def _fixes(rows: Any) -> list[dict[str, Any]]:
    return [
        {
            "time": row[t.TIME_UTC].strftime(_ISO),
            "lat_deg": round(float(row[t.LAT_DEG]), 2),
            "lon_deg": round(float(row[t.LON_DEG]), 2),
            "wind_kt": None if np.isnan(row[t.WIND_KT]) else float(row[t.WIND_KT]),
        }
        for _, row in rows.iterrows()
    ]


def truth_points(storm: ActiveStorm) -> list[Point]:
    """Where the storm was at the leads, as far as the best track has a fix at that very time."""
    later = storm.later
    hours = (later[t.TIME_UTC] - storm.base_time) / np.timedelta64(1, "h")
    at_leads = later[hours.isin(f.LEADS_H)]
    return [
        {"lead_h": int(hour), "lat_deg": round(float(lat), 2), "lon_deg": round(float(lon), 2)}
        for hour, lat, lon in zip(hours[at_leads.index], at_leads[t.LAT_DEG], at_leads[t.LON_DEG], strict=True)
    ]


def _errors_km(points: list[Point], truth: list[Point]) -> dict[str, float]:
    known = {p["lead_h"]: p for p in truth}
    return {
        f"{p['lead_h']:g}": round(
            float(
                distance_km(p["lat_deg"], p["lon_deg"], known[p["lead_h"]]["lat_deg"], known[p["lead_h"]]["lon_deg"])
            ),
            1,
        )
        for p in points
        if p["lead_h"] in known
    }


def as_geojson(forecast: TrackForecast) -> dict[str, Any]:
    """RFC 7946: the forecast track as a line, cut at the date line, and its points; longitudes −180 … 180."""
    storm = forecast.storm
    base: Point = {"lead_h": 0, "lat_deg": round(storm.base_lat_deg, 2), "lon_deg": round(storm.base_lon_deg, 2)}
    common = {"storm": storm.storm_id, "model": forecast.model, "version": forecast.version}
    track = [base, *forecast.points]
    line = {
        "type": "Feature",
        "geometry": {"type": "MultiLineString", "coordinates": _cut_at_date_line(track)},
        "properties": {**common, "base_time": storm.base_time.strftime(_ISO)},
    }
    points = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [_east_west(p["lon_deg"]), p["lat_deg"]]},
            "properties": {**common, "lead_h": p["lead_h"], **{k: v for k, v in p.items() if k.startswith("radius_")}},
        }
        for p in track
    ]
    return {"type": "FeatureCollection", "features": [line, *points]}


def _east_west(lon_deg: float) -> float:
    return round((lon_deg + 180.0) % 360.0 - 180.0, 2)


def _cut_at_date_line(track: list[Point]) -> list[list[list[float]]]:
    """RFC 7946, section 3.1.9: a line that crosses the antimeridian is cut in two there."""
    parts = [[[_east_west(track[0]["lon_deg"]), track[0]["lat_deg"]]]]
    for before, after in itertools.pairwise(track):
        lon0, lon1 = _east_west(before["lon_deg"]), _east_west(after["lon_deg"])
        if abs(lon1 - lon0) > 180.0:
            edge = 180.0 if lon0 > 0 else -180.0
            fraction = (edge - lon0) / (lon1 + 2 * edge - lon0)
            lat = round(before["lat_deg"] + fraction * (after["lat_deg"] - before["lat_deg"]), 2)
            parts[-1].append([edge, lat])
            parts.append([[-edge, lat]])
        parts[-1].append([lon1, after["lat_deg"]])
    return parts
