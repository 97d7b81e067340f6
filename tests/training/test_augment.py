"""Augmentation: pictures and targets turn together, nothing is invented, and shares of a batch add up to it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from job_maker import JobMaker

from eyewall.contracts.features import IMAGES, ImageSpec
from eyewall.storage import Store
from eyewall.training import augment
from eyewall.training.augment import CHANCE, NUMBERS, augmented, draw, turned_targets

SPEC = ImageSpec(frames=2, px=16, km_per_px=20.0, quantity="grey_level")


def pictures(chance: list[float]) -> dict[str, Any]:
    """Two samples of two frames with grey levels of 50 to 200, some missing."""
    rng = np.random.default_rng(7)
    pixels = rng.uniform(50, 200, (2, 2, 16, 16, 1)) * (rng.random((2, 2, 16, 16, 1)) > 0.05)
    return {IMAGES: tf.constant(pixels, tf.float32), CHANCE: tf.constant([chance] * 2, tf.float32)}


def test_chance_of_nothing_changes_nothing() -> None:
    given = pictures([0.0] * NUMBERS)

    assert augmented(given, SPEC)[IMAGES].numpy() == pytest.approx(given[IMAGES].numpy(), abs=1e-3)


def test_picture_and_target_turn_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """By 90°: counter-clockwise, so that what was in the east is in the north; and about where the forecast starts."""
    monkeypatch.setattr(augment, "TURN_DEG", 90.0)
    given = pictures([1.0, 0, 0, 0, 0])

    got = augmented(given, SPEC)[IMAGES].numpy()
    start = tf.constant([[[100.0, 20.0]]] * 2)
    targets = turned_targets(given, start, start + tf.constant([[[30.0, 0.0]]] * 2))

    assert got == pytest.approx(np.rot90(given[IMAGES].numpy(), axes=(2, 3)), abs=0.05)
    assert targets.numpy() == pytest.approx(np.array([[[100.0, 50.0]]] * 2), abs=1e-3)


def test_a_shift_moves_and_what_comes_from_outside_is_missing() -> None:
    """By a pixel of 20 km: each column shows its eastern neighbour, the last one nothing."""
    given = pictures([0, 1.0, 0, 0, 0])
    got, before = augmented(given, SPEC)[IMAGES].numpy(), given[IMAGES].numpy()

    assert got[:, :, :, :-1] == pytest.approx(before[:, :, :, 1:], abs=1e-2)
    assert not got[:, :, :, -1].any()


def test_fading_leaves_missing_pixels_missing() -> None:
    """Contrast and brightness together; a known pixel stays known."""
    given = pictures([0, 0, 0, -2.0, -2.0])
    got, before = augmented(given, SPEC)[IMAGES].numpy(), given[IMAGES].numpy()
    brightest = before.max(axis=(1, 2, 3, 4), keepdims=True)

    assert ((got > 0) == (before > 0)).all()
    # 1 − 0.05·2, and −0.02·2 of the brightest
    assert got[before > 0] == pytest.approx((before * 0.9 - 0.04 * brightest)[before > 0], rel=1e-4)


def test_numbers_follow_from_seed_and_step() -> None:
    """Equal when drawn again; different at another step, with another seed, and in each row."""
    first = draw(3, tf.constant(8, tf.int64), 6).numpy()

    assert first.tolist() == draw(3, tf.constant(8, tf.int64), 6).numpy().tolist()
    assert np.abs(first).max() <= 2
    assert len({tuple(row) for row in first.tolist()}) == 6
    for seed, step in ((4, 8), (3, 9)):
        assert np.abs(first - draw(seed, tf.constant(step, tf.int64), 6).numpy()).min() > 0


def test_shares_of_a_batch_add_up_to_it_also_after_a_resume(make_job: JobMaker) -> None:
    """Worker 0 and worker 1 of two see together, row for row, what one alone sees from global batch 3 on."""
    from eyewall.training.loop import training_batches
    from eyewall.training.plan import make_plan
    from eyewall.training.strategies import Share

    job = make_job(model="fusion", augment=True)
    plan = make_plan(job, Store(job.store).local(job.records_ref))

    def chances(share: Share, done: int, skip: int = 0) -> Any:
        stream = training_batches(plan, share, done).skip(skip)
        return next(iter(stream))[0][CHANCE].numpy()

    whole = chances(Share(), 3)
    halves = [chances(Share(index=index, count=2), 3) for index in (0, 1)]

    assert whole.shape == (8, NUMBERS)
    assert np.concatenate(halves).tolist() == whole.tolist()
    assert chances(Share(), 0, skip=3).tolist() == whole.tolist()
