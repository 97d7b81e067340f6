"""Geometry on the sphere, against a second method and at the places where it usually breaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.besttrack import sphere

ONE_DEGREE_KM = np.pi * 6371.0 / 180.0  # 111.195

latitudes = st.floats(-89.0, 89.0)
longitudes = st.floats(-180.0, 360.0)


def vector_distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Second method: the angle between two unit vectors, by cross and dot product (well-conditioned everywhere)."""
    a, b = (
        np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        for lat, lon in np.radians([[lat1, lon1], [lat2, lon2]])
    )
    return float(6371.0 * np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


@given(latitudes, longitudes, latitudes, longitudes)
def test_haversine_agrees_with_the_vector_formula(lat1: float, lon1: float, lat2: float, lon2: float) -> None:
    """To 0.2 km even beside the antipode, where the haversine's arcsine is flat, and to 1 mm within 10 000 km."""
    expected = vector_distance_km(lat1, lon1, lat2, lon2)
    assert sphere.distance_km(lat1, lon1, lat2, lon2) == pytest.approx(expected, abs=1e-6 if expected < 10_000 else 0.2)


@pytest.mark.parametrize(
    ("lat1", "lon1", "lat2", "lon2", "degrees"),
    [
        pytest.param(0.0, 179.5, 0.0, -179.0, 1.5, id="across the date line, both conventions"),
        pytest.param(0.0, 359.0, 0.0, 2.0, 3.0, id="across Greenwich"),
        pytest.param(89.0, 20.0, 89.0, 200.0, 2.0, id="over the pole"),
        pytest.param(90.0, 77.0, 87.0, -13.0, 3.0, id="from the pole, whatever its longitude"),
        pytest.param(10.0, 130.0, 14.0, 130.0, 4.0, id="along a meridian"),
        pytest.param(0.0, 0.0, 0.0, 180.0, 180.0, id="to the antipode"),
    ],
)
def test_distances_known_by_construction(lat1: float, lon1: float, lat2: float, lon2: float, degrees: float) -> None:
    """On meridians and the equator a distance is its degrees times 111.195 km."""
    assert sphere.distance_km(lat1, lon1, lat2, lon2) == pytest.approx(degrees * ONE_DEGREE_KM, abs=1e-6)


@given(latitudes, longitudes, st.floats(0.0, 9000.0), st.floats(-np.pi, np.pi))
def test_destination_undoes_displacement(lat: float, lon: float, length_km: float, bearing: float) -> None:
    """Displacement of the destination is the displacement gone, at any place and in any direction."""
    east, north = length_km * np.sin(bearing), length_km * np.cos(bearing)

    there = sphere.destination(lat, lon, east, north)

    assert 0.0 <= there[1] < 360.0
    np.testing.assert_allclose(sphere.displacement_km(lat, lon, *there), [east, north], atol=1e-5)
    assert sphere.distance_km(lat, lon, *there) == pytest.approx(length_km, abs=1e-6)


def test_displacement_is_east_then_north_and_crosses_the_date_line() -> None:
    """From 179.5° E, 1.5° further east is (+166.8, 0) km and not 358.5° to the west; south is negative."""
    np.testing.assert_allclose(sphere.displacement_km(0.0, 179.5, 0.0, 181.0), [1.5 * ONE_DEGREE_KM, 0.0], atol=1e-6)
    np.testing.assert_allclose(sphere.displacement_km(20.0, -175.0, 17.0, 185.0), [0, -3 * ONE_DEGREE_KM], atol=1e-6)


def test_bearings_are_clockwise_from_north() -> None:
    """East is +90°, west −90°, south ±180°."""
    bearings = np.degrees(sphere.bearing_rad(0.0, 170.0, [1.0, 0.0, 0.0, -1.0], [170.0, 171.0, 169.0, 170.0]))
    np.testing.assert_allclose(np.abs(bearings), [0.0, 90.0, 90.0, 180.0], atol=1e-9)
    assert bearings[1] > 0 > bearings[2]


def test_interpolation_halfway_is_equally_far_from_both_ends() -> None:
    """Across the date line too; on the great circle the parts add up to the whole."""
    whole = float(sphere.distance_km(30.0, 175.0, 45.0, -170.0))

    lat, lon = sphere.interpolate(30.0, 175.0, 45.0, -170.0, 0.5)

    assert float(sphere.distance_km(30.0, 175.0, lat, lon)) == pytest.approx(whole / 2)
    assert float(sphere.distance_km(lat, lon, 45.0, -170.0)) == pytest.approx(whole / 2)
    assert 175.0 < lon < 190.0


def test_missing_positions_stay_missing() -> None:
    """NaN in, NaN out: no distance is made up."""
    assert np.isnan(sphere.distance_km(np.nan, 130.0, 12.0, 131.0))


@given(longitudes)
def test_wrapped_longitudes_are_the_same_place(lon: float) -> None:
    """0 ≤ wrapped < 360, a whole number of turns away."""
    wrapped = float(sphere.wrap_lon_deg(lon))
    assert 0.0 <= wrapped < 360.0
    assert (wrapped - lon) / 360.0 == pytest.approx(round((wrapped - lon) / 360.0), abs=1e-9)
