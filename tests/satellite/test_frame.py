"""A frame survives the store bit by bit, is CF that others read, and equal frames are equal bytes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import CRS

from eyewall.contracts.errors import CorruptFile, StorageError
from eyewall.satellite.frame import Frame, encode, manifest_path, read_frame, value_quality, write_frame
from eyewall.satellite.geometry import grid
from eyewall.storage import Store

PATH = "frames/s/2020/09/05/20200905T000000Z.nc"
TIME = datetime(2020, 9, 5, tzinfo=UTC)
GEOS = {"proj": "geos", "h": 35785863, "lon_0": 140.7, "a": 6378137, "b": 6356752.3}
AREAS = {
    "latlon across the date line": ("EPSG:4326", (165.0, 10.0, 195.0, 30.0)),
    "geostationary": (GEOS, (-5000.0, -5000.0, 25000.0, 15000.0)),
    "geostationary, scanned from the south-east": (GEOS, (25000.0, 15000.0, -5000.0, -5000.0)),
    "lambert": ({"proj": "lcc", "lat_1": 45.7, "lat_0": 45.7, "lon_0": 128.5, "R": 6371000}, (-3e6, -3e6, 3e6, 1e6)),
}


def make_frame(area: str = "geostationary", data: np.ndarray | None = None) -> Frame:
    if data is None:
        data = np.arange(6, dtype=np.float32).reshape(2, 3) + 230.125
        data[0, 0] = np.nan
    crs, extent = AREAS[area]
    return Frame(
        data=data,
        area=grid("somewhere", crs, data.shape, extent),
        quantity="brightness_temperature_k",
        nominal_time=TIME,
        observation_start=TIME + timedelta(seconds=20.6),
        observation_end=TIME + timedelta(seconds=61, microseconds=123456),
        platform="Himawari-9",
        sensor="ahi",
        reader="ahi_hsd",
        dataset="B13",
        quality={**value_quality(data), "segments_wanted": 2, "segments_present": 1},
    )


@pytest.mark.parametrize("area", [pytest.param(name, id=name) for name in AREAS])
def test_what_is_written_is_read_back_exactly(store: Store, area: str) -> None:
    frame = make_frame(area)

    write_frame(store, PATH, frame)
    back = read_frame(store, PATH)

    np.testing.assert_array_equal(back.data, frame.data)
    assert back.area == frame.area
    assert back.area.area_extent == frame.area.area_extent
    assert (back.nominal_time, back.observation_start) == (frame.nominal_time, frame.observation_start)
    assert abs(back.observation_end - frame.observation_end) < timedelta(milliseconds=1)
    assert back.quality == frame.quality
    assert isinstance(back.quality["segments_wanted"], int)
    assert (back.platform, back.sensor, back.reader, back.dataset) == ("Himawari-9", "ahi", "ahi_hsd", "B13")


@settings(max_examples=15, deadline=None)
@given(
    data=hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(150, 340, width=32)
    )
)
def test_every_value_survives_compression(data: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(str(tmp_path_factory.mktemp("store")))
    frame = make_frame(data=data)

    write_frame(store, PATH, frame)

    np.testing.assert_array_equal(read_frame(store, PATH).data, data)


def test_equal_frames_are_equal_bytes() -> None:
    """No padding of netCDF's, no time of writing, no path gets in."""
    assert encode(make_frame()) == encode(make_frame())


def test_a_cf_aware_tool_finds_units_times_and_projection(store: Store) -> None:
    write_frame(store, PATH, make_frame())

    with xr.open_dataset(store.full(PATH), decode_coords="all") as ds:
        variable = ds["brightness_temperature"]

        assert variable.dtype == np.float32
        assert (variable.attrs["units"], variable.attrs["standard_name"]) == ("K", "toa_brightness_temperature")
        assert np.isnan(variable.values[0, 0])
        assert variable.values[1, 2] == np.float32(235.125)
        assert ds["time"].values == np.datetime64("2020-09-05T00:00:00")
        assert ds["observation_start"].values == np.datetime64("2020-09-05T00:00:20.600")
        crs = CRS.from_cf(ds["crs"].attrs)
        # Pixels are 10 km here: the extent of three columns is 30 km, from -5 km on; the first centre is at 0.
        np.testing.assert_allclose(ds["x"].values, [0, 10000, 20000])
        np.testing.assert_allclose(ds["y"].values, [10000, 0])
        assert ds["x"].attrs["standard_name"] == "projection_x_coordinate"
    mapping = crs.to_cf()
    assert (mapping["grid_mapping_name"], mapping["longitude_of_projection_origin"]) == ("geostationary", 140.7)


def test_longitudes_run_on_across_the_date_line(store: Store) -> None:
    write_frame(store, PATH, make_frame("latlon across the date line"))

    with xr.open_dataset(store.full(PATH)) as ds:
        # 165–195 in three columns of 10 degrees: centres 170, 180, 190; latitudes 10–30 in two rows, north first.
        np.testing.assert_allclose(ds["lon"].values, [170, 180, 190])
        np.testing.assert_allclose(ds["lat"].values, [25, 15])


def test_grey_levels_are_not_called_temperatures(store: Store) -> None:
    import dataclasses

    write_frame(store, PATH, dataclasses.replace(make_frame(), quantity="grey_level"))

    with xr.open_dataset(store.full(PATH)) as ds:
        assert "brightness_temperature" not in ds
        assert ds["grey_level"].attrs["units"] == "1"
    assert read_frame(store, PATH).quantity == "grey_level"


def test_the_manifest_beside_the_frame_names_its_bytes_and_inputs(store: Store) -> None:
    manifest = write_frame(store, PATH, make_frame(), {"a.DAT": "ab" * 32}, {"reader": "ahi_hsd"})

    assert manifest_path(PATH).endswith("20200905T000000Z.json")
    assert store.read_json(manifest_path(PATH))["inputs"] == {"a.DAT": "ab" * 32}
    assert manifest.files[0].bytes == len(store.read_bytes(PATH))
    assert manifest.extra["shape"] == [2, 3]


def test_numbers_of_values_leave_missing_pixels_out() -> None:
    data = np.array([[200.0, np.nan], [300.0, 250.0]], dtype=np.float32)

    assert value_quality(data) == {"valid_fraction": 0.75, "min": 200.0, "max": 300.0}
    assert value_quality(np.full((2, 2), np.nan, dtype=np.float32)) == {"valid_fraction": 0.0}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda b: b[: len(b) // 2], id="truncated"),
        pytest.param(lambda b: b"", id="empty"),
        pytest.param(lambda b: b"<html>not a frame</html>", id="something else"),
    ],
)
def test_a_damaged_frame_is_one_clear_error(store: Store, spoil) -> None:
    write_frame(store, PATH, make_frame())
    Path(store.full(PATH)).write_bytes(spoil(store.read_bytes(PATH)))

    with pytest.raises(CorruptFile, match="ingest its slot again"):
        read_frame(store, PATH)


def test_a_frame_that_is_not_there_is_a_storage_error(store: Store) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        read_frame(store, PATH)


def test_data_that_do_not_fit_their_area_are_a_mistake_of_the_caller() -> None:
    import dataclasses

    frame = make_frame()
    with pytest.raises(ValueError, match=r"\(2, 2\) do not fit an area of shape \(2, 3\)"):
        encode(dataclasses.replace(frame, data=frame.data[:, :2]))
