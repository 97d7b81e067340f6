"""Frames are listed by their names alone."""

from datetime import UTC, datetime

from eyewall.contracts.layout import frame_path
from eyewall.satellite.index import FrameKey, list_frames
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
        "frames/s/2020/09/05/.20200905T180000Z.nc.ab12.tmp",
        frame_path("other", EVENING),
    ):
        store.write_bytes(path, b"x")

    assert [key.path for key in list_frames(store, "s")] == [kept]


def test_a_stream_that_is_not_there_has_no_frames(store: Store) -> None:
    assert list_frames(store, "nothing") == []
