"""The spool: what `append` has accepted is given back in order, whatever happened to the file in between."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_packets import packet

from eyewall.contracts.errors import InputError
from eyewall.split.edge.packet import Packet
from eyewall.split.edge.spool import Spool, SpoolFull

MB = 2**20


def same(a: Packet, b: Packet) -> bool:
    return a.to_bytes() == b.to_bytes()


def drained(spool: Spool) -> list[Packet]:
    """Everything in it, in order, let go of."""
    found = []
    while (one := spool.next()) is not None:
        found.append(one)
        spool.done(one)
    return found


@given(number=st.integers(0, 10**6), frames=st.integers(1, 5), values=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_packet_comes_back_from_its_bytes_as_it_was(number, frames, values):
    one = packet(number, frames, values)
    back = Packet.from_bytes(one.to_bytes())
    assert (back.keys, back.way, back.model, back.digest) == (one.keys, one.way, one.model, one.digest)
    assert back.taken_at_s == one.taken_at_s
    assert all(np.array_equal(back.tensors[n], one.tensors[n]) for n in one.tensors)
    assert {n: a.dtype for n, a in back.tensors.items()} == {n: a.dtype for n, a in one.tensors.items()}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda d: d[:-1], id="a byte short"),
        pytest.param(lambda d: d + b"x", id="a byte too many"),
        pytest.param(lambda d: d[:3], id="hardly begun"),
        pytest.param(lambda d: d.replace(b'"int16"', b'"object"'), id="a type that could run code"),
        pytest.param(lambda d: d.replace(b"[1, 20]", b"[9, 20]"), id="a shape that claims more"),
        pytest.param(lambda d: d.replace(b'"format": 1', b'"format": 2'), id="another format"),
    ],
)
def test_a_packet_that_is_none_is_an_input_error(damage):
    good = packet(3).to_bytes()
    assert damage(good) != good
    with pytest.raises(InputError, match="cannot be read"):
        Packet.from_bytes(damage(good))


def test_packets_come_back_in_order_after_a_restart_and_the_spool_is_empty_when_all_are_done(tmp_path):
    spool = Spool(tmp_path, 9 * MB, segment_bytes=1000)  # a few packets a segment
    for number in range(10):
        spool.append(packet(number, frames=1 + number % 3))
    assert spool.frames == sum(1 + n % 3 for n in range(10))
    spool.close()

    again = Spool(tmp_path, 9 * MB)
    assert (again.packets, again.frames) == (spool.packets, spool.frames)
    assert again.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    assert "frame-4-1" in again.ids
    found = drained(again)
    assert [same(a, packet(n, 1 + n % 3)) for n, a in enumerate(found)] == [True] * 10
    assert (again.packets, again.bytes, again.ids, list(tmp_path.iterdir())) == (0, 0, set(), [])


def test_what_is_out_and_failed_is_given_again_in_order(tmp_path):
    spool = Spool(tmp_path, 9 * MB)
    for number in range(5):
        spool.append(packet(number))
    first, second, third = spool.next(), spool.next(), spool.next()
    spool.done(first)
    spool.done(third)  # answered although the one before it was not
    spool.rewind()
    spool.append(packet(5))
    assert [p.keys[0].id for p in drained(spool)] == [f"frame-{n}-0" for n in (1, 3, 4, 5)]
    assert same(second, packet(1))


def test_a_tail_that_was_cut_anywhere_costs_its_own_packet_only(tmp_path):
    whole = tmp_path / "whole"
    spool = Spool(whole, 9 * MB)
    ends = [spool.bytes]
    for number in range(3):
        spool.append(packet(number))
        ends.append(spool.bytes)
    spool.close()
    data = (whole / "0000000001.seg").read_bytes()
    assert len(data) == ends[-1]
    for length in range(0, len(data), 23):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "0000000001.seg").write_bytes(data[:length])
        torn = Spool(folder, 9 * MB)
        torn.append(packet(7))
        intact = sum(end <= length for end in ends[1:])
        assert [p.keys[0].id for p in drained(torn)] == [f"frame-{n}-0" for n in [*range(intact), 7]], length


@pytest.mark.parametrize("where", [20, 200, 420, 600])
def test_a_flipped_bit_is_found_and_the_bytes_are_kept_beside(tmp_path, where):
    spool = Spool(tmp_path, 9 * MB)
    for number in (1, 2, 3):  # all of one size
        spool.append(packet(number))
    spool.close()
    path = tmp_path / "0000000001.seg"
    data = bytearray(path.read_bytes())
    size = (len(data) - 8) // 3
    data[where] ^= 0x10
    path.write_bytes(data)
    intact = (where - 8) // size
    found = drained(Spool(tmp_path, 9 * MB))
    assert [same(a, packet(n)) for n, a in enumerate(found, 1)] == [True] * intact
    torn = [p.name for p in tmp_path.iterdir()]
    assert torn == [f"0000000001-{8 + intact * size}.bad"]


def test_rot_under_a_running_spool_loses_that_packet_loudly_and_its_frame_may_come_again(tmp_path, caplog):
    spool = Spool(tmp_path, 9 * MB)
    for number in range(3):
        spool.append(packet(number))
    path = tmp_path / "0000000001.seg"
    size = (spool.bytes - 8) // 3
    with path.open("r+b") as stream:
        stream.seek(8 + size + 40)
        stream.write(b"\xff\x00\xff")
    assert [p.keys[0].id for p in drained(spool)] == ["frame-0-0", "frame-2-0"]
    assert "frame-1-0" in caplog.text
    assert "frame-1-0" not in spool.ids


def test_a_full_spool_refuses_and_takes_packets_again_once_some_are_done(tmp_path):
    one = len(packet(0).to_bytes()) + 8
    spool = Spool(tmp_path, 8 + 3 * one + 5, segment_bytes=1)  # hence a segment a packet, each with 8 bytes before it
    spool.append(packet(0))
    spool.append(packet(1))
    with pytest.raises(SpoolFull, match="frames stay at their source"):
        spool.append(packet(2))
    assert spool.packets == 2
    spool.done(spool.next())
    spool.append(packet(2))
    assert [p.keys[0].id for p in drained(spool)] == ["frame-1-0", "frame-2-0"]


def test_a_disk_without_room_refuses_and_leaves_nothing_half_written(tmp_path):
    """RLIMIT_FSIZE stands for the full disk: the kernel cuts the write short in the middle of a record."""
    spool = Spool(tmp_path, 9 * MB)
    spool.append(packet(0, values=1000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # Python's default: an error instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.bytes + 1000, before[1]))
    try:
        with pytest.raises(SpoolFull, match=os.strerror(errno.EFBIG)):
            spool.append(packet(1, values=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "0000000001.seg").stat().st_size == spool.bytes
    spool.append(packet(2, values=1000))
    spool.close()
    assert [p.keys[0].id for p in drained(Spool(tmp_path, 9 * MB))] == ["frame-0-0", "frame-2-0"]


def test_the_spool_leaves_room_on_the_disk_for_the_answers(tmp_path):
    spool = Spool(tmp_path, 9 * MB, reserve_bytes=2**60)
    with pytest.raises(SpoolFull, match="--reserve-mb"):
        spool.append(packet(0))
    assert spool.packets == 0


def test_a_stranger_in_the_folder_is_left_alone(tmp_path):
    (tmp_path / "notes.seg").write_bytes(b"mine")
    spool = Spool(tmp_path, 9 * MB)
    spool.append(packet(0))
    assert len(drained(spool)) == 1
    assert (tmp_path / "notes.seg").read_bytes() == b"mine"


_APPENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tiny_packets import packet
from eyewall.split.edge.spool import Spool
spool = Spool(Path(sys.argv[1]), 2**30, segment_bytes=50_000)
for number in range(10**6):
    spool.append(packet(number, values=300))
    print(number, flush=True)
"""


@pytest.mark.parametrize("pause_s", [0.02, 0.25])
def test_whatever_append_had_accepted_when_the_process_was_killed_is_there(tmp_path, pause_s):
    command = [sys.executable, "-c", _APPENDER, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0\n"
    time.sleep(pause_s)
    process.kill()
    said = 1 + len(process.communicate()[0].split())
    found = drained(Spool(tmp_path, 2**30))
    assert len(found) - said in (0, 1)  # one may have been safe before it was said
    assert all(same(one, packet(n, values=300)) for n, one in enumerate(found))
