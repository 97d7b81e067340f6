"""A fusion on a trained track model: without an image that model's answer, exactly; with one, corrected."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_models import IMAGES, SMALL

from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import (
    IMAGE_AGE_H,
    IMAGE_VALID,
    OUT_CLIPER_DISPLACEMENT_KM,
    OUT_DISPLACEMENT_KM,
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    OUT_SOURCE,
    PAST_LAT_DEG,
    SOURCES,
)
from eyewall.contracts.features import IMAGES as IMAGES_KEY
from eyewall.models.card import ModelCard, Spread
from eyewall.models.export import export
from eyewall.models.forecaster import Forecaster
from eyewall.models.predict import load_predictor
from eyewall.models.registry import build
from eyewall.models.trained import restore

SPREAD = Spread(
    factor_68=(1.25,) * 5, factor_95=(2.5,) * 5, cliper_68_km=(30.0,) * 5, cliper_95_km=(70.0,) * 5
)  # fmt: skip
WIDER = SPREAD.model_copy(update={"factor_68": (2.0,) * 5})
RINGS = {"encoder": "rings", "edges_km": (150.0, 300.0, 600.0)}


def moved(model: Forecaster, seed: int) -> Forecaster:
    """The model with its weights off where they start."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.fixture
def track(parts: dict[str, Any]) -> Forecaster:
    """A track model that has learned something, shrunk by lead."""
    tf_keras.utils.set_random_seed(5)
    shrinkage = (0.5, 0.9, 1.0, 0.8, 0.7)
    return moved(build("track", IMAGES, sizes=SMALL["track"], spread=SPREAD, shrinkage=shrinkage, **parts), 5)


@pytest.fixture(params=["cnn", "convlstm", "rings"])
def fusion(request: pytest.FixtureRequest, track: Forecaster, parts: dict[str, Any]) -> Forecaster:
    """One on it, by each encoder."""
    small = {**SMALL["image"], "encoder": request.param}
    sizes = RINGS if request.param == "rings" else small
    return moved(build("fusion", IMAGES, sizes=sizes, base=track, spread=WIDER, **parts), 6)


def without_images(batch: dict[str, Any]) -> dict[str, Any]:
    """The same samples, had no frame arrived."""
    return batch | {name: tf.zeros_like(batch[name]) for name in (IMAGES_KEY, IMAGE_AGE_H, IMAGE_VALID)}


def test_without_an_image_it_is_the_track_model_exactly(
    fusion: Forecaster, track: Forecaster, batch: dict[str, Any]
) -> None:
    """Every output to the last bit, circles and source too, for each sample of a batch that has no frame."""
    alone = track.forecast(batch)
    blind = fusion.forecast(without_images(batch))
    mixed = fusion.forecast(batch)
    unseen = batch[IMAGE_VALID].numpy().max(axis=1) == 0

    assert blind.keys() == alone.keys()
    assert 0 < unseen.sum() < len(unseen)
    for name, values in alone.items():
        assert blind[name].numpy().tolist() == values.numpy().tolist(), name
        assert mixed[name].numpy()[unseen].tolist() == values.numpy()[unseen].tolist(), name


def test_with_an_image_it_is_corrected_and_says_so(
    fusion: Forecaster, track: Forecaster, batch: dict[str, Any]
) -> None:
    """Displacement, source, and circles by its own factor: 2 in place of 1.25, on what the track model expects."""
    alone, out = track.forecast(batch), fusion.forecast(batch)
    seen = batch[IMAGE_VALID].numpy().max(axis=1) > 0

    assert (np.abs(out[OUT_DISPLACEMENT_KM] - alone[OUT_DISPLACEMENT_KM]).max(axis=(1, 2)) > 0.1)[seen].all()
    assert out[OUT_CLIPER_DISPLACEMENT_KM].numpy().tolist() == alone[OUT_CLIPER_DISPLACEMENT_KM].numpy().tolist()
    assert out[OUT_SOURCE].numpy().tolist() == [float(SOURCES.index("fusion" if s else "track")) for s in seen]
    ratio = out[OUT_RADIUS_68_KM].numpy() / alone[OUT_RADIUS_68_KM].numpy()
    assert ratio[seen] == pytest.approx(2.0 / 1.25, rel=1e-5)
    assert out[OUT_RADIUS_95_KM].numpy() == pytest.approx(alone[OUT_RADIUS_95_KM].numpy(), rel=1e-5)


def test_unheard_of_inputs_give_cliper_whatever_the_image_shows(fusion: Forecaster, batch: dict[str, Any]) -> None:
    """A storm 60° further north than any of the fit, with a frame."""
    row = int(np.argmax(batch[IMAGE_VALID].numpy().max(axis=1)))
    lat = np.array(batch[PAST_LAT_DEG])
    lat[row] += 60
    out = {name: values.numpy()[row] for name, values in fusion.forecast(batch | {PAST_LAT_DEG: lat}).items()}

    assert out[OUT_SOURCE] == SOURCES.index("cliper")
    assert out[OUT_DISPLACEMENT_KM].tolist() == out[OUT_CLIPER_DISPLACEMENT_KM].tolist()
    assert out[OUT_RADIUS_68_KM].tolist() == pytest.approx(SPREAD.cliper_68_km)


def test_where_validation_left_nothing_of_the_images_the_track_model_answers(
    track: Forecaster, parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """All shrinkages 0: source and circles are the track model's, frame or not."""
    model = moved(
        build("fusion", IMAGES, sizes=RINGS, base=track, spread=WIDER, shrinkage=(0.0,) * 5, **parts), 6
    )  # fmt: skip
    out, alone = model.forecast(batch), track.forecast(batch)

    for name, values in alone.items():
        assert out[name].numpy().tolist() == values.numpy().tolist(), name


def test_the_track_model_is_no_weight_of_it(fusion: Forecaster, track: Forecaster) -> None:
    """So that nothing trains it, and checkpoints hold the image network alone."""
    own = {id(v) for v in fusion.weights}

    assert own
    assert not own & {id(v) for v in track.weights}


def card_of(model: Forecaster, parts: dict[str, Any], **changes: Any) -> ModelCard:
    """The card with which it can be made again."""
    return ModelCard(
        kind=model.kind, images=IMAGES, parameters=1, records_sha256="ab" * 32, seasons={}, samples={},
        strategy="single", workers=1, ps=0, steps=1, batch=1, learning_rate=0.1, seed=0, best_step=1,
        loss_first=1.0, loss_last=1.0, val_km={}, spread=model.spread, **(parts | changes),
    )  # fmt: skip


def test_exported_and_restored_it_answers_alike(
    track: Forecaster, parts: dict[str, Any], batch: dict[str, Any], tmp_path: Path
) -> None:
    """The SavedModel holds both networks; card and weights make the same forecaster again."""
    model = moved(build("fusion", IMAGES, sizes=RINGS, base=track, spread=WIDER, **parts), 6)
    by_lead = dict(zip(("6", "12", "24", "48", "72"), (0.5, 0.9, 1.0, 0.8, 0.7), strict=True))
    of_track = card_of(track, parts, sizes=SMALL["track"], shrinkage=by_lead)
    card = card_of(model, parts, sizes=RINGS, shrinkage=dict.fromkeys(by_lead, 1.0), track=of_track)
    export(model, IMAGES, tmp_path / "saved_model")
    (tmp_path / "model.json").write_bytes(card.to_bytes())

    served = load_predictor(tmp_path)({name: values.numpy() for name, values in batch.items()})
    again, _ = restore(tmp_path)

    for name, values in model.forecast(batch).items():
        assert served[name] == pytest.approx(values.numpy(), abs=1e-2), name
        assert again.forecast(batch)[name].numpy() == pytest.approx(values.numpy(), abs=1e-3), name
    (tmp_path / "model.json").write_bytes(card.model_copy(update={"sizes": {"encoder": "cnn"}}).to_bytes())
    with pytest.raises(ContractError, match="fit no 'fusion' network"):
        restore(tmp_path)
