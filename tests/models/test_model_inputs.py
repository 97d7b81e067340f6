"""What networks are given: of order one in every basin, without a jump where longitudes start anew."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eyewall.contracts.features import LEADS_H, PAST_LAT_DEG, PAST_LON_DEG
from eyewall.models.card import Normalisation
from eyewall.models.inputs import track_vector


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
