"""The frames of a sample: the right ones, cut where the storm was, and nothing from after the base time."""

# NOTE: defined in conftest.py: store, put_frame, box_area, painted
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.besttrack.table import LAT_DEG, LON_DEG, TIME_UTC
from eyewall.besttrack.testing import straight_track
from eyewall.contracts.errors import InputError
from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, ImageSpec
from eyewall.records.example import dequantise, quantise
from eyewall.records.frames import FrameCache
from eyewall.records.images import candidates, may_show, storm_images
from eyewall.satellite.index import FrameKey, list_frames

SPEC = ImageSpec(frames=3, px=16, km_per_px=50.0)
#: 00 UTC on 1 August at 15 N 140 E, then 0.5° north and 1° west every six hours.
TRACK = straight_track(
    "2001213N15140", 2001, "2001-08-01T00:00", lat_deg=15, lon_deg=140, lat_step_deg=0.5, lon_step_deg=-1
)
BASE = np.datetime64("2001-08-02T00:00")  # the fifth fix: 17 N 136 E


def there(time):
    """Where the storm is at a time, by plain linear interpolation (a few km from the great circle)."""
    hours = (np.datetime64(time) - np.datetime64("2001-08-01T00:00")) / np.timedelta64(1, "h")
    return 15 + 0.5 * hours / 6, 140 - hours / 6


def images(store, base=BASE, track=TRACK, spec=SPEC, stream="toy", **options):
    return storm_images(store, stream, list_frames(store, stream), track, base, spec, **options)


def coldest(image):
    return np.unravel_index(np.argmin(np.where(image[..., 0] > 0, image[..., 0], np.inf)), image.shape[:2])


def test_the_storm_stands_in_the_middle_of_every_frame_whenever_it_was_taken(store, put_frame):
    times = ["2001-08-01T18:00", "2001-08-01T21:20", "2001-08-02T00:00"]
    for time in times:
        put_frame(time, *there(time))
    found = images(store)

    assert found[IMAGE_VALID].tolist() == [1, 1, 1]
    assert found[IMAGE_AGE_H] == pytest.approx([6, 2 + 40 / 60, 0])
    for image in found[IMAGES]:
        # 16 pixels: the centre is the corner between 7 and 8, and one pixel of 50 km is 0.45 degrees
        assert all(index in (7, 8) for index in coldest(image))
        # 0.32 degrees off: 295 - 95·exp(-0.05) = 204.6 K, and a little more by averaging 2 x 2 pixels
        assert 204 < image[image > 0].min() < 207


def test_nothing_after_the_base_time_is_looked_at(store, put_frame):
    """Fixes and frames of the future are changed or removed, and the sample stays the same."""
    for time in ("2001-08-01T20:00", "2001-08-02T00:00"):
        put_frame(time, *there(time))
    before = images(store)
    put_frame("2001-08-02T00:10", 30.0, 150.0)
    strayed = TRACK.copy()
    later = strayed[TIME_UTC] > pd.Timestamp(BASE)
    strayed.loc[later, [LAT_DEG, LON_DEG]] = [45.0, 170.0]

    for track in (strayed, TRACK[~later]):
        after = images(store, track=track)
        assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_frame_newer_than_the_last_fix_has_no_position(store, put_frame):
    put_frame("2001-08-02T00:00", *there("2001-08-02T00:00"))
    put_frame("2001-08-02T03:00", *there("2001-08-02T03:00"))
    found = images(store, base=np.datetime64("2001-08-02T04:00"), track=TRACK[TRACK[TIME_UTC] <= pd.Timestamp(BASE)])

    assert found[IMAGE_AGE_H].tolist() == [0, 0, 4]
    assert found[IMAGE_VALID].tolist() == [0, 0, 1]


def test_the_newest_frames_far_enough_apart_are_taken(store, put_frame):
    for time in ("01T11:00", "01T12:00", "01T20:00", "01T22:30", "01T23:10", "01T23:30", "02T00:00"):
        put_frame(f"2001-08-{time}", *there(f"2001-08-{time}"))

    # newest first: 00:00; 23:30 and 23:10 are less than an hour before; 22:30 is not; then 20:00
    assert images(store)[IMAGE_AGE_H].tolist() == [4, 1.5, 0]
    # half an hour: 00:00, 23:30, (23:10 is 20 minutes before), 22:30
    assert images(store, min_frame_gap_h=0.5)[IMAGE_AGE_H].tolist() == [1.5, 0.5, 0]
    # up to 12 h inclusive, six hours apart: 00:00, then 12:00; 11:00 is 13 hours old
    assert images(store, min_frame_gap_h=6)[IMAGE_AGE_H].tolist() == [0, 12, 0]
    assert images(store, min_frame_gap_h=6)[IMAGE_VALID].tolist() == [0, 1, 1]


def test_two_frames_of_one_time_count_once(store, put_frame):
    put_frame("2001-08-02T00:00", *there(BASE), part="a")
    put_frame("2001-08-02T00:00", *there(BASE), part="b")

    assert images(store, min_frame_gap_h=0)[IMAGE_VALID].tolist() == [0, 0, 1]


def test_no_frame_at_all_is_zeros_with_mask_zero(store):
    found = images(store)

    assert [found[name].sum() for name in (IMAGES, IMAGE_AGE_H, IMAGE_VALID)] == [0, 0, 0]
    assert found[IMAGES].shape == (3, 16, 16, 1)


def test_a_target_sector_that_follows_another_storm_is_left_out(store, put_frame, box_area):
    lat, lon = there(BASE)
    elsewhere = box_area(150, 10, 160, 20)
    put_frame(BASE, 15, 155, area=elsewhere, part="R301")
    assert images(store)[IMAGE_VALID].sum() == 0

    put_frame(BASE, lat, lon, area=box_area(131, 12, 141, 22), part="R302")
    assert images(store)[IMAGE_VALID].sum() == 1


@pytest.mark.parametrize(
    ("part", "storm_id", "shown"),
    [
        pytest.param("200717", "200717", True, id="same_id"),
        pytest.param("200718", "200717", False, id="another_id_of_the_same_agency"),
        pytest.param("200717", "2007276N18147", True, id="ids_of_two_agencies"),
        pytest.param("WP172007", "WP182007", False, id="atcf"),
        pytest.param("", "200717", True, id="no_part"),
        pytest.param("R301", "2007276N18147", True, id="target_sector"),
    ],
)
def test_only_another_id_of_the_same_kind_rules_a_frame_out(part, storm_id, shown):
    assert may_show(part, storm_id) is shown


def test_a_frame_that_knows_less_than_half_of_the_square_is_left_out(store, put_frame, box_area, painted):
    """Missing rows from the storm's centre northward, and a little more."""
    lat, lon = there(BASE)
    area = box_area()
    for spare_deg, frames in ((0.75, 1), (-0.75, 0)):
        data = painted(area, lat, lon)
        data[: round((50 - lat - spare_deg) / 0.25)] = np.nan
        put_frame(BASE, data=data, area=area)

        assert images(store)[IMAGE_VALID].sum() == frames


@pytest.mark.parametrize("lon", [pytest.param(179.9, id="west_of_it"), pytest.param(180.1, id="east_of_it")])
def test_a_storm_on_the_date_line_is_in_the_middle_too(store, put_frame, lon, box_area):
    track = straight_track(
        "2001213N15180", 2001, "2001-08-01T00:00", lat_deg=15, lon_deg=lon, lat_step_deg=0.5, lon_step_deg=0
    )
    put_frame("2001-08-01T21:00", 16.75, lon, area=box_area(165, 0, 195, 30))
    (image,) = images(store, track=track, spec=SPEC.model_copy(update={"frames": 1}))[IMAGES]

    assert all(index in (7, 8) for index in coldest(image))
    assert (image > 0).all()


def test_black_of_a_picture_is_a_value_and_missing_stays_missing(store, put_frame, box_area):
    spec = SPEC.model_copy(update={"frames": 1, "quantity": "grey_level"})
    area = box_area()
    data = np.zeros((area.height, area.width), np.float32)
    data[:, round((136.0 - 100) / 0.25) :] = np.nan  # east of the storm at 136 E
    data[:, : round((134.0 - 100) / 0.25)] = 77.0
    put_frame(BASE, data=data, area=area, quantity="grey_level")
    (image,) = images(store, spec=spec)[IMAGES]

    assert set(np.unique(image[8]).tolist()) >= {0.0, 1.0, 77.0}
    assert (image[8, 9:] == 0).all()
    assert (image[8, 6:7] == 1).all()


def test_what_is_given_is_what_records_give_back(store, put_frame):
    """Rounded once: a live forecast sees the same numbers as a model in training."""
    put_frame(BASE, *there(BASE))
    found = images(store)[IMAGES]

    assert np.array_equal(dequantise(quantise(found)), found)


def test_keys_of_another_stream_are_refused(store, put_frame):
    put_frame(BASE, *there(BASE))

    with pytest.raises(InputError, match="is no frame of stream 'other'"):
        storm_images(store, "other", list_frames(store, "toy"), TRACK, BASE, SPEC)


def test_a_frame_of_another_quantity_is_refused_by_name(store, put_frame):
    path = put_frame(BASE, *there(BASE), quantity="grey_level")

    with pytest.raises(InputError, match=rf"frame {path} holds grey_level, where brightness_temp"):
        images(store)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda d: d[: len(d) // 2], id="truncated"),
        pytest.param(lambda d: b"", id="empty"),
        pytest.param(lambda d: b"no netCDF at all" * 50, id="text"),
    ],
)
def test_a_frame_that_cannot_be_read_is_skipped_once_and_named(store, put_frame, damage, caplog):
    good = put_frame("2001-08-01T23:00", *there("2001-08-01T23:00"))
    bad = put_frame(BASE, *there(BASE))
    store.write_bytes(bad, damage(store.read_bytes(bad)))
    cache = FrameCache(store)
    for _ in range(2):
        assert images(store, cache=cache)[IMAGE_AGE_H].tolist() == [0, 0, 1]

    assert list(cache.unreadable) == [bad]
    assert cache.used == {good: 2}
    assert [bad in record.getMessage() for record in caplog.records] == [True]


def test_consecutive_base_times_read_a_frame_once(store, put_frame):
    for hour in range(0, 24, 3):
        put_frame(f"2001-08-01T{hour:02d}:00", *there(f"2001-08-01T{hour:02d}:00"))
    cache = FrameCache(store)
    for hour in (6, 12, 18):
        images(store, base=np.datetime64(f"2001-08-01T{hour:02d}:00"), cache=cache)

    assert cache.reads == 7  # 00, 03, … 18


def test_a_small_cache_forgets_the_oldest_and_still_gives_the_same(store, put_frame):
    for time in ("2001-08-01T12:00", "2001-08-01T18:00", "2001-08-02T00:00"):
        put_frame(time, *there(time))
    small, large = FrameCache(store, frame_bytes=1), FrameCache(store)
    for north_deg in (0.0, 1.0):  # two storms that live at once
        track = TRACK.assign(**{LAT_DEG: TRACK[LAT_DEG] + north_deg})
        one, other = (images(store, track=track, cache=cache) for cache in (small, large))
        assert one[IMAGE_VALID].sum() == 3
        assert all(np.array_equal(one[name], other[name]) for name in one)

    assert (small.reads, large.reads) == (6, 3)  # 12, 18 and 00 h, once for each storm or once for both


@given(ages=st.lists(st.integers(0, 3000), max_size=30), max_age_h=st.floats(0.1, 48))
def test_candidates_are_those_within_the_age(ages, max_age_h):
    base = datetime(2001, 8, 2, tzinfo=UTC)
    keys = sorted(FrameKey(datetime.fromtimestamp(base.timestamp() - 60 * (age - 300), UTC), "", "x") for age in ages)
    plainly = [key for key in keys if 0 <= (base - key.time).total_seconds() <= 3600 * max_age_h]

    assert candidates(keys, base, max_age_h) == plainly
