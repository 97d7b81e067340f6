"""The SavedModel and the card: what is written is what servers and verification can use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_models import IMAGES, SMALL

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.features import (
    DAY_OF_YEAR,
    IMAGE_FEATURES,
    LEADS_H,
    OUT_CLIPER_DISPLACEMENT_KM,
    OUT_DISPLACEMENT_KM,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    OUT_SOURCE,
    ImageSpec,
    input_shapes,
)
from eyewall.models.card import LeadSkill, ModelCard, Normalisation, Spread
from eyewall.models.export import export
from eyewall.models.forecaster import Forecaster
from eyewall.models.predict import load_predictor
from eyewall.models.registry import build

SPREAD = Spread(
    factor_68=(1.5,) * 5, factor_95=(3.0,) * 5, cliper_68_km=(30.0,) * 5, cliper_95_km=(70.0,) * 5
)  # fmt: skip


@pytest.fixture(scope="module")
def fusion(cases: Any) -> Forecaster:
    """A fusion model that corrects CLIPER by something."""
    from eyewall.besttrack.baselines import Cliper

    model = build(
        "fusion", IMAGES, sizes=SMALL["fusion"], cliper=Cliper.fit(cases).to_json(),
        scale_km=(20.0, 40.0, 90.0, 200.0, 350.0), normalisation=Normalisation(), spread=SPREAD,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    model.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def folder(fusion: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model artifact's folder, as far as predicting needs it."""
    folder = tmp_path_factory.mktemp("model")
    export(fusion, IMAGES, folder / "saved_model")
    return folder


@pytest.fixture
def features(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """The batch as numpy arrays."""
    return {name: values.numpy() for name, values in batch.items()}


def test_the_signature_has_the_contracts_inputs_and_outputs(folder: Path) -> None:
    """By name, float32, with a free batch axis: what TensorFlow Serving's metadata will say."""
    signature = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    inputs = {name: tuple(spec.shape) for name, spec in signature.structured_input_signature[1].items()}
    outputs = {name: tuple(tensor.shape) for name, tensor in signature.structured_outputs.items()}

    assert inputs == {name: (None, *shape) for name, shape in input_shapes(IMAGES).items()}
    assert {spec.dtype for spec in signature.structured_input_signature[1].values()} == {tf.float32}
    assert outputs == {
        OUT_DISPLACEMENT_KM: (None, len(LEADS_H), 2),
        OUT_CLIPER_DISPLACEMENT_KM: (None, len(LEADS_H), 2),
        OUT_LAT_DEG: (None, len(LEADS_H)),
        OUT_LON_DEG: (None, len(LEADS_H)),
        OUT_SOURCE: (None,),
        OUT_RADIUS_68_KM: (None, len(LEADS_H)),
        OUT_RADIUS_95_KM: (None, len(LEADS_H)),
    }


def test_the_saved_model_answers_as_the_model_does(
    folder: Path, fusion: Forecaster, features: dict[str, np.ndarray]
) -> None:
    """In batches of 10 for 32 samples (10 + 10 + 10 + 2), and with keys that it does not know beside."""
    got = load_predictor(folder, batch=10)(features | {"season": np.full(32, 2009)})

    want = fusion.forecast({name: tf.constant(values) for name, values in features.items()})
    assert sorted(got) == sorted(want)
    for name, values in want.items():
        assert got[name] == pytest.approx(values.numpy(), abs=0.01), name


def test_missing_image_inputs_mean_no_frame(folder: Path, features: dict[str, np.ndarray]) -> None:
    """The same answer as with zeros and masks of zero; another one than with the frames."""
    predict = load_predictor(folder)
    track_only = {name: values for name, values in features.items() if name not in IMAGE_FEATURES}
    zeros = features | {name: np.zeros_like(features[name]) for name in IMAGE_FEATURES}

    blind = predict(track_only)[OUT_DISPLACEMENT_KM]

    assert blind.tolist() == predict(zeros)[OUT_DISPLACEMENT_KM].tolist()
    assert np.abs(blind - predict(features)[OUT_DISPLACEMENT_KM]).max() > 1


def test_no_sample_gives_no_forecast(folder: Path, features: dict[str, np.ndarray]) -> None:
    """Empty arrays of the right shape, not an error."""
    got = load_predictor(folder)({name: values[:0] for name, values in features.items()})

    assert got[OUT_DISPLACEMENT_KM].shape == (0, len(LEADS_H), 2)


def test_a_missing_track_feature_is_named(folder: Path, features: dict[str, np.ndarray]) -> None:
    """Only images may be left out."""
    with pytest.raises(InputError, match=r"features \['day_of_year'\] are missing"):
        load_predictor(folder)({name: v for name, v in features.items() if name != DAY_OF_YEAR})


def test_an_ill_shaped_feature_is_named(folder: Path, features: dict[str, np.ndarray]) -> None:
    """With both shapes."""
    with pytest.raises(InputError, match=r"past_lat_deg has shape \(32, 3\): the model takes \(32, 9\)"):
        load_predictor(folder)(features | {"past_lat_deg": features["past_lat_deg"][:, :3]})


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """Not a traceback of TensorFlow's."""
    with pytest.raises(ContractError, match="no SavedModel"):
        load_predictor(tmp_path)


def test_exporting_twice_in_one_process_gives_loadable_equals(
    fusion: Forecaster, folder: Path, tmp_path: Path, features: dict[str, np.ndarray]
) -> None:
    """Same weights on disk, same answers; no fingerprint with a random id."""
    export(fusion, IMAGES, tmp_path / "again")

    names = {p.relative_to(tmp_path / "again").as_posix() for p in (tmp_path / "again").rglob("*") if p.is_file()}
    assert names == {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}
    data = "variables/variables.data-00000-of-00001"
    again, first = load_predictor(tmp_path / "again")(features), load_predictor(folder)(features)
    assert again[OUT_DISPLACEMENT_KM].tolist() == first[OUT_DISPLACEMENT_KM].tolist()
    assert (tmp_path / "again" / data).stat().st_size == (folder / "saved_model" / data).stat().st_size


def card() -> ModelCard:
    """A card of a small training."""
    return ModelCard(
        kind="fusion", images=IMAGES, parameters=321, records_sha256="ab" * 32,
        seasons={"train": (2001, 2002), "val": (2003,), "test": ()}, samples={"train": 40, "val": 9, "test": 0},
        strategy="multi_worker", workers=2, ps=0, steps=10, batch=8, learning_rate=3e-3, seed=4,
        best_step=5, loss_first=0.9, loss_last=0.4,
        val_km={"24": LeadSkill(n=9, model=180.5, cliper=190.25), "72": LeadSkill(n=0, model=None, cliper=None)},
        shrinkage={"24": 0.8, "72": 0.0}, cliper={"form": "linear"}, scale_km=(1.0, 2.0, 3.0, 4.0, 5.0),
        normalisation=Normalisation(wind_mean_kt=55.5), min_wind_kt=34.0, spread=SPREAD,
    )  # fmt: skip


def test_a_card_reads_back_as_written(tmp_path: Path) -> None:
    """And equal cards are equal bytes."""
    (tmp_path / "model.json").write_bytes(card().to_bytes())

    assert ModelCard.read(tmp_path) == card()
    assert card().to_bytes() == card().to_bytes()


def test_a_card_of_before_the_circles_is_still_read(tmp_path: Path) -> None:
    """Served versions keep the card that they were published with."""
    import json

    values = json.loads(card().to_bytes())
    (tmp_path / "model.json").write_text(json.dumps({k: v for k, v in values.items() if k not in _NEW}))

    assert ModelCard.read(tmp_path) == card().model_copy(update={"spread": None, "min_wind_kt": 0.0})


_NEW = ("spread", "min_wind_kt")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(None, "no model.json", id="missing"),
        pytest.param("{", "is not the card of a model", id="cut short"),
        pytest.param('{"schema_version": 2}', "is not the card of a model: schema_version", id="of another version"),
    ],
)
def test_a_bad_card_is_refused_with_its_reason(tmp_path: Path, text: str | None, sentence: str) -> None:
    """Missing, cut short, or of another version."""
    if text is not None:
        (tmp_path / "model.json").write_text(text)

    with pytest.raises(ContractError, match=sentence):
        ModelCard.read(tmp_path)


def test_a_track_model_asks_for_no_images(cases: Any, tmp_path: Path) -> None:
    """Requests stay small where no image is used."""
    from eyewall.besttrack.baselines import Cliper

    model = build(
        "track", ImageSpec(frames=0), sizes=SMALL["track"], cliper=Cliper.fit(cases, "linear").to_json(),
        scale_km=(20.0, 40.0, 90.0, 200.0, 350.0), normalisation=Normalisation(),
    )  # fmt: skip
    export(model, ImageSpec(frames=0), tmp_path / "m")
    got = load_predictor(tmp_path / "m")(cases.features)

    want = Cliper.fit(cases, "linear").predict_km(cases.features)
    assert np.abs(got[OUT_DISPLACEMENT_KM] - want).max() < 0.1
