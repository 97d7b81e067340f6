"""Simulated storms look like storms: where they live, how fast they go, how strong they get, how they end."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.besttrack.sphere import distance_km
from eyewall.simulator import storm
from eyewall.simulator.steering import Steering

GENESIS = datetime(2003, 8, 20, 6, tzinfo=UTC)


@given(seed=st.integers(0, 10_000), number=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_any_storm_is_plausible(seed: int, number: int):
    """Six-hourly fixes in the basin; no faster than 30 m/s; winds 15–120 kt in steps of 5; deeper where stronger."""
    made = storm.simulate(seed, 2003, number, "ALFA", GENESIS)
    hours = np.diff([t.timestamp() for t in made.times]) / 3600
    assert (hours == 6).all()
    assert 5.0 <= made.true_lat_deg[0] <= 20.0
    assert 125.0 <= made.true_lon_deg[0] <= 165.0
    assert ((made.lat_deg > 0) & (made.lat_deg < 50)).all()
    assert ((made.lon_deg > 98) & (made.lon_deg < 190)).all()
    step_km = distance_km(made.true_lat_deg[:-1], made.true_lon_deg[:-1], made.true_lat_deg[1:], made.true_lon_deg[1:])
    assert (step_km / 6 / 3.6 < 30).all()
    assert ((made.wind_kt >= 15) & (made.wind_kt <= 120)).all()
    assert (np.abs(np.diff(made.wind_kt)) <= 45).all()
    # Winds are published to 5 kt: the pressure is that of a wind within 2.5 kt, to its own rounding.
    assert (made.pressure_hpa <= storm.pressure_of(made.wind_kt - 2.5) + 0.5).all()
    assert (made.pressure_hpa >= storm.pressure_of(made.wind_kt + 2.5) - 0.5).all()


def test_a_storm_is_named_by_its_genesis():
    """IBTrACS: year, day of the year (20 August 2003 is day 232), hemisphere, latitude, longitude."""
    made = storm.simulate(1, 2003, 1, "ALFA", GENESIS)
    assert made.sid == f"2003232N{round(made.lat_deg[0]):02d}{round(made.lon_deg[0]):03d}"


def test_the_same_seed_gives_the_same_storm_and_another_seed_another():
    """A storm depends on seed, season and number alone."""
    one, same, other = (storm.simulate(seed, 2003, 4, "DELTA", GENESIS) for seed in (5, 5, 6))
    assert np.array_equal(one.lat_deg, same.lat_deg)
    assert np.array_equal(one.outlook_m_s, same.outlook_m_s)
    assert one.lat_deg[:4].tolist() != other.lat_deg[:4].tolist()


def test_storms_recurve_and_speed_up():
    """South of 20 N most head west, north of 30 N most head east, and these are at least half as fast again."""
    tracks = [
        storm.simulate(3, year, n, "X", datetime(year, 8, 1 + n, tzinfo=UTC))
        for year in (2001, 2002)
        for n in range(20)
    ]
    lat = np.concatenate([s.true_lat_deg[:-1] for s in tracks])
    east = np.concatenate([np.diff(s.true_lon_deg) for s in tracks])
    speed = np.concatenate(
        [distance_km(s.true_lat_deg[:-1], s.true_lon_deg[:-1], s.true_lat_deg[1:], s.true_lon_deg[1:]) for s in tracks]
    )
    south, north = lat < 20, lat > 32
    assert (east[south] < 0).mean() > 0.8
    assert (east[north] > 0).mean() > 0.8
    assert speed[north].mean() > 1.5 * speed[south].mean()


def test_the_sea_is_warm_in_the_south_and_land_feeds_nothing():
    """110 kt over the warm pool, less than 40 at 45 N, and 12 kt inland (30 N 110 E is in China)."""
    assert storm.potential_kt(15.0, 135.0, 235.0) == pytest.approx(110.0, abs=15)
    assert storm.potential_kt(45.0, 160.0, 235.0) < 40
    assert storm.over_land(30.0, 110.0)
    assert not storm.over_land(18.0, 130.0)
    assert storm.potential_kt(30.0, 110.0, 235.0) == 12.0


def test_pressure_of_a_100_kt_typhoon():
    """Atkinson and Holliday: 100 kt / 0.88 = 113.6 = 6.7 (1010 - p)^0.644, so p = 1010 - 81.2 = 928.8 hPa."""
    assert float(storm.pressure_of(100.0)) == pytest.approx(928.8, abs=0.5)


def test_the_outlook_is_the_expected_steering_ahead():
    """Integrated without noise, wave and trough give what the outlook promised."""
    steering = Steering.draw(np.random.default_rng(11))
    steering.trough_hour = 60.0
    promised = steering.outlook(40.0)
    flows = []
    for hour in range(41, 65):
        turn = np.exp(2j * np.pi / steering.wave_period_h - 1 / 110.0)
        steering.wave *= turn
        bell = np.exp(-(((hour - 60.0) / steering.trough_width_h) ** 2))
        flows.append(steering.wave + steering.trough * bell)
    assert promised == pytest.approx(np.mean(flows), rel=1e-9)


def test_the_outlook_tells_of_the_motion_to_come():
    """Over 60 storms it correlates with the coming change of motion, which persistence knows nothing of."""
    outlook, change = [], []
    for number in range(60):
        made = storm.simulate(9, 2004, number, "X", datetime(2004, 8, 1, tzinfo=UTC) + timedelta(days=number))
        lat, lon = made.true_lat_deg, made.true_lon_deg
        for i in range(1, len(lat) - 4):
            past, ahead = lat[i] - lat[i - 1], (lat[i + 4] - lat[i]) / 4
            outlook.append(made.outlook_m_s[i].imag)
            change.append(ahead - past)
            assert np.isfinite(lon[i])
    assert np.corrcoef(outlook, change)[0, 1] > 0.3
