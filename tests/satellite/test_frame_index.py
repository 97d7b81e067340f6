"""Frames are listed by their names alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.layout import frame_path
from eyewall.satellite.index import FrameKey, FrameTable, list_frames
from eyewall.storage import Store

NOON = datetime(2020, 9, 5, 12, tzinfo=UTC)
EVENING = datetime(2020, 9, 5, 18, tzinfo=UTC)


def test_frames_come_by_time_then_part_and_nothing_is_opened(store: Store) -> None:
    paths = [frame_path("s", EVENING), frame_path("s", NOON, "200717"), frame_path("s", NOON, "200716")]
    for path in paths:
        store.write_bytes(path, b"not netCDF at all")

    assert list_frames(store, "s") == [
        FrameKey(NOON, "200716", paths[2]),
        FrameKey(NOON, "200717", paths[1]),
        FrameKey(EVENING, "", paths[0]),
    ]


def test_manifests_strangers_half_written_files_and_other_streams_are_passed_over(store: Store) -> None:
    kept = frame_path("s", NOON)
    for path in (
        kept,
        kept.removesuffix(".nc") + ".json",
        "frames/s/2020/09/05/notes.nc",
        "frames/s/2020/09/06/20200905T120000Z__astray.nc",
        "frames/s/.sums/2020.csv",
        "frames/s/2020/09/05/.20200905T180000Z.nc.ab12.tmp",
        frame_path("other", EVENING),
    ):
        store.write_bytes(path, b"x")

    assert [key.path for key in list_frames(store, "s")] == [kept]


def test_a_stream_that_is_not_there_has_no_frames(store: Store) -> None:
    assert list_frames(store, "nothing") == []


def test_a_table_is_the_same_sequence(store: Store) -> None:
    times = [NOON, NOON, EVENING, NOON - timedelta(days=200)]
    for time, part in zip(times, ("200717", "", "200716", "200717"), strict=True):
        store.write_bytes(frame_path("s", time, part), b"x")
    plain, table = list_frames(store, "s"), FrameTable.of(store, "s")

    assert list(table) == plain
    assert list(table[1:3]) == plain[1:3]
    assert (table[-1], table[0]) == (plain[-1], plain[0])
    assert list(table.take(np.array([True, False, False, True]))) == [plain[0], plain[3]]
    assert [table.row(key.path) for key in plain] == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        table.row(frame_path("s", NOON, "200799"))
    with pytest.raises(IndexError):
        table[4]
    assert list(FrameTable.of(store, "nothing")) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["", "a", "200717", "z-9"])), unique=True, max_size=30))
def test_a_table_of_any_frames_is_sorted_as_a_list_is(frames: list[tuple[int, str]]) -> None:
    """Also on a store that is no folder, where fsspec lists them."""
    elsewhere = Store("memory://table")
    try:
        for hours, part in frames:
            elsewhere.write_bytes(frame_path("s", NOON + timedelta(hours=7 * hours), part), b"x")

        assert list(FrameTable.of(elsewhere, "s")) == list_frames(elsewhere, "s")
        assert len(FrameTable.of(elsewhere, "s")) == len(frames)
    finally:
        if elsewhere.exists("frames"):
            elsewhere.remove("frames")
