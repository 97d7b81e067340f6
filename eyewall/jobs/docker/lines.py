"""Lines of a container's output, as the engine keeps them: from the first, whoever asks, with floods thinned.

The engine gives each line the time at which it was printed. By that time, not by the clock of whoever reads, a flood
is thinned, so that every reader gets the same lines; and after it a broken connection goes on where it stopped.
"""

import struct
import time
from collections.abc import Callable, Iterable, Iterator

from eyewall.jobs.thinning import MAX_LINE_BYTES, Thinning

_HEADER = struct.Struct(">BxxxL")
_HEADER_BYTES = _HEADER.size
_PAUSE_S = 0.1


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Chunks of an attached stream, cut anywhere → the stream (1 stdout, 2 stderr) and the bytes of each frame.

    A frame that never ends because the connection broke is dropped: it comes again.
    """
    rest = b""
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        start, there = 0, len(data)
        while there - start >= _HEADER_BYTES:
            stream, size = _HEADER.unpack_from(data, start)
            end = start + _HEADER_BYTES + size
            if there < end:
                break
            yield stream, data[start + _HEADER_BYTES : end]
            start = end
        rest = data[start:]


class Reader:
    """Puts the frames of one log together to lines; may be given the same frames twice after a broken connection."""

    def __init__(self) -> None:
        self._thinning = Thinning()
        self._last = b""  # time of the newest frame
        self._at_last = 0  # frames of that very time
        self._open: dict[int, bytes] = {}  # by stream: a line whose end has not come

    @property
    def since(self) -> bytes:
        """Time of the newest frame; none: from the start."""
        return self._last

    def lines(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Lines of one connection's chunks that were not given before."""
        again = self._at_last
        resumed_at = self._last
        for stream, frame in frames(chunks):
            stamp, _, text = frame.partition(b" ")
            if stamp < resumed_at:
                continue
            if stamp == resumed_at and again > 0:
                again -= 1
                continue
            if stamp > self._last:
                self._last, self._at_last = stamp, 0
            self._at_last += stamp == self._last
            line = self._line(stream, text)
            if line is not None:
                for passed in self._thinning.take(stamp, line):
                    yield passed.decode(errors="replace")

    def _line(self, stream: int, text: bytes) -> bytes | None:
        """A whole line; the engine cuts one of more than 16 KiB into frames, and only the last ends with a newline."""
        if stream in self._open or not text.endswith(b"\n"):
            held = self._open.pop(stream, b"")
            if len(held) <= MAX_LINE_BYTES:
                held += text[: MAX_LINE_BYTES + 1 - len(held)]
            if not text.endswith(b"\n"):
                self._open[stream] = held
                return None
            text = held
        return _cut(text)

    def rest(self) -> Iterator[str]:
        """At the end of the output: a last line without a newline, and a word on what was held back."""
        for held in self._open.values():
            for passed in self._thinning.take(self._last, _cut(held)):
                yield passed.decode(errors="replace")
        self._open.clear()
        for passed in self._thinning.rest():
            yield passed.decode(errors="replace")


def _cut(line: bytes) -> bytes:
    line = line.rstrip(b"\r\n")
    return line if len(line) <= MAX_LINE_BYTES else line[:MAX_LINE_BYTES] + b" [eyewall: cut]"


def follow(connect: Callable[[bytes], Iterable[bytes]], ended: Callable[[], bool]) -> Iterator[str]:
    """Lines of a log to its end. ``connect`` gives the chunks since a time; it is asked again where it stops early."""
    reader = Reader()
    while True:
        yield from reader.lines(connect(reader.since))
        if ended():
            break
        time.sleep(_PAUSE_S)
    yield from reader.lines(connect(reader.since))  # what came between its last word and its end
    yield from reader.rest()
