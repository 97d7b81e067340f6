"""The bundled distances to the coast are those of the globe that everybody knows, without a seam."""

import numpy as np
import pytest
import tensorflow as tf

from eyewall.models.coast import CUT_OFF_KM, distance_km, grid_units


def at(lat_deg: float, lon_deg: float) -> float:
    return float(distance_km(tf.constant([lat_deg]), tf.constant([lon_deg]))[0])


@pytest.mark.parametrize(
    ("lat_deg", "lon_deg", "least_km", "greatest_km"),
    [
        # The greatest distance from land of the western North Pacific's middle is far above the cut-off.
        pytest.param(30.0, 180.0, CUT_OFF_KM, CUT_OFF_KM, id="middle of the Pacific"),
        # Lhasa to the Bay of Bengal: 7 degrees of latitude are some 780 km.
        pytest.param(29.65, 91.1, -900.0, -650.0, id="Lhasa"),
        # The strait is some 150 km wide, so that its middle is 75 km from either shore.
        pytest.param(24.5, 119.6, 45.0, 100.0, id="Taiwan Strait"),
        pytest.param(35.7, 139.75, -45.0, 15.0, id="Tokyo on its bay"),
        pytest.param(16.5, 121.2, -110.0, -40.0, id="inside Luzon"),
        # The Tasman Sea between Sydney and New Zealand is 2000 km wide.
        pytest.param(-37.0, 161.0, 700.0, CUT_OFF_KM, id="Tasman Sea"),
    ],
)
def test_known_places(lat_deg: float, lon_deg: float, least_km: float, greatest_km: float) -> None:
    assert least_km <= at(lat_deg, lon_deg) <= greatest_km


def test_longitude_may_be_given_in_any_turn() -> None:
    assert at(10.3, 125.2) == pytest.approx(at(10.3, 125.2 - 360.0), abs=0.1)


@pytest.mark.parametrize("lon_deg", [pytest.param(0.0, id="Greenwich"), pytest.param(180.0, id="the date line")])
def test_there_is_no_seam(lon_deg: float) -> None:
    """A distance changes by no more than the way: 0.02° of longitude is at most 2.2 km; bilinear, and rounded to 8."""
    for lat in np.linspace(-60, 60, 25):
        assert abs(at(float(lat), lon_deg - 0.01) - at(float(lat), lon_deg + 0.01)) < 4.0


def test_the_grid_is_whole() -> None:
    """Both kinds, within the cut-off; some 29 % of the globe is land, more of a grid that is dense at the poles."""
    units = grid_units()

    assert units.shape == (361, 720)
    assert (units.min(), units.max()) == (-127, 127)
    assert 0.28 < (units < 0).mean() < 0.40


def test_poles_are_on_the_grid() -> None:
    """Greenland ends at 83.7° N, 700 km from the pole; the Ross ice shelf is sea here, to 500 km from the other."""
    assert at(90.0, 33.0) == pytest.approx(704.0, abs=16.0)
    assert -700.0 < at(-90.0, 33.0) < -300.0
