"""The training loss, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from eyewall.training.loss import DELTA, difficulty_loss_sum, loss_sum

SCALE = np.array([50.0, 100.0], np.float32)
WEIGHT = np.array([1.0, 2.0], np.float32)


def total(predicted: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    """The loss of float32 arrays."""
    return float(loss_sum(*(tf.constant(v, tf.float32) for v in (predicted, target, valid)), SCALE, WEIGHT))


def test_is_the_smoothed_distance_in_units_of_the_scale() -> None:
    """Errors (30, 40) km at scale 50: length 1; (0, 60) km at scale 100: length 0.6, weight 2.

    (sqrt(1 + 0.09) − 0.3) + 2·(sqrt(0.36 + 0.09) − 0.3) = 0.744 + 2·0.3708 = 1.4857
    """
    assert DELTA == 0.3
    assert total(
        np.array([[[30, 40], [0, 60]]]), np.zeros((1, 2, 2)), np.ones((1, 2))
    ) == pytest.approx(1.4857, abs=1e-4)  # fmt: skip


def test_a_missing_target_counts_nothing_and_pulls_nowhere() -> None:
    """Loss and gradient of the masked lead are zero; the target there is 0, far from any forecast."""
    predicted = tf.Variable([[[30.0, 40.0], [900.0, -700.0]]])
    with tf.GradientTape() as tape:
        loss = loss_sum(predicted, tf.zeros((1, 2, 2)), tf.constant([[1.0, 0.0]]), SCALE, WEIGHT)

    assert float(loss) == pytest.approx(0.7440, abs=1e-4)
    slope = tape.gradient(loss, predicted).numpy()
    assert slope[0, 1].tolist() == [0.0, 0.0]
    assert slope[0, 0].min() > 0


def test_a_perfect_forecast_has_a_finite_gradient() -> None:
    """The length's own gradient is not defined there."""
    predicted = tf.Variable([[[10.0, 20.0], [5.0, 5.0]]])
    with tf.GradientTape() as tape:
        loss = loss_sum(predicted, tf.constant([[[10.0, 20.0], [5.0, 5.0]]]), tf.ones((1, 2)), SCALE, WEIGHT)

    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert tape.gradient(loss, predicted).numpy().tolist() == np.zeros((1, 2, 2)).tolist()


def test_shares_of_a_batch_add_up_to_the_whole() -> None:
    """However unevenly the missing targets fall: what makes two workers equal one."""
    rng = np.random.default_rng(3)
    predicted, target = rng.normal(0, 80, (2, 8, 2, 2))
    valid = (rng.random((8, 2)) > 0.4).astype(np.float32)
    valid[:4, 1] = 0

    halves = [total(predicted[part], target[part], valid[part]) for part in (slice(0, 4), slice(4, 8))]

    assert sum(halves) == pytest.approx(total(predicted, target, valid), rel=1e-6)


def test_the_expected_error_settles_at_the_mean_error_of_such_cases() -> None:
    """Errors of 25, 50 and 150 km at scale 50 are 0.5, 1 and 3: the loss is least at their mean, log 1.5."""
    target = tf.constant([[[25.0, 0.0], [0.0, 0.0]], [[0.0, 50.0], [0.0, 0.0]], [[-150.0, 0.0], [0.0, 0.0]]])
    valid = tf.constant([[1.0, 0.0]] * 3)

    def loss(value: float) -> float:
        log_difficulty = tf.fill((3, 2), np.float32(value))
        return float(difficulty_loss_sum(log_difficulty, tf.zeros((3, 2, 2)), target, valid, SCALE, WEIGHT))

    least = min(np.linspace(-1.0, 1.5, 251), key=loss)
    assert least == pytest.approx(np.log(1.5), abs=0.011)
    # At log 1: 0 + 0.5, 0 + 1 and 0 + 3
    assert loss(0.0) == pytest.approx(4.5, abs=1e-5)


def test_the_expected_error_does_not_pull_at_the_forecast() -> None:
    """Otherwise a network could buy a lower loss by predictable errors."""
    predicted = tf.Variable([[[30.0, 40.0], [9.0, -7.0]]])
    with tf.GradientTape() as tape:
        loss = difficulty_loss_sum(
            tf.zeros((1, 2)), predicted, tf.zeros((1, 2, 2)), tf.ones((1, 2)), SCALE, WEIGHT
        )  # fmt: skip

    assert float(loss) > 0
    assert tape.gradient(loss, predicted) is None
