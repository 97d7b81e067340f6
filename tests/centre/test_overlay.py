"""Burnt-in lines are told from the weather by their staying where they are, and are painted over."""

import numpy as np
import pytest

from eyewall.centre.overlay import MIN_PICTURES, fixed_lines, local_median, paint_over


def pictures(count, line=True, seed=0):
    """Weather that moves (a bright streak, in another row each time) over a slope, and a line in column 7."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(100, 140, 24)[:, None] + np.zeros((24, 30))
    made = []
    for i in range(count):
        picture = slope + rng.normal(0, 3, slope.shape)
        picture[i % 24] += 50
        if line:
            picture[:, 7] = 250
        made.append(picture.astype(np.float32))
    return made


def test_a_line_that_stays_is_found_and_a_streak_that_moves_is_not():
    lines = fixed_lines(pictures(60))

    assert lines[:, 7].mean() > 0.9
    assert np.delete(lines, 7, axis=1).mean() < 0.05


def test_without_lines_or_with_few_pictures_nothing_is_a_line():
    assert fixed_lines(pictures(60, line=False)).mean() < 0.01
    assert not fixed_lines(pictures(MIN_PICTURES - 1)).any()


def test_a_painted_line_is_what_is_beside_it():
    """On a slope from west to east the mean of both neighbours is what was there: (3 + 5) / 2 = 4."""
    slope = np.arange(12, dtype=np.float32)[None, :] + np.zeros((9, 12), np.float32)
    lines = np.zeros(slope.shape, bool)
    lines[:, 4] = True
    burnt = np.where(lines, 99, slope).astype(np.float32)

    np.testing.assert_allclose(paint_over(burnt, lines)[1:-1], slope[1:-1], atol=1e-5)


def test_wide_lines_are_painted_from_both_sides_and_missing_pixels_stay_missing():
    picture = np.full((9, 12), 7, np.float32)
    picture[0, 0] = np.nan
    lines = np.zeros(picture.shape, bool)
    lines[:, 3:8] = True
    lines[0, 0] = True
    picture[:, 3:8] = 200

    painted = paint_over(picture, lines)

    assert np.isnan(painted[0, 0])
    assert np.isfinite(painted).sum() == painted.size - 1
    np.testing.assert_allclose(painted[1:], 7)


def test_a_picture_that_is_nothing_but_lines_is_left_missing():
    assert np.isnan(paint_over(np.full((4, 5), 3, np.float32), np.ones((4, 5), bool))).all()


@pytest.mark.parametrize("missing", [pytest.param(False, id="whole"), pytest.param(True, id="with_gaps")])
def test_the_local_median_is_that_of_five_by_five(missing):
    """By a second method, a pixel at a time."""
    picture = np.random.default_rng(3).normal(5, 2, (8, 9)).astype(np.float32)
    if missing:
        picture[2, 3] = np.nan
    padded = np.pad(picture, 2, mode="reflect", reflect_type="odd")

    expected = [[np.nanmedian(padded[i : i + 5, j : j + 5]) for j in range(9)] for i in range(8)]

    np.testing.assert_allclose(local_median(picture), expected, rtol=1e-6)
