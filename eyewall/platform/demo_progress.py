"""What the demo shows while it works: bars on a terminal, plain lines elsewhere; always on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """One line for what is being done, and one bar for each part with a known length."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:<60}"),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._now = self._bars.add_task("", total=None)
        self._began = time.monotonic()
        self._last = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.remove_task(self._now)
        self._bars.stop()

    def say(self, text: str) -> None:
        """What is being done now; repeating oneself says nothing."""
        if not text or text == self._last:
            return
        self._last = text
        if self._console.is_terminal:
            self._bars.update(self._now, description=text[:60])
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        self._console.print(f"[{time.monotonic() - self._began:4.0f} s] {text}", markup=False, highlight=False)

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar of ``total`` parts; call what is given with the number that are done."""
        task = self._bars.add_task(name, total=total)
        shown = -1

        def advance_to(done: int) -> None:
            nonlocal shown
            self._bars.update(task, completed=done)
            # Elsewhere than on a terminal: a line at the start, at every quarter and at the end.
            quarter = 4 * done // total
            if not self._console.is_terminal and quarter != shown:
                shown = quarter
                self._line(f"{name}: {done} of {total}")

        advance_to(0)
        yield advance_to
        advance_to(total)
