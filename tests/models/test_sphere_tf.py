"""The sphere in the graph is the sphere in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from eyewall.besttrack import sphere
from eyewall.models import sphere_tf


def points(seed: int, n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Positions where storms are, on both sides of the equator, all around the globe."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-60, 60, n).astype(np.float32), rng.uniform(0, 360, n).astype(np.float32)


def test_displacements_equal_the_numpy_ones_to_ten_metres() -> None:
    """Up to 4000 km, in float32, across the date line and Greenwich too."""
    lat1, lon1 = points(1)
    rng = np.random.default_rng(2)
    lat2 = np.clip(lat1 + rng.uniform(-20, 20, lat1.shape), -65, 65).astype(np.float32)
    lon2 = np.mod(lon1 + rng.uniform(-30, 30, lon1.shape), 360).astype(np.float32)

    got = sphere_tf.displacement_km(*map(tf.constant, (lat1, lon1, lat2, lon2))).numpy()

    assert np.abs(got - sphere.displacement_km(lat1, lon1, lat2, lon2)).max() < 0.01


@pytest.mark.parametrize("lon", [pytest.param(359.9, id="greenwich"), pytest.param(179.9, id="date line")])
def test_a_short_way_over_the_seam_is_short(lon: float) -> None:
    """0.2 degrees of longitude at 20 N: 6371·π/180·0.2·cos 20° = 20.898 km, due east but for the curvature."""
    moved = sphere_tf.displacement_km(*map(tf.constant, (20.0, lon, 20.0, (lon + 0.2) % 360))).numpy()

    assert moved == pytest.approx([20.898, 0.013], abs=0.005)


def test_no_displacement_is_zero_and_not_nan() -> None:
    """A missing fix takes the base fix's place."""
    moved = sphere_tf.displacement_km(*map(tf.constant, (17.5, 131.2, 17.5, 131.2))).numpy()

    assert moved.tolist() == [0.0, 0.0]


def test_destinations_equal_the_numpy_ones_to_ten_metres() -> None:
    """Latitude and longitude, up to 3000 km away; longitudes are 0–360."""
    lat, lon = points(3)
    east, north = np.random.default_rng(4).uniform(-2000, 2000, (2, *lat.shape)).astype(np.float32)

    got_lat, got_lon = (v.numpy() for v in sphere_tf.destination(*map(tf.constant, (lat, lon, east, north))))

    want_lat, want_lon = sphere.destination(lat, lon, east, north)
    assert sphere.distance_km(got_lat, got_lon, want_lat, want_lon).max() < 0.01
    assert got_lon.min() >= 0
    assert got_lon.max() < 360


def test_a_destination_just_west_of_greenwich_is_below_360() -> None:
    """-1e-6 degrees modulo 360 rounds to 360 in float32, which the contract forbids."""
    _, lon = sphere_tf.destination(*map(tf.constant, (0.0, 0.0, -1e-4, 0.0)))

    assert 0 <= float(lon) < 360
