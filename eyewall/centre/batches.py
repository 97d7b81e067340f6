"""Batches of both trainings: squares with hidden patches, and squares with storms anywhere in them.

For finding centres a storm lies anywhere in its square, never in the middle by rule: on archives of storm-centred
frames the middle would be the answer. One square in five is from elsewhere in the frame, and shows mostly weather.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination
from eyewall.centre.cases import Case, by_frame
from eyewall.centre.charts import Charts
from eyewall.centre.squares import View, cut, place_of, shaken
from eyewall.contracts.errors import InputError
from eyewall.models.encoder_card import PictureScale
from eyewall.satellite.index import FrameKey

Floats = npt.NDArray[np.float32]

PATCH_PX: Final = 8
#: Pixels of a cell of the map, as in `eyewall.models.centre`.
CELL_PX: Final = 2
#: Cells at the edge of a square that are not judged: a storm there is half outside.
MARGIN_CELLS: Final = 4
#: Spread of a centre over cells, in cells: best tracks lie about 15 km from the eye, and cells are coarse.
_LABEL_CELLS: Final = 0.6
_ELSEWHERE: Final = 0.2
_ELSEWHERE_KM: Final = 1600.0
_MAX_TURN_DEG: Final = 20.0
_MAX_ZOOM: Final = 0.1
_TRIES: Final = 20
#: Where a frame follows its storm, its edge would give the storm away: no square shows any of it.
_WHOLE: Final = 0.995


def counted_cells(px: int) -> Floats:
    """[px/2, px/2]: 1 where a cell of a square is judged."""
    cells = np.zeros((px // CELL_PX, px // CELL_PX), np.float32)
    cells[MARGIN_CELLS:-MARGIN_CELLS, MARGIN_CELLS:-MARGIN_CELLS] = 1
    return cells


def _random_view(lat_deg: float, lon_deg: float, scale: PictureScale, rng: np.random.Generator) -> View:
    turn_deg = float(np.clip(rng.normal(0, _MAX_TURN_DEG / 2), -_MAX_TURN_DEG, _MAX_TURN_DEG))
    km_per_px = scale.km_per_px * float(np.exp(rng.uniform(-_MAX_ZOOM, _MAX_ZOOM)))
    return View(lat_deg, lon_deg, scale.px, km_per_px, turn_deg)


# --- pretraining ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HiddenPatches:
    """Batches of pretraining; ``raw`` charts keep their burnt-in lines, and half of the squares are of them.

    Others may read squares with the lines in them, so neither kind should be new to the encoder.
    """

    keys: Sequence[FrameKey]
    charts: Charts
    raw: Charts
    scale: PictureScale
    hidden: float
    batch: int
    seed: int

    def __call__(self, step: int) -> tuple[Floats, Floats, Floats]:
        """Batch ``step``: planes [b, px, px, 2] with patches hidden, values [b, px, px], and where they are judged."""
        rng = np.random.default_rng([self.seed, step])
        squares = np.stack([self._square(rng) for _ in range(self.batch)])
        patches = -(-self.scale.px // PATCH_PX)
        shape = (self.batch, patches, patches)
        hidden = (rng.random(shape) < self.hidden).repeat(PATCH_PX, 1).repeat(PATCH_PX, 2)
        hidden = hidden[:, : self.scale.px, : self.scale.px].astype(np.float32)
        return squares * (1 - hidden)[..., None], squares[..., 0], hidden * squares[..., 1]

    def _square(self, rng: np.random.Generator) -> Floats:
        """A square of a random frame, most of it known."""
        square = np.zeros((self.scale.px, self.scale.px, 2), np.float32)
        for _ in range(_TRIES):
            charts = self.raw if rng.random() < 0.5 else self.charts
            chart = charts.chart(self.keys[int(rng.integers(len(self.keys)))].path)
            if chart is None:
                continue
            middle = place_of(chart.grid, rng.uniform(0, chart.grid.rows), rng.uniform(0, chart.grid.columns))
            if middle is None:
                continue
            square = cut(chart, _random_view(*middle, self.scale, rng), self.scale)
            if square[..., 1].mean() > 0.6:
                return shaken(square, rng)
        return square


# --- finding centres --------------------------------------------------------------------------------------------------


class StormSquares:
    """Batches of centre finding, from the cases of the training storms. Storms, not frames, are drawn evenly."""

    def __init__(
        self,
        cases: Sequence[Case],
        charts: Charts,
        scale: PictureScale,
        batch: int,
        seed: int,
        in_view: Sequence[Case] = (),
    ) -> None:
        """``in_view``: further storms, which are not drawn but may be in view beside those that are."""
        self._charts, self._scale, self._batch, self._seed = charts, scale, batch, seed
        self._cases = list(cases)
        self._in_frame = by_frame(list(dict.fromkeys([*cases, *in_view])))
        counts: dict[str, int] = {}
        for case in cases:
            counts[case.storm_id] = counts.get(case.storm_id, 0) + 1
        # A storm with 40 frames is not 40 storms, but it does show more than one of them.
        weights = np.array([counts[case.storm_id] ** -0.5 for case in cases])
        self._weights = weights / weights.sum()

    def __call__(self, step: int) -> tuple[Floats, Floats]:
        """Batch ``step``: planes [b, px, px, 2] and wanted centres [b, px/2, px/2]."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._cases), self._batch, p=self._weights)
        made = [self._one(self._cases[i], rng) for i in chosen]
        return np.stack([planes for planes, _ in made]), np.stack([wanted for _, wanted in made])

    def _one(self, case: Case, rng: np.random.Generator) -> tuple[Floats, Floats]:
        chart = self._charts.chart(case.path)
        assert chart is not None  # it has been read to make the case
        inner_km = (self._scale.px / 2 - CELL_PX * MARGIN_CELLS) * self._scale.km_per_px
        reach_km = _ELSEWHERE_KM if rng.random() < _ELSEWHERE else inner_km
        for _ in range(_TRIES):
            east_km, north_km = rng.uniform(-reach_km, reach_km, 2)
            lat, lon = destination(case.lat_deg, case.lon_deg, east_km, north_km)
            if not chart.grid.shows(float(lat), float(lon)):
                reach_km = inner_km if reach_km > inner_km else 0.9 * reach_km  # a storm near a corner of the map
                continue
            view = _random_view(float(lat), float(lon), self._scale, rng)
            planes = cut(chart, view, self._scale)
            if not case.follows_storm or planes[..., 1].mean() > _WHOLE:
                return shaken(planes, rng), wanted_cells(view, self._in_frame[case.path])
            reach_km = min(reach_km, inner_km) * 0.8
        if not case.follows_storm:
            view = _random_view(case.lat_deg, case.lon_deg, self._scale, rng)
            return shaken(cut(chart, view, self._scale), rng), wanted_cells(view, self._in_frame[case.path])
        raise InputError(
            f"frame {case.path} follows its storm and holds no square of {self._scale.px} px of"
            f" {self._scale.km_per_px:g} km away from its middle, which would be the answer: take a smaller --px"
        )


def wanted_cells(view: View, storms: Sequence[Case]) -> Floats:
    """[px/2, px/2]: each storm's centre spread over the cells about it with the sum 1, 0 where none is."""
    size = view.px // CELL_PX
    rows, columns = view.pixels(np.array([s.lat_deg for s in storms]), np.array([s.lon_deg for s in storms]))
    axis = np.arange(size)
    cells = np.zeros((size, size), np.float32)
    for row, column in zip(to_cell(rows), to_cell(columns), strict=True):
        if -0.5 <= row <= size - 0.5 and -0.5 <= column <= size - 0.5:
            spread = [np.exp(-((axis - at) ** 2) / (2 * _LABEL_CELLS**2)) for at in (row, column)]
            cells += np.outer(spread[0] / spread[0].sum(), spread[1] / spread[1].sum()).astype(np.float32)
    return cells


def to_cell(pixel: Any) -> Any:
    """Fractional pixel (0 is the first one's centre) → fractional cell."""
    return (pixel - (CELL_PX - 1) / 2) / CELL_PX
