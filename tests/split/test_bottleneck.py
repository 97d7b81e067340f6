"""The narrow cut: it begins at the principal components, feels its wire, and learns from the wide network."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tiny_pack import images, write_pack

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import WireContract
from eyewall.contracts.split_jobs import NetworkJob, ScoreNetworkJob
from eyewall.split.calibration import calibrate
from eyewall.split.networks import cifar10, train_step
from eyewall.split.networks.bottleneck import begin_from, blocks, distillation_loss, fake_quantise, principal_axes
from eyewall.split.networks.result import NetworkCard, load_network
from eyewall.split.networks.score_step import run as score
from eyewall.split.networks.training import forward, logits_of
from eyewall.split.wire import decode, encode
from eyewall.storage import Store, resolve


def test_quantised_features_lie_on_255_steps_of_their_channel() -> None:
    # One channel from 0 to 51 has steps of 51/255 = 0.2, one from -1 to 4.1 steps of 5.1/255 = 0.02.
    features = tf.constant([[0.0, -1.0], [0.31, 0.013], [51.0, 4.1]])

    np.testing.assert_allclose(fake_quantise(features), [[0, -1], [0.4, 0.02], [51, 4.1]], atol=1e-5)


def test_a_channel_without_range_passes_and_gradients_go_straight_through() -> None:
    features = tf.Variable([[2.5, 1.0], [2.5, 3.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(fake_quantise(features) * [[1.0, 2.0], [3.0, 4.0]])

    np.testing.assert_array_equal(fake_quantise(features)[:, 0], [2.5, 2.5])
    np.testing.assert_array_equal(tape.gradient(total, features), [[1, 2], [3, 4]])


def test_training_s_rounding_is_no_coarser_than_the_wire_s() -> None:
    """Against the real int8 wire, calibrated on the same features to their range: equal to within a step."""
    features = np.random.default_rng(1).normal(1, 2, (4, 3, 3, 5)).astype(np.float32)
    scale, zero_point = calibrate(features, "range")
    contract = WireContract(model="0" * 64, cut="c", wire="int8", shape=(3, 3, 5), scale=scale, zero_point=zero_point)

    sent = decode(encode(features, contract), contract)

    assert np.abs(fake_quantise(features).numpy() - sent).max() <= 1.01 * max(scale)
    assert np.abs(fake_quantise(features).numpy() - features).max() > 0


def test_principal_axes_are_those_of_the_singular_values() -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(50, 2, 2, 6)) @ np.diag([5, 4, 3, 0.2, 0.1, 0.1]) @ draw.normal(size=(6, 6)) + 7

    axes = principal_axes(features, 3)

    _, _, rows = np.linalg.svd(features.reshape(-1, 6), full_matrices=False)
    # The same axes, up to their sign, which is that of their largest component.
    np.testing.assert_allclose(np.abs(axes.T @ rows[:3].T), np.eye(3), atol=1e-4)
    assert all(axes[np.abs(axes[:, i]).argmax(), i] > 0 for i in range(3))


@pytest.mark.parametrize("channels", [0, 5])
def test_more_axes_than_channels_are_refused(channels: int) -> None:
    with pytest.raises(InputError, match=f"bottleneck = {channels}"):
        principal_axes(np.arange(24.0).reshape(6, 4), channels)


def test_blocks_are_the_values_of_neighbouring_places_row_by_row() -> None:
    """2×4 places of two channels, in blocks of 2×2: the first holds columns 0 and 1 of both rows."""
    features = np.arange(16).reshape(1, 2, 4, 2)

    assert blocks(features, 2, 2).tolist() == [[[[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]]]


def test_a_bottleneck_as_wide_as_the_cut_begins_as_the_teacher() -> None:
    """4·4 places of 6 channels are 96 values a block."""
    pixels, _ = images(30)
    teacher, wide, narrow = cifar10.build(6), cifar10.build(6, 96), cifar10.build(6, 12)
    for model in (wide, narrow):
        begin_from(model, teacher, pixels)

    expected = logits_of(teacher, pixels)
    np.testing.assert_allclose(logits_of(wide, pixels), expected, atol=1e-4)
    away = np.abs(logits_of(narrow, pixels) - expected).mean()
    assert away > 1e-4, "twelve values are not 96"
    fresh = cifar10.build(6, 12)
    assert away < np.abs(logits_of(fresh, pixels) - expected).mean(), "and yet nearer than any other network"


def test_a_teacher_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="'conv2' does not fit"):
        begin_from(cifar10.build(6), cifar10.build(5), images(10)[0])


def test_the_distillation_loss_is_zero_at_the_teacher_s_answer_and_grows_away_from_it() -> None:
    taught = tf.constant([[2.0, -1.0, 0.5]])

    # Logits count up to a constant; away, by hand: T = 4, softmax of [.5, -.25, .125] against that of [0, 0, 0].
    p = np.exp([0.5, -0.25, 0.125]) / np.exp([0.5, -0.25, 0.125]).sum()
    assert float(distillation_loss(taught + 3.0, taught)) == pytest.approx(0, abs=1e-5)
    assert float(distillation_loss(taught * 0, taught)) == pytest.approx(16 * (p * np.log(p * 3)).sum(), rel=1e-4)


def test_in_training_the_cut_is_rounded_and_nothing_else() -> None:
    pixels, _ = images(8)
    model = cifar10.build(4, 2)
    head = tf_keras.Model(model.input, model.get_layer("squeeze").output)
    values = fake_quantise(head(pixels))
    for layer in model.layers[[layer.name for layer in model.layers].index("squeeze") + 1 :]:
        values = layer(values)

    np.testing.assert_allclose(forward(model, pixels, "squeeze"), values, atol=1e-5)
    np.testing.assert_allclose(forward(model, pixels, None), model(pixels), atol=1e-5)


# --- the steps


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """60 training and 20 test images."""
    return write_pack(tmp_path / "pack.npz")


def test_a_pupil_names_its_teacher_and_is_scored_over_each_wire(pack: Path, store_url: str) -> None:
    plain = NetworkJob(store=store_url, images=str(pack), channels=6, epochs=3, batch=10, receipt="receipts/t.json")
    teacher = train_step.run(plain)
    Store(store_url).write_json("receipts/t.json", teacher.model_dump(mode="json"))
    pupil = train_step.run(
        plain.model_copy(
            update={"teacher_ref": "receipts/t.json", "bottleneck": 48, "wire": "int8", "learning_rate": 0.005}
        )
    )
    assert teacher.result is not None
    assert pupil.result is not None
    job = ScoreNetworkJob(store=store_url, network_ref=pupil.result.uri, images=str(pack), calibration=60)

    scored = score(job)

    card = NetworkCard.read(Store(store_url).local(pupil.result.uri))
    assert (card.teacher, card.cut, card.cut_shape) == (teacher.result.sha256, "squeeze", (2, 2, 48))
    # 2·2·48 values: 768, 384 and 192 bytes of 3072.
    wires = scored.summary["wires"]
    assert [wires[w]["bytes"] for w in ("float32", "float16", "int8")] == [768, 384, 192]
    assert wires["int8"]["share_of_raw_bytes"] == 0.0625
    # Cut in two without any rounding it answers as the whole network does, and the rounding changes few answers.
    assert wires["float32"]["accuracy_percent"] == card.accuracy_percent
    assert abs(wires["int8"]["accuracy_percent"] - card.accuracy_percent) <= 10, "two of the 20 images at most"
    assert score(job).result == scored.result
    before, after = (load_network(resolve(Store(store_url), r.uri))[0] for r in (teacher.result, pupil.result))
    moved = {
        name: not np.array_equal(before.get_layer(name).get_weights()[0], after.get_layer(name).get_weights()[0])
        for name in ("conv1", "conv2", "conv3")
    }
    assert moved == {"conv1": False, "conv2": False, "conv3": True}, "the pretrained head stays as it is"


def test_without_epochs_a_pupil_is_the_principal_components_alone(pack: Path, store_url: str) -> None:
    plain = NetworkJob(store=store_url, images=str(pack), channels=4, epochs=1, batch=20)
    teacher = train_step.run(plain)
    assert teacher.result is not None

    pupil = train_step.run(plain.model_copy(update={"teacher_ref": teacher.result.uri, "bottleneck": 64, "epochs": 0}))

    assert (pupil.summary["epochs"], pupil.summary["loss_last"]) == (0, None)
    # As many components as 4·4 places of 4 channels: nothing is lost.
    assert pupil.summary["test_accuracy_percent"] == teacher.summary["test_accuracy_percent"]


def test_a_score_on_other_images_than_the_network_s_is_refused(pack: Path, store_url: str, tmp_path: Path) -> None:
    trained = train_step.run(NetworkJob(store=store_url, images=str(pack), channels=2, epochs=1, batch=20))
    assert trained.result is not None
    other = write_pack(tmp_path / "other.npz", test=30)

    with pytest.raises(ContractError, match="not the pack"):
        score(ScoreNetworkJob(store=store_url, network_ref=trained.result.uri, images=str(other)))
