"""Lines of a pod's log, bounded, whatever it prints: pieces of bytes with time stamps → lines of text."""

from collections.abc import Iterable, Iterator

from eyewall.jobs.thinning import MAX_LINE_BYTES, Thinning

_STAMP_BYTES = 64


class PodLines:
    """One reader's place in a log, through any number of connections: no line twice, none left out, floods thinned."""

    def __init__(self) -> None:
        self._last, self._at_last = b"", 0  # time of the newest line, and how many lines are of that very time
        self._thinning = Thinning()

    @property
    def cursor(self) -> str | None:
        """Time of the newest line; None before the first."""
        return self._last.decode("ascii", errors="replace") or None

    def read(self, pieces: Iterable[bytes], *, whole: bool) -> Iterator[str]:
        """The lines of one connection that were not given before.

        ``whole``: it has the log to its end, so what comes last is a line even without an end of its own. A connection
        that broke off gives that part again, by the next one.
        """
        resumed, again = self._last, self._at_last
        for raw, dropped in _whole(pieces, MAX_LINE_BYTES + _STAMP_BYTES, unended=whole):
            stamp, _, text = raw.partition(b" ")
            if stamp < resumed:
                continue  # sinceTime looks at whole seconds only
            if stamp == resumed and again:
                again -= 1
                continue
            if stamp > self._last:
                self._last, self._at_last = stamp, 0
            self._at_last += stamp == self._last
            for line in self._thinning.take(stamp, _cut(text, dropped)):
                yield line.decode(errors="replace")

    def rest(self) -> Iterator[str]:
        """At the end: a word on what was held back."""
        for line in self._thinning.rest():
            yield line.decode(errors="replace")


def whole_lines(pieces: Iterable[bytes], longest: int) -> Iterator[str]:
    """Lines of a log as they are, without their time stamps; no longer than ``longest`` bytes, without a word on it."""
    for raw, _ in _whole(pieces, longest + _STAMP_BYTES, unended=True):
        yield raw.partition(b" ")[2].decode(errors="replace")


def _whole(pieces: Iterable[bytes], limit: int, *, unended: bool) -> Iterator[tuple[bytes, int]]:
    """Lines, cut, with how many bytes were left out of each; never more than a piece and a line in memory."""
    carry, dropped = b"", 0
    for piece in pieces:
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = carry + line
            yield whole[:limit], dropped + max(len(whole) - limit, 0)
            carry, dropped = b"", 0
        carry += rest
        if len(carry) > limit:
            dropped += len(carry) - limit
            carry = carry[:limit]
    if carry and unended:
        yield carry, dropped


def _cut(text: bytes, dropped: int) -> bytes:
    text = text.rstrip(b"\r")
    return text[:MAX_LINE_BYTES] + b" [eyewall: cut]" if dropped or len(text) > MAX_LINE_BYTES else text
