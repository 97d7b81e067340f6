"""Statistics leave out what a mask calls missing, and skew is said in sentences."""

import numpy as np
import pytest

from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, PAST_WIND_KT, PAST_WIND_VALID, ImageSpec
from eyewall.records.schema import FeatureStatistics
from eyewall.records.split import SplitYears
from eyewall.records.statistics import Gatherer, skew
from eyewall.records.testing import toy_samples

SPEC = ImageSpec(frames=2, px=8, km_per_px=100.0)


def samples(seed=1):
    return [s for _, s in toy_samples(SplitYears(2001, 2003, 2003, 2003), 2, SPEC, seed)]


def gathered(rows):
    gatherer = Gatherer()
    for row in rows:
        gatherer.add(row)
    return gatherer.result()


def test_masked_values_do_not_count():
    one = samples()[0]
    wind, valid = np.arange(9.0) * 10, np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])

    found = gathered([one | {PAST_WIND_KT: wind, PAST_WIND_VALID: valid}])[PAST_WIND_KT]

    # 60, 70, 80: mean 70, variance 200/3; six of nine missing
    assert (found.count, found.mean, found.min, found.max) == (3, pytest.approx(70), 60, 80)
    assert found.std == pytest.approx((200 / 3) ** 0.5)
    assert found.missing_fraction == pytest.approx(6 / 9)


def test_missing_pixels_count_only_in_frames_that_exist():
    one = samples()[0]
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[1, :, :4] = 250.0  # half of the second frame
    valid = np.array([0, 1], np.float32)

    found = gathered([one | {IMAGES: images, IMAGE_VALID: valid, IMAGE_AGE_H: np.array([0, 3.0])}])

    assert (found[IMAGES].count, found[IMAGES].missing_fraction, found[IMAGES].mean) == (32, 0.5, 250.0)
    assert (found[IMAGE_AGE_H].count, found[IMAGE_AGE_H].mean) == (1, 3.0)


def test_the_numbers_are_numpys_own():
    rows = samples()
    found = gathered(rows)["target_displacement_km.24h.east"]
    east = np.array([r["target_displacement_km"][2, 0] for r in rows if r["target_valid"][2]], np.float64)

    assert found.count == len(east)
    assert (found.mean, found.std) == (pytest.approx(east.mean()), pytest.approx(east.std()))
    assert (found.min, found.max) == (east.min(), east.max())


def test_two_halves_of_one_climate_show_no_skew():
    rows = samples()

    assert skew(gathered(rows[::2]), gathered(rows[1::2])) == []


def numbers(**changes):
    return FeatureStatistics(
        **({"count": 9, "missing_fraction": 0.1, "mean": 250, "std": 20, "min": 190, "max": 300} | changes)
    )


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        # 273.15 K of offset over a deviation of 20 K is 13.66 of them
        pytest.param({"images": numbers(mean=-23.15)}, "images: mean -23.15 against 250 in the", id="celsius"),
        pytest.param({"images": numbers(missing_fraction=0.6)}, "images: 60% missing against 10%", id="holes"),
        pytest.param({"image": numbers()}, "image is only in the other", id="renamed"),
    ],
)  # fmt: skip
def test_a_difference_is_one_sentence(other, sentence):
    assert any(found.startswith(sentence) for found in skew({"images": numbers()}, other))


def test_a_constant_that_changed_is_skew():
    assert skew({"x": numbers(mean=1, std=0)}, {"x": numbers(mean=2, std=0)}) == [
        "x: mean 2 against 1 in the reference (two constants apart)"
    ]


def test_a_feature_that_nobody_has_is_no_skew():
    nothing = numbers(count=0, missing_fraction=1.0, mean=0, std=0, min=0, max=0)

    assert skew({"x": nothing}, {"x": nothing}) == []
