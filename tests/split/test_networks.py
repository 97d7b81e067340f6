"""The networks of the study, and the step that trains them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tiny_pack import images, write_pack

from eyewall.contracts.errors import ContractError, DivergedError, InputError
from eyewall.contracts.split_jobs import NetworkJob
from eyewall.split.networks import caffenet, cifar10
from eyewall.split.networks.image_pack import Images
from eyewall.split.networks.layers import WithinChannelNorm
from eyewall.split.networks.result import NetworkCard, load_network, network_path
from eyewall.split.networks.train_step import run
from eyewall.split.networks.training import Progressed, Recipe, augmented, batches, learning_rate, logits_of, train
from eyewall.storage import Artifact, Store, resolve

RECIPE = Recipe(epochs=3, batch=20, learning_rate=0.05, weight_decay=1e-3, augment="flip", seed=4)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 training and 20 test images."""
    return write_pack(tmp_path_factory.mktemp("pack") / "pack.npz")


@pytest.fixture
def job(pack: Path, store_url: str) -> NetworkJob:
    """One short epoch of the network with 4 filters."""
    return NetworkJob(store=store_url, images=str(pack), channels=4, epochs=1, batch=20)


# --- what the networks are


@pytest.mark.parametrize(
    ("channels", "bottleneck", "cut", "values"),
    [
        # After two pools of stride 2, 32×32 are 8×8 = 64 places.
        pytest.param(32, None, "pool2", 64 * 32, id="paper-32"),
        pytest.param(8, None, "pool2", 64 * 8, id="paper-8-a-sixth-of-3072"),
        pytest.param(32, 176, "squeeze", 4 * 176, id="bottleneck-176-below-706-bytes-as-int8"),
    ],
)
def test_the_cut_has_the_paper_s_size(channels: int, bottleneck: int | None, cut: str, values: int) -> None:
    model = cifar10.build(channels, bottleneck)

    assert cifar10.cut_of(bottleneck) == cut
    assert int(np.prod(model.get_layer(cut).output.shape[1:])) == values
    assert model.output.shape == (None, 10)


def test_the_full_network_has_caffe_s_number_of_weights() -> None:
    # conv1 5·5·3·32+32 = 2432, conv2 5·5·32·32+32 = 25632, conv3 5·5·32·64+64 = 51264, dense 4·4·64·10+10 = 10250.
    assert cifar10.build().count_params() == 2432 + 25632 + 51264 + 10250


def test_pools_cover_what_caffe_s_do() -> None:
    """Caffe rounds up: windows begin at 0, 2, … and the last is cut off at the edge, its mean over what is there."""
    values = np.random.default_rng(2).normal(size=(1, 16, 16, 3)).astype(np.float32)
    expected = np.stack(
        [[values[0, y : y + 3, x : x + 3].mean(axis=(0, 1)) for x in range(0, 16, 2)] for y in range(0, 16, 2)]
    )

    pooled = cifar10.build(3).get_layer("pool2")(values)

    np.testing.assert_allclose(pooled[0], expected, atol=1e-6)


def test_the_normalisation_is_its_formula() -> None:
    values = np.random.default_rng(3).normal(size=(2, 5, 4, 3)).astype(np.float32) * 3
    expected = np.empty_like(values)
    for y in range(5):
        for x in range(4):
            window = values[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            expected[:, y, x] = values[:, y, x] * (1 + 0.2 * (window**2).mean(axis=(1, 2))) ** -0.75

    np.testing.assert_allclose(WithinChannelNorm(3, 0.2)(values), expected, rtol=1e-4)


def test_filter_counts_that_make_no_network_are_refused() -> None:
    with pytest.raises(InputError, match="bottleneck = 0"):
        cifar10.build(32, 0)


def test_caffenet_is_cut_where_the_paper_cuts_it() -> None:
    model = caffenet.build(classes=10)

    # (227-11)/4+1 = 55, pools of 3 and stride 2: 27 and 13.
    shapes = {cut: tuple(model.get_layer(cut).output.shape[1:]) for cut in caffenet.CUTS}
    assert shapes == {"pool1": (27, 27, 96), "pool2": (13, 13, 256)}
    # conv2 in two groups sees 48 channels: 5·5·48·256+256.
    assert model.get_layer("conv2").count_params() == 5 * 5 * 48 * 256 + 256


# --- how they are trained


def test_the_learning_rate_rises_over_an_epoch_and_ends_at_zero() -> None:
    rates = [learning_rate(RECIPE, epoch) for epoch in (0, 0.5, 1, 2, 3)]

    # Half the cosine lies at epoch 2, the middle of 1 to 3.
    assert rates == pytest.approx([0, 0.025, 0.05, 0.025, 0])


def test_each_image_is_drawn_once_an_epoch_and_epochs_differ() -> None:
    given = Images(np.arange(60, dtype=np.uint8)[:, None, None, None], np.arange(60))

    def order(epoch: int) -> list[int]:
        return [int(label) for _, labels in batches(given, RECIPE, epoch) for label in labels]

    assert sorted(order(0)) == list(range(60))
    assert order(0) == order(0)
    assert order(0) != order(1)


@pytest.mark.parametrize("augment", ["flip", "flip_shift"])
def test_augmented_images_are_windows_of_their_own_image(augment: Any) -> None:
    pixels, _ = images(6)
    found = augmented(pixels, augment, np.random.default_rng(0))

    reach = 4 if augment == "flip_shift" else 0
    for image, made in zip(pixels, found, strict=True):
        wide = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        windows = [
            mirror[y : y + 32, x : x + 32]
            for mirror in (wide, wide[:, ::-1])
            for y in range(2 * reach + 1)
            for x in range(2 * reach + 1)
        ]
        assert any(np.array_equal(made, window) for window in windows)
    assert not np.array_equal(found, pixels)


def test_a_step_is_nesterov_s() -> None:
    """One step by hand: v = g + λw, w ← w − η (g + λw + 0.9 v) from a momentum of zero."""
    pixels, labels = images(20)
    recipe = Recipe(epochs=1, batch=20, learning_rate=0.01, weight_decay=0.1, augment="none", seed=0)
    tf_keras.utils.set_random_seed(1)
    model = cifar10.build(2)
    kernel = model.get_layer("logits").kernel
    before = kernel.numpy()
    with tf.GradientTape() as tape:
        logits = model(pixels)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels.astype(int), logits))
    gradient = tape.gradient(loss, kernel).numpy() + 0.1 * before

    done = train(model, Images(pixels, labels.astype(np.int64)), recipe)

    # The one batch is the whole epoch, at whose end the warm-up (half of it) and the cosine are over: a rate of 0 …
    np.testing.assert_array_equal(kernel.numpy(), before)
    # … so that only the momentum has moved.
    np.testing.assert_allclose(done.momenta[-2], gradient, rtol=1e-3, atol=1e-6)


def test_training_learns_and_going_on_gives_what_would_have_been() -> None:
    pixels, labels = images(60)
    given = Images(pixels, labels.astype(np.int64))
    tf_keras.utils.set_random_seed(1)
    whole, parted = cifar10.build(4), cifar10.build(4)
    parted.set_weights(whole.get_weights())
    saved: list[bytes] = []

    done = train(whole, given, RECIPE, checkpoint=lambda p: saved.append(p.to_bytes()))
    again = train(parted, given, RECIPE, begun=Progressed.from_bytes(saved[0]))

    assert done.losses[-1] < done.losses[0]
    assert again.losses == done.losses
    for one, other in zip(whole.get_weights(), parted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_checkpoint_is_a_value_error() -> None:
    data = Progressed(1, [np.arange(3.0)], [np.arange(3.0)], [0.5]).to_bytes()

    with pytest.raises(ValueError, match="not a checkpoint"):
        Progressed.from_bytes(data[:-40])


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    pixels, labels = images(20)
    recipe = Recipe(epochs=2, batch=5, learning_rate=1e12, weight_decay=0, augment="none", seed=0)

    with pytest.raises(DivergedError, match="smaller learning rate"):
        train(cifar10.build(2), Images(pixels, labels.astype(np.int64)), recipe)


# --- the step


def test_the_step_leaves_a_network_and_finds_it_again(job: NetworkJob, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(job)
    assert first.result is not None
    model, card = load_network(resolve(Store(job.store), first.result.uri, "network"))
    monkeypatch.setattr("eyewall.split.networks.train_step._train", None)
    again = run(job)

    assert again.result == first.result
    assert first.summary["values_at_cut"] == 64 * 4
    assert (card.scored_on, card.scored_images, card.train_images) == ("test", 20, 60)
    assert logits_of(model, images(3)[0]).shape == (3, 10)
    assert Store(job.store).list_files("runs") == [], "the checkpoint is gone"


def test_the_same_training_gives_the_same_bytes(job: NetworkJob, tmp_path: Path) -> None:
    digests = [run(job.model_copy(update={"store": str(tmp_path / name)})).result for name in ("a", "b")]

    assert digests[0] is not None
    assert digests[0] == digests[1]


def test_with_validation_the_test_images_are_never_looked_at(
    job: NetworkJob, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pack(tmp_path / "untestable.npz", test_labels=np.arange(3))  # its test part cannot be read

    receipt = run(job.model_copy(update={"images": str(path), "validation": 10}))

    assert receipt.result is not None
    card = NetworkCard.read(Store(job.store).local(receipt.result.uri))
    assert (card.scored_on, card.scored_images, card.train_images) == ("validation", 10, 50)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"validation": 60}, "validation = 60", id="nothing-left-to-train-on"),
        pytest.param({"images": "absent.npz"}, "absent.npz", id="no-pack"),
        pytest.param({"teacher_ref": "networks/none"}, "networks/none", id="no-teacher"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(values: dict[str, Any], message: str, job: NetworkJob) -> None:
    with pytest.raises(InputError, match=message):
        run(job.model_copy(update=values))

    assert Store(job.store).list_files("networks") == []


def test_weights_that_do_not_fit_their_card_are_refused(job: NetworkJob) -> None:
    receipt = run(job)
    assert receipt.result is not None
    folder = Store(job.store).local(receipt.result.uri)
    card = json.loads((folder / "network.json").read_text())
    (folder / "network.json").write_text(json.dumps(card | {"channels": 5}))
    artifact = Artifact(Store(job.store), receipt.result.uri, Store(job.store).read_manifest(receipt.result.uri))  # type: ignore[arg-type]

    with pytest.raises(ContractError, match="do not fit"):
        load_network(artifact)


def test_the_layers_before_a_bottleneck_are_trained_by_polishing_alone(job: NetworkJob) -> None:
    teacher = run(job)
    assert teacher.result is not None
    squeezed = job.model_copy(update={"bottleneck": 2, "teacher_ref": teacher.result.uri})
    weights = {}
    for name, case in {
        "teacher": job,
        "squeezed": squeezed,
        "polished": squeezed.model_copy(update={"polish_epochs": 2}),
    }.items():
        result = run(case).result
        assert result is not None
        model, card = load_network(resolve(Store(job.store), result.uri, "network"))
        weights[name] = {layer: model.get_layer(layer).get_weights()[0] for layer in ("conv1", "logits")}

    np.testing.assert_array_equal(weights["squeezed"]["conv1"], weights["teacher"]["conv1"])
    assert np.any(weights["squeezed"]["logits"] != weights["teacher"]["logits"])
    assert np.any(weights["polished"]["conv1"] != weights["teacher"]["conv1"])
    assert len(card.losses) == job.epochs + 2
    assert card.recipe["polish_epochs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["epoch", "polish"])
def test_killed_after_an_epoch_the_same_command_goes_on_to_the_same_network(
    job: NetworkJob, stage: str, tmp_path: Path
) -> None:
    long = job.model_copy(update={"epochs": 4 if stage == "epoch" else 1, "polish_epochs": 4})
    expected = run(long.model_copy(update={"store": str(tmp_path / "unharmed")}))
    command = [sys.executable, "-m", "eyewall.cli", *long.to_args()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = Store(job.store)
    while not store.list_files("runs", f"{stage}.npz") and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert store.list_files("runs", f"{stage}.npz"), "it was killed in the middle"

    receipt = run(long)

    assert receipt.result == expected.result


def test_where_a_network_will_be_is_known_beforehand(job: NetworkJob, pack: Path) -> None:
    from eyewall.split.networks.image_pack import ImagePack

    receipt = run(job)

    assert receipt.result is not None
    assert receipt.result.uri == network_path(job, ImagePack(str(pack)).sha256)
