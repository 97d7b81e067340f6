"""Intervals by resampling storms: against a plain loop, and what resampling storms rather than cases means."""

import numpy as np
import pytest

from eyewall.verification.bootstrap import interval, resampled_means, storm_weights


def test_every_resample_draws_as_many_storms_as_there_are():
    weights = storm_weights(7, 200, seed=3)

    assert weights.shape == (200, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert len(np.unique(weights, axis=0)) > 100  # not one draw repeated


def test_the_matrix_product_is_the_plain_loop():
    """Second method: gather the cases of the drawn storms and take their mean."""
    rng = np.random.default_rng(1)
    cases = {storm: rng.uniform(50, 400, size=rng.integers(1, 9)) for storm in range(6)}
    totals = np.array([values.sum() for values in cases.values()])
    counts = np.array([len(values) for values in cases.values()], dtype=float)
    weights = storm_weights(6, 50, seed=5)

    found = resampled_means(weights, totals, counts)

    for row, drawn in zip(found, weights, strict=True):
        gathered = np.concatenate([np.tile(cases[s], int(times)) for s, times in enumerate(drawn) if times])
        assert row == pytest.approx(gathered.mean())


def test_the_interval_holds_the_middle_95_per_cent():
    # 0, 1, …, 1000: 2.5 % of them lie below 25 and above 975
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    assert interval(np.array([np.nan, np.nan])) is None


def test_equal_seeds_give_equal_intervals_and_others_others():
    totals, counts = np.array([30.0, 100.0, 17.0, 55.0]), np.array([1.0, 2.0, 1.0, 2.0])
    found = [interval(resampled_means(storm_weights(4, 500, seed), totals, counts)) for seed in (1, 1, 2)]

    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_interval_of_independent_storms_is_that_of_the_normal_law():
    """40 storms of 5 equal cases each: the mean's interval is ±1.96 s/√40 of the storms, not of the 200 cases."""
    rng = np.random.default_rng(2)
    by_storm = rng.normal(300, 60, 40)
    low, high = interval(resampled_means(storm_weights(40, 4000, 0), 5 * by_storm, np.full(40, 5.0)))

    half = 1.96 * by_storm.std() / 40**0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)


def test_a_paired_difference_is_far_sharper_than_two_intervals():
    """B is 10 km worse than A at each storm, storms differ by hundreds: the pair knows it, the single means do not."""
    a = np.array([100.0, 250.0, 400.0, 700.0, 330.0])
    counts = np.ones(5)
    weights = storm_weights(5, 500, seed=0)
    means_a, means_b = (resampled_means(weights, values, counts) for values in (a, a + 10))

    assert interval(means_b - means_a) == pytest.approx((10.0, 10.0))
    assert interval(means_a)[1] - interval(means_a)[0] > 100
