"""A public fake: a small, valid records artifact from toy tracks, for tests of whatever reads records.

The toy storms move on smooth curves in the western North Pacific; an image is a cold disc on a warm sea that lies a
little off the centre, in the direction in which the storm is going to turn, so that a model can learn from it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from eyewall import __version__
from eyewall.besttrack.sphere import destination, displacement_km
from eyewall.contracts.features import (
    BASE_TIME_S,
    DAY_OF_YEAR,
    FIX_AGES_H,
    IMAGE_AGE_H,
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    SEASON,
    STORM_ID,
    TARGET_DISPLACEMENT_KM,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
    ImageSpec,
)
from eyewall.contracts.layout import artifact_dir
from eyewall.contracts.manifest import Manifest
from eyewall.records.example import dequantise, quantise
from eyewall.records.schema import Split
from eyewall.records.split import SplitYears
from eyewall.records.writer import write_samples
from eyewall.storage import Artifact, Store

_STEP_H = 6


def toy_track(rng: np.random.Generator, fixes: int) -> dict[str, Any]:
    """A storm: ``lat_deg``, ``lon_deg``, ``wind_kt``, ``pressure_hpa`` [fixes] every 6 h; its ``turn`` (−1 … 1)."""
    turn = rng.uniform(-1, 1)
    hours = np.arange(fixes) * float(_STEP_H)
    speed_kmh, heading = rng.uniform(12, 25), np.radians(rng.uniform(280, 330))
    bearing = heading + turn * hours / 72.0
    east = np.concatenate([[0], np.cumsum(speed_kmh * _STEP_H * np.sin(bearing))[:-1]])
    north = np.concatenate([[0], np.cumsum(speed_kmh * _STEP_H * np.cos(bearing))[:-1]])
    lat, lon = destination(rng.uniform(10, 20), rng.uniform(130, 160), east, north)
    wind = 35 + 60 * np.sin(np.pi * (hours + 24) / (hours[-1] + 48))
    return {"lat_deg": lat, "lon_deg": lon, "wind_kt": wind, "pressure_hpa": 1010 - 0.9 * (wind - 20), "turn": turn}


def toy_image(rng: np.random.Generator, spec: ImageSpec, turn: float, age_h: float) -> np.ndarray:
    """[px, px, 1] in the spec's quantity: a cold disc 260 km across, up to 60 km east or west of the centre."""
    axis = (np.arange(spec.px) - (spec.px - 1) / 2) * spec.km_per_px
    east, north = np.meshgrid(axis, -axis)
    cold = np.exp(-((east - 60 * turn) ** 2 + (north - age_h) ** 2) / (2 * 130.0**2))
    kelvin = 295 - 90 * cold + rng.normal(0, 1.5, cold.shape)
    values = kelvin if spec.quantity == "brightness_temperature_k" else (310 - kelvin) * 1.8
    image: np.ndarray = dequantise(quantise(values))[..., None]
    return image


def toy_sample(
    rng: np.random.Generator, track: dict[str, Any], base: int, season: int, storm_id: str, spec: ImageSpec
) -> dict[str, Any]:
    """The sample at fix number ``base`` of a toy storm that begins on 1 August of its season."""
    fixes = len(track["lat_deg"])
    past = base - np.array(FIX_AGES_H) // _STEP_H
    future = base + np.array(LEADS_H) // _STEP_H
    known, reached = past >= 0, future < fixes
    past, future = np.clip(past, 0, None), np.clip(future, None, fixes - 1)
    begin = np.datetime64(f"{season}-08-01T00:00:00", "s")
    time = begin + np.timedelta64(_STEP_H * base, "h")
    lat, lon = track["lat_deg"], track["lon_deg"]
    moved = displacement_km(lat[base], lon[base], lat[future], lon[future])
    sample: dict[str, Any] = {
        PAST_LAT_DEG: np.where(known, lat[past], 0),
        PAST_LON_DEG: np.where(known, lon[past], 0),
        PAST_WIND_KT: np.where(known, track["wind_kt"][past], 0),
        PAST_PRESSURE_HPA: np.where(known, track["pressure_hpa"][past], 0),
        **{name: known.astype(np.float32) for name in (PAST_FIX_VALID, PAST_WIND_VALID, PAST_PRESSURE_VALID)},
        DAY_OF_YEAR: 1 + (time - np.datetime64(f"{season}-01-01T00:00:00", "s")) / np.timedelta64(1, "D"),
        TARGET_DISPLACEMENT_KM: np.where(reached[:, None], moved, 0),
        TARGET_LAT_DEG: np.where(reached, lat[future], 0),
        TARGET_LON_DEG: np.where(reached, lon[future], 0),
        TARGET_VALID: reached.astype(np.float32),
        STORM_ID: storm_id,
        SEASON: season,
        BASE_TIME_S: int(time.astype(np.int64)),
    }
    if spec.frames:
        present = np.arange(spec.frames) >= spec.frames - rng.integers(0, spec.frames + 1)  # the newest ones
        ages = np.where(present, np.arange(spec.frames)[::-1] * 3.0, 0)
        sample[IMAGES] = np.stack(
            [toy_image(rng, spec, track["turn"], age) * exists for age, exists in zip(ages, present, strict=True)]
        )
        sample[IMAGE_AGE_H], sample[IMAGE_VALID] = ages, present.astype(np.float32)
    return {name: np.float32(value) if isinstance(value, np.ndarray) else value for name, value in sample.items()}


def toy_samples(
    years: SplitYears, storms_per_season: int, spec: ImageSpec, seed: int, fixes: int = 20
) -> Iterator[tuple[Split, dict[str, Any]]]:
    """Samples of toy storms of every season, in the order in which records hold them."""
    rng = np.random.default_rng(seed)
    for season in range(years.train_from, years.test_to + 1):
        split = years.split_of(season)
        assert split is not None
        for number in range(storms_per_season):
            track = toy_track(rng, fixes)
            for base in range(4, fixes - 1):
                yield split, toy_sample(rng, track, base, season, f"{season}T{number:02d}", spec)


def tiny_records(
    store: Store,
    *,
    train_from: int = 2001,
    train_to: int = 2004,
    val_to: int = 2005,
    test_to: int = 2006,
    storms_per_season: int = 2,
    images: ImageSpec | None = None,
    shards: int = 2,
    seed: int = 0,
) -> Artifact:
    """Make records of toy storms in ``store`` and give the artifact (``.folder()``, ``.path``, ``.reference``).

    15 samples a storm. ``images`` defaults to 2 frames of 16×16 pixels at 80 km; ``ImageSpec(frames=0)`` makes
    track-only records.
    """
    spec = images if images is not None else ImageSpec(frames=2, px=16, km_per_px=80.0)
    years = SplitYears(train_from, train_to, val_to, test_to)
    config: dict[str, Any] = {"toy": 1, "seed": seed, "storms_per_season": storms_per_season, "shards": shards}
    config |= {"years": [train_from, train_to, val_to, test_to], "images": spec.model_dump(mode="json")}
    provisional = Manifest(kind="records", code_version=__version__, config=config)
    path = artifact_dir("records", provisional.sha256())
    with store.staging(path) as folder:
        schema = write_samples(folder, spec, years, shards, list(toy_samples(years, storms_per_season, spec, seed)))
        manifest = provisional.model_copy(update={"counts": {str(k): v for k, v in schema.counts.items()}})
        return Artifact(store, path, store.commit(folder, path, manifest))
