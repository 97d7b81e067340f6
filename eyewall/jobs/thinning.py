"""Floods of output, thinned by the time at which each line was printed: every reader gets the same lines."""

from collections import deque
from collections.abc import Sequence
from typing import Final

MAX_LINE_BYTES: Final = 8192
#: What may pass of one second of output; reports have an allowance of their own.
MAX_LINES_A_SECOND, MAX_BYTES_A_SECOND, MAX_REPORTS_A_SECOND = 2000, 1 << 20, 500
#: Of what did not pass, so many of the last lines do.
LAST_LINES: Final = 40
REPORT = b"eyewall-report "
_STAMP_SECOND = 19  # characters of 2026-11-21T10:00:00


class Thinning:
    """Lets pass what a second of output may hold, and its last lines: what a program says before it fails."""

    def __init__(self) -> None:
        self._second = b""
        self._lines = self._bytes = self._reports = self._dropped = 0
        self._tail: deque[bytes] = deque(maxlen=LAST_LINES)

    def take(self, stamp: bytes, line: bytes) -> Sequence[bytes]:
        """The line, if it may pass, after what is to be said of an earlier second."""
        second = stamp[:_STAMP_SECOND]
        before: Sequence[bytes] = ()
        if second != self._second:
            before = self.rest()
            self._second, self._lines, self._bytes, self._reports = second, 0, 0, 0
        if line.startswith(REPORT):
            self._reports += 1
            passes = self._reports <= MAX_REPORTS_A_SECOND
        else:
            self._lines += 1
            self._bytes += len(line)
            passes = self._lines <= MAX_LINES_A_SECOND and self._bytes <= MAX_BYTES_A_SECOND
        if passes:
            return (*before, line)
        self._dropped += 1
        self._tail.append(line)
        return before

    def rest(self) -> Sequence[bytes]:
        """A word on what the last second held back, if anything, and the last of that."""
        left_out = self._dropped - len(self._tail)
        said = (b"[eyewall: %d lines left out here: too many in one second]" % left_out,) if left_out else ()
        last = tuple(self._tail)
        self._tail.clear()
        self._dropped = 0
        return (*said, *last)
