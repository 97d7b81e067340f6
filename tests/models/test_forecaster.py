"""What holds for every model of the library, whatever it has learned."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_models import IMAGES, SMALL

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    IMAGE_AGE_H,
    IMAGE_VALID,
    LEADS_H,
    OUT_CLIPER_DISPLACEMENT_KM,
    OUT_DISPLACEMENT_KM,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    ImageSpec,
)
from eyewall.contracts.features import IMAGES as IMAGES_KEY
from eyewall.models.forecaster import Forecaster
from eyewall.models.registry import NETWORKS, build, images_of

KINDS = pytest.mark.parametrize("kind", list(NETWORKS))


def learned(kind: Any, parts: dict[str, Any], **changes: Any) -> Forecaster:
    """A model whose weights have been moved from where they start, the zeros of its last layers too."""
    tf_keras.utils.set_random_seed(5)
    model = build(kind, IMAGES, sizes=SMALL[kind], **(parts | changes))
    rng = np.random.default_rng(5)
    model.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def without_images(batch: dict[str, Any]) -> dict[str, Any]:
    """The same samples, had no frame arrived."""
    return batch | {name: tf.zeros_like(batch[name]) for name in (IMAGES_KEY, IMAGE_AGE_H, IMAGE_VALID)}


@KINDS
def test_an_untrained_model_is_cliper_exactly(kind: Any, parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Bit for bit: the correction is zero, not small."""
    out = build(kind, IMAGES, sizes=SMALL[kind], **parts)(batch)

    assert out[OUT_DISPLACEMENT_KM].numpy().tolist() == out[OUT_CLIPER_DISPLACEMENT_KM].numpy().tolist()


@KINDS
def test_a_shrinkage_of_zero_is_cliper_at_that_lead_alone(
    kind: Any, parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """Whatever was learned; the other leads keep their correction, here a half of it at the second one."""
    full = learned(kind, parts)(batch)[OUT_DISPLACEMENT_KM].numpy()
    out = learned(kind, parts, shrinkage=(0.0, 0.5, 1.0, 1.0, 1.0))(batch)
    cliper, got = out[OUT_CLIPER_DISPLACEMENT_KM].numpy(), out[OUT_DISPLACEMENT_KM].numpy()

    assert got[:, 0].tolist() == cliper[:, 0].tolist()
    assert got[:, 1] == pytest.approx((cliper[:, 1] + full[:, 1]) / 2, abs=1e-2)
    assert np.abs(full - cliper).max() > 1.0


def test_without_an_image_fusion_gives_the_track_only_answer(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Exactly its track network's, whatever the image branch has learned."""
    fusion = learned("fusion", parts)
    track = build("track", IMAGES, sizes=SMALL["track"], **parts)
    track.network.set_weights(fusion.network._track.get_weights())
    blind = without_images(batch)

    assert fusion(blind)[OUT_DISPLACEMENT_KM].numpy().tolist() == track(blind)[OUT_DISPLACEMENT_KM].numpy().tolist()
    assert np.abs(fusion(batch)[OUT_DISPLACEMENT_KM] - track(batch)[OUT_DISPLACEMENT_KM]).max() > 1.0


def test_without_an_image_the_image_model_is_cliper(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """It has nothing to go by."""
    out = learned("image", parts)(without_images(batch))

    assert out[OUT_DISPLACEMENT_KM].numpy().tolist() == out[OUT_CLIPER_DISPLACEMENT_KM].numpy().tolist()


@pytest.mark.parametrize("kind", ["image", "fusion"])
def test_a_batch_without_any_image_can_be_trained_on(kind: Any, parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Every gradient is finite, and those of the convolutions are zero."""
    model = learned(kind, parts)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(without_images(batch))[OUT_DISPLACEMENT_KM]))
    slopes = tape.gradient(loss, model.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    assert all(np.isfinite(slope.numpy()).all() for slope in slopes)
    convolutions = [s for s, v in zip(slopes, model.trainable_variables, strict=True) if len(v.shape) == 4]
    assert convolutions
    assert all(not slope.numpy().any() for slope in convolutions)


@KINDS
def test_a_sample_is_forecast_alike_in_any_company(kind: Any, parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """No statistics of the batch: what lets two workers equal one. Alone, or with 31 others."""
    model = learned(kind, parts)
    together = model(batch)[OUT_DISPLACEMENT_KM].numpy()

    for row in (0, 9, 31):
        alone = model({name: values[row : row + 1] for name, values in batch.items()})[OUT_DISPLACEMENT_KM].numpy()
        assert alone[0] == pytest.approx(together[row], abs=0.01)


@KINDS
@pytest.mark.parametrize(
    ("value", "mask"),
    [
        pytest.param(PAST_WIND_KT, PAST_WIND_VALID, id="wind"),
        pytest.param(PAST_PRESSURE_HPA, PAST_PRESSURE_VALID, id="pressure"),
        pytest.param(PAST_LAT_DEG, PAST_FIX_VALID, id="latitude"),
        pytest.param(PAST_LON_DEG, PAST_FIX_VALID, id="longitude"),
    ],
)
def test_a_masked_value_has_no_influence(
    kind: Any, value: str, mask: str, parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """With the mask at 0, any number may stand in the 18-hour-old place (fix number 5)."""
    model = learned(kind, parts)
    masked = np.array(batch[mask])
    masked[:, 5] = 0
    answers = []
    for filler in (0.0, 77.7):
        values = np.array(batch[value])
        values[:, 5] = filler
        answers.append(model(batch | {mask: tf.constant(masked), value: tf.constant(values)})[OUT_DISPLACEMENT_KM])

    assert answers[0].numpy().tolist() == answers[1].numpy().tolist()


def test_a_frame_that_does_not_exist_has_no_influence(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """The older frame masked out: its pixels and its age may be anything."""
    model = learned("fusion", parts)
    valid = np.array(batch[IMAGE_VALID])
    valid[:, 0] = 0
    masked = batch | {IMAGE_VALID: tf.constant(valid)}
    noise = np.array(batch[IMAGES_KEY])
    noise[:, 0] = 255.0
    age = np.array(batch[IMAGE_AGE_H])
    age[:, 0] = 9.0

    changed = model(masked | {IMAGES_KEY: tf.constant(noise), IMAGE_AGE_H: tf.constant(age)})

    assert changed[OUT_DISPLACEMENT_KM].numpy().tolist() == model(masked)[OUT_DISPLACEMENT_KM].numpy().tolist()


def test_the_forecast_positions_are_where_the_displacements_lead(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Latitude and longitude of the outputs against numpy's sphere, to ten metres."""
    from eyewall.besttrack.sphere import destination, distance_km

    out = {name: value.numpy() for name, value in learned("track", parts).forecast(batch).items()}
    lat, lon = (batch[name].numpy()[:, -1:] for name in (PAST_LAT_DEG, PAST_LON_DEG))

    want = destination(lat, lon, out[OUT_DISPLACEMENT_KM][..., 0], out[OUT_DISPLACEMENT_KM][..., 1])

    assert out[OUT_LAT_DEG].shape == (32, len(LEADS_H))
    assert distance_km(out[OUT_LAT_DEG], out[OUT_LON_DEG], *want).max() < 0.01


def test_a_model_with_images_needs_records_with_images() -> None:
    """The sentence says what to do."""
    with pytest.raises(InputError, match="take --model track"):
        images_of("fusion", ImageSpec(frames=0))

    assert images_of("track", IMAGES).frames == 0
    assert images_of("fusion", IMAGES) == IMAGES


def test_an_unknown_model_is_refused_by_name(parts: dict[str, Any]) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match="no model 'resnet': models are track, image, fusion"):
        build("resnet", IMAGES, **parts)  # type: ignore[arg-type]
