"""Progress of a long wait, on stderr: a bar on a terminal, a plain line now and then anywhere else.

    with progress("ingest", total=144, unit="slots") as advance:
        for slot in slots:
            ...
            advance(1, str(slot))            # ingest: 37 of 144 slots: 2020-09-05 06:10:00 UTC

    with progress("verify") as advance:      # how much there is to do is not known
        advance(0, "drawing")                # verify: drawing

    for season in counted(seasons, "records", unit="seasons"):   # the same for a loop that needs no sentences
        ...

Away from a terminal (a log, a pod) the first line comes after three seconds and the next ones ten seconds apart, so
that what is over at once says nothing. Without a total each sentence is a line of its own at once: it names a phase.
What the body writes to ``sys.stderr`` meanwhile stands above the bar. stdout is never touched.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
_SECONDS_BEFORE_FIRST_LINE: Final = 3.0
_SECONDS_BETWEEN_LINES: Final = 10.0


class Advance(Protocol):
    """What the body of `progress` calls: ``steps`` more are done, and ``sentence`` says what was, or is, at hand."""

    def __call__(self, steps: int = 1, sentence: str = "") -> None: ...  # noqa: D102 - as the class says


def progress(what: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Advance]:
    """Shows how far ``what`` (a verb or a noun) is while the body runs; the body calls what it is given.

    ``total`` is how many steps there are, None when nobody knows; ``unit`` what they are, in the plural.
    """
    on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return _bar(what, total, unit) if on_terminal else _lines(what, total, unit)


def counted(items: Iterable[T], what: str, *, total: int | None = None, unit: str = "") -> Iterator[T]:
    """``items`` one by one, each counted once the loop comes back for the next; ``total`` where it is not their len."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(what, total=total, unit=unit) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    ends = (BarColumn(), MofNCompleteColumn(), TextColumn(unit, markup=False), TimeRemainingColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), *(ends if total is not None else ()))
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def advance(steps: int = 1, sentence: str = "") -> None:
            bar.update(task, advance=steps, description=f"{what}: {sentence}" if sentence else None)

        yield advance


@contextmanager
def _lines(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    done, next_line, spoke = 0, time.monotonic() + _SECONDS_BEFORE_FIRST_LINE, False

    def advance(steps: int = 1, sentence: str = "") -> None:
        nonlocal done, next_line, spoke
        done += steps
        phase = total is None and bool(sentence)
        last = spoke and steps > 0 and done == total
        if not (phase or last or time.monotonic() >= next_line):
            return
        next_line, spoke = time.monotonic() + _SECONDS_BETWEEN_LINES, True
        count = f"{done}{'' if total is None else f' of {total}'} {unit}".rstrip()
        said = [what, *([] if phase and not done else [count]), *([sentence] if sentence else [])]
        sys.stderr.write(": ".join(said) + "\n")
        sys.stderr.flush()

    yield advance
