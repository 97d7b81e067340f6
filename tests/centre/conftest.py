"""A toy archive: a warm sea with spiral storms whose places are known, on a fixed map with a burnt-in line."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack import table as t
from eyewall.besttrack.testing import straight_track
from eyewall.contracts.layout import frame_path
from eyewall.storage import Store

BOX = (120.0, 5.0, 150.0, 29.0)  # west, south, east, north
STEP_DEG = 0.25


def toy_area(box=BOX, step=STEP_DEG):
    """A longitude-latitude box of whole pixels, about 28 km each."""
    from pyresample.geometry import AreaDefinition

    west, south, east, north = box
    shape = round((east - west) / step), round((north - south) / step)
    return AreaDefinition(
        "box", "box", "box", {"proj": "longlat", "datum": "WGS84"}, *shape, (west, south, east, north)
    )


def paint(area, storms, seed=0):
    """Kelvin [y, x]: 290 K, weather of 4 K, a cold disc of about 150 km with a warm middle at each (lat, lon)."""
    west, south, east, north = area.area_extent
    lon = west + (np.arange(area.width) + 0.5) * (east - west) / area.width
    lat = north - (np.arange(area.height) + 0.5) * (north - south) / area.height
    image = 290 + 4 * np.random.default_rng(seed).standard_normal((area.height, area.width))
    for lat_deg, lon_deg in storms:
        off_east = (lon - lon_deg)[None, :] * np.cos(np.radians(lat_deg))
        squared = off_east**2 + ((lat - lat_deg)[:, None]) ** 2
        image -= 80 * np.exp(-squared / (2 * 1.4**2)) - 30 * np.exp(-squared / (2 * 0.3**2))
    return image.astype(np.float32)


def two_storms(season):
    """Two storms of a season, 5 fixes six hours apart, that pass each other about 1000 km away."""
    first = straight_track(f"{season}150N12140", season, f"{season}-05-30T00:00", fixes=5, lat_deg=10.0 + season % 5)
    second = straight_track(
        f"{season}151N20128", season, f"{season}-05-30T00:00", fixes=5, lat_deg=20.0, lon_deg=128.0 + season % 3,
        lon_step_deg=0.5, wind_kt=np.nan,
    )  # fmt: skip
    return [first, second]


@pytest.fixture(scope="session")
def toy_tracks():
    """Two storms in each of 2001 to 2004."""
    return pd.concat([fixes for season in range(2001, 2005) for fixes in two_storms(season)], ignore_index=True)


@pytest.fixture(scope="session")
def toy_archive(tmp_path_factory, toy_tracks):
    """A store with stream ``toy`` (hourly frames at odd half hours in four seasons) and its best tracks as a CSV."""
    from eyewall.besttrack.interpolate import position_at
    from eyewall.satellite.frame import Frame, write_frame

    folder = tmp_path_factory.mktemp("toy")
    store, area = Store(str(folder / "store")), toy_area()
    for season in range(2001, 2005):
        for i in range(8):
            time = datetime(season, 5, 30, 1, 30, tzinfo=UTC) + timedelta(hours=2 * i)
            wanted = np.array([time.replace(tzinfo=None)], dtype="datetime64[ns]")
            storms = []
            for _, fixes in toy_tracks[toy_tracks[t.SEASON] == season].groupby(t.STORM_ID):
                lat, lon, _ = position_at(fixes, wanted)
                storms.append((lat[0], lon[0]))
            data = paint(area, storms, seed=100 * season + i)
            data[40] += 60  # a burnt-in parallel, warmer than anything
            write_frame(
                store, frame_path("toy", time),
                Frame(data=data, area=area, quantity="brightness_temperature_k", nominal_time=time,
                      observation_start=time, observation_end=time, platform="Toy-1", sensor="toy", reader="toy",
                      dataset="B13"),
            )  # fmt: skip
    write_ibtracs(toy_tracks, folder / "tracks.csv")
    return store, str(folder / "tracks.csv")


def write_ibtracs(table, path):
    """The table as an IBTrACS CSV with its units row."""
    columns = ["SID", "SEASON", "BASIN", "NAME", "ISO_TIME", "NATURE", "LAT", "LON", "WMO_WIND", "WMO_PRES"]
    columns += ["WMO_AGENCY", "TRACK_TYPE"]
    rows = [",".join(columns), ",".join([" "] * len(columns))]
    for fix in table.itertuples():
        wind = "" if np.isnan(fix.wind_kt) else f"{fix.wind_kt:.0f}"
        cells = [
            fix.storm_id, fix.season, "WP", fix.name, f"{fix.time_utc:%Y-%m-%d %H:%M:%S}", "TS",
            f"{fix.lat_deg:.2f}", f"{fix.lon_deg:.2f}", wind, f"{fix.pressure_hpa:.0f}", "tokyo", "main",
        ]  # fmt: skip
        rows.append(",".join(map(str, cells)))
    path.write_text("\n".join(rows) + "\n")
