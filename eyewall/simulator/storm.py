"""One simulated storm, from genesis to its end: motion by `steering`, and a wind that grows over warm water.

Intensity follows the logistic form of DeMaria (2009, doi:10.1175/2008MWR2513.1): growth towards a potential set by
the sea below, decay where the sea is cold or there is land. Pressure follows the wind–pressure relation of Atkinson
and Holliday (1977), its 1-minute wind taken to 10 minutes with 0.88.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination
from eyewall.simulator.steering import Steering

Floats = npt.NDArray[np.float64]

FIX_H: Final = 6
#: Winds below this are tropical depressions, for which the agency gives no wind (kt, 10-minute).
STORM_KT: Final = 34.0
_MAX_HOURS: Final = 16 * 24
_LAT_LIMITS_DEG: Final = (0.5, 48.0)
_LON_LIMITS_DEG: Final = (99.0, 188.0)
_FIX_ERROR_DEG: Final = 0.05
#: The coast of the mainland: latitudes, and the longitude west of which there is land. Islands are left out.
_COAST_LAT_DEG: Final = (0.0, 8.0, 12.0, 16.0, 20.0, 21.5, 23.0, 26.0, 30.0, 35.0, 38.0, 41.0, 53.0)
_COAST_LON_DEG: Final = (103.0, 105.0, 109.2, 108.0, 106.5, 110.0, 116.5, 119.8, 121.8, 119.5, 121.0, 129.0, 140.0)


@dataclass(frozen=True)
class Storm:
    """Six-hourly fixes of a storm, and what its clouds show; arrays over fixes, [t].

    ``lat_deg``/``lon_deg`` are the best track as published (0.1°, with an analysis error); ``true_lat_deg`` and
    ``true_lon_deg`` are where the clouds turn. ``outlook_m_s`` (east + i north) is `Steering.outlook`.
    """

    season: int
    number: int
    name: str
    times: tuple[datetime, ...]
    lat_deg: Floats
    lon_deg: Floats
    true_lat_deg: Floats
    true_lon_deg: Floats
    wind_kt: Floats
    pressure_hpa: Floats
    outlook_m_s: npt.NDArray[np.complex128]
    wave_phase_rad: Floats

    @property
    def sid(self) -> str:
        """Its IBTrACS id: year, day, hemisphere, latitude and longitude of genesis."""
        lat, lon = round(float(self.lat_deg[0])), round(float(self.lon_deg[0]))
        return f"{self.times[0]:%Y%j}{'N' if lat >= 0 else 'S'}{abs(lat):02d}{lon:03d}"

    def strong(self) -> tuple[int, int]:
        """First and last fix of its longest unbroken time as a tropical storm or more; (0, -1) when it never was."""
        best, start = (0, -1), None
        for i, wind in enumerate([*self.wind_kt, 0.0]):
            if wind >= STORM_KT:
                start = i if start is None else start
            elif start is not None:
                best = (start, i - 1) if i - 1 - start > best[1] - best[0] else best
                start = None
        return best


def over_land(lat_deg: float, lon_deg: float) -> bool:
    """Whether the centre is over the mainland."""
    return lon_deg < float(np.interp(lat_deg, _COAST_LAT_DEG, _COAST_LON_DEG))


def sea_temperature_c(lat_deg: float, day_of_year: float) -> float:
    """Surface temperature of the western North Pacific: warm pool, then a fall with latitude; warmest in August."""
    warmth = math.cos(2 * math.pi * (day_of_year - 235) / 365.25)
    poleward = max(0.0, lat_deg - (19.0 + 6.0 * warmth))
    return 29.3 + 0.3 * warmth - 0.5 * poleward


def potential_kt(lat_deg: float, lon_deg: float, day_of_year: float) -> float:
    """Strongest wind that the sea below can keep up, kt; after DeMaria and Kaplan (1994), capped at 110."""
    if over_land(lat_deg, lon_deg):
        return 12.0
    sea_c = sea_temperature_c(lat_deg, day_of_year)
    return min(110.0, 20.0 + 62.0 * math.exp(0.19 * (sea_c - 27.0)))


def pressure_of(wind_kt: npt.ArrayLike) -> Floats:
    """Central pressure, hPa, of a 10-minute wind in kt."""
    return np.asarray(1010.0 - (np.asarray(wind_kt, dtype=np.float64) / 0.88 / 6.7) ** (1 / 0.644))


def _day_of_year(time: datetime) -> float:
    return time.timetuple().tm_yday + time.hour / 24


def simulate(seed: int, season: int, number: int, name: str, genesis: datetime, attempt: int = 0) -> Storm:
    """The storm that ``seed``, ``season``, ``number`` and ``attempt`` name, begun at ``genesis`` (a synoptic hour)."""
    rng = np.random.default_rng([seed, season, number, attempt])
    steering = Steering.draw(rng)
    lat, lon = float(np.clip(rng.normal(12.5, 3.6), 5.0, 20.0)), float(rng.uniform(125.0, 165.0))
    wind, growth_per_h = 22.0, float(rng.uniform(0.011, 0.022))
    ceiling_kt = float(rng.uniform(45.0, 118.0))  # shear and dry air, which are not modelled, hold most storms back
    rows: list[tuple[float, ...]] = []
    hidden: list[tuple[complex, float]] = []
    peak = wind
    for hour in range(_MAX_HOURS):
        day = _day_of_year(genesis + timedelta(hours=hour))
        if hour % FIX_H == 0:
            rows.append((lat, lon, wind))
            hidden.append((steering.outlook(hour), float(np.angle(steering.wave))))
        velocity = steering.flow(hour, lat, day)
        there = destination(lat, lon, velocity.real * 3.6, velocity.imag * 3.6)
        lat, lon = float(there[0]), float(there[1])
        potential = min(ceiling_kt, potential_kt(lat, lon, day))
        wind += growth_per_h * wind * (1 - wind / potential) if wind < potential else -0.06 * (wind - potential)
        wind = max(15.0, wind + float(rng.normal(0, 0.25)))
        peak = max(peak, wind)
        steering.step()
        outside = not (_LAT_LIMITS_DEG[0] < lat < _LAT_LIMITS_DEG[1] and _LON_LIMITS_DEG[0] < lon < _LON_LIMITS_DEG[1])
        if outside or (hour > 36 and wind < min(25.0, 0.8 * peak)):
            break
    return _published(rng, season, number, name, genesis, np.array(rows), hidden)


def _published(
    rng: np.random.Generator,
    season: int,
    number: int,
    name: str,
    genesis: datetime,
    rows: Floats,
    hidden: list[tuple[complex, float]],
) -> Storm:
    """The agency's view: positions to 0.1° with an error that shrinks for storms with an eye, winds to 5 kt."""
    lat, lon, wind = rows.T
    error_deg = _FIX_ERROR_DEG * np.where(wind >= 65, 0.6, 1.3)
    return Storm(
        season=season,
        number=number,
        name=name,
        times=tuple(genesis + timedelta(hours=FIX_H * i) for i in range(len(rows))),
        lat_deg=np.round(lat + rng.normal(0, error_deg), 1),
        lon_deg=np.round(lon + rng.normal(0, error_deg), 1),
        true_lat_deg=lat,
        true_lon_deg=lon,
        wind_kt=np.round(wind / 5) * 5,
        pressure_hpa=np.round(pressure_of(wind)),
        outlook_m_s=np.array([outlook for outlook, _ in hidden]),
        wave_phase_rad=np.array([phase for _, phase in hidden]),
    )
