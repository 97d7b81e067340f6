"""Small truth, records and models of toy storms, and reports made by hand."""

import json
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eyewall.contracts.features import (
    BASE_TIME_S,
    FIX_AGES_H,
    LEADS_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_WIND_KT,
    STORM_ID,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
    ImageSpec,
)
from eyewall.contracts.manifest import Manifest
from eyewall.models.card import ModelCard, Normalisation
from eyewall.records.split import SplitYears
from eyewall.records.testing import tiny_records, toy_samples
from eyewall.storage import Artifact, Store
from eyewall.verification.report import Report

#: Degrees north by which the toy model goes wrong for each frame that it is given: shows that it was given it.
DEG_PER_FRAME = 0.25
IMAGES = ImageSpec(frames=2, px=16, km_per_px=80.0)
YEARS = SplitYears(2001, 2004, 2005, 2007)
STORMS = 4


def ibtracs_csv(path: Path, samples: Iterable[dict[str, Any]]) -> Path:
    """The fixes that ``samples`` know of, as an IBTrACS CSV with its row of units; winds before the first base too."""
    rows: dict[tuple[str, int], tuple[Any, ...]] = {}
    for sample in samples:
        storm, base_s = sample[STORM_ID], sample[BASE_TIME_S]
        for age, lat, lon, wind, valid in zip(
            FIX_AGES_H,
            *(sample[name] for name in (PAST_LAT_DEG, PAST_LON_DEG, PAST_WIND_KT, PAST_FIX_VALID)),
            strict=True,
        ):
            if valid:
                rows[storm, base_s - 3600 * age] = (float(lat), float(lon), float(wind))
        targets = (sample[name] for name in (TARGET_LAT_DEG, TARGET_LON_DEG, TARGET_VALID))
        for lead, lat, lon, valid in zip(LEADS_H, *targets, strict=True):
            if valid:
                rows.setdefault((storm, base_s + 3600 * lead), (float(lat), float(lon), math.nan))
    table = pd.DataFrame(
        [
            (storm, pd.Timestamp(seconds, unit="s").strftime("%Y-%m-%d %H:%M:%S"), *values)
            for (storm, seconds), values in sorted(rows.items())
        ],
        columns=["SID", "ISO_TIME", "LAT", "LON", "WMO_WIND"],
    )
    units = pd.DataFrame([[" ", " ", "degrees_north", "degrees_east", "kts"]], columns=table.columns)
    pd.concat([units, table]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def deg_per_frame() -> float:
    """How the toy model tells that it was given frames; see `saved_model`."""
    return DEG_PER_FRAME


@pytest.fixture(scope="session")
def toy_tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Best tracks of the toy storms of 2001–2007, four a season: just those of `toy_records`."""
    path = tmp_path_factory.mktemp("tracks") / "toy.csv"
    return ibtracs_csv(path, (sample for _, sample in toy_samples(YEARS, STORMS, IMAGES, seed=0)))


@pytest.fixture
def store(store_url: str) -> Store:
    """An empty store."""
    return Store(store_url)


@pytest.fixture
def toy_records(store: Store) -> Artifact:
    """Records of the toy storms: trained on to 2004, chosen on 2005, tested on 2006–2007."""
    return tiny_records(
        store, train_from=2001, train_to=2004, val_to=2005, test_to=2007, storms_per_season=STORMS, images=IMAGES
    )


def _card(seasons: dict[str, tuple[int, ...]], images: ImageSpec = IMAGES) -> ModelCard:
    """A model card that says so much of the seasons seen."""
    return ModelCard(
        kind="fusion", images=images, parameters=3, records_sha256="0" * 64, seasons=seasons, samples={},
        strategy="single", workers=1, ps=0, steps=5, batch=8, learning_rate=0.001, seed=0, best_step=5,
        loss_first=2.5, loss_last=1.5, val_km={}, shrinkage={}, cliper={}, scale_km=(1.0,) * 5,
        normalisation=Normalisation(),
    )  # fmt: skip


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that goes on as in the last 6 h, in degrees, and `DEG_PER_FRAME` further north for each frame."""
    import tensorflow as tf

    from eyewall.contracts.features import IMAGE_VALID, OUT_LAT_DEG, OUT_LON_DEG, input_shapes

    module = tf.Module()
    steps = tf.constant([lead / 6 for lead in LEADS_H])[None, :]
    specs = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in input_shapes(IMAGES).items()}

    @tf.function(input_signature=[specs], autograph=False)
    def serve(features):
        lat, lon = (features[name] for name in (PAST_LAT_DEG, PAST_LON_DEG))
        wrong = DEG_PER_FRAME * tf.reduce_sum(features[IMAGE_VALID], axis=1, keepdims=True)
        return {
            OUT_LAT_DEG: lat[:, -1:] + steps * (lat[:, -1:] - lat[:, -2:-1]) + wrong,
            OUT_LON_DEG: lon[:, -1:] + steps * (lon[:, -1:] - lon[:, -2:-1]),
        }

    module.serve = serve
    folder = tmp_path_factory.mktemp("model") / "saved_model"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve.get_concrete_function()})
    return folder


@pytest.fixture
def add_model(store: Store, saved_model: Path) -> Callable[..., str]:
    """A function that puts the toy model with a card of given seasons into the store and gives its path."""

    def add(path: str = "models/aaaaaaaaaaaaaaaa", kind: str = "model", **seasons: tuple[int, ...]) -> str:
        with store.staging(path) as folder:
            shutil.copytree(saved_model, folder / "saved_model")
            (folder / "model.json").write_bytes(
                _card(seasons or {"train": (2001, 2004), "val": (2005, 2005)}).to_bytes()
            )
            store.commit(folder, path, Manifest(kind=kind, code_version="test"))
        return path

    return add


def _lead(n: int, storms: int, **means_km: float | None) -> dict[str, Any]:
    return {"n": n, "storms": storms, **{method: {"mean_km": value} for method, value in means_km.items()}}


def _report_values(leads: dict[str, dict[str, Any]], **values: Any) -> dict[str, Any]:
    model = {"sha256": "1" * 64, "publishable": True}
    has_incumbent = any("incumbent" in scores for scores in leads.values())
    sample = {
        "seasons": [2006, 2007], "fit_seasons": [2001, 2004], "cases": 60, "storms": 8, "fit_cases": 240,
        "fit_storms": 16, "cliper_forms": {}, "min_wind_kt": 34.0, "frames_only": False, "resamples": 100,
        "seed": 0,
    }  # fmt: skip
    return {
        "sample": sample,
        "candidate": {"uri": "models/aaaaaaaaaaaaaaaa", **model},
        "leads": leads,
        **({"incumbent": {"uri": "serving/track/1", **model}} if has_incumbent else {}),
        **values,
    }


@pytest.fixture(scope="session")
def make_lead() -> Callable[..., dict[str, Any]]:
    """A function from n, storms and each method's mean error (km, or None) to one lead's scores as JSON values."""
    return _lead


@pytest.fixture(scope="session")
def report_values() -> Callable[..., dict[str, Any]]:
    """A function from leads to a report as JSON values: a candidate in the store, an incumbent where a lead has one."""
    return _report_values


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """The same, as a report."""
    return lambda leads, **values: Report.model_validate(_report_values(leads, **values))


@pytest.fixture
def add_evaluation(store: Store) -> Callable[[Any], str]:
    """A function that puts a report (values, or text to be taken as it is) into the store and gives its path."""

    def add(values: Any, path: str = "evaluations/eeeeeeeeeeeeeeee") -> str:
        with store.staging(path) as folder:
            (folder / "report.json").write_text(values if isinstance(values, str) else json.dumps(values))
            store.commit(folder, path, Manifest(kind="evaluation", code_version="test"))
        return path

    return add
