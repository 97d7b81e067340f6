"""``eyewall forecast``: active storms at a base time, asked of the model server, stored as JSON, GeoJSON and a map.

    forecasts/<stream or track>/<time>/<storm>.json, .geojson, .png, manifest.json

A forecast rests on the fixes and frames up to its base time, and on the version that answered. When the stored one
rests on the same, nothing is asked and nothing written.
"""

import json
import shutil
import uuid
from typing import Any

import numpy as np
import pandas as pd

from eyewall import __version__
from eyewall.besttrack import table as t
from eyewall.besttrack.read import read_tracks
from eyewall.contracts.errors import NothingNew, ServingError
from eyewall.contracts.features import IMAGE_FEATURES, input_shapes
from eyewall.contracts.jobs import ForecastJob
from eyewall.contracts.layout import forecast_dir, safe_key
from eyewall.contracts.manifest import MANIFEST_NAME, Manifest, Receipt, Reference
from eyewall.serving.active_storms import ActiveStorm, active_storms, fixes_sha256, naive_utc
from eyewall.serving.forecast_files import TrackForecast, as_geojson, as_json, forecasts_of
from eyewall.serving.index import read_index
from eyewall.serving.wanted_images import WantedImages, wanted_images
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

#: At most so many frames, no older than so many hours, under the map of a model that takes no images.
_PICTURED, _PICTURED_H = 3, 12.0
_FORMAT = 2  #: of the stored files; a change makes every forecast anew


def run(job: ForecastJob) -> Receipt:
    """Forecast every active storm, or the one asked for.

    Raises NothingNew when no storm is active or no model is served yet, InputError for a storm that cannot be
    forecast, TrackError for unusable tracks, ServingError when the server does not answer with tracks.
    """
    store = Store(job.store)
    table = read_tracks(job.tracks, job.tracks_format)
    keys = _frame_keys(store, job)
    base = _base_time(job, table, keys)
    storms, passed_over = active_storms(table, base, job.storm)
    if not storms:
        skipped = f" ({'; '.join(f'{k}: {v}' for k, v in passed_over.items())})" if passed_over else ""
        raise NothingNew(f"no storm to forecast at {base:%Y-%m-%d %H:%M} UTC{skipped}")
    version = _labelled(store, job)
    path = forecast_dir(job.stream or "track", base.to_pydatetime())
    images = wanted_images(store, job, version)
    wanted = _rests_on(job, storms, keys, version, images)
    present = store.read_manifest(path)
    if present is None or not _covers(present, wanted):
        forecasts, cache = _ask(store, job, storms, keys, version, images)
        present = _write(store, path, forecasts, keys, cache, wanted, job.truth)
    return _receipt(store, job, path, present, storms, passed_over)


def _frame_keys(store: Store, job: ForecastJob) -> list[Any]:
    if job.stream is None:
        return []
    from eyewall.satellite.index import list_frames

    return list_frames(store, job.stream)


def _base_time(job: ForecastJob, table: pd.DataFrame, keys: list[Any]) -> pd.Timestamp:
    if job.base_time is not None:
        return naive_utc(job.base_time)
    if keys:
        return naive_utc(keys[-1].time)
    if job.stream is not None:
        raise NothingNew(f"stream {job.stream!r} has no frame yet: run eyewall ingest, or give --base-time")
    return pd.Timestamp(table[t.TIME_UTC].max())


def _labelled(store: Store, job: ForecastJob) -> int:
    labels = read_index(store).model(job.name).labels
    if job.label not in labels:
        raise NothingNew(f"no version of model {job.name!r} is labelled {job.label!r} yet: publish one first")
    return labels[job.label]


def _rests_on(
    job: ForecastJob, storms: list[ActiveStorm], keys: list[Any], version: int, images: WantedImages
) -> Manifest:
    """What each storm's forecast rests on; frames by name, since a frame of one name is one frame."""
    from eyewall.records.images import candidates

    of_storms = {
        storm.storm_id: {
            "format": _FORMAT,
            "model": [job.name, version],
            "base_time": storm.base_time.isoformat(),
            "frames": [k.path for k in candidates(keys, storm.base_time.to_datetime64(), images.max_frame_age_h)],
            "min_frame_gap_h": images.min_frame_gap_h,
            "truth": job.truth,
        }
        for storm in storms
    }
    inputs = {f"fixes/{storm.storm_id}": fixes_sha256(storm, job.truth) for storm in storms}
    return Manifest(kind="forecast", code_version=__version__, inputs=inputs, config={"storms": of_storms})


def _covers(present: Manifest, wanted: Manifest) -> bool:
    """Whether the stored forecasts hold every storm that is wanted, resting on the same."""
    stored = present.config.get("storms", {})
    return (
        present.code_version == wanted.code_version
        and all(present.inputs.get(key) == value for key, value in wanted.inputs.items())
        and all(stored.get(storm) == value for storm, value in wanted.config["storms"].items())
    )


def _ask(
    store: Store, job: ForecastJob, storms: list[ActiveStorm], keys: list[Any], version: int, images: WantedImages
) -> tuple[list[TrackForecast], Any]:
    from eyewall.records.frames import FrameCache
    from eyewall.serving.client import Client

    cache = FrameCache(store)
    inputs, frames = _inputs(store, job, storms, keys, images, cache)
    with Client(job.server, job.timeout_s) as client:
        answer = client.predict(inputs, job.name, label=job.label)
    if answer.version != version:
        raise ServingError(
            f"the server's label {job.label!r} is version {answer.version}, models.json says {version}: run"
            " eyewall publish again, or wait until the server has followed"
        )
    return forecasts_of(storms, answer.outputs, job.name, answer.version, frames), cache


def _inputs(
    store: Store, job: ForecastJob, storms: list[ActiveStorm], keys: list[Any], wanted: WantedImages, cache: Any
) -> tuple[dict[str, Any], list[tuple[str, ...]]]:
    """Features [b, …] of all storms in one request, and the frames that each one's images come from."""
    from eyewall.records.images import storm_images

    spec = wanted.spec
    rows, frames = [], []
    for storm in storms:
        row = {name: values[0] for name, values in storm.features.items()}
        before = dict(cache.used)
        if spec.frames:
            row |= storm_images(
                store, job.stream or "", keys, storm.past, storm.base_time.to_datetime64(), spec,
                max_frame_age_h=wanted.max_frame_age_h, min_frame_gap_h=wanted.min_frame_gap_h, cache=cache,
            )  # fmt: skip
        rows.append(row)
        frames.append(tuple(sorted(p for p, n in cache.used.items() if n > before.get(p, 0))))
    names = [name for name in input_shapes(spec) if spec.frames or name not in IMAGE_FEATURES]
    return {name: np.stack([row[name] for row in rows]).astype(np.float32) for name in names}, frames


def _pictured(forecast: TrackForecast, keys: list[Any], cache: Any) -> list[str]:
    """Frames for the map, oldest first: those that the model saw, or the newest ones of the storm if it takes none."""
    if forecast.frames or not keys:
        return list(forecast.frames)
    from eyewall.records.images import candidates, may_show
    from eyewall.records.resample import Grid

    storm = forecast.storm
    paths: list[str] = []
    for key in reversed(candidates(keys, storm.base_time.to_datetime64(), _PICTURED_H)):
        frame = cache.frame(key.path) if may_show(key.part, storm.storm_id) else None
        if frame is not None and Grid.of(frame.area).shows(storm.base_lat_deg, storm.base_lon_deg):
            paths.append(key.path)
        if len(paths) == _PICTURED:
            break
    return paths[::-1]


def _write(
    store: Store,
    path: str,
    forecasts: list[TrackForecast],
    keys: list[Any],
    cache: Any,
    wanted: Manifest,
    truth: bool,
) -> Manifest:
    """The artifact with these forecasts and those of other storms that it holds already, in one rename."""
    from eyewall.serving.map import draw_forecast

    present = store.read_manifest(path)
    with store.staging(path) as folder:
        if present is not None:
            shutil.copytree(store.fetch(path), folder, dirs_exist_ok=True, ignore=lambda *_: [MANIFEST_NAME])
        for forecast in forecasts:
            stem = safe_key(forecast.storm.storm_id)
            frames = [frame for p in _pictured(forecast, keys, cache) if (frame := cache.frame(p)) is not None]
            text = json.dumps(as_json(forecast, truth), indent=2, sort_keys=True, allow_nan=False)
            (folder / f"{stem}.json").write_text(text + "\n")
            (folder / f"{stem}.geojson").write_text(json.dumps(as_geojson(forecast), allow_nan=False) + "\n")
            (folder / f"{stem}.png").write_bytes(draw_forecast(forecast, frames, truth=truth))
        manifest = _merged(present, wanted)
        if present is not None:
            _make_room(store, path)
        return store.commit(folder, path, manifest)


def _merged(present: Manifest | None, wanted: Manifest) -> Manifest:
    if present is None or present.code_version != wanted.code_version:
        before: dict[str, Any] = {}
        inputs: dict[str, str] = {}
    else:
        before, inputs = present.config.get("storms", {}), present.inputs
    storms = {**before, **wanted.config["storms"]}
    update = {"config": {"storms": storms}, "inputs": {**inputs, **wanted.inputs}, "counts": {"storms": len(storms)}}
    return wanted.model_copy(update=update)


def _make_room(store: Store, path: str) -> None:
    """Take the older artifact away; on a local folder it loses its name before its files."""
    if not store.is_local:
        store.remove(path)
        return
    old = store.local(path)
    aside = old.with_name(f".{old.name}.{uuid.uuid4().hex[:8]}.tmp")
    with storage_errors(f"{path!r} in store {store.url!r}"):
        old.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _receipt(
    store: Store,
    job: ForecastJob,
    path: str,
    manifest: Manifest,
    storms: list[ActiveStorm],
    passed_over: dict[str, str],
) -> Receipt:
    forecasts = []
    for storm in storms:
        file = f"{path}/{safe_key(storm.storm_id)}.json"
        stored = store.read_json(file)
        track = [[p["lead_h"], p["lat_deg"], p["lon_deg"]] for p in stored["forecast"]]
        forecasts.append(
            {"storm": storm.storm_id, "base_time": stored["base_time"], "track": track, "path": file}
            | ({"error_km": stored["error_km"]} if "error_km" in stored else {})
        )
    summary: dict[str, Any] = {
        "forecasts": forecasts,
        "version": manifest.config["storms"][storms[0].storm_id]["model"][1],
    }
    if passed_over:
        summary["passed_over"] = passed_over
    return Receipt(verb=job.verb, result=Reference(uri=path, sha256=manifest.sha256()), summary=summary)
