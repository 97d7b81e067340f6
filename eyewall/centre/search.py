"""Searching many frames: a position for every first guess, and every storm basin-wide, beside the best track's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from eyewall.besttrack.sphere import distance_km
from eyewall.centre.cases import Case, by_frame
from eyewall.centre.charts import Charts
from eyewall.centre.locate import Found, Maps, in_basin, near_guess, shifted
from eyewall.models.encoder_card import PictureScale
from eyewall.progress import counted
from eyewall.satellite.index import FrameKey

#: A place that is found basin-wide is a storm's when it is at most so far from its best track.
MATCH_KM: Final = 300.0


@dataclass(frozen=True)
class Guess:
    """A first guess of a storm in a frame; ``truth`` is its case where a best track knows better."""

    path: str
    time_utc: str
    storm_id: str
    lat_deg: float
    lon_deg: float
    truth: Case | None = None


@dataclass(frozen=True)
class Position:
    """What was found of one guess or anywhere in a frame (``guess`` None), and whose storm that is (``truth``)."""

    path: str
    time_utc: str
    storm_id: str
    found: Found
    guess: Guess | None
    truth: Case | None

    @property
    def error_km(self) -> float:
        """Distance to the best track's centre, NaN where none is known."""
        if self.truth is None:
            return float("nan")
        return float(distance_km(self.truth.lat_deg, self.truth.lon_deg, self.found.lat_deg, self.found.lon_deg))

    @property
    def guess_error_km(self) -> float:
        """And of the first guess."""
        if self.truth is None or self.guess is None:
            return float("nan")
        return float(distance_km(self.truth.lat_deg, self.truth.lon_deg, self.guess.lat_deg, self.guess.lon_deg))


def moved_guesses(cases: Sequence[Case], search_km: float, seed: int) -> list[Guess]:
    """A first guess for every case, anywhere within ``search_km`` of its best track."""
    made = []
    for case in cases:
        lat, lon = shifted(case.lat_deg, case.lon_deg, search_km, seed, f"{case.path} {case.storm_id}")
        made.append(Guess(case.path, _text(case), case.storm_id, lat, lon, case))
    return made


def _text(case: Case) -> str:
    return case.time.strftime("%Y-%m-%dT%H:%M:%SZ")


def search_guesses(
    maps: Maps, charts: Charts, guesses: Sequence[Guess], search_km: float, scale: PictureScale, views: int
) -> list[Position]:
    """A position for every guess whose frame shows something there."""
    positions = []
    for guess in counted(guesses, "searching about first guesses", unit="guesses"):
        chart = charts.chart(guess.path)
        if chart is None:
            continue
        found = near_guess(maps, chart, guess.lat_deg, guess.lon_deg, search_km, scale, views)
        if found is not None:
            positions.append(Position(guess.path, guess.time_utc, guess.storm_id, found, guess, guess.truth))
    return positions


def search_basin(
    maps: Maps, charts: Charts, keys: Sequence[FrameKey], cases: Sequence[Case], scale: PictureScale
) -> list[Position]:
    """Every place of every frame that may be a storm, the surest of a frame first; those near a best track have it.

    Frames that follow a storm (several of one time, told apart by their ``part``) are no basin and are passed over.
    """
    truths = by_frame(cases)
    positions = []
    for key in counted(keys, "searching basin-wide", unit="frames"):
        chart = charts.chart(key.path)
        if chart is None or key.part:
            continue
        free = list(truths.get(key.path, ()))
        for found in in_basin(maps, chart, scale):
            truth = _nearest(found, free)
            if truth is not None:
                free.remove(truth)
            storm = "" if truth is None else truth.storm_id
            time = key.time.strftime("%Y-%m-%dT%H:%M:%SZ")
            positions.append(Position(key.path, time, storm, found, None, truth))
    return positions


def _nearest(found: Found, cases: Sequence[Case]) -> Case | None:
    away = [float(distance_km(c.lat_deg, c.lon_deg, found.lat_deg, found.lon_deg)) for c in cases]
    return cases[int(np.argmin(away))] if away and min(away) <= MATCH_KM else None
