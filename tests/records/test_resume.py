"""A records step that is killed goes on where it was, and its result is that of an undisturbed run, byte for byte."""

# NOTE: defined in conftest.py: store, put_frame, job, film
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
from toy_season import CASES, storm

from eyewall.besttrack import table as t
from eyewall.contracts.errors import InputError, StorageError
from eyewall.records import build, frames, step, workers
from eyewall.records.parts import Parts
from eyewall.records.step import shards_by_size
from eyewall.satellite import frame as frame_room
from eyewall.storage import Store
from eyewall.storage.tidy import tidy

#: Makes its parts of three base times each, says so after every one, and then waits to be killed.
SLOWLY = """
import sys, time
from eyewall.contracts.jobs import RecordsJob
from eyewall.records import build, parts, step
build.PART_ROWS = 3
write = parts.Parts.write
def slowly(self, number, *rest):
    note = write(self, number, *rest)
    print(number, flush=True)
    time.sleep(60 if number == int(sys.argv[2]) else 0)
    return note
parts.Parts.write = slowly
step.run(RecordsJob.model_validate_json(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """3 of the 16 base times of a season in a part: 3, 3, 3, 3, 3, 1, so 24 parts of four seasons."""
    monkeypatch.setattr(build, "PART_ROWS", 3)


@pytest.fixture
def filmed(job, film):
    """A job with frames of the first storms of 2001 and 2004: 13 each."""
    for season in (2001, 2004):
        film(season)

    def make(**fields):
        return job(stream="toy", **fields)

    return make


def content(store, path):
    return {entry.path: (entry.sha256, store.local(f"{path}/{entry.path}").read_bytes()) for entry in
            store.read_manifest(path).files}  # fmt: skip


def undisturbed(store, made, tmp_path, monkeypatch):
    """The same records in a store of their own, made in one go and in parts of another size."""
    monkeypatch.setattr(build, "PART_ROWS", 256)
    other = Store(str(tmp_path / "undisturbed"))
    for path in store.list_files("frames"):
        other.write_bytes(path, store.read_bytes(path))
    receipt = step.run(made.model_copy(update={"store": other.url}))
    return receipt, content(other, receipt.result.uri)


def killed_after(made, number):
    """Start the step, and kill it (SIGKILL) once a part is stored."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, made.model_dump_json(), str(number)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == number:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def interrupted(monkeypatch):
    """Run the step in this process, and break it off (as Ctrl-C does) once so many parts are stored."""

    def run(made, parts):
        write, left = Parts.write, [parts]

        def counted(self, *args):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return write(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Parts, "write", counted)
            with pytest.raises(KeyboardInterrupt):
                step.run(made)

    return run


def stored_parts(store):
    """Path → when written, of the parts that lie in the store."""
    return {path: path.stat().st_mtime_ns for path in store.local("records").glob(".*/0*.tfrecord")}


@pytest.mark.parametrize("processes", [pytest.param(1, id="alone"), pytest.param(2, id="two_processes")])
def test_killed_in_the_middle_it_goes_on_with_what_is_done(
    filmed, store, tmp_path, monkeypatch, capfd, processes
):  # fmt: skip
    """The parts of before the kill are read, not made again: nobody touches their files."""
    made = filmed(processes=processes)
    killed_after(made.model_copy(update={"processes": 1}), 7)
    before = stored_parts(store)
    assert len(before) == 8
    assert store.list_files("records") == [], "no reader sees them"
    written = []
    monkeypatch.setattr(Parts, "clear", lambda self: written.append(stored_parts(store)) or store.remove(self.folder))
    receipt = step.run(made)

    assert "8 of 24 parts are there from before" in capfd.readouterr().err
    (after,) = written
    assert len(after) == 24
    assert {path: after[path] for path in before} == before
    assert not stored_parts(store)
    expected, files = undisturbed(store, made, tmp_path, monkeypatch)
    assert receipt == expected
    assert content(store, receipt.result.uri) == files


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="truncated_inside_a_record"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:], id="flipped_bit"),
    ],
)
def test_a_damaged_part_is_made_again(filmed, store, tmp_path, monkeypatch, capfd, interrupted, damage):
    made = filmed()
    interrupted(made, 6)
    third = sorted(stored_parts(store))[2]
    third.write_bytes(damage(third.read_bytes()))
    receipt = step.run(made)

    said = capfd.readouterr().err
    assert "part 2 is damaged: it is made again" in said
    assert "5 of 24 parts are there from before" in said
    expected, files = undisturbed(store, made, tmp_path, monkeypatch)
    assert receipt == expected
    assert content(store, receipt.result.uri) == files


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(None, id="none"),
        pytest.param("{}", id="empty"),
        pytest.param('{"rows": 3, "records": 3,', id="truncated"),
        pytest.param('{"rows": 2, "records": 2, "sha256": "", "used": {}, "unreadable": {}}', id="other_rows"),
    ],
)
def test_a_part_without_a_valid_note_is_not_there(filmed, store, capfd, interrupted, note):
    """The note is written last: a part without one may be half a part."""
    made = filmed()
    interrupted(made, 4)
    beside = sorted(stored_parts(store))[1].with_suffix(".json")
    beside.unlink() if note is None else beside.write_text(note)
    step.run(made)

    assert "3 of 24 parts are there from before" in capfd.readouterr().err


def test_a_part_that_is_spoilt_while_the_shards_are_written_ends_the_step_and_the_next_run_mends_it(
    filmed, store, monkeypatch
):  # fmt: skip
    made, make_missing = filmed(), workers.make_missing

    def then_spoil(work, parts, processes):
        make_missing(work, parts, processes)
        sorted(stored_parts(store))[3].write_bytes(b"")

    monkeypatch.setattr(step, "make_missing", then_spoil)
    with pytest.raises(StorageError, match=r"part 3 of records/\w+ has gone or was damaged meanwhile"):
        step.run(made)
    assert store.list_files("records") == []
    monkeypatch.setattr(step, "make_missing", make_missing)

    assert step.run(made).summary["samples"]["train"] == 4 * CASES


def test_what_fails_for_good_leaves_no_parts(filmed, store, put_frame):
    put_frame("2001-08-02T03:00", *storm(2001).iloc[4][[t.LAT_DEG, t.LON_DEG]], quantity="grey_level")
    with pytest.raises(InputError, match="holds grey_level"):
        step.run(filmed())

    assert not list(store.local("records").glob(".*"))


def test_parts_of_a_run_that_is_never_started_again_are_tidied(filmed, store, interrupted):
    """A day after the last part; before that it may go on at any time."""
    made = filmed()
    interrupted(made, 6)
    soon, later = (tidy(store, remove=False, now_s=time.time() + hours * 3600) for hours in (23, 25))

    assert soon.items == ()
    (item,) = later.items
    assert (item.what, item.path.startswith("records/."), item.path.endswith(".resuming.tmp")) == (
        "leftover", True, True,
    )  # fmt: skip
    tidy(store, remove=True, now_s=time.time() + 25 * 3600)
    assert step.run(made).summary["samples"]["train"] == 4 * CASES


def test_two_at_once_do_the_work_once(filmed, store):
    """The second waits for the first, and finds the records."""
    made = filmed()
    command = [sys.executable, "-m", "eyewall.cli", *made.to_args()]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], ends
    assert len(store.list_files("records", "manifest.json")) == 1
    assert not list(store.local("records").glob(".*"))


def test_processes_end_when_their_parent_is_killed(filmed):
    made = filmed(processes=2)
    code = (
        "import sys, time, multiprocessing\n"
        "from eyewall.contracts.jobs import RecordsJob\n"
        "from eyewall.records import build, step, workers\n"
        "build.PART_ROWS = 3\n"
        "one = workers._at_once\n"
        "def watched(*args):\n"
        "    for part in one(*args):\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        time.sleep(60)\n"
        "        yield part\n"
        "workers._at_once = watched\n"
        "step.run(RecordsJob.model_validate_json(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, made.model_dump_json()], stdout=subprocess.PIPE)
    assert process.stdout is not None
    children = [int(pid) for pid in process.stdout.readline().split()]
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert not [pid for pid in children if _alive(pid)]


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_as_many_frames_live_as_the_cache_may_hold_however_many_there_are(filmed, monkeypatch):
    """200 × 320 float32 are 256,000 bytes: a cache of 600,000 holds two, and a third is at hand while it is read."""
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    counts, read = [], frame_room.read_frame

    def counting(*args):
        found = read(*args)
        alive.add(found.area)  # a frame holds an array and cannot be hashed; its area lives as long as it does
        counts.append(len(alive))
        return found

    monkeypatch.setattr(step, "FRAME_BYTES", 600_000)
    monkeypatch.setattr(frame_room, "read_frame", counting)
    receipt = step.run(filmed())

    assert receipt.summary["frames"]["used"] > 12
    assert len(counts) > 12
    assert max(counts) <= 4


def test_geometries_are_forgotten_too(filmed, monkeypatch):
    """Each of 200,000 storm-centred frames has a projection of its own."""
    kept, cache = [], frames.FrameCache.frame

    def counting(self, path):
        found = cache(self, path)
        kept.append(len(self._grids._values))
        return found

    monkeypatch.setattr(frames, "GRID_BYTES", 5_000)
    monkeypatch.setattr(frames.FrameCache, "frame", counting)
    step.run(filmed())

    assert len(kept) > 12
    assert max(kept) <= 5


@pytest.mark.parametrize(
    ("limit", "shards"),
    [
        # 8 base times of the storm of 2001 can have frames, and 8 of that of 2004; the other storms live later:
        # 8 × 3 frames × 16 × 16 pixels × 2 bytes = 12,288 bytes in the largest split at most
        pytest.param(2**29, 4, id="small_ones_have_four"),
        pytest.param(12_288 // 4, 4, id="just_four"),
        pytest.param(12_288 // 4 - 1, 5, id="one_byte_less"),
        pytest.param(1000, 13, id="many"),
    ],
)
def test_how_many_shards_there_are_follows_from_the_size(filmed, store, monkeypatch, limit, shards):
    monkeypatch.setattr(step, "SHARD_BYTES", limit)
    manifest = store.read_manifest(step.run(filmed(shards=None)).result.uri)

    assert manifest.config["shards"] == shards
    assert len([entry for entry in manifest.files if entry.path.startswith("train-")]) == shards


def test_four_shards_said_or_not_are_the_same_records(filmed):
    """Records that were made before the number could follow from the size keep their names."""
    assert step.run(filmed(shards=None)) == step.run(filmed(shards=4))
    assert shards_by_size(None, None, None, filmed()) == 4  # without frames: none of what it is given is asked
