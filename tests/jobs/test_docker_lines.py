"""Lines of a container's output: however the engine's answer is cut, broken or flooded."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.jobs.docker.lines import Reader, follow
from eyewall.jobs.thinning import MAX_BYTES_A_SECOND, MAX_LINE_BYTES, MAX_LINES_A_SECOND, MAX_REPORTS_A_SECOND


def frame(text: bytes, second: int = 0, nano: int = 0, stream: int = 1) -> bytes:
    """One frame as an engine sends it: stream, length, time, text."""
    body = b"2026-11-21T10:%02d:%02d.%09dZ " % (second // 60, second % 60, nano) + text
    return struct.pack(">BxxxL", stream, len(body)) + body


def read(data: bytes, cuts=()) -> list[str]:
    """Lines of one connection whose data comes in pieces."""
    edges = [0, *sorted(cuts), len(data)]
    reader = Reader()
    return [*reader.lines(data[a:b] for a, b in pairwise(edges)), *reader.rest()]


LOG = b"".join([
    frame(b"step 1\n", 1, 5), frame(b"warning\n", 1, 6, stream=2), frame("Größe 2\r\n".encode(), 1, 7),
    frame(b"a" * 100, 2, 1), frame(b"noise\n", 2, 2, stream=2), frame(b"b" * 5 + b"\n", 2, 3), frame(b"no end", 3),
])  # fmt: skip
LINES = ["step 1", "warning", "Größe 2", "noise", "a" * 100 + "b" * 5, "no end"]


@given(st.lists(st.integers(0, len(LOG)), max_size=12))
def test_the_lines_are_the_same_however_the_answer_is_cut(cuts):
    """A line that came in two frames is one; what the other stream printed between them is another."""
    assert read(LOG, cuts) == LINES


@given(st.integers(0, len(LOG)))
def test_after_a_broken_connection_every_line_comes_once(cut):
    """The second connection begins again at the time of the last frame that was read, that frame included."""
    ends = []

    def connect(since: bytes):
        ends.append(since)
        begin = LOG.find(since) - 8 if since else 0  # 8 bytes of a frame's head are before its time
        return [LOG[begin:cut] if len(ends) == 1 else LOG[begin:]]

    assert list(follow(connect, ended=lambda: True)) == LINES


def test_two_frames_of_one_moment_are_both_given_and_not_twice():
    same = frame(b"one\n", 4, 9) + frame(b"two\n", 4, 9) + frame(b"three\n", 4, 9)
    reader = Reader()

    assert list(reader.lines([same[: len(frame(b"one\n", 4, 9)) * 2]])) == ["one", "two"]
    assert list(reader.lines([same])) == ["three"]


def test_it_reads_on_while_the_container_lives():
    """An engine may end its answer early; that is not the end of the output."""
    parts = iter([[frame(b"early\n", 1)], [frame(b"late\n", 2)], []])
    ends = iter([False, True])

    assert list(follow(lambda since: next(parts), lambda: next(ends))) == ["early", "late"]


def test_a_long_line_is_cut_and_says_so():
    """The engine cuts it into frames of 16 KiB; only the last has the newline."""
    data = frame(b"x" * 16384, 1) + frame(b"x" * 16384, 1) + frame(b"x\n", 1) + frame(b"next\n", 2)

    assert read(data) == ["x" * MAX_LINE_BYTES + " [eyewall: cut]", "next"]


def test_a_line_of_the_largest_length_is_whole():
    assert read(frame(b"y" * MAX_LINE_BYTES + b"\n")) == ["y" * MAX_LINE_BYTES]


def test_a_flood_is_thinned_within_its_second_and_the_next_one_is_not():
    """45 lines more than may pass: 5 are left out, the last 40 are not; reports among them pass all the same."""
    flood = b"".join(frame(b"line %d\n" % n, 7, n) for n in range(MAX_LINES_A_SECOND + 45))
    report = frame(b'eyewall-report {"step": 1, "metric": "loss", "value": 0.5}\n', 7, 900000000)
    found = read(flood + report + frame(b"quiet again\n", 8))

    assert found[MAX_LINES_A_SECOND - 1] == f"line {MAX_LINES_A_SECOND - 1}"
    assert found[MAX_LINES_A_SECOND:] == [
        'eyewall-report {"step": 1, "metric": "loss", "value": 0.5}',
        "[eyewall: 5 lines left out here: too many in one second]",
        *(f"line {n}" for n in range(MAX_LINES_A_SECOND + 5, MAX_LINES_A_SECOND + 45)),
        "quiet again",
    ]


def test_a_flood_of_bytes_is_thinned_too():
    """Lines of 4000 bytes: 262 of them are 1,048,000 bytes, the next one would be over 2^20; 400 - 262 - 40 = 98."""
    assert MAX_BYTES_A_SECOND == 1 << 20
    found = read(b"".join(frame(b"z" * 4000 + b"\n", 7, n) for n in range(400)))

    assert found.index("[eyewall: 98 lines left out here: too many in one second]") == 262
    assert len(found) == 262 + 1 + 40


def test_reports_have_a_bound_of_their_own():
    found = read(b"".join(frame(b'eyewall-report {"step": %d}\n' % n, 7, n) for n in range(MAX_REPORTS_A_SECOND + 43)))

    assert len(found) == MAX_REPORTS_A_SECOND + 1 + 40
    assert found[MAX_REPORTS_A_SECOND] == "[eyewall: 3 lines left out here: too many in one second]"


@pytest.mark.parametrize("data", [pytest.param(b"\xff\xfe\x00\n", id="no text"), pytest.param(b"\n", id="nothing")])
def test_what_is_no_text_is_a_line_all_the_same(data):
    assert len(read(frame(data))) == 1
