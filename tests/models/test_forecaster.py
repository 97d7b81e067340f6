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
    OUT_RADIUS_68_KM,
    OUT_RADIUS_95_KM,
    OUT_SOURCE,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    SOURCES,
    ImageSpec,
)
from eyewall.contracts.features import IMAGES as IMAGES_KEY
from eyewall.models.card import Spread
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


def test_without_an_image_fusion_gives_the_answer_of_its_track_network(
    parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """Exactly, whatever the image branch has learned."""
    fusion = learned("fusion", parts)
    blind = without_images(batch)
    cliper_km, (track, *_) = fusion.prepare(blind)
    alone = fusion.answer(blind, cliper_km, fusion.network.track(track).correction)[OUT_DISPLACEMENT_KM].numpy()

    assert fusion(blind)[OUT_DISPLACEMENT_KM].numpy().tolist() == alone.tolist()
    assert np.abs(fusion(batch)[OUT_DISPLACEMENT_KM] - alone).max() > 1.0


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


SPREAD = Spread(
    factor_68=(1.25,) * 5,
    factor_95=(2.5,) * 5,
    cliper_68_km=(30.0, 60.0, 130.0, 310.0, 520.0),
    cliper_95_km=(70.0, 150.0, 330.0, 800.0, 1300.0),
)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(PAST_FIX_VALID, lambda v: np.where(np.arange(9) == 4, 0.0, v), id="no fix 24 h ago"),
        pytest.param(PAST_LAT_DEG, lambda v: v + 60.0, id="further north than any storm of the fit"),
        pytest.param(PAST_WIND_KT, lambda v: v + 200.0, id="stronger than any storm of the fit"),
    ],
)
def test_missing_or_unheard_of_inputs_give_cliper_and_it_is_said(
    name: str, change: Any, parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """The same sample among others is answered by CLIPER, exactly, with CLIPER's circles; the others are not."""
    model = learned("track", parts, spread=SPREAD)
    usual = model.forecast(batch)
    values = np.array(batch[name])
    values[3] = change(values[3])
    out = {key: v.numpy() for key, v in model.forecast(batch | {name: tf.constant(values)}).items()}

    assert usual[OUT_SOURCE].numpy()[3] == SOURCES.index("track")
    assert out[OUT_SOURCE][3] == SOURCES.index("cliper")
    assert out[OUT_DISPLACEMENT_KM][3].tolist() == out[OUT_CLIPER_DISPLACEMENT_KM][3].tolist()
    assert out[OUT_RADIUS_68_KM][3].tolist() == pytest.approx(SPREAD.cliper_68_km)
    assert out[OUT_RADIUS_95_KM][3].tolist() == pytest.approx(SPREAD.cliper_95_km)
    rest = np.arange(32) != 3
    assert out[OUT_DISPLACEMENT_KM][rest].tolist() == usual[OUT_DISPLACEMENT_KM].numpy()[rest].tolist()


def test_the_cases_of_the_fit_are_all_inside_its_range(parts: dict[str, Any], cases: Any) -> None:
    """So that nothing that was trained on is answered by CLIPER."""
    features = {name: tf.constant(values) for name, values in cases.features.items()}

    assert learned("track", parts).forecast(features)[OUT_SOURCE].numpy().tolist() == [1.0] * len(cases)


def test_a_model_of_which_validation_left_nothing_says_that_it_is_cliper(
    parts: dict[str, Any], batch: dict[str, Any]
) -> None:
    """All shrinkages 0."""
    assert not learned("track", parts, shrinkage=(0.0,) * 5).forecast(batch)[OUT_SOURCE].numpy().any()


def test_fusion_says_for_each_sample_whether_it_saw_an_image(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """The batch has samples with frames and without."""
    source = learned("fusion", parts).forecast(batch)[OUT_SOURCE].numpy()
    seen = batch[IMAGE_VALID].numpy().max(axis=1) > 0

    assert set(np.unique(seen)) == {False, True}
    assert source.tolist() == [float(SOURCES.index("fusion" if s else "track")) for s in seen]


def test_radii_follow_the_expected_error(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Factor × scale × expected error, which differs from case to case once it is learned and is 1 before."""
    untrained = build("track", IMAGES, sizes=SMALL["track"], spread=SPREAD, **parts).forecast(batch)
    out = learned("track", parts, spread=SPREAD).forecast(batch)

    # 1.25 × (20, 40, 90, 200, 350) km
    assert untrained[OUT_RADIUS_68_KM].numpy()[7] == pytest.approx([25.0, 50.0, 112.5, 250.0, 437.5])
    r68, r95 = out[OUT_RADIUS_68_KM].numpy(), out[OUT_RADIUS_95_KM].numpy()
    assert r95 == pytest.approx(2 * r68, rel=1e-5)
    assert r68.min() > 0
    assert r68[:, 2].std() > 1.0


def test_the_mean_of_the_members_is_the_answer(parts: dict[str, Any], batch: dict[str, Any]) -> None:
    """Two members, by hand."""
    model = learned("track", parts)
    cliper_km, (vector,) = model.prepare(batch)
    first, second = (model.corrected_km(cliper_km, member(vector)).numpy() for member in model.network.members)

    assert model(batch)[OUT_DISPLACEMENT_KM].numpy() == pytest.approx((first + second) / 2, abs=0.05)
    assert np.abs(first - second).max() > 1.0


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
