"""Pictures on grids: the wanted pixel is the nearest one, across the date line and whatever the scan order."""

import dask.array as da
import numpy as np
import pytest
from pyresample.geometry import SwathDefinition
from pyresample.kd_tree import resample_nearest

from eyewall.contracts.fields import parse_area
from eyewall.satellite.geometry import grid, join, north_up, resample, target_area

GEOS = {"proj": "geos", "h": 35785863, "lon_0": 140.7, "a": 6378137, "b": 6356752.3}


def geostationary(rows: int = 110, columns: int = 110, half_m: float = 5_500_000.0):
    return grid("disk", GEOS, (rows, columns), (-half_m, -half_m, half_m, half_m))


# --- The grid that --area asks for ---


def test_pixels_are_counted_from_the_north_west() -> None:
    area = target_area(parse_area("100,0,180,60,0.1"))

    assert area.shape == (600, 800)
    np.testing.assert_allclose(area.area_extent, (100, 0, 180, 60))


def test_a_box_that_is_no_whole_number_of_pixels_never_grows() -> None:
    # 1.05° in steps of 0.1 are ten whole pixels; the south and the east lose half of one.
    area = target_area(parse_area("100,10,101.05,11.05,0.1"))

    assert area.shape == (10, 10)
    np.testing.assert_allclose(area.area_extent, (100, 10.05, 101, 11.05))


@pytest.mark.parametrize("text", ["160,0,200,30,0.5", "160,0,-160,30,0.5", "-200,0,-160,30,0.5"])
def test_any_way_of_writing_a_longitude_gives_the_same_box(text: str) -> None:
    np.testing.assert_allclose(target_area(parse_area(text)).area_extent, (160, 0, 200, 30))


# --- Nearest pixel by projecting the target ---


@pytest.mark.parametrize(
    "text",
    [pytest.param("130,5,150,25,0.5", id="in the middle"), pytest.param("170,-20,190,0,0.5", id="date line")],
)
def test_agrees_with_pyresamples_search_for_the_nearest_on_the_ground(text: str) -> None:
    source, target = geostationary(), target_area(parse_area(text))
    numbers = np.arange(110 * 110, dtype=np.float32).reshape(110, 110)

    ours = resample(numbers, source, target)
    # pyresample leaves longitudes above 180 out, so it gets the places themselves, wrapped.
    left, bottom, right, top = target.area_extent
    rows, columns = target.shape
    lon, lat = np.meshgrid(
        left + (np.arange(columns) + 0.5) * (right - left) / columns,
        top - (np.arange(rows) + 0.5) * (top - bottom) / rows,
    )
    places = SwathDefinition(lons=(lon + 180) % 360 - 180, lats=lat)
    theirs = resample_nearest(source, numbers, places, 300_000, fill_value=np.nan)

    row_difference = np.abs(ours // 110 - theirs // 110)
    column_difference = np.abs(ours % 110 - theirs % 110)
    # Nearest on the ground and nearest in the projection part only near the edge between two pixels.
    assert np.mean((row_difference == 0) & (column_difference == 0)) > 0.9
    assert max(row_difference.max(), column_difference.max()) <= 1


def test_what_the_satellite_does_not_see_is_missing() -> None:
    out = resample(np.ones((110, 110), np.float32) * 250, geostationary(), target_area(parse_area("-60,0,-40,20,1")))

    assert np.isnan(out).all()


def test_a_longitude_grid_is_found_from_either_side_of_the_date_line() -> None:
    source = grid("ll", "EPSG:4326", (2, 4), (-180, 0, -172, 4))  # columns of 2°, centres at -179 … -173
    data = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.float32)

    out = resample(data, source, target_area(parse_area("178,0,184,4,2")))

    # 178–180 is west of the source; 180–182 and 182–184 are its first two columns.
    np.testing.assert_array_equal(out, [[np.nan, 1, 2], [np.nan, 5, 6]])


def test_only_the_window_that_is_hit_is_computed() -> None:
    """A dask picture whose other chunks would raise."""

    def block(x: np.ndarray, block_info: dict) -> np.ndarray:
        row = block_info[0]["chunk-location"][0]
        if row != 2:
            raise AssertionError("this part of the disk was not asked for")
        return x

    lazy = da.from_array(np.full((100, 100), 251.0, np.float32), chunks=(20, 100))
    lazy = lazy.map_blocks(block, dtype=np.float32, meta=np.empty((0, 0), np.float32))

    out = resample(lazy, geostationary(100, 100), target_area(parse_area("135,-5,145,5,1")))

    assert (out == 251.0).all()


def test_a_swath_is_searched() -> None:
    lon, lat = np.meshgrid(np.arange(120, 131, 0.5), np.arange(10, 21, 0.5))
    swath = SwathDefinition(lons=lon, lats=lat)

    out = resample((lon + 100 * lat).astype(np.float32), swath, target_area(parse_area("122,12,124,14,1")))

    # Centres at 122.5/123.5 E and 13.5/12.5 N are points of the swath: 100·13.5 + 122.5 = 1472.5 …
    np.testing.assert_allclose(out, [[1472.5, 1473.5], [1372.5, 1373.5]])


# --- Strips and scan directions ---


def test_a_scan_from_the_south_east_is_turned() -> None:
    data = np.arange(6).reshape(2, 3)

    turned, area = north_up(data, grid("a", GEOS, (2, 3), (30.0, 20.0, 0.0, 0.0)))

    np.testing.assert_array_equal(turned, [[5, 4, 3], [2, 1, 0]])
    assert area.area_extent == (0.0, 0.0, 30.0, 20.0)


@pytest.mark.parametrize("turn", [pytest.param(False, id="from the north"), pytest.param(True, id="from the south")])
def test_a_missing_strip_between_two_is_a_gap_of_nan(turn: bool) -> None:
    """Rows of 10 m: strips of two rows at 60–40 and 20–0, so the rows 40–20 are missing."""
    north, south = (0.0, 40.0, 30.0, 60.0), (0.0, 0.0, 30.0, 20.0)
    if turn:
        north, south = ((left, top, right, bottom) for left, bottom, right, top in (north, south))
    areas = [grid("a", GEOS, (2, 3), extent) for extent in ((south, north) if turn else (north, south))]
    data = da.from_array(np.arange(12.0).reshape(4, 3))

    whole, area = join(data, areas)

    assert area.area_extent == (0.0, 0.0, 30.0, 60.0)
    values = whole.compute()
    assert np.isnan(values[2:4]).all()
    expected_top = [[9, 10, 11], [6, 7, 8]] if turn else [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(values[:2], expected_top)
