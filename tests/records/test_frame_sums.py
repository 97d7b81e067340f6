"""A frame is hashed once, and again whenever it may have changed."""

# NOTE: defined in conftest.py: store, put_frame, job, film
import os

import numpy as np
import pytest

from eyewall.contracts.errors import StorageError
from eyewall.records import step, sums
from eyewall.records.sums import frames_sha256, hexadecimal, pairs
from eyewall.satellite.index import FrameTable
from eyewall.storage import Store
from eyewall.storage.store import sha256_of


@pytest.fixture
def hashed(monkeypatch):
    """Paths that were read, in order; frames count as old enough to be remembered at once."""
    read, one = [], sums._hash

    def counting(store, path):
        read.append(path)
        return one(store, path)

    monkeypatch.setattr(sums, "_hash", counting)
    monkeypatch.setattr(sums, "_RACY_NS", -(10**18))
    return read


@pytest.fixture
def paths(put_frame):
    """Four frames of two years."""
    return [put_frame(f"{year}-08-01T{hour:02d}:00", 15, 140) for year in (2001, 2002) for hour in (0, 6)]


def test_the_second_time_nothing_is_read(store, paths, hashed):
    table = FrameTable.of(store, "toy")
    first = frames_sha256(store, table)
    assert sorted(hashed) == paths
    hashed.clear()

    assert np.array_equal(frames_sha256(store, table), first)
    assert hashed == []
    assert [hexadecimal(first, row) for row in range(4)] == [sha256_of(store.local(path)) for path in paths]
    assert list(pairs(table, first)) == [(path, sha256_of(store.local(path))) for path in paths]


def test_a_frame_made_anew_is_read_again_and_no_other_one(store, paths, hashed):
    before = frames_sha256(store, FrameTable.of(store, "toy"))
    content = store.read_bytes(paths[2])
    store.write_bytes(paths[2], content[:-1] + bytes([content[-1] ^ 1]))
    hashed.clear()
    after = frames_sha256(store, FrameTable.of(store, "toy"))

    assert hashed == [paths[2]]
    assert (before == after).all(axis=1).tolist() == [True, True, False, True]


def test_a_frame_that_has_just_been_written_is_not_remembered(store, paths, hashed, monkeypatch):
    """Another write within the clock's tick could not be told from it."""
    monkeypatch.setattr(sums, "_RACY_NS", 10**18)
    for _ in range(2):
        frames_sha256(store, FrameTable.of(store, "toy"))

    assert sorted(hashed) == sorted(2 * paths)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:30], id="truncated"),
        pytest.param(lambda data: b"\xff\xfe no notes at all\n1,2\n", id="something_else"),
        pytest.param(lambda data: data.replace(b",", b";"), id="other_separators"),
    ],
)
def test_damaged_notes_cost_time_and_nothing_else(store, paths, hashed, damage):
    table = FrameTable.of(store, "toy")
    first = frames_sha256(store, table)
    (notes, _) = sorted(store.local("frames/toy/.sums").iterdir())
    notes.write_bytes(damage(notes.read_bytes()))
    hashed.clear()

    assert np.array_equal(frames_sha256(store, table), first)
    assert sorted(hashed) == paths[:2]


def test_on_an_object_store_every_frame_is_read_every_time(put_frame, hashed):
    elsewhere = Store("memory://sums")
    try:
        path = put_frame("2001-08-01T00:00", 15, 140, into=elsewhere)
        for _ in range(2):
            frames_sha256(elsewhere, FrameTable.of(elsewhere, "toy"))

        assert hashed == [path, path]
        assert elsewhere.list_files("frames") == [path.replace(".nc", ".json"), path]
    finally:
        elsewhere.remove("frames")


def test_a_bit_that_flips_on_the_disk_is_found_when_the_frame_is_read(job, store, film, hashed):
    """Size and times are what they were, so the noted sum is believed; what is read then is another frame."""
    film(2001)
    step.run(job(stream="toy"))
    path = store.list_files("frames/toy", ".nc")[5]
    file = store.local(path)
    there = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns))
    notes = store.local("frames/toy/.sums/2001.csv")  # the disk would not have changed ctime either
    lines = [line.split(",") for line in notes.read_text().splitlines()]
    for cells in lines:
        cells[3] = str(file.stat().st_ctime_ns) if cells[0] == file.name else cells[3]
    notes.write_text("".join(",".join(cells) + "\n" for cells in lines))
    other = job(stream="toy", px=20)
    hashed.clear()

    with pytest.raises(StorageError, match=rf"frame '{path}' .* has changed since it was hashed: run the step again"):
        step.run(other)
    receipt = step.run(other)
    assert receipt.summary["frames"]["unreadable"] == 1
