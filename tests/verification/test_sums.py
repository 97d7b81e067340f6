"""Sums by storm: they add up to the means, and merge without loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.verification.metrics import TrackErrors
from eyewall.verification.sums import FIELDS, storm_sums


def errors_from(km: np.ndarray) -> TrackErrors:
    """Errors of the given sizes, all of them behind the truth (along −km)."""
    valid = np.isfinite(km)
    return TrackErrors(km, -km, km * 0.5, valid, valid)


def test_each_storm_has_its_own_sum_and_count():
    storm = np.array(["b", "a", "b"], dtype=object)
    km = np.array([[3.0, 30.0], [4.0, 40.0], [5.0, np.nan]])
    errors = errors_from(km)

    found = storm_sums(storm, errors, errors.valid)

    assert found.storms == ("a", "b")
    # lead 0: a has 4 (one case), b has 3 + 5 = 8 (two); lead 1: a has 40, b has 30 alone
    np.testing.assert_array_equal(found.km, [[4, 40], [8, 30]])
    np.testing.assert_array_equal(found.n, [[1, 1], [2, 1]])
    np.testing.assert_array_equal(found.along_km, [[-4, -40], [-8, -30]])
    np.testing.assert_array_equal(found.along_abs_km, [[4, 40], [8, 30]])
    np.testing.assert_array_equal(found.cross_km, [[2, 20], [4, 15]])


def test_a_counted_case_without_a_forecast_is_refused_and_not_left_out():
    errors = errors_from(np.array([[3.0], [np.nan]]))

    with pytest.raises(ValueError, match="1 counted cases have no forecast"):
        storm_sums(np.array(["a", "a"], dtype=object), errors, np.ones((2, 1), dtype=bool))


def test_a_lead_holds_only_the_storms_that_have_a_case_there():
    errors = errors_from(np.array([[3.0, np.nan], [5.0, 7.0]]))

    found = storm_sums(np.array(["a", "b"], dtype=object), errors, errors.valid).at_lead(1)

    assert found.storms == ("b",)
    np.testing.assert_array_equal(found.km, [[7.0]])


@given(st.data())
def test_verifying_in_pieces_and_merging_changes_nothing(data):
    """Whole kilometres, so that sums of floats are exact in any order."""
    n = data.draw(st.integers(2, 30))
    km = np.array(data.draw(st.lists(st.lists(st.integers(1, 900), min_size=2, max_size=2), min_size=n, max_size=n)))
    storm = np.array(data.draw(st.lists(st.sampled_from("pqrs"), min_size=n, max_size=n)), dtype=object)
    cut = data.draw(st.integers(1, n - 1))
    pieces = []
    for part in (slice(None, cut), slice(cut, None)):
        errors = errors_from(km[part].astype(float))
        pieces.append(storm_sums(storm[part], errors, errors.valid))
    errors = errors_from(km.astype(float))

    merged, whole = pieces[1].merge(pieces[0]), storm_sums(storm, errors, errors.valid)

    assert merged.storms == whole.storms
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)
    assert merged.km.sum() == km.sum()
