"""The rings of a wide scene: geometry, symmetry, and what is missing."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.models.rings import RingsNetwork, ring_masks, turned

SPEC = ImageSpec(frames=2, px=32, km_per_px=100.0, quantity="grey_level")


def network(spec: ImageSpec = SPEC) -> RingsNetwork:
    """With weights that have learned something."""
    made = RingsNetwork(spec, name="network")
    made(*(tf.zeros(shape) for shape in ((1, 2), (1, 2, spec.px, spec.px, 2), (1, 2), (1, 2))))
    made.set_weights([np.random.default_rng(3).normal(0, 0.3, w.shape) for w in made.get_weights()])
    return made


def scene(n: int = 3) -> dict[str, Any]:
    """Clouds at random, some pixels unknown, the older frame of the last sample missing."""
    rng = np.random.default_rng(4)
    known = rng.random((n, 2, SPEC.px, SPEC.px)) > 0.1
    valid = np.ones((n, 2), np.float32)
    valid[-1, 0] = 0
    heading = rng.normal(0, 1, (n, 2))
    return {
        "heading": (heading / np.linalg.norm(heading, axis=1, keepdims=True)).astype(np.float32),
        "planes": np.stack([rng.normal(0, 1, known.shape) * known, known], axis=-1).astype(np.float32),
        "age_h": np.tile(np.float32([6.0, 0.5]), (n, 1)),
        "valid": valid,
    }


def test_a_turned_scene_gives_a_turned_correction() -> None:
    """By 90° to the left, which pixels can do exactly: scene, heading, and so the correction."""
    given = scene()
    left = given | {
        "heading": turned(tf.constant(given["heading"])).numpy(),
        "planes": np.rot90(given["planes"], axes=(2, 3)),  # the columns' axis to the rows': counter-clockwise
    }
    answer, of_left = network()(**given), network()(**left)

    assert np.abs(answer).max() > 0.05
    assert of_left.numpy() == pytest.approx(turned(answer).numpy(), abs=1e-5)


def test_cloud_in_the_east_leans_to_the_east() -> None:
    """A bank of cloud in the first ring between the north-east and the south-east; by hand, without turned weights."""
    masks, east, _ = ring_masks(SPEC.px, SPEC.km_per_px, (700.0, 1000.0, 1450.0))
    bank = ((masks[0] > 0) & (east > 0.71)).astype(np.float32)
    planes = np.stack([bank * 5, np.ones_like(bank)], axis=-1)[None, None].repeat(2, axis=1)
    vectors = network().vectors(np.float32([[0, 1]]), planes, np.float32([[1, 1]])).numpy()[0]
    inside = masks[0] > 0
    share = bank[inside].mean()  # a quarter of the ring
    towards_east = (bank[inside] - share) @ east[inside] / inside.sum()  # (1/2π)·√2 ≈ 0.225 for a quarter

    assert share == pytest.approx(0.25, abs=0.02)
    assert towards_east == pytest.approx(0.225, abs=0.02)
    assert vectors[0] == pytest.approx([towards_east / 0.17, 0.0], abs=1e-4)
    assert vectors[1] == pytest.approx([0.0, 0.0], abs=1e-5)  # the second ring is clear all round
    assert vectors[4] == pytest.approx([0.0, (share - 0.35) / 0.16], abs=1e-4)  # the mean, along a northward heading


def test_untrained_it_corrects_nothing_and_without_a_frame_never() -> None:
    """Zeros at first; and zeros for a sample whose mask is 0, whatever its pixels are."""
    given = scene()
    blind = given | {"valid": np.zeros_like(given["valid"])}
    fresh = RingsNetwork(SPEC, name="network")

    assert not fresh(**given).numpy().any()
    assert fresh(**given).shape == (3, len(LEADS_H), 2)
    assert not network()(**blind).numpy().any()
    assert network()(**given).numpy().any()


def test_a_missing_frame_and_unknown_pixels_have_no_influence() -> None:
    """The last sample's older frame, and the pixels whose mask is 0, may hold anything."""
    given = scene()
    noise = np.array(given["planes"])
    noise[..., 0] = np.where(noise[..., 1] > 0, noise[..., 0], 9.0)
    noise[-1, 0] = 3.3

    assert network()(**(given | {"planes": noise})).numpy() == pytest.approx(network()(**given).numpy(), abs=1e-6)


def test_what_is_cold_is_bright_in_grey_levels_and_low_in_kelvin() -> None:
    """The same scene in the other quantity, whose sign is the other way round: the same answer."""
    given = scene()
    kelvin = network(SPEC.model_copy(update={"quantity": "brightness_temperature_k"}))
    mirrored = given | {"planes": given["planes"] * np.float32([-1, 1])}

    assert kelvin(**mirrored).numpy() == pytest.approx(network()(**given).numpy(), abs=1e-6)


def test_pictures_that_do_not_hold_the_rings_are_refused() -> None:
    """With what to make instead."""
    with pytest.raises(
        InputError, match=r"64 px of 20 km reach 640 km and the rings 1450 km: .*--px 32 --km-per-px 100"
    ):
        RingsNetwork(ImageSpec(frames=1, px=64, km_per_px=20.0))
