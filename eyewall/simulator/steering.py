"""What moves a simulated storm: beta drift, a subtropical ridge, an upper trough, and a slow hidden wave.

The flow is a caricature with the right parts (Chan 2005, "The physics of tropical cyclone motion", doi:10.1146/
annurev.fluid.37.061903.175702): easterlies south of the ridge axis, poleward flow through its break, westerlies
north of it that accelerate what recurves. Two parts of a storm's state are hidden from its position:

- a *wave* in the steering, with a period and a sense of rotation of the storm's own: the last two days of the track
  tell them, a mean motion over 24 hours does not;
- a *trough* that passes at some moment of its life and turns it poleward: the track shows nothing of it beforehand,
  the clouds do, because the outflow opens towards it (`Steering.outlook`).

So methods can be told apart that use persistence and climate only, the whole past track, or the images as well.
Winds are in m/s, east and north; times in hours since genesis; latitudes in degrees north.
"""

from dataclasses import dataclass

import numpy as np

#: Climatological ridge axis: mean latitude, its seasonal swing, and the day of the year when it lies northernmost.
RIDGE_LAT_DEG, RIDGE_SWING_DEG, RIDGE_NORTHMOST_DAY = 26.0, 4.0, 218.0
EASTERLIES_M_S, WESTERLIES_M_S = 3.9, 11.5
BETA_DRIFT_M_S = (-0.8, 1.2)
RIDGE_BREAK_M_S = 1.9  # poleward, at the axis of a ridge of strength 1; weaker ridges let more through
OUTLOOK_H = 24  # the clouds show the mean of the hidden steering over this many hours ahead

_WAVE_M_S = 1.65  # standard deviation of each component
_WAVE_MEMORY_H = 110.0
_RIDGE_MEMORY_H = 120.0
_RIDGE_OFFSET_DEG, _RIDGE_STRENGTH_SPREAD = 3.2, 0.36  # standard deviations
_GUST_M_S, _GUST_MEMORY_H = 0.7, 9.0
_MAX_SPEED_M_S = 24.0


@dataclass
class Steering:
    """The state of one storm's surroundings; `step` moves it on by one hour."""

    rng: np.random.Generator
    ridge_offset_deg: float
    ridge_strength: float
    wave: complex  # east + i north, m/s
    wave_period_h: float  # negative: it turns clockwise
    trough_hour: float
    trough_width_h: float
    trough: complex
    gust: complex = 0j

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Steering":
        """The surroundings of a new storm."""
        sense = 1.0 if rng.random() < 0.5 else -1.0
        strength = float(np.clip(rng.normal(1.0, _RIDGE_STRENGTH_SPREAD), 0.35, 1.7))
        towards = np.radians(rng.normal(52.0, 22.0))  # counter-clockwise from east: north-east, give or take
        return cls(
            rng=rng,
            ridge_offset_deg=float(rng.normal(0.0, _RIDGE_OFFSET_DEG)),
            ridge_strength=strength,
            wave=complex(rng.normal(0, _WAVE_M_S), rng.normal(0, _WAVE_M_S)),
            wave_period_h=sense * float(rng.uniform(60.0, 150.0)),
            trough_hour=float(rng.uniform(40.0, 260.0)),
            trough_width_h=float(rng.uniform(18.0, 34.0)),
            trough=complex(np.exp(1j * towards)) * float(rng.uniform(2.0, 6.5)),
        )

    def _noise(self, sigma: float) -> complex:
        return complex(self.rng.normal(0, sigma), self.rng.normal(0, sigma))

    def step(self) -> None:
        """One hour on: first-order autoregressive processes, so that randomness is correlated in time."""
        turn = np.exp(2j * np.pi / self.wave_period_h - 1 / _WAVE_MEMORY_H)
        self.wave = self.wave * turn + self._noise(_WAVE_M_S * np.sqrt(2 / _WAVE_MEMORY_H))
        self.gust = self.gust * (1 - 1 / _GUST_MEMORY_H) + self._noise(_GUST_M_S * np.sqrt(2 / _GUST_MEMORY_H))
        pull = 1 / _RIDGE_MEMORY_H
        self.ridge_offset_deg += -self.ridge_offset_deg * pull + self.rng.normal(
            0, _RIDGE_OFFSET_DEG * np.sqrt(2 * pull)
        )
        self.ridge_strength += (1 - self.ridge_strength) * pull + self.rng.normal(
            0, _RIDGE_STRENGTH_SPREAD * np.sqrt(2 * pull)
        )
        self.ridge_strength = float(np.clip(self.ridge_strength, 0.3, 1.8))

    def ridge_axis_deg(self, day_of_year: float) -> float:
        """Latitude of the ridge axis."""
        season = np.cos(2 * np.pi * (day_of_year - RIDGE_NORTHMOST_DAY) / 365.25)
        return float(RIDGE_LAT_DEG + RIDGE_SWING_DEG * season + self.ridge_offset_deg)

    def _trough_at(self, hour: float) -> complex:
        return self.trough * complex(np.exp(-(((hour - self.trough_hour) / self.trough_width_h) ** 2)))

    def climate(self, lat_deg: float, day_of_year: float) -> complex:
        """The part of the flow that latitude, date and ridge give."""
        from_axis = lat_deg - self.ridge_axis_deg(day_of_year)
        west_to_east = 1 / (1 + np.exp(-(from_axis - 1.5) / 2.6))
        east = -EASTERLIES_M_S * self.ridge_strength * (1 - west_to_east) + WESTERLIES_M_S * west_to_east
        through = RIDGE_BREAK_M_S * (1.9 - self.ridge_strength) * np.exp(-((from_axis / 8.0) ** 2))
        north = through + 3.5 * west_to_east  # the westerlies ahead of a trough blow from the south-west
        return complex(east, north) + complex(*BETA_DRIFT_M_S)

    def flow(self, hour: float, lat_deg: float, day_of_year: float) -> complex:
        """Velocity of the storm, east + i north, m/s."""
        total = self.climate(lat_deg, day_of_year) + self.wave + self._trough_at(hour) + self.gust
        speed = abs(total)
        return total if speed <= _MAX_SPEED_M_S else total * (_MAX_SPEED_M_S / speed)

    def outlook(self, hour: float) -> complex:
        """Mean of the hidden steering over the next `OUTLOOK_H` hours as its present state lets one expect, m/s."""
        hours = np.arange(1, OUTLOOK_H + 1)
        wave = self.wave * np.exp((2j * np.pi / self.wave_period_h - 1 / _WAVE_MEMORY_H) * hours)
        trough = self.trough * np.exp(-(((hour + hours - self.trough_hour) / self.trough_width_h) ** 2))
        return complex((wave + trough).mean())
