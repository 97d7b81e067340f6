"""Slices: stage of the track about its turn, and classes of intensity."""

import numpy as np
import pandas as pd
import pytest

from eyewall.verification.slices import INTENSITIES, STAGES, intensities, masks, stages, turn_time

START = np.datetime64("2016-08-01T00", "ns")


def every_6h(count: int) -> np.ndarray:
    """Times of ``count`` fixes."""
    return START + np.arange(count) * np.timedelta64(6, "h")


@pytest.mark.parametrize(
    ("lat", "lon", "turn"),
    [
        # west to 130.0 at the 4th fix, then back east past 132
        pytest.param([15, 17, 19, 21, 24, 28], [134, 132, 131, 130, 131, 135], 3, id="recurves"),
        pytest.param([15, 16, 17, 18, 19], [134, 132, 130, 128, 126], None, id="goes_west_to_its_end"),
        pytest.param([15, 17, 20, 24], [130, 131, 133, 136], None, id="goes_east_from_its_beginning"),
        pytest.param([15, 16, 17, 18], [131, 130, 130.4, 131], None, id="wobbles_by_less_than_2_degrees"),
        pytest.param([25, 23, 21, 19, 17], [134, 132, 130, 132, 134], None, id="turns_equatorward"),
        pytest.param([15, 17, 19, 22, 26], [182, 180.5, 179, 180.5, 184], 2, id="over_the_date_line"),
        pytest.param([15, 17, 19, 22, 26], [3, 1, 359, 1, 4], 2, id="over_greenwich"),
        pytest.param([-15, -17, -19, -22, -26], [64, 62, 60, 62, 64], 2, id="poleward_is_south_in_the_south"),
        pytest.param([15, 16], [134, 130], None, id="two_fixes"),
    ],
)
def test_the_turn_is_the_westernmost_fix_of_a_storm_that_comes_back(lat, lon, turn):
    times = every_6h(len(lat))

    found = turn_time(times, np.array(lat, float), np.array(lon, float))

    assert found == (None if turn is None else times[turn])


def test_stages_are_12_hours_about_the_turn():
    lon = np.array([140, 138, 136, 134, 132, 130, 131, 133, 136, 140.0])  # turns at fix 5
    table = pd.DataFrame(
        {"storm_id": "s1", "time_utc": every_6h(10), "lat_deg": np.linspace(12, 32, 10), "lon_deg": lon}
    )
    straight = table.assign(storm_id="s2", lon_deg=np.linspace(150, 130, 10))
    storms = np.array(["s1"] * 10 + ["s2"], dtype=object)
    times = np.concatenate([every_6h(10), every_6h(1)])

    found = stages(storms, times, pd.concat([table, straight]))

    # fixes 3–7 are within 12 h of fix 5
    assert list(found) == ["before"] * 3 + ["in"] * 5 + ["after"] * 2 + ["no_turn"]


@pytest.mark.parametrize(
    ("wind_kt", "label"),
    [
        pytest.param(33.9, "TD", id="below_gale"),
        pytest.param(34.0, "TS", id="gale"),
        pytest.param(47.9, "TS", id="below_storm"),
        pytest.param(48.0, "STS", id="storm"),
        pytest.param(63.9, "STS", id="below_typhoon"),
        pytest.param(64.0, "TY", id="typhoon"),
        pytest.param(np.nan, "unknown", id="no_wind"),
    ],
)
def test_intensity_classes_begin_at_34_48_and_64_kt(wind_kt, label):
    assert list(intensities(np.array([wind_kt]))) == [label]


def test_every_case_is_in_exactly_one_class_and_empty_classes_are_there():
    labels = np.array(["TS", "TY", "TS"], dtype=object)

    found = masks(labels, INTENSITIES)

    assert tuple(found) == INTENSITIES
    np.testing.assert_array_equal(sum(mask.astype(int) for mask in found.values()), [1, 1, 1])
    assert not found["STS"].any()
    assert set(STAGES).isdisjoint(INTENSITIES)
