"""Made-up best tracks in the table's shape, for the tests of every room. No agency's storm is among them."""

import numpy as np
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import wrap_lon_deg


def straight_track(
    storm_id: str = "2001150N12140",
    season: int = 2001,
    start: str = "2001-05-30T00:00",
    *,
    fixes: int = 25,
    lat_deg: float = 12.0,
    lon_deg: float = 140.0,
    lat_step_deg: float = 0.5,
    lon_step_deg: float = -0.75,
    wind_kt: float = 50.0,
    pressure_hpa: float = 985.0,
    step_h: int = 6,
    name: str = "TOY",
) -> pd.DataFrame:
    """One storm with equal steps of latitude and longitude: persistence is exact. ``fixes`` rows, ``step_h`` apart."""
    step = np.arange(fixes)
    return _table(
        {
            t.STORM_ID: storm_id,
            t.SEASON: season,
            t.NAME: name,
            t.TIME_UTC: pd.Timestamp(start) + pd.to_timedelta(step * step_h, unit="h"),
            t.LAT_DEG: lat_deg + lat_step_deg * step,
            t.LON_DEG: wrap_lon_deg(lon_deg + lon_step_deg * step),
            t.WIND_KT: wind_kt,
            t.PRESSURE_HPA: pressure_hpa,
            t.INTERPOLATED: False,
        },
        fixes,
    )


def toy_tracks(seed: int = 0, seasons: range | tuple[int, ...] = range(2001, 2005), storms: int = 4) -> pd.DataFrame:
    """``storms`` storms for each of ``seasons``: they go west, turn near the ridge and recurve north-east, with noise.

    30–45 six-hourly fixes each, in 100–180 °E, strong enough to give cases for most of their life (about 32 a storm);
    the same ``seed`` gives the same table.
    """
    random = np.random.default_rng(seed)
    return pd.concat([_recurver(random, season, n) for season in seasons for n in range(storms)], ignore_index=True)


def elsewhere(table: pd.DataFrame, *, east_deg: float = 0.0, southern: bool = False) -> pd.DataFrame:
    """The same storms ``east_deg`` further east, or mirrored about the equator, or both: other basins, same tracks."""
    moved = table.copy()
    moved[t.LAT_DEG] *= -1.0 if southern else 1.0
    moved[t.LON_DEG] = wrap_lon_deg(table[t.LON_DEG] + east_deg)
    return moved


def southern_summers(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` mirrored to the south and half a year later, over New Year, under IBTrACS' southern ids and seasons."""
    moved = elsewhere(table, southern=True)
    moved[t.TIME_UTC] += pd.Timedelta(days=184)
    born: pd.Series = moved.groupby(t.STORM_ID)[t.TIME_UTC].transform("min")
    moved[t.SEASON] = born.dt.year + (born.dt.month >= 7)
    moved[t.STORM_ID] = born.dt.strftime("%Y%jS") + table[t.STORM_ID].str[8:]
    return moved.astype(t.DTYPES)


def _recurver(random: np.random.Generator, season: int, number: int) -> pd.DataFrame:
    fixes = int(random.integers(30, 46))
    start = pd.Timestamp(season, 5, 1) + pd.Timedelta(days=12 * number, hours=6 * int(random.integers(0, 16)))
    lat = [float(random.uniform(8, 14))]
    lon = [float(random.uniform(135, 160))]
    turn_deg = float(random.uniform(17, 24))  # latitude of the subtropical ridge
    for _ in range(fixes - 1):
        north = 0.35 + 0.4 * max(0.0, min(1.0, (lat[-1] - turn_deg) / 8 + 0.5))
        east = -0.9 + 2.0 / (1 + np.exp(-(lat[-1] - turn_deg) / 2))
        lat.append(min(lat[-1] + north + float(random.normal(0, 0.08)), 50.0))
        lon.append(float(np.clip(lon[-1] + east + random.normal(0, 0.12), 101, 179)))
    age = np.linspace(0, 1, fixes)
    wind = np.round(25 + float(random.uniform(40, 80)) * np.sin(np.pi * age), 0)
    name = f"TOY{number}"
    storm_id = f"{season}{start.day_of_year:03d}N{round(lat[0]):02d}{round(lon[0]):03d}"
    return _table(
        {
            t.STORM_ID: storm_id,
            t.SEASON: season,
            t.NAME: name,
            t.TIME_UTC: start + pd.to_timedelta(np.arange(fixes) * 6, unit="h"),
            t.LAT_DEG: np.round(lat, 2),
            t.LON_DEG: np.round(lon, 2),
            t.WIND_KT: wind,
            t.PRESSURE_HPA: 1010 - 0.9 * (wind - 25),
            t.INTERPOLATED: False,
        },
        fixes,
    )


def _table(columns: dict[str, object], fixes: int) -> pd.DataFrame:
    return pd.DataFrame(columns, index=range(fixes))[list(t.COLUMNS)].astype(t.DTYPES)
