"""Squares: a pixel and its place are each other's inverse, however the square is turned, and what is cut is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.besttrack.sphere import distance_km
from eyewall.centre.charts import Chart
from eyewall.centre.squares import View, cut, place_of, shaken
from eyewall.models.encoder_card import PictureScale
from eyewall.records.resample import Grid

SCALE = PictureScale(quantity="brightness_temperature_k", mean=10.0, std=2.0, px=32, km_per_px=20.0)


def box(west=120.0, south=0.0, east=150.0, north=30.0, step=0.25):
    """A longitude-latitude grid."""
    return Grid("", True, (west, south, east, north), round((north - south) / step), round((east - west) / step))


def chart_of(value, grid):
    """A chart that holds ``value`` (a function of latitude and longitude) at each pixel's centre."""
    left, bottom, right, top = grid.extent
    lon = left + (np.arange(grid.columns) + 0.5) * (right - left) / grid.columns
    lat = top - (np.arange(grid.rows) + 0.5) * (top - bottom) / grid.rows
    return Chart(value(lat[:, None] + 0 * lon, lon + 0 * lat[:, None]).astype(np.float32), grid)


@settings(max_examples=50, deadline=None)
@given(
    lat=st.floats(-50, 50), lon=st.floats(0, 359.9), turn=st.floats(-30, 30),
    row=st.floats(0, 31), column=st.floats(0, 31),
)  # fmt: skip
def test_places_and_pixels_are_each_others_inverse(lat, lon, turn, row, column):
    view = View(lat, lon, 32, 25.0, turn)

    back = view.pixels(*view.places(np.array([row]), np.array([column])))

    np.testing.assert_allclose(np.concatenate(back), [row, column], atol=1e-6)


def test_a_pixel_is_so_many_kilometres_and_rows_go_south():
    """Rows 10 and 5 right above the middle: 5 pixels of 20 km are 100 km."""
    view = View(20.0, 130.0, 32, 20.0)
    lat, lon = view.places(np.array([5.0, 10.0]), np.array([15.5, 15.5]))

    assert lat[0] > lat[1] > 20
    assert float(distance_km(lat[0], lon[0], lat[1], lon[1])) == pytest.approx(100, abs=1e-6)


def test_a_view_turned_anticlockwise_shows_the_west_at_its_top():
    """The top of the square points to the north-west at 45 degrees."""
    lat, lon = View(0.0, 130.0, 33, 20.0, turn_deg=45.0).places(np.array([0.0]), np.array([16.0]))

    assert lat[0] > 0 > lon[0] - 130
    assert lat[0] == pytest.approx(130 - lon[0], rel=1e-3)


def test_squares_are_mirrored_south_of_the_equator_and_only_there():
    """The top of a southern square is its south: storms turn the same way in all squares."""
    north, south = (View(lat, 130.0, 32, 20.0) for lat in (15.0, -15.0))

    assert north.places(np.array([0.0]), np.array([15.5]))[0] > 15
    assert south.places(np.array([0.0]), np.array([15.5]))[0] < -15
    for view in (north, south):
        assert view.places(np.array([15.5]), np.array([31.0]))[1] > 130  # east is on the right in both


@pytest.mark.parametrize("turn", [pytest.param(0.0, id="upright"), pytest.param(17.0, id="turned")])
def test_what_is_cut_is_what_is_at_the_place_of_each_pixel(turn):
    """A field that is linear in latitude and longitude, which bilinear lookup keeps."""
    chart = chart_of(lambda lat, lon: 0.1 * lat + 0.05 * lon, box())
    view = View(15.0, 135.0, 32, 20.0, turn)
    lat, lon = view.places(*np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij"))

    planes = cut(chart, view, SCALE)

    assert (planes[..., 1] == 1).all()
    np.testing.assert_allclose(planes[..., 0] * 2.0 + 10.0, 0.1 * lat + 0.05 * lon, atol=2e-3)


def test_what_lies_beyond_the_chart_is_zero_in_both_planes():
    planes = cut(chart_of(lambda lat, lon: lat + lon, box()), View(15.0, 120.0, 32, 20.0), SCALE)

    known = planes[..., 1]
    assert 0.4 < known.mean() < 0.6  # the west half is off the chart
    assert (planes[known == 0] == 0).all()


def test_a_square_across_the_seam_of_a_global_chart_has_no_smear():
    """Columns jump from the last to the first there; a straight line between knots would cross the whole globe."""
    chart = chart_of(lambda lat, lon: np.cos(np.radians(lon)) * 10, box(0.0, -30.0, 360.0, 30.0, 0.5))
    view = View(0.0, 0.0, 32, 40.0)
    _, lon = view.places(*np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij"))

    planes = cut(chart, view, SCALE)

    known = planes[..., 1] > 0
    assert known.mean() > 0.9
    np.testing.assert_allclose((planes[..., 0] * 2 + 10)[known], (10 * np.cos(np.radians(lon)))[known], atol=0.01)


def test_place_of_is_the_inverse_of_the_grid_and_space_has_none():
    grid = box()
    lat, lon = place_of(grid, 12.5, 40.25)
    row, column = grid.row_column(np.array([lat]), np.array([lon]))
    space = Grid("+proj=geos +h=35785831 +lon_0=140.7 +sweep=y", False, (-5.5e6, -5.5e6, 5.5e6, 5.5e6), 100, 100)

    np.testing.assert_allclose([row[0], column[0]], [12.5, 40.25])
    assert place_of(space, 0, 0) is None
    np.testing.assert_allclose(place_of(space, 49.5, 49.5), (0, 140.7), atol=1e-6)


def test_shaking_changes_grey_levels_but_neither_the_mask_nor_what_is_missing():
    planes = cut(chart_of(lambda lat, lon: lat + lon, box()), View(15.0, 120.0, 32, 20.0), SCALE)

    other = shaken(planes, np.random.default_rng(5))

    assert (other[..., 1] == planes[..., 1]).all()
    assert (other[planes[..., 1] == 0] == 0).all()
    assert np.abs(other - planes).max() > 0.01
