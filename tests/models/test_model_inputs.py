"""What networks are given: of order one in every basin, without a jump where longitudes start anew."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eyewall.contracts.features import DAY_OF_YEAR, LEADS_H, PAST_FIX_VALID, PAST_LAT_DEG, PAST_LON_DEG
from eyewall.models.card import Normalisation
from eyewall.models.inputs import outlook_vector, track_vector


def moved_to(batch: dict[str, Any], lat_deg: float, lon_deg: float) -> dict[str, Any]:
    """The first sample with its base fix shifted to a place, the track before it alike."""
    one = {name: value[:1] for name, value in batch.items()}
    lat, lon = one[PAST_LAT_DEG], one[PAST_LON_DEG]
    return one | {
        PAST_LAT_DEG: lat - lat[:, -1:] + lat_deg,
        PAST_LON_DEG: tf.math.floormod(lon - lon[:, -1:] + lon_deg, 360.0),
    }


def vector(features: dict[str, Any], **origins: float) -> np.ndarray:
    cliper = tf.zeros((1, len(LEADS_H), 2))
    return track_vector(features, cliper, Normalisation(**origins)).numpy()[0]


def test_positions_count_from_the_origins_of_the_training(batch: dict[str, Any]) -> None:
    # (−17 − −20) / 10 = 0.3 and (65 − 80) / 15 = −1
    there = vector(moved_to(batch, -17.0, 65.0), lat_origin_deg=-20.0, lon_origin_deg=80.0)
    # (23 − 20) / 10 = 0.3 and (120 − 135) / 15 = −1: what the western North Pacific has always had
    here = vector(moved_to(batch, 23.0, 120.0))

    for values in (there, here):
        assert np.isclose(values, 0.3, atol=1e-6).any()
        assert np.isclose(values, -1.0, atol=1e-6).any()


@pytest.mark.parametrize(
    ("west", "east", "origin"),
    [pytest.param(359.95, 0.05, 330.0, id="Greenwich"), pytest.param(179.95, 180.05, 170.0, id="the date line")],
)
def test_a_step_over_a_meridian_is_a_small_step(batch: dict[str, Any], west: float, east: float, origin: float) -> None:
    """0.1° is 0.1 / 15 = 0.0067; a jump would be 360 / 15 = 24."""
    before, after = (vector(moved_to(batch, 15.0, lon), lon_origin_deg=origin) for lon in (west, east))

    assert 0 < np.abs(after - before).max() < 0.02


def outlook(features: dict[str, Any]) -> np.ndarray:
    """With CLIPER going 10, 20, 40, 80 and 120 km to the north-west."""
    km = np.array([[-1.0, 1.0]]) * np.array([10.0, 20.0, 40.0, 80.0, 120.0])[:, None]
    rows = len(features[PAST_LAT_DEG])
    return outlook_vector(features, tf.constant(np.repeat(km[None], rows, axis=0), tf.float32)).numpy()


def test_the_outlook_is_of_order_one_everywhere(batch: dict[str, Any]) -> None:
    """Finite also where a storm stands still, or has no fix but its last."""
    still = batch | {PAST_LAT_DEG: batch[PAST_LAT_DEG][:, -1:] + tf.zeros((1, 9))}
    alone = batch | {PAST_FIX_VALID: batch[PAST_FIX_VALID] * tf.constant([[0.0] * 8 + [1.0]])}

    for features in (batch, still, alone):
        values = outlook(features)
        assert np.isfinite(values).all()
        assert np.abs(values).max() < 10.0


@pytest.mark.parametrize(
    ("west", "east"), [pytest.param(359.95, 0.05, id="Greenwich"), pytest.param(179.95, 180.05, id="the date line")]
)
def test_the_outlook_has_no_seam(batch: dict[str, Any], west: float, east: float) -> None:
    """0.1° is 11 km at most: 11 / 100 in the nearer of the two scales, twice that in none."""
    before, after = (outlook(moved_to(batch, 15.0, lon)) for lon in (west, east))

    assert np.abs(after - before).max() < 0.22


def test_the_sun_stands_where_the_almanac_has_it(batch: dict[str, Any]) -> None:
    """Column 14 is the latitude from the sun's over 15: 23.4° N on 21 June (day 172), 0.0 ± 1° on 20 March (day 79)."""
    june, march = (
        outlook(moved_to(batch, 23.4, 140.0) | {DAY_OF_YEAR: tf.constant([day])})[0, 14] * 15 for day in (172.0, 79.0)
    )

    assert june == pytest.approx(0.0, abs=0.2)
    assert march == pytest.approx(23.4, abs=1.2)


def test_turning_right_is_told_from_turning_left(batch: dict[str, Any]) -> None:
    """A track that went north, then east, against its mirror image: the turn (last column but one) changes its sign."""
    one = {name: value[:1] for name, value in batch.items()} | {PAST_FIX_VALID: tf.ones((1, 9))}
    lat = tf.constant([[10.0, 10.0, 10.0, 10.0, 10.0, 10.5, 11.0, 11.0, 11.0]])
    lon = np.array([[140.0, 140.0, 140.0, 140.0, 140.0, 140.0, 140.0, 140.5, 141.0]], np.float32)
    right, left = (outlook(one | {PAST_LAT_DEG: lat, PAST_LON_DEG: tf.constant(x)})[0, -2] for x in (lon, 280.0 - lon))

    assert right == pytest.approx(-left, rel=1e-3)
    # east × north of the first half minus north × east: (9.1 · 9.3 − 0) / 200 km²/h²
    assert right == pytest.approx(9.1 * 9.27 / 200, rel=0.02)
