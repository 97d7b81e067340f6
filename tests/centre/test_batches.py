"""Batches: storms anywhere in their squares, targets where they are, and the same batch for the same step."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from eyewall.centre.batches import HiddenPatches, StormSquares, counted_cells, to_cell, wanted_cells
from eyewall.centre.cases import Case, find_cases
from eyewall.centre.charts import Chart, Charts, survey
from eyewall.centre.inputs import frames_of
from eyewall.centre.squares import View
from eyewall.contracts.errors import InputError
from eyewall.records.resample import Grid

PX = 64


@pytest.fixture(scope="module")
def material(toy_archive, toy_tracks):
    """Keys, charts without lines, charts with them, scale and cases of 2001 and 2002."""
    store, _ = toy_archive
    keys = frames_of(store, "toy", 2001, 2002).keys
    scale, lines = survey(store, frames_of(store, "toy", 2001, 2004).keys, PX, 28.0, {})
    charts = Charts(store, 28.0, lines)
    return keys, charts, Charts(store, 28.0), scale, find_cases(keys, toy_tracks, charts)


def test_the_survey_finds_the_burnt_in_parallel_and_the_seas_level(material):
    """Row 40 of the toy map; the sea has 290 K, the storms take a few off the mean."""
    _, charts, raw, scale, cases = material
    path = cases[0].path

    assert charts.lines[40].all()
    assert charts.lines.sum() < 2 * charts.lines.shape[1]
    assert 275 < scale.mean < 290
    assert raw.chart(path).values[40].mean() - charts.chart(path).values[40].mean() == pytest.approx(60, abs=4)


def test_storms_lie_anywhere_in_their_squares(material):
    """Evenly over the judged cells: their mean is the middle, and a quarter of them lies in each quarter."""
    _, charts, _, scale, cases = material
    places = []
    for step in range(12):
        _, wanted = StormSquares(cases, charts, scale, 8, 1)(step)
        for cells in wanted:
            places += [np.unravel_index(cells.argmax(), cells.shape)] if cells.max() > 0 else []
    rows, columns = np.array(places).T

    for axis in (rows, columns):
        assert axis.min() < 8
        assert axis.max() > 24
        assert 0.3 < np.mean(axis < PX // 4) < 0.7
    assert np.hypot(rows - 15.5, columns - 15.5).mean() > 8


def test_the_storm_in_the_picture_is_where_the_target_says(material):
    """The cold disc is the lowest value within a few cells; its warm middle makes it no exact match."""
    _, charts, _, scale, cases = material
    planes, wanted = StormSquares(cases, charts, scale, 16, 2)(0)
    for picture, cells in zip(planes, wanted, strict=True):
        if cells.sum() < 0.9 or cells.sum() > 1.1:
            continue  # none, or two
        row, column = np.unravel_index(cells.argmax(), cells.shape)
        around = picture[max(0, 2 * row - 5) : 2 * row + 7, max(0, 2 * column - 5) : 2 * column + 7, 0]
        assert around.min() < picture[..., 0].mean() - 1.5


def test_a_step_gives_the_same_batch_again_and_another_step_another(material):
    keys, charts, raw, scale, cases = material
    squares = StormSquares(cases, charts, scale, 4, 3)
    hidden = HiddenPatches(keys, charts, raw, scale, 0.6, 4, 3)
    for batches in (squares, hidden):
        for first, again, other in zip(batches(5), batches(5), batches(6), strict=True):
            np.testing.assert_array_equal(first, again)
            assert not np.array_equal(first, other)


def test_a_hidden_patch_is_missing_in_both_planes_and_only_hidden_pixels_are_judged(material):
    """60 % of 8 x 8 patches in 8 squares: with 512 of them, 0.6 give or take 0.07."""
    keys, charts, raw, scale, _ = material
    planes, values, judged = HiddenPatches(keys, charts, raw, scale, 0.6, 8, 0)(0)

    assert (planes[judged > 0] == 0).all()
    np.testing.assert_array_equal(planes[..., 0], np.where(planes[..., 1] > 0, values, 0))
    assert judged.sum() / (judged + planes[..., 1]).sum() == pytest.approx(0.6, abs=0.07)


def test_a_centre_is_spread_over_cells_with_the_sum_one_and_its_mean_is_the_place(material):
    """Pixel 20 is the first half of cell 10: at 10 − 1/4 of a cell."""
    *_, cases = material
    view = View(cases[0].lat_deg, cases[0].lon_deg, PX, 20.0)

    cells = wanted_cells(view, cases[:1])

    axis = np.arange(PX // 2)
    assert cells.sum() == pytest.approx(1)
    assert (cells.sum(axis=1) @ axis, cells.sum(axis=0) @ axis) == pytest.approx((15.5, 15.5), abs=1e-3)
    assert to_cell(20.0) == 9.75
    assert wanted_cells(View(-30.0, 20.0, PX, 20.0), cases[:1]).sum() == 0


def test_cells_at_the_edge_are_not_judged():
    """4 cells on each side of 16 leave 8 x 8."""
    assert counted_cells(32).sum() == 64


def centred(half_deg):
    """A chart and a case of a frame about a storm at 15 N, 140 E, as a storm-centred archive has it."""
    grid = Grid("", True, (140 - half_deg, 15 - half_deg, 140 + half_deg, 15 + half_deg), 80, 80)
    chart = Chart(np.full((80, 80), 250, np.float32), grid)
    path = "frames/toy/2001/05/30/20010530T013000Z__200101.nc"
    time = datetime(2001, 5, 30, 1, 30, tzinfo=UTC)
    return chart, Case(path, time, "200101", 2001, 15.0, 140.0, 50.0)


def squares_of(chart, case, scale):
    """The batches of that one frame."""
    charts = SimpleNamespace(chart=lambda _: chart)
    return StormSquares([case], charts, scale, 16, 0)


def test_on_frames_that_follow_a_storm_no_edge_is_in_view_and_the_storm_is_not_in_the_middle(material):
    """Squares of 64 x 20 km reach 640 km, the frame 12 degrees: the storm is up to half of the rest off the middle."""
    scale = material[3].model_copy(update={"km_per_px": 20.0})
    planes, wanted = squares_of(*centred(12.0), scale)(0)
    places = np.array([np.unravel_index(cells.argmax(), cells.shape) for cells in wanted])

    assert planes[..., 1].mean() > 0.995
    assert np.hypot(*(places - 15.5).T).mean() > 3
    assert centred(12.0)[1].follows_storm


def test_a_frame_that_is_hardly_larger_than_a_square_is_refused(material):
    """600 km about the storm hold no square of 1280 km: only the middle would be left."""
    scale = material[3].model_copy(update={"km_per_px": 20.0})

    with pytest.raises(InputError, match="smaller --px"):
        squares_of(*centred(5.0), scale)(0)


def test_storms_that_are_not_drawn_are_still_in_view(material):
    """With half of the storms the others are no false alarms."""
    _, charts, _, scale, cases = material
    first = [case for case in cases if case.storm_id == cases[0].storm_id]
    alone, told = (StormSquares(first, charts, scale, 16, 4, also)(0) for also in ([], cases))

    np.testing.assert_array_equal(alone[0], told[0])
    assert told[1].sum() > alone[1].sum()
