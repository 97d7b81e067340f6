"""How a step ended: its exit code, its summary (the last line of JSON) and its last sentence."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

#: XCom is for people to look at, not for data: longer texts stay in the receipt.
MAX_TEXT = 300


class Outcome(NamedTuple):
    """``code`` as in eyewall.contracts.errors; ``summary`` as ``--json`` printed it; ``sentence`` for task states."""

    code: int
    summary: dict[str, Any]
    sentence: str


class OutputReader:
    """Passes the lines of a step on, and remembers the two that matter."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._summary: dict[str, Any] = {}
        self._sentence = ""

    def take(self, line: str) -> None:
        """One line of output, with or without its end."""
        text = line.rstrip()
        if not text:
            return
        self._say(text)
        if text.startswith("{"):
            try:
                self._summary = json.loads(text)
                return
            except ValueError:
                pass  # a line that only looks like it
        self._sentence = text.removeprefix("eyewall: ")

    def outcome(self, code: int) -> Outcome:
        """The end, with the exit ``code`` of the step."""
        return Outcome(code, self._summary if code == 0 else {}, self._sentence or f"ended with exit code {code}")


def small(summary: dict[str, Any]) -> dict[str, Any]:
    """The part of a summary that fits XCom: numbers, flags and short texts."""
    return {
        key: value
        for key, value in summary.items()
        if value is None or isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) <= MAX_TEXT)
    }
