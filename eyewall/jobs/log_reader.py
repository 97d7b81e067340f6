"""Reads the output that a shim keeps in segments, also while it grows and its middle is thrown away."""

from collections.abc import Iterator
from pathlib import Path

#: A longer line is cut; what a progress bar prints without a newline comes in such pieces too.
MAX_LINE_BYTES = 8192
_READ_BYTES = 1 << 20


class LogReader:
    """One reader's place in the output of one attempt."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the attempt's output/."""
        self._folder = folder
        self._segment = 0
        self._offset = 0
        self._carry = b""

    def new_lines(self) -> Iterator[str]:
        """Whole lines that were added since the last call."""
        while True:
            data = self._read()
            if data:
                yield from self._lines_of(data)
                continue
            following = [start for start in self._starts() if start >= self._offset and start != self._segment]
            if not following:
                return
            if following[0] > self._offset:
                if data := self._read():  # it was filled between the two looks
                    yield from self._lines_of(data)
                    continue
                yield from self._jump(following[0])
            self._segment = self._offset = following[0]

    def rest(self) -> Iterator[str]:
        """What is left when nothing will come any more: a last line without an end."""
        if self._carry:
            yield _text(self._carry)
        self._carry = b""

    def _starts(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("[0-9]*.log"))

    def _read(self) -> bytes:
        try:
            with (self._folder / f"{self._segment:016d}.log").open("rb") as stream:
                stream.seek(self._offset - self._segment)
                data = stream.read(_READ_BYTES)
        except FileNotFoundError:
            return b""
        self._offset += len(data)
        return data

    def _lines_of(self, data: bytes) -> Iterator[str]:
        *lines, self._carry = (self._carry + data).split(b"\n")
        for line in lines:
            yield _text(line)
        if len(self._carry) > 4 * MAX_LINE_BYTES:
            yield _text(self._carry)
            self._carry = b""

    def _jump(self, to: int) -> Iterator[str]:
        """Over what was thrown away: the reports in it, and a line that says how much it was."""
        yield from self.rest()
        yield f"[eyewall: {to - self._offset} bytes of output are left out here]"
        path = self._folder / "reports.log"
        if path.exists():
            for entry in path.read_bytes().splitlines():
                at, _, line = entry.partition(b" ")
                if self._offset <= int(at) < to:
                    yield _text(line)


def _text(line: bytes) -> str:
    cut = line[:MAX_LINE_BYTES].decode(errors="replace").rstrip("\r")
    return cut if len(line) <= MAX_LINE_BYTES else f"{cut} [eyewall: {len(line) - MAX_LINE_BYTES} bytes more]"
