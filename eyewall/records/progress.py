"""Progress of a long loop on stderr: a bar on a terminal, a line every ten seconds anywhere else."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LINES: Final = 10.0


def shown(items: Iterable[T], *, total: int, what: str) -> Iterator[T]:
    """``items`` one by one; ``what`` they are, in the plural, names the bar."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            sys.stderr.write(f"{what}: {number} of {total}\n")
