"""Crops show the same place in every projection: checked against the field itself, and against pyresample's look-up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyresample.geometry import AreaDefinition

from eyewall.besttrack.sphere import bearing_rad, distance_km
from eyewall.records.resample import Grid, bilinear, crop, storm_grid

PX, KM = 20, 25.0


def area(projection, width, height, extent):
    return AreaDefinition("test", "test", "test", projection, width, height, extent)


LON_LAT = {"proj": "longlat", "datum": "WGS84"}
AREAS = {
    "lat_lon_box": area(LON_LAT, 400, 300, (110, 0, 150, 30)),
    "lat_lon_box_over_the_date_line": area(LON_LAT, 400, 300, (165, 0, 205, 30)),
    "lat_lon_box_minus_180": area(LON_LAT, 300, 300, (-180, 0, -150, 30)),
    "lambert_conformal": area(
        {"proj": "lcc", "lat_1": 30, "lat_2": 60, "lat_0": 20, "lon_0": 128.5, "R": 6371000},
        400, 400, (-2e6, -2e6, 2e6, 2e6),
    ),
    "lambert_azimuthal": area(
        {"proj": "laea", "lat_0": 20, "lon_0": 179, "R": 6371000}, 512, 512, (-1.28e6, -1.28e6, 1.28e6, 1.28e6)
    ),
    "himawari": area(
        {"proj": "geos", "lon_0": 140.7, "h": 35785863, "a": 6378137, "b": 6356752.3, "sweep": "y"},
        550, 550, (-5.5e6, -5.5e6, 5.5e6, 5.5e6),
    ),
    "himawari_scanned_from_the_south_east": area(
        {"proj": "geos", "lon_0": 140.7, "h": 35785863, "a": 6378137, "b": 6356752.3, "sweep": "y"},
        550, 550, (5.5e6, 5.5e6, -5.5e6, -5.5e6),
    ),
}  # fmt: skip
CENTRES = {
    "lat_lon_box": (15.0, 130.0),
    "lat_lon_box_over_the_date_line": (15.0, 180.2),
    "lat_lon_box_minus_180": (15.0, 195.0),
    "lambert_conformal": (20.0, 130.0),
    "lambert_azimuthal": (20.0, 179.9),
    "himawari": (18.0, 150.0),
    "himawari_scanned_from_the_south_east": (-12.0, 128.0),
}


def field_k(lat_deg, lon_deg):
    """A smooth field that tells north from south and east from west and does not jump at the date line."""
    return 260 + 20 * np.sin(np.radians(5 * lat_deg)) + 15 * np.sin(np.radians(4 * lon_deg))


def frame(name):
    lon, lat = AREAS[name].get_lonlats()
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(lon), field_k(lat, lon), np.nan).astype(np.float32)


@pytest.mark.parametrize("name", AREAS)
def test_a_crop_shows_the_field_of_its_place(name):
    """20 pixels of 25 km; the field changes by at most 2 K a degree (111 km), so 0.1 K is 6 km."""
    lat, lon = CENTRES[name]
    image = crop(frame(name), Grid.of(AREAS[name]), lat, lon, PX, KM)
    expected = field_k(*storm_grid(lat, lon, PX, KM))

    assert np.abs(image - expected).max() < 0.1
    assert image.dtype == np.float32


# pyresample itself finds no pixel east of 180 degrees in a box that crosses the date line.
@pytest.mark.parametrize("name", sorted(AREAS.keys() - {"lat_lon_box_over_the_date_line"}))
def test_pixel_coordinates_are_those_of_pyresample(name):
    lat, lon = storm_grid(*CENTRES[name], PX, KM)
    row, column = Grid.of(AREAS[name]).row_column(lat, lon)
    wrapped = np.mod(lon + 180, 360) - 180
    theirs_column, theirs_row = AREAS[name].get_array_coordinates_from_lonlat(wrapped, lat)

    assert np.abs(row - theirs_row).max() < 1e-6
    assert np.abs(column - theirs_column).max() < 1e-6


def test_row_0_is_north_and_column_0_is_west():
    lat, lon = storm_grid(20.0, 179.9, 5, 100.0)

    assert lat[0, 2] > 20.0 > lat[-1, 2]
    assert lon[2, 0] < 179.9 < lon[2, -1] == pytest.approx(181.8, abs=0.1)  # 200 km at 20 N are 1.91 degrees
    assert (lat[2, 2], lon[2, 2]) == (pytest.approx(20.0), pytest.approx(179.9))


@given(lat=st.floats(-60, 60), lon=st.floats(0, 359.9), px=st.integers(8, 33), km=st.floats(1, 40))
@settings(max_examples=50)
def test_every_pixel_lies_where_its_number_says(lat, lon, px, km):
    """Second method: distance and bearing from the centre, on the sphere."""
    lats, lons = storm_grid(lat, lon, px, km)
    i, j = px - 1, 0  # the south-west corner: as far south as west
    reach_km = (px - 1) / 2 * km * 2**0.5

    assert float(distance_km(lat, lon, lats[i, j], lons[i, j])) == pytest.approx(reach_km, rel=1e-6)
    assert np.degrees(bearing_rad(lat, lon, lats[i, j], lons[i, j])) == pytest.approx(-135, abs=1e-4)


def test_outside_the_frame_is_missing_and_half_of_it_is_half():
    """The centre on the box's eastern edge: the ten eastern columns of twenty lie outside."""
    image = crop(frame("lat_lon_box"), Grid.of(AREAS["lat_lon_box"]), 15.0, 150.0, PX, KM)

    assert np.isnan(image[:, 10:]).all()
    assert np.isfinite(image[:, :10]).all()


def test_space_beyond_the_limb_is_missing():
    """78 degrees west of the satellite is near the limb of its view (81.3 degrees)."""
    image = crop(frame("himawari"), Grid.of(AREAS["himawari"]), 0.0, 140.7 - 78.0, PX, 60.0)

    assert np.isnan(image[:, 0]).all()
    assert np.isfinite(image[:, -1]).any()


def test_a_place_on_the_other_side_of_the_earth_is_missing_altogether():
    grid = Grid.of(AREAS["himawari"])

    assert np.isnan(crop(frame("himawari"), grid, 0.0, 320.7, PX, KM)).all()
    assert not grid.shows(0.0, 320.7)
    assert grid.shows(0.0, 140.7)


def test_bilinear_by_hand():
    data = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    row = np.array([0.0, 0.5, 0.5, -0.4, -0.6, 1.0])
    column = np.array([0.25, 0.0, 0.5, 0.0, 0.0, 1.4])

    # 1·¾ + 2·¼;  (1 + 3)/2;  (1 + 2 + 3 + 5)/4;  still the first pixel's area;  outside;  the last pixel's area
    assert bilinear(data, row, column) == pytest.approx([1.25, 2.0, 2.75, 1.0, np.nan, 5.0], nan_ok=True)


def test_a_missing_neighbour_has_no_weight():
    data = np.array([[1.0, np.nan], [3.0, 5.0]], np.float32)

    # at (½, ½) three of four are known: (1 + 3 + 5)/3; at (0, 0.75) only a quarter of the weight is
    assert bilinear(data, np.array([0.5, 0.0]), np.array([0.5, 0.75])) == pytest.approx([3.0, np.nan], nan_ok=True)


def test_a_fine_frame_is_averaged_not_picked():
    """A checkerboard of 200 and 300 K in pixels of 2.5 km is 250 K everywhere in pixels of 25 km."""
    fine = area({"proj": "aeqd", "lat_0": 20, "lon_0": 140, "R": 6371000}, 400, 400, (-5e5, -5e5, 5e5, 5e5))
    board = np.where(np.indices((400, 400)).sum(axis=0) % 2, 300.0, 200.0).astype(np.float32)

    assert crop(board, Grid.of(fine), 20.0, 140.0, PX, KM) == pytest.approx(np.full((PX, PX), 250.0))


def test_the_blocks_are_the_plain_means():
    """Second method: the target's pixels coincide with blocks of 10 × 10 pixels of 2.5 km, centre on a block corner."""
    fine = area({"proj": "aeqd", "lat_0": 20, "lon_0": 140, "R": 6371000}, 400, 400, (-5e5, -5e5, 5e5, 5e5))
    noise = np.random.default_rng(3).normal(250, 20, (400, 400)).astype(np.float32)
    blocks = noise[100:300, 100:300].reshape(20, 10, 20, 10).mean(axis=(1, 3))

    assert np.abs(crop(noise, Grid.of(fine), 20.0, 140.0, PX, KM) - blocks).max() < 0.01


def test_averaging_does_not_invent_what_lies_beyond_the_edge():
    """405 pixels are 40 blocks of 10 and a half one; the frame ends 506.25 km east of its centre."""
    fine = area({"proj": "aeqd", "lat_0": 20, "lon_0": 140, "R": 6371000}, 405, 405, (-506250, -506250, 506250, 506250))
    image = crop(np.full((405, 405), 250.0, np.float32), Grid.of(fine), 20.0, 140.0, 60, 25.0)
    axis_km = (np.arange(60) - 29.5) * 25

    assert np.array_equal(np.isfinite(image[30]), np.abs(axis_km) < 506.25)
    assert np.nanmin(image) == np.nanmax(image) == 250.0
