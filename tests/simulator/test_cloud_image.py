"""The cloud scene shows what the storm does: an eye when strong, a plume towards the hidden steering, cold tops."""

from dataclasses import replace

import numpy as np
import pytest

from eyewall.simulator.disk import Sector, lat_lon, target_sector
from eyewall.simulator.image import View, brightness_temperature_k

TYPHOON = View(
    lat_deg=20.0, lon_deg=135.0, wind_kt=100.0, hour=96.0, outlook_m_s=0j, wave_phase_rad=1.0, utc_hour=6.0, seed=3
)


def scene(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Temperatures (K) with km east and north of the centre."""
    lat, lon = lat_lon(target_sector(view.lat_deg, view.lon_deg))
    bt_k = brightness_temperature_k(lat, lon, view)
    return bt_k, (lon - view.lon_deg) * 111.2 * np.cos(np.radians(view.lat_deg)), (lat - view.lat_deg) * 111.2


def test_a_typhoon_has_a_warm_eye_in_cold_overcast_over_a_warm_sea():
    """Eye above 270 K, the ring round it below 225 K, sea near 295 K; all within what the channel can show."""
    bt_k, east, north = scene(TYPHOON)
    radius = np.hypot(east, north)
    assert bt_k[radius < 6].mean() > 270
    assert bt_k[(radius > 50) & (radius < 100)].mean() < 225
    assert 285 < np.quantile(bt_k, 0.98) < 300
    assert bt_k.min() >= 180
    assert bt_k.max() <= 305


def test_a_weak_storm_has_no_eye():
    """At 40 kt the centre is under cloud."""
    bt_k, east, north = scene(replace(TYPHOON, wind_kt=40.0))
    assert bt_k[np.hypot(east, north) < 6].mean() < 240


@pytest.mark.parametrize("degrees", [pytest.param(d, id=f"{d} degrees from east") for d in (0, 60, 135, 250)])
def test_the_plume_points_along_the_outlook(degrees: int):
    """The cold excess over the calm scene, 250–480 km out, has its centroid within 45 degrees of the outlook."""
    towards = complex(np.exp(1j * np.radians(degrees)))
    calm, east, north = scene(TYPHOON)
    windy, _, _ = scene(replace(TYPHOON, outlook_m_s=6 * towards))
    radius = np.hypot(east, north)
    ring = (radius > 250) & (radius < 480)
    colder = np.clip(calm - windy, 0, None) * ring
    centroid = (colder * (east + 1j * north)).sum()
    off = np.degrees(np.angle(centroid / towards))
    assert abs(off) < 45


def test_the_scene_depends_on_its_arguments_alone():
    """Equal views give equal temperatures; a later hour and another seed do not."""
    one, _, _ = scene(TYPHOON)
    assert np.array_equal(one, scene(TYPHOON)[0])
    assert not np.array_equal(one, scene(replace(TYPHOON, hour=102.0))[0])
    assert not np.array_equal(one, scene(replace(TYPHOON, seed=4))[0])


def test_off_the_disk_there_is_nothing():
    """A window across the limb: NaN exactly where there is no place, a temperature everywhere else."""
    lat, lon = lat_lon(Sector("R301", 5200, 2500, 300, 200))
    assert 0.05 < np.isnan(lat).mean() < 0.95
    assert np.array_equal(np.isnan(brightness_temperature_k(lat, lon, TYPHOON)), np.isnan(lat))
