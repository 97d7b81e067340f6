"""Positions from maps: with maps that know the truth, what comes out is the truth, wherever the guess is."""

import numpy as np
import pytest

from eyewall.besttrack.sphere import destination, distance_km
from eyewall.centre.charts import Chart
from eyewall.centre.locate import centre_of, in_basin, near_guess, radii, shifted, tiles_of, views_of
from eyewall.centre.squares import View
from eyewall.models.encoder_card import PictureScale
from eyewall.records.resample import Grid

SCALE = PictureScale(quantity="grey_level", mean=100.0, std=50.0, px=64, km_per_px=20.0)


def sea(west=120.0, east=160.0):
    """A chart of a grey sea, 120-160 E, 0-30 N, 0.2 degrees a pixel."""
    grid = Grid("", True, (west, 0.0, east, 30.0), 150, round((east - west) * 5))
    return Chart(np.full((grid.rows, grid.columns), 100, np.float32), grid)


def knowing(views, storms, width_km=40.0, strength=1.0):
    """Maps [v, y/2, x/2] that peak at the storms, for these views in this order."""

    def maps(planes):
        assert len(planes) == len(views)
        made = []
        for view in views:
            axis = np.arange(view.px // 2) * 2 + 0.5
            lat, lon = view.places(*np.meshgrid(axis, axis, indexing="ij"))
            rate = np.full(lat.shape, 1e-9)
            for storm in storms:
                away = distance_km(*storm, lat, lon)
                cells = strength * (2 * view.km_per_px) ** 2 / (2 * np.pi * width_km**2)
                rate += cells * np.exp(-(away**2) / (2 * width_km**2))
            made.append(np.log(rate))
        return np.array(made, np.float32)

    return maps


@pytest.mark.parametrize(
    ("east_km", "north_km"),
    [
        pytest.param(0, 0, id="guess_is_right"),
        pytest.param(180, -160, id="241_km_off"),
        pytest.param(-60, 90, id="near"),
    ],
)
def test_a_storm_is_found_to_a_fraction_of_a_cell_wherever_the_guess_is(east_km, north_km):
    """Cells are 40 km; the place is had to 5 km, and the network expects about one storm there."""
    storm = (18.3, 138.7)
    guess = tuple(float(v) for v in destination(*storm, east_km, north_km))

    found = near_guess(knowing(views_of(*guess, 3, SCALE), [storm]), sea(), *guess, 300.0, SCALE, 3)

    assert float(distance_km(*storm, found.lat_deg, found.lon_deg)) < 5
    assert found.expected == pytest.approx(1, abs=0.25)  # logarithms are interpolated, which cuts peaks a little


def test_the_circles_hold_their_share_of_a_gaussian():
    """Of a round Gaussian 68 % lie within 1.51 and 95 % within 2.45 standard deviations: 60 and 98 km of 40."""
    storm = (18.3, 138.7)
    found = near_guess(knowing(views_of(*storm, 1, SCALE), [storm]), sea(), *storm, 300.0, SCALE, 1)

    np.testing.assert_allclose(found.radii_km, (60, 98), rtol=0.15)


def test_a_storm_beyond_the_search_is_none_of_this_guess():
    """The one 500 km away is stronger, and another's."""
    near, far = (18.0, 138.0), tuple(float(v) for v in destination(18.0, 138.0, 500.0, 0.0))
    views = views_of(*near, 1, SCALE)

    found = near_guess(knowing(views, [near, far, far, far]), sea(), *near, 300.0, SCALE, 1)

    assert float(distance_km(*near, found.lat_deg, found.lon_deg)) < 10


def test_a_map_that_knows_nothing_leaves_the_guess_where_it_is():
    guess = (15.0, 140.0)

    def nothing(planes):
        return np.zeros((len(planes), SCALE.px // 2, SCALE.px // 2), np.float32)

    found = near_guess(nothing, sea(), *guess, 200.0, SCALE, 1)

    assert found.radii_km[1] > 150  # and says so: 95 % of a disc of 200 km is within 195 km of its middle


def test_a_guess_off_the_chart_finds_nothing():
    assert near_guess(knowing([View(15.0, 200.0, 64, 20.0)], []), sea(), 15.0, 200.0, 200.0, SCALE, 1) is None


def test_basin_wide_every_storm_is_found_once_and_the_surest_comes_first():
    """Three storms of which one is half as sure, near the borders of tiles."""
    chart = sea()
    storms = [(8.0, 125.0), (22.0, 140.1), (12.0, 152.0)]
    tiles = tiles_of(chart, SCALE)
    sure, unsure = knowing(tiles, storms[:2], strength=0.9), knowing(tiles, storms[2:], strength=0.4)

    found = in_basin(lambda planes: np.logaddexp(sure(planes), unsure(planes)), chart, SCALE)

    # Cells of two tiles do not fit together seamlessly: near a border the sum is off by some of them.
    assert [one.expected for one in found] == pytest.approx([0.9, 0.9, 0.4], abs=0.25)
    for storm in storms:
        away = [float(distance_km(*storm, one.lat_deg, one.lon_deg)) for one in found]
        assert sorted(away)[0] < 15
        assert sorted(away)[1] > 300
    assert float(distance_km(*storms[2], found[2].lat_deg, found[2].lon_deg)) < 15


def test_tiles_cover_a_chart_that_is_wider_than_one():
    """60 degrees at the equator are 6672 km, 30 are 3336; a tile's own part is 48 pixels of 20 km: 7 across, 4 down."""
    tiles = tiles_of(sea(100.0, 160.0), SCALE)

    assert len(tiles) == 28
    assert {tile.px for tile in tiles} == {SCALE.px}


def test_an_empty_sea_has_no_storm():
    tiles = tiles_of(sea(), SCALE)

    assert in_basin(knowing(tiles, []), sea(), SCALE) == []


def test_first_guesses_fill_the_disc_evenly_and_depend_on_the_name_alone():
    """Of a disc's area a quarter lies within half of its radius."""
    guesses = [shifted(20.0, 130.0, 300.0, 0, f"storm {i}") for i in range(400)]
    away = np.array([float(distance_km(20.0, 130.0, *guess)) for guess in guesses])

    assert away.max() <= 300
    assert np.mean(away < 150) == pytest.approx(0.25, abs=0.06)
    assert guesses[7] == shifted(20.0, 130.0, 300.0, 0, "storm 7")
    assert guesses[7] != shifted(20.0, 130.0, 300.0, 1, "storm 7")


def test_the_centre_is_the_highest_place_and_not_the_mean_of_two():
    axis = np.arange(-200.0, 201, 10)
    east, north = np.meshgrid(axis, -axis)
    peaks = [0.7 * np.exp(-((east - 100) ** 2 + north**2) / 800), 0.3 * np.exp(-((east + 100) ** 2 + north**2) / 800)]

    x, y = centre_of(sum(peaks) / np.sum(peaks), east, north)

    assert (x, y) == pytest.approx((100, 0), abs=2)


def test_radii_are_at_least_half_a_step():
    """All of the probability in one place: 0 km would be a certainty that nobody has."""
    assert radii(np.array([[1.0, 0.0]]), np.array([[0.0, 10.0]])) == (5.0, 5.0)
