"""Lines of a pod's log: none twice, none left out, bounded; through connections that break anywhere."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eyewall.jobs.pods.log import MAX_LINE_BYTES, PodLines, whole_lines


def _line(second: float, text: bytes) -> bytes:
    return b"2026-11-21T12:00:%09.6fZ %s\n" % (second, text)


LOG = b"".join(_line(n * 0.3, b"line %d" % n) for n in range(20))
TEXTS = [f"line {n}" for n in range(20)]


@given(st.lists(st.integers(0, len(LOG)), max_size=12))
def test_lines_are_whole_wherever_the_pieces_are_cut(cuts: list[int]) -> None:
    edges = sorted({0, len(LOG), *cuts})
    pieces = [LOG[a:b] for a, b in pairwise(edges)]

    assert list(PodLines().read(pieces, whole=True)) == TEXTS


def test_a_second_connection_goes_on_after_the_last_line_though_its_second_comes_again() -> None:
    lines = LOG.splitlines(keepends=True)
    reader = PodLines()

    first = list(reader.read(lines[:8], whole=False))
    assert reader.cursor == "2026-11-21T12:00:02.100000Z"
    second = list(reader.read(lines[6:], whole=True))  # from the start of second 2

    assert first + second == TEXTS


def test_a_line_without_end_is_cut_and_the_next_one_is_whole() -> None:
    pieces = [_line(1, b"x" * 100)[:-1], *[b"x" * 70_000] * 50, b"\n", _line(2, b"next")]

    first, second = PodLines().read(pieces, whole=True)

    assert first.endswith(" [eyewall: cut]")
    assert len(first) < MAX_LINE_BYTES + 100
    assert second == "next"


def test_a_flood_is_thinned_with_a_word_on_it_and_the_lines_of_the_next_second_come() -> None:
    flood = (_line(1, b"flood %d" % n) for n in range(5000))
    reader = PodLines()

    lines = [*reader.read(flood, whole=False), *reader.read([_line(2, b"after")], whole=True), *reader.rest()]

    assert lines[0] == "flood 0"
    assert len(lines) < 3000
    assert any("lines left out here" in line for line in lines)
    assert lines[-2] == "flood 4999"
    assert lines[-1] == "after"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert list(PodLines().read([_line(1, b"\xff\xfe\r")], whole=True)) == ["\ufffd\ufffd"]


def test_a_line_that_a_broken_connection_cut_comes_whole_by_the_next_and_a_last_one_needs_no_end() -> None:
    log = _line(1, b"first") + _line(2, b"second, without an end")[:-1]
    reader = PodLines()

    assert list(reader.read([log[:-10]], whole=False)) == ["first"]
    assert list(reader.read([log], whole=True)) == ["second, without an end"]


def test_lines_of_the_very_same_time_are_all_there() -> None:
    lines = [_line(1, b"a"), _line(1, b"b"), _line(1, b"c")]
    reader = PodLines()

    first = list(reader.read(lines[:2], whole=False))

    assert first + list(reader.read(lines, whole=True)) == ["a", "b", "c"]


def test_whole_lines_are_without_their_stamps() -> None:
    assert list(whole_lines([_line(1, b"a b"), _line(1, b"")], 100)) == ["a b", ""]
