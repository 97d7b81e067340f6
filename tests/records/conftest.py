"""Frames and best tracks for the tests of records: painted storms whose place is known."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from toy_season import seasons, storm, write_tracks

from eyewall.besttrack import table as t
from eyewall.contracts.jobs import RecordsJob
from eyewall.contracts.layout import frame_path
from eyewall.storage import Store

BOX = (100.0, 0.0, 180.0, 50.0)  # west, south, east, north
STEP_DEG = 0.25


def make_area(west=BOX[0], south=BOX[1], east=BOX[2], north=BOX[3], step=STEP_DEG):
    """A longitude–latitude box of whole pixels."""
    from pyresample.geometry import AreaDefinition

    width, height = round((east - west) / step), round((north - south) / step)
    projection = {"proj": "longlat", "datum": "WGS84"}
    return AreaDefinition("box", "box", "box", projection, width, height, (west, south, east, north))


def paint(area, lat_deg, lon_deg, *, warm=295.0, cold=200.0, width_deg=1.0):
    """A warm sea with one cold disc at the storm's place, in kelvin."""
    west, south, east, north = area.area_extent
    lon = west + (np.arange(area.width) + 0.5) * (east - west) / area.width
    lat = north - (np.arange(area.height) + 0.5) * (north - south) / area.height
    off_east = (np.mod(lon - lon_deg + 180, 360) - 180)[None, :] * np.cos(np.radians(lat_deg))
    off_north = (lat - lat_deg)[:, None]
    disc = np.exp(-(off_east**2 + off_north**2) / (2 * width_deg**2))
    return (warm - (warm - cold) * disc).astype(np.float32)


@pytest.fixture
def box_area():
    """`make_area`."""
    return make_area


@pytest.fixture
def painted():
    """`paint`."""
    return paint


@pytest.fixture
def store(store_url):
    return Store(store_url)


@pytest.fixture
def put_frame(store):
    """Write a frame of a storm painted at (lat, lon), or of given data; returns its path in the store."""
    from eyewall.satellite.frame import Frame, write_frame

    def put(
        time, lat_deg=None, lon_deg=None, *, stream="toy", part="", area=None, data=None, quantity=None, into=store
    ):
        aware = time if isinstance(time, datetime) else datetime.fromisoformat(str(np.datetime64(time, "s")))
        aware = aware.replace(tzinfo=UTC)
        area = area if area is not None else make_area()
        data = data if data is not None else paint(area, lat_deg, lon_deg)
        path = frame_path(stream, aware, part)
        write_frame(
            into, path,
            Frame(
                data=data, area=area, quantity=quantity or "brightness_temperature_k", nominal_time=aware,
                observation_start=aware, observation_end=aware + timedelta(minutes=10),
                platform="Toy-1", sensor="toy", reader="toy", dataset="B13",
            ),
        )  # fmt: skip
        return path

    return put


@pytest.fixture
def job(store, tmp_path):
    """Two training seasons, one to validate, one to test; two storms each."""

    def make(table=None, **fields):
        tracks = write_tracks(seasons() if table is None else table, tmp_path / "tracks.parquet")
        values = {"store": store.url, "tracks": tracks, "train_from": 2001, "train_to": 2002, "val_to": 2003}
        return RecordsJob.parse(values | {"test_to": 2004, "px": 16, "km_per_px": 50.0, "shards": 2} | fields)

    return make


@pytest.fixture
def film(put_frame):
    """Frames of the first storm of a season every 6 h from its start: 13 of them."""

    def shoot(season, **options):
        for _, fix in storm(season).iterrows():
            put_frame(fix[t.TIME_UTC].to_datetime64(), fix[t.LAT_DEG], fix[t.LON_DEG], **options)

    return shoot
