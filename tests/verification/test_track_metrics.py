"""Errors of positions: distances, signs of the components, missing truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.besttrack.sphere import EARTH_RADIUS_KM, destination, distance_km
from eyewall.verification.metrics import arrival_bearing_rad, track_errors

KM_PER_DEG = np.pi * EARTH_RADIUS_KM / 180  # 111.19 km

latitudes = st.floats(-60, 60)
longitudes = st.floats(0, 359.99)
bearings = st.floats(0, 2 * np.pi)


def errors_of(forecast: tuple[float, float], truth: tuple[float, float], motion_deg: float):
    """Errors of one case at one lead."""
    lat, lon, truth_lat, truth_lon = (np.array([[v]]) for v in (*forecast, *truth))
    return track_errors(lat, lon, truth_lat, truth_lon, np.radians(np.array([[motion_deg]])))


@pytest.mark.parametrize(
    ("forecast", "motion_deg", "along_deg", "cross_deg"),
    [
        pytest.param((22.0, 135.0), 0.0, 2.0, 0.0, id="2_deg_north_of_a_northward_storm_is_ahead"),
        pytest.param((18.5, 135.0), 0.0, -1.5, 0.0, id="south_of_a_northward_storm_is_behind"),
        pytest.param((22.0, 135.0), 270.0, 0.0, 2.0, id="north_of_a_westward_storm_is_to_its_right"),
        pytest.param((18.5, 135.0), 270.0, 0.0, -1.5, id="south_of_a_westward_storm_is_to_its_left"),
        pytest.param((22.0, 135.0), 90.0, 0.0, -2.0, id="north_of_an_eastward_storm_is_to_its_left"),
        # cos 45° = 0.7071: 2° north of a storm to the north-west is √2° ahead and √2° to the right
        pytest.param((22.0, 135.0), 315.0, 2**0.5, 2**0.5, id="north_of_a_north_westward_storm"),
    ],
)
def test_ahead_and_right_are_positive(forecast, motion_deg, along_deg, cross_deg):
    found = errors_of(forecast, (20.0, 135.0), motion_deg)

    assert found.km[0, 0] == pytest.approx(abs(forecast[0] - 20.0) * KM_PER_DEG)
    assert found.along_km[0, 0] == pytest.approx(along_deg * KM_PER_DEG, abs=1e-6)
    assert found.cross_km[0, 0] == pytest.approx(cross_deg * KM_PER_DEG, abs=1e-6)


@given(latitudes, longitudes, bearings, st.floats(0.5, 1500), bearings)
def test_the_components_keep_the_distance(lat, lon, to, km, motion):
    """along² + cross² = distance², across the date line too, and the distance is the great circle's."""
    there = destination(lat, lon, km * np.sin(to), km * np.cos(to))
    arrays = [np.reshape(v, (1, 1)) for v in (*there, lat, lon, motion)]

    found = track_errors(*arrays)

    assert found.km[0, 0] == pytest.approx(km, rel=1e-6)
    assert np.hypot(found.along_km, found.cross_km)[0, 0] == pytest.approx(found.km[0, 0], rel=1e-9)
    # a second way: the angle between the error and the motion
    assert found.along_km[0, 0] == pytest.approx(km * np.cos(to - motion), abs=1e-3)
    assert found.cross_km[0, 0] == pytest.approx(km * np.sin(to - motion), abs=1e-3)


def test_a_missing_truth_is_nan_with_its_mask_and_not_zero():
    lat = np.array([[20.0, 21.0], [22.0, 23.0]])
    lon = np.full((2, 2), 135.0)
    truth_lat = np.array([[20.0, np.nan], [21.0, 21.0]])
    motion = np.array([[0.0, 0.0], [0.0, np.nan]])

    found = track_errors(lat, lon, truth_lat, lon, motion)

    # case 0: exact at the first lead, no truth at the second; case 1: 1° and 2° off, no direction at the second
    np.testing.assert_allclose(found.km / KM_PER_DEG, [[0, np.nan], [1, 2]])
    np.testing.assert_array_equal(found.valid, [[True, False], [True, True]])
    np.testing.assert_array_equal(found.motion_valid, [[True, False], [True, False]])
    assert np.isnan(found.along_km[1, 1])
    assert np.isnan(found.cross_km[1, 1])


@pytest.mark.parametrize(
    ("earlier", "now", "degrees"),
    [
        pytest.param((20.0, 135.0), (21.0, 135.0), 0.0, id="northward"),
        pytest.param((0.0, 179.5), (0.0, 180.5), 90.0, id="eastward_over_the_date_line"),
        pytest.param((0.0, 0.5), (0.0, 359.5), 270.0, id="westward_over_greenwich"),
        pytest.param((-20.0, 60.0), (-21.0, 60.0), 180.0, id="southward_in_the_southern_hemisphere"),
    ],
)
def test_the_direction_of_motion_is_clockwise_from_north(earlier, now, degrees):
    found = np.degrees(arrival_bearing_rad(*earlier, *now)) % 360

    assert min(found % 360, 360 - found % 360) < 1e-9 if degrees == 0 else found == pytest.approx(degrees)


@given(latitudes, longitudes, bearings, st.floats(20, 600))
def test_the_direction_is_that_of_arrival(lat, lon, heading, km):
    """Going on from the fix in that direction leads further away from the earlier fix along the same great circle."""
    now = destination(lat, lon, km * np.sin(heading), km * np.cos(heading))
    arrival = arrival_bearing_rad(lat, lon, *now)

    on = destination(*now, 50 * np.sin(arrival), 50 * np.cos(arrival))

    assert distance_km(lat, lon, *on) == pytest.approx(km + 50, abs=1e-3)


def test_a_storm_that_stands_still_has_no_direction():
    assert np.isnan(arrival_bearing_rad(20.0, 135.0, 20.0, 135.0))
    assert np.isnan(arrival_bearing_rad(np.nan, 135.0, 20.0, 135.0))
