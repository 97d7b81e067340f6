"""Sun and moon of the navigation block are where they were."""

from datetime import UTC, datetime

import numpy as np
import pytest

from eyewall.simulator import ephemeris


def right_ascension_declination_deg(position_km: np.ndarray) -> tuple[float, float]:
    """Direction of a position."""
    x, y, z = position_km / np.linalg.norm(position_km)
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(z)))


def test_sun_at_the_june_solstice_of_2001():
    """2001-06-21 07:38 UTC: right ascension 90 degrees, declination +23.44, a little beyond one astronomical unit."""
    position = ephemeris.sun_km(datetime(2001, 6, 21, 7, 38, tzinfo=UTC))
    ra, declination = right_ascension_declination_deg(position)
    assert ra == pytest.approx(90.0, abs=0.05)
    assert declination == pytest.approx(23.44, abs=0.02)
    assert 1.015 < np.linalg.norm(position) / ephemeris.AU_KM < 1.018


def test_the_moon_stood_before_the_sun_in_the_eclipse_of_2009():
    """2009-07-22 02:35 UTC, greatest eclipse over the western Pacific: less than a degree apart, 357,000 km away."""
    time = datetime(2009, 7, 22, 2, 35, tzinfo=UTC)
    sun, moon = ephemeris.sun_km(time), ephemeris.moon_km(time)
    cosine = sun @ moon / np.linalg.norm(sun) / np.linalg.norm(moon)
    assert np.degrees(np.arccos(cosine)) < 1.0
    assert np.linalg.norm(moon) == pytest.approx(357_500, rel=0.01)
