"""The project's image and fusion forecasters can be cut: head and tail are the model at every cut."""

from typing import Any

import numpy as np
import pytest

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.features import (
    DAY_OF_YEAR,
    FIX_AGES_H,
    IMAGE_AGE_H,
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    OUT_DISPLACEMENT_KM,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    ImageSpec,
    input_shapes,
)
from eyewall.split.cuts import cut_points
from eyewall.split.graph import graph_of
from eyewall.split.partition import split

SPEC = ImageSpec(frames=2, px=16, km_per_px=80.0)
SIZES: dict[str, Any] = {"image": {"channels": (4, 4), "width": 4}}
SIZES["fusion"] = {"image": SIZES["image"], "track": {"widths": (8,), "members": 2, "difficulty": (4,)}}
#: Displacements reach hundreds of km, of which float32 keeps seven digits.
NEAR = {"rtol": 2e-5, "atol": 5e-3}


def cliper() -> dict[str, Any]:
    """Mean displacements as the whole of CLIPER: its form does not matter here, and its graph is small."""
    from eyewall.besttrack.baselines import Cliper

    leads = len(LEADS_H)
    return Cliper(
        form="mean",
        coefficients=np.array([[[-80.0 * k, 60.0 * k]] for k in range(1, leads + 1)]),
        lead_forms=("mean",) * leads,
        cases=(9,) * leads,
        ranges=np.stack([np.full((leads, 9), -np.inf), np.full((leads, 9), np.inf)]),
    ).to_json()


def forecaster(kind: Any) -> Any:
    """A forecaster with weights that were moved off their zeros."""
    from eyewall.models.card import Normalisation
    from eyewall.models.registry import build

    model = build(
        kind, SPEC, sizes=SIZES.get(kind), cliper=cliper(), scale_km=(20.0, 40.0, 90.0, 200.0, 350.0),
        normalisation=Normalisation(),
    )  # fmt: skip
    rng = np.random.default_rng(5)
    model.set_weights([w + rng.normal(0, 0.1, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def samples() -> dict[str, np.ndarray]:
    """Five samples: two with both frames, one with the newest, one with the oldest, one with none; pixels missing."""
    rng, n = np.random.default_rng(6), 5
    ones = np.ones((n, len(FIX_AGES_H)), np.float32)
    valid = np.array([[1, 1], [1, 1], [0, 1], [1, 0], [0, 0]], np.float32)
    pixels = rng.uniform(190, 300, (n, 2, 16, 16, 1)).astype(np.float32)
    pixels[0, 1, 3:7, 2:9] = 0
    return {
        PAST_LAT_DEG: np.linspace(12, 20, 9, dtype=np.float32) + rng.uniform(0, 5, (n, 1)).astype(np.float32),
        PAST_LON_DEG: np.linspace(140, 131, 9, dtype=np.float32) + rng.uniform(0, 9, (n, 1)).astype(np.float32),
        PAST_WIND_KT: rng.uniform(30, 90, (n, 9)).astype(np.float32),
        PAST_PRESSURE_HPA: rng.uniform(930, 1000, (n, 9)).astype(np.float32),
        PAST_FIX_VALID: ones,
        PAST_WIND_VALID: ones,
        PAST_PRESSURE_VALID: ones,
        DAY_OF_YEAR: rng.uniform(150, 300, n).astype(np.float32),
        IMAGES: pixels * valid[:, :, None, None, None],
        IMAGE_AGE_H: np.tile(np.float32([6, 0]), (n, 1)) * valid,
        IMAGE_VALID: valid,
    }


def answers(model: Any, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The served signature's outputs, from the forecaster itself."""
    import tensorflow as tf

    return {k: v.numpy() for k, v in model.forecast({k: tf.constant(v) for k, v in features.items()}).items()}


@pytest.fixture(scope="module", params=["image", "fusion"])
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """A forecaster, the graph of its view, and samples."""
    from eyewall.split.forecaster import functional_view

    model = forecaster(request.param)
    return model, graph_of(functional_view(model, SPEC)), samples()


@pytest.mark.slow
def test_head_and_tail_are_the_forecaster_at_every_cut(case: tuple[Any, Any, dict[str, np.ndarray]]) -> None:
    """Images on the sensor's side; with missing frames and pixels. The view has the model's inputs and outputs."""
    model, graph, features = case
    want = answers(model, features)
    assert graph.inputs.keys() == input_shapes(SPEC).keys()
    assert graph.outputs.keys() == want.keys()

    for point in cut_points(graph):
        parts = split(graph, point.name)
        got = parts.tail(parts.head(features), side=features)
        for name, values in want.items():
            np.testing.assert_allclose(got[name], values, **NEAR, err_msg=f"{name} at {point.name}")


def test_the_cuts_lie_between_the_layers_of_the_encoder(case: tuple[Any, Any, dict[str, np.ndarray]]) -> None:
    """Frame by frame (2 of them) until they are joined: 8×8 after the pool, 4×4×4 and 2×2×4 after the convolutions."""
    points = {p.name: p for p in cut_points(case[1])}
    names = ["planes", "pool", "conv_0", "norm_0", "conv_1", "norm_1", "flat", "frame", "present", "sequence"]

    assert list(points)[:10] == names
    assert points["pool"].shape == (2, 8, 8, 2)
    assert (points["conv_0"].shape, points["norm_1"].shape) == ((2, 4, 4, 4), (2, 2, 2, 4))
    # conv_0 on 2 frames: 4·4·4 sums of 3·3·2 products, 2 FLOPs each, and the bias; GELU comes on top.
    conv = points["conv_0"].head_flops - points["pool"].head_flops
    assert conv > 2 * 64 * (2 * 18 + 1)
    assert conv < 2 * 64 * (2 * 18 + 1 + 20)


def test_an_int8_wire_moves_the_forecast_by_no_more_than_its_steps_can(
    case: tuple[Any, Any, dict[str, np.ndarray]],
) -> None:
    """Half a step of every value that crosses, times how much the forecast depends on it; twice that for curvature."""
    import tensorflow as tf

    model, graph, features = case
    plain = split(graph, "frame")
    coded = split(graph, "frame", wire="int8", calibration=features, method="range")
    message = plain.head(features)
    inputs = {"contract": tf.constant([plain.contract.model])}
    inputs |= {name: tf.constant(features[name]) for name in plain.contract.side_inputs}
    with tf.GradientTape() as tape:
        crossing = tf.constant(message)
        tape.watch(crossing)
        moved = plain.tail.serve({**inputs, "features": crossing})[OUT_DISPLACEMENT_KM]
    slopes = np.abs(tape.batch_jacobian(moved, crossing).numpy())  # [b, l, 2, k, width]
    bound = 2 * (slopes * np.float32(coded.contract.scale) / 2).sum(axis=(3, 4)) + 1e-2

    got = coded.tail(coded.head(features), side=features)[OUT_DISPLACEMENT_KM]

    difference = np.abs(got - answers(model, features)[OUT_DISPLACEMENT_KM])
    assert (difference <= bound).all()
    assert difference.max() > 1e-2  # the wire was really used
    assert (difference[4] <= 5e-3).all()  # without any frame, nothing that crosses matters


def test_a_track_model_has_nothing_to_split() -> None:
    """There is no image in it."""
    from eyewall.split.forecaster import functional_view

    with pytest.raises(InputError, match="model 'track' takes no images: there is nothing to split"):
        functional_view(forecaster("track"), SPEC)


@pytest.mark.parametrize("kind", ["image", "fusion"])
def test_a_trained_artifact_is_restored_from_its_card_and_weights(kind: Any, tmp_path: Any) -> None:
    """Its sizes are on the card; the answers are the SavedModel's own."""
    from eyewall.models.card import CARD_NAME, SAVED_MODEL_DIR
    from eyewall.models.export import export
    from eyewall.models.predict import load_predictor
    from eyewall.models.trained import restore

    model, features = forecaster(kind), samples()
    export(model, SPEC, tmp_path / SAVED_MODEL_DIR)
    (tmp_path / CARD_NAME).write_bytes(card(kind).to_bytes())

    restored, images = restore(tmp_path)

    assert images == SPEC
    want = load_predictor(tmp_path)(features)
    for name, values in answers(restored, features).items():
        np.testing.assert_allclose(values, want[name], **NEAR)
    (tmp_path / CARD_NAME).write_bytes(card("fusion" if kind == "image" else "image").to_bytes())
    with pytest.raises(ContractError, match=r"fit no '(fusion|image)' network"):
        restore(tmp_path)


def card(kind: Any) -> Any:
    """A card of such a model; what was trained on what does not matter here."""
    from eyewall.models.card import ModelCard, Normalisation

    return ModelCard(
        kind=kind, images=SPEC, parameters=1, records_sha256="", seasons={}, samples={}, strategy="single", workers=1,
        ps=0, steps=1, batch=1, learning_rate=0.1, seed=0, best_step=1, loss_first=1.0, loss_last=1.0, val_km={},
        shrinkage={str(lead): 1.0 for lead in LEADS_H}, cliper=cliper(), scale_km=(20.0, 40.0, 90.0, 200.0, 350.0),
        normalisation=Normalisation(), sizes=SIZES[kind],
    )  # fmt: skip
