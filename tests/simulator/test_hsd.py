"""The files written are Himawari Standard Data: by the guide's numbers, and by a reader that knows nothing of us."""

import bz2
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.contracts.errors import InputError
from eyewall.simulator import hsd, hsd_layout
from eyewall.simulator.disk import Sector, disk_segment, lat_lon, pixel_of, target_sector

SLOT = datetime(2001, 8, 1, 6, 0, tzinfo=UTC)


def blocks(content: bytes) -> dict[int, bytes]:
    """Walk the header by the lengths it states: number → bytes of each block."""
    found, at = {}, 0
    for _ in range(11):
        width = 4 if content[at] == 10 else 2
        length = int.from_bytes(content[at + 1 : at + 1 + width], "little")
        found[content[at]] = content[at : at + length]
        at += length
    found[0] = content[at:]
    return found


def load(path: Path) -> Any:
    """Band 13 by satpy, with every warning of the reader an error."""
    from satpy import Scene

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scene = Scene([str(path)], reader="ahi_hsd")
        scene.load(["B13"], calibration="brightness_temperature", pad_data=False)
        return scene["B13"].compute()


def ramp(sector: Sector) -> np.ndarray:
    """A scene that is nowhere constant: 200 K in the north-west corner to 300 K in the south-east."""
    y, x = np.mgrid[0 : sector.lines, 0 : sector.columns]
    return 200.0 + 50.0 * y / (sector.lines - 1) + 50.0 * x / (sector.columns - 1)


def test_every_block_has_the_number_and_the_length_that_the_guide_prints():
    """282 + 50 + 127 + 139 + 147 + 259 + 47 + 81 + 85 + 47 + 259 = 1523 bytes, and then 2 bytes a pixel."""
    sector = target_sector(18.0, 130.0)
    parts = blocks(hsd.encode(ramp(sector), sector, SLOT))
    lengths = {number: len(part) for number, part in parts.items() if number}
    expected = {1: 282, 2: 50, 3: 127, 4: 139, 5: 147, 6: 259, 7: 47, 8: 81, 9: 85, 10: 47, 11: 259}
    assert lengths == expected
    assert len(parts[0]) == 500 * 500 * 2
    basic = np.frombuffer(parts[1], dtype=hsd_layout.BASIC)[0]
    assert basic["total_header_length"] == 1523
    assert basic["total_data_length"] == 500_000
    assert basic["total_number_of_header_blocks"] == 11
    assert basic["file_name"] == b"HS_H09_20010801_0600_B13_R301_R20_S0101.DAT"


def test_our_layout_agrees_with_the_readers_tables():
    """Second method: satpy's own dtypes have the size of ours, block by block."""
    from satpy.readers import ahi_hsd

    assert ahi_hsd._BASIC_INFO_TYPE.itemsize == hsd_layout.BASIC.itemsize == 282
    assert ahi_hsd._CAL_INFO_TYPE.itemsize + ahi_hsd._IRCAL_INFO_TYPE.itemsize == 147
    assert hsd_layout.CALIBRATION_INFRARED.itemsize == 147
    for ours, theirs in (
        (hsd_layout.DATA, ahi_hsd._DATA_INFO_TYPE),
        (hsd_layout.PROJECTION, ahi_hsd._PROJ_INFO_TYPE),
        (hsd_layout.NAVIGATION, ahi_hsd._NAV_INFO_TYPE),
        (hsd_layout.INTER_CALIBRATION, ahi_hsd._INTER_CALIBRATION_INFO_TYPE),
        (hsd_layout.SEGMENT, ahi_hsd._SEGMENT_INFO_TYPE),
        (hsd_layout.NAVIGATION_CORRECTION, ahi_hsd._NAVIGATION_CORRECTION_INFO_TYPE),
        (hsd_layout.NAVIGATION_CORRECTION_ROW, ahi_hsd._NAVIGATION_CORRECTION_SUBINFO_TYPE),
        (hsd_layout.OBSERVATION_TIMES, ahi_hsd._OBSERVATION_TIME_INFO_TYPE),
        (hsd_layout.OBSERVATION_TIME_ROW, ahi_hsd._OBSERVATION_LINE_TIME_INFO_TYPE),
        (hsd_layout.ERRORS, ahi_hsd._ERROR_INFO_TYPE),
        (hsd_layout.ERROR_ROW, ahi_hsd._ERROR_LINE_INFO_TYPE),
        (hsd_layout.SPARE, ahi_hsd._SPARE_TYPE),
    ):
        assert ours.itemsize == theirs.itemsize


def test_satpy_reads_back_the_temperatures_the_place_and_the_times(tmp_path: Path):
    """Within 0.2 K; a hot spot at 17.0 N 135.0 E is found there within a pixel; nominal and observation times hold."""
    sector = target_sector(18.3, 133.2, observation=2)
    lat, lon = lat_lon(sector)
    bt_k = ramp(sector)
    spot = np.unravel_index(np.argmin(np.hypot(lat - 17.0, lon - 135.0)), lat.shape)
    bt_k[spot] = 325.0
    bt_k[3, 7:11] = np.nan

    band = load(hsd.write_hsd(tmp_path, bt_k, sector, SLOT))

    seen = ~np.isnan(bt_k)
    assert np.array_equal(~np.isnan(band.values), seen)
    assert np.abs(band.values - bt_k)[seen].max() < 0.2
    hottest = np.unravel_index(np.nanargmax(band.values), band.shape)
    found_lon, found_lat = band.attrs["area"].get_lonlat(*hottest)
    # A pixel of 2 km at nadir is 0.018 degrees; here, 18 degrees from nadir, a little more.
    assert abs(found_lat - 17.0) < 0.02
    assert abs(found_lon - 135.0) < 0.02
    times = band.attrs["time_parameters"]
    assert times["nominal_start_time"] == datetime(2001, 8, 1, 6, 2, 30)  # noqa: DTZ001 - satpy's are naive UTC
    start, end = hsd.observation_times(sector, SLOT)
    assert abs((times["observation_start_time"].replace(tzinfo=UTC) - start).total_seconds()) < 0.001
    assert abs((times["observation_end_time"].replace(tzinfo=UTC) - end).total_seconds()) < 0.001
    assert band.attrs["platform_name"] == "Himawari-9"


def test_error_pixels_are_listed_in_block_10():
    """Four error pixels on line 4 (counted from 1) and one on line 10."""
    sector = target_sector(18.0, 130.0)
    bt_k = ramp(sector)
    bt_k[3, 7:11] = np.nan
    bt_k[9, 0] = np.nan
    block = blocks(hsd.encode(bt_k, sector, SLOT))[10]
    assert len(block) == 47 + 2 * 4
    rows = np.frombuffer(block[7:15], dtype=hsd_layout.ERROR_ROW)
    assert rows.tolist() == [(4, 4), (10, 1)]


def test_a_full_disk_segment_lies_where_it_should(tmp_path: Path):
    """Segment 3 of 10 spans y from +2200 km to +1100 km of the projection: 2 km lines 1100 to 1650 below +5500."""
    segment = disk_segment(3)
    lat, lon = lat_lon(segment)
    path = hsd.write_hsd(tmp_path, ramp(segment), segment, SLOT, outside_scan=np.isnan(lat), compress=False)
    assert path.name == "HS_H09_20010801_0600_B13_FLDK_R20_S0310.DAT"
    band = load(path)
    west, south, east, north = band.attrs["area"].area_extent
    assert (west, south, east, north) == pytest.approx((-5.5e6, 2.2e6, 5.5e6, 3.3e6), abs=50)
    lons, lats = band.attrs["area"].get_lonlats()
    seen = np.isfinite(lats)
    assert np.array_equal(seen, np.isfinite(lat))
    assert np.abs(lats - lat)[seen].max() < 1e-4
    # Longitudes are steep at the limb, where the 7th digit of the ellipsoid shows.
    assert np.quantile(np.abs((lons - lon + 180) % 360 - 180)[seen], 0.99) < 1e-4


@given(lat=st.floats(-60, 60), lon=st.floats(85, 196))
@settings(max_examples=60, deadline=None)
def test_places_and_pixels_are_inverse(lat: float, lon: float):
    """Any place in view goes to a pixel and back within half a pixel; pyproj's geostationary projection agrees."""
    from pyproj import Proj

    line, column = pixel_of(lat, lon)
    window = Sector("R301", int(np.floor(column)), int(np.floor(line)), 2, 2)
    lats, lons = lat_lon(window)
    if not np.isfinite(lats).all():
        return  # the last pixel of the limb
    # Bilinear between the four pixels around it, as a second way to the same place; the map bends near the limb.
    fy, fx = line - np.floor(line), column - np.floor(column)
    weights = np.outer([1 - fy, fy], [1 - fx, fx])
    assert (lats * weights).sum() == pytest.approx(lat, abs=0.01)
    assert (lons * weights).sum() == pytest.approx(lon, abs=0.01)
    height_m = (hsd_layout.SATELLITE_DISTANCE_KM - hsd_layout.EQUATORIAL_RADIUS_KM) * 1000
    x, y = Proj(proj="geos", lon_0=140.7, h=height_m, a=6378137.0, b=6356752.3)(lon, lat)
    degrees_per_px = 2**16 / hsd_layout.FACTOR_2KM
    assert column == pytest.approx(np.degrees(x / height_m) / degrees_per_px + 2749.5, abs=0.01)
    assert line == pytest.approx(-np.degrees(y / height_m) / degrees_per_px + 2749.5, abs=0.01)


def test_the_far_side_of_the_earth_is_not_seen():
    """40 W lies opposite to 140.7 E."""
    assert all(np.isnan(v) for v in pixel_of(10.0, 320.0))
    with pytest.raises(InputError, match=r"no Target Area about 10\.00, 320\.00"):
        target_sector(10.0, 320.0)


def test_radiance_follows_planck():
    """At 300 K and 10.4073 µm Planck's law gives 9.8 W m⁻² sr⁻¹ µm⁻¹; c0…c2 shift the temperature by 0.02 K there."""
    wave_m, kelvin = 10.4073e-6, 300.0
    by_hand = 1.19104e-16 / wave_m**5 / (np.exp(1.438777e-2 / (wave_m * kelvin)) - 1) * 1e-6
    assert float(hsd.radiance(kelvin)) == pytest.approx(by_hand, rel=1e-3)


@given(st.floats(185, 328))
@settings(max_examples=100, deadline=None)
def test_counts_are_twelve_bits_and_within_a_fifth_of_a_kelvin(bt_k: float):
    """The count's radiance is that of a temperature within 0.2 K; Planck's law rises, so bracket it."""
    count = int(hsd.counts([bt_k])[0])
    assert 0 <= count < 4096
    value = hsd_layout.GAIN * count + hsd_layout.OFFSET
    assert hsd.radiance(bt_k - 0.2) < value < hsd.radiance(bt_k + 0.2)


def test_the_same_scene_gives_the_same_bytes(tmp_path: Path):
    """No clock, no host: two files are equal, compressed or not."""
    sector = target_sector(18.0, 130.0)
    one = hsd.write_hsd(tmp_path, ramp(sector), sector, SLOT).read_bytes()
    (tmp_path / "again").mkdir()
    two = hsd.write_hsd(tmp_path / "again", ramp(sector), sector, SLOT).read_bytes()
    assert one == two
    assert bz2.decompress(one) == hsd.encode(ramp(sector), sector, SLOT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"bt_k": np.full((3, 4), 250.0)}, r"shape \(3, 4\) does not fit", id="shape"),
        pytest.param({"satellite": "GOES-16"}, "'GOES-16' is not one of Himawari-8, Himawari-9", id="satellite"),
        pytest.param({"slot": SLOT.replace(minute=3)}, "is not a full ten minutes in UTC", id="slot"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str):
    """One sentence with the offending value."""
    sector = target_sector(18.0, 130.0)
    arguments: dict[str, Any] = {"bt_k": ramp(sector), "sector": sector, "slot": SLOT, **change}
    with pytest.raises(InputError, match=message):
        hsd.encode(**arguments)
