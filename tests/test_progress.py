"""Progress: lines in a log, few of them; a bar on a terminal; nothing on stdout."""

import io
import sys
from collections.abc import Callable

import pytest

from eyewall import progress as module
from eyewall.progress import counted, progress


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still until it is told how many seconds have passed."""
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)

    def passed(seconds: float) -> None:
        nonlocal now
        now += seconds

    return passed


def test_what_is_over_at_once_says_nothing(
    capsys: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    with progress("ingest", total=5, unit="slots") as advance:
        for number in range(5):
            pass_time(0.5)  # 2.5 s in all, the first line would come after 3
            advance(1, f"slot {number}")

    assert capsys.readouterr() == ("", "")


def test_a_long_loop_has_a_line_after_three_seconds_then_every_ten_and_one_at_its_end(
    capsys: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    with progress("ingest", total=9, unit="slots") as advance:
        for number in range(9):
            pass_time(2.0)
            advance(1, f"slot {number}")

    # Steps end at 2, 4, … 18 s: the first after 3 s is the one at 4 s, the next not before 14 s, then the last one.
    assert capsys.readouterr() == (
        "",
        "ingest: 2 of 9 slots: slot 1\ningest: 7 of 9 slots: slot 6\ningest: 9 of 9 slots: slot 8\n",
    )


def test_without_a_total_every_phase_is_a_line_at_once(
    capsys: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    with progress("verify") as advance:
        advance(0, "reading best tracks")
        advance(0, "drawing")

    assert capsys.readouterr().err == "verify: reading best tracks\nverify: drawing\n"


def test_a_counted_loop_gives_every_item_and_counts_each_after_its_turn(
    capsys: pytest.CaptureFixture[str], pass_time: Callable[[float], None]
) -> None:
    seen = []
    for item in counted(iter("abc"), "records", total=3, unit="seasons"):
        pass_time(4.0)
        seen.append(item)

    assert seen == ["a", "b", "c"]
    assert capsys.readouterr().err == "records: 1 of 3 seasons\nrecords: 3 of 3 seasons\n"


def test_a_terminal_has_a_bar_with_what_the_body_says_above_it_and_stdout_stays_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    with progress("ingest", total=3, unit="[slots]") as advance:
        advance(2, "slot [b]")
        sys.stderr.write("a file is in quarantine\n")
        print("result")  # noqa: T201

    shown = terminal.getvalue()
    assert "2/3" in shown
    assert "slot [b]" in shown  # brackets of a file name are no markup
    assert "a file is in quarantine\n" in shown
    assert capsys.readouterr().out == "result\n"


def test_an_error_passes_through_and_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def broken() -> None:
        with progress("ingest", total=3) as advance:
            advance()
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        broken()

    assert sys.stderr is terminal
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")  # the cursor is back
