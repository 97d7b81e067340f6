"""The encoder: maps of the promised shapes, pictures that do not see each other, and a safe way to disk."""

import json

import numpy as np
import pytest

pytest.importorskip("tf_keras")

import tensorflow as tf

from eyewall.centre.fitting import precision
from eyewall.contracts.errors import ContractError
from eyewall.models.centre import CentreNetwork, FillNetwork, build_network, centre_loss, fill_loss
from eyewall.models.encoder import build_encoder, load_encoder, weights_from, weights_to_bytes
from eyewall.models.encoder_card import CARD_NAME, WEIGHTS_NAME, EncoderCard, PictureScale

CHANNELS = (8, 8, 16, 16)
SCALE = PictureScale(quantity="grey_level", mean=145.0, std=38.0, px=32, km_per_px=20.0)
CARD = EncoderCard(
    scale=SCALE, channels=CHANNELS, stream="toy", years=(2001, 2002), frames=9, frames_sha256="ab", hidden=0.6, steps=5,
    batch=2, learning_rate=1e-3, seed=0, parameters=1, loss_first=1.0, loss_last=0.5,
)  # fmt: skip


def pictures(count=2, px=32, seed=0):
    """Planes [count, px, px, 2], a corner of them missing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (count, px, px, 1)).astype(np.float32)
    known = np.ones_like(values)
    known[:, :5, :7] = 0
    return np.concatenate([values * known, known], axis=-1)


def test_maps_halve_the_resolution_four_times():
    encoder = build_encoder(CHANNELS, 32)

    assert [tuple(m.shape) for m in encoder(pictures(3, 64))] == [
        (3, 32, 32, 8), (3, 16, 16, 8), (3, 8, 8, 16), (3, 4, 4, 16),
    ]  # fmt: skip
    assert encoder.embed(pictures(3, 32)).shape == (3, 16)


def test_a_picture_does_not_depend_on_the_others_of_its_batch():
    encoder = build_encoder(CHANNELS, 32)
    both = pictures(2)

    for together, alone in zip(encoder(both), encoder(both[1:]), strict=True):
        np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_an_encoder_comes_back_from_its_folder_with_the_same_answers(tmp_path):
    encoder = build_encoder(CHANNELS, 32)
    (tmp_path / WEIGHTS_NAME).write_bytes(weights_to_bytes(encoder.get_weights()))
    (tmp_path / CARD_NAME).write_bytes(CARD.to_bytes())

    loaded, card = load_encoder(tmp_path)

    assert card == CARD
    for there, here in zip(encoder(pictures()), loaded(pictures()), strict=True):
        np.testing.assert_array_equal(there, here)


def test_equal_weights_are_equal_bytes():
    weights = build_encoder(CHANNELS, 32).get_weights()

    assert weights_to_bytes(weights) == weights_to_bytes([w.copy() for w in weights])


@pytest.mark.parametrize(
    "what", [pytest.param("truncated", id="truncated"), pytest.param("other", id="of_another_size")]
)
def test_weights_that_do_not_fit_are_refused(tmp_path, what):
    encoder = build_encoder(CHANNELS, 32)
    content = weights_to_bytes(build_encoder((8, 8, 8, 8), 32).get_weights())
    if what == "truncated":
        content = weights_to_bytes(encoder.get_weights())[:-400]
    (tmp_path / "w.npz").write_bytes(content)

    with pytest.raises(ContractError, match="do not fit"):
        weights_from(tmp_path / "w.npz", encoder)


def test_a_folder_without_a_card_is_no_encoder(tmp_path):
    with pytest.raises(ContractError, match="pretrain it again"):
        load_encoder(tmp_path)
    (tmp_path / CARD_NAME).write_text(json.dumps({"scale": None}))
    with pytest.raises(ContractError, match="pretrain it again"):
        EncoderCard.read(tmp_path)


def test_the_networks_answer_at_their_resolutions():
    centre, fill = (build_network(kind, CHANNELS, 32) for kind in (CentreNetwork, FillNetwork))

    logits = centre(pictures())

    assert logits.shape == (2, 16, 16)
    assert fill(pictures()).shape == (2, 32, 32)
    # Untrained it expects about one storm in a square of 96 x 96, a ninth in one of 32 x 32.
    assert float(tf.reduce_mean(tf.reduce_sum(tf.exp(logits), axis=(1, 2)))) == pytest.approx(1 / 9, rel=0.5)


def test_the_loss_of_a_point_process_by_hand():
    """Two cells with rates 0.5 and 2, a centre in the second: 0.5 + 2 − log 2; an unjudged cell is worth nothing."""
    logits = np.log(np.array([[[0.5, 2.0, 7.0]]], np.float32))
    wanted = np.array([[[0.0, 1.0, 0.0]]], np.float32)
    judged = np.array([[1.0, 1.0, 0.0]], np.float32)

    assert float(centre_loss(logits, wanted, judged)) == pytest.approx(2.5 - np.log(2), rel=1e-6)


def test_the_loss_is_least_at_the_true_rate():
    """With a centre in one picture of four the best constant rate is a quarter."""
    wanted = np.array([1, 0, 0, 0], np.float32).reshape(4, 1, 1)
    losses = {
        rate: float(centre_loss(np.full((4, 1, 1), np.log(rate), np.float32), wanted, np.ones((1, 1), np.float32)))
        for rate in (0.15, 0.25, 0.35)
    }

    assert min(losses, key=lambda rate: losses[rate]) == 0.25


def test_only_hidden_pixels_that_are_known_are_judged():
    """Errors of 1 and 3 at judged pixels, 50 at another: (1 + 9) / 2; with none judged it is 0."""
    filled, values = np.array([[[1.0, 3.0, 50.0]]], np.float32), np.zeros((1, 1, 3), np.float32)

    assert float(fill_loss(filled, values, np.array([[[1.0, 1.0, 0.0]]], np.float32))) == pytest.approx(5)
    assert float(fill_loss(filled, values, np.zeros((1, 1, 3), np.float32))) == 0


def test_in_mixed_precision_weights_and_answers_stay_float32():
    with precision(True):
        network = build_network(CentreNetwork, CHANNELS, 32)
    plain = build_network(CentreNetwork, CHANNELS, 32)
    plain.set_weights(network.get_weights())

    assert network.encoder(pictures())[0].dtype == tf.bfloat16
    assert {v.dtype for v in network.trainable_variables} == {tf.float32}
    assert network(pictures()).dtype == tf.float32
    np.testing.assert_allclose(network(pictures()), plain(pictures()), atol=0.2)  # three digits
    assert build_encoder(CHANNELS, 32)(pictures())[0].dtype == tf.float32
