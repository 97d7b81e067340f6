"""What the events of a pod say, in words: for pods of jobs, and for those of steps (operators/pod_end.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def last_event(events: Iterable[Mapping[str, Any]], reason: str, word: str = "") -> str:
    """The words of the latest event of ``reason`` that holds ``word``; empty where there is none."""
    return _latest([e for e in events if e.get("reason") == reason and word in (e.get("message") or "")])


def last_warning(events: Iterable[Mapping[str, Any]]) -> str:
    """The words of the latest warning; empty where there is none."""
    return _latest([e for e in events if e.get("type") == "Warning" and e.get("message")])


def one_line(text: str) -> str:
    """One sentence without its full stop and line breaks, not longer than a screen."""
    return " ".join(text.split()).rstrip(".")[:500]


def _latest(events: Sequence[Mapping[str, Any]]) -> str:
    """The words of the latest event; the API server gives them in no order."""
    ordered = sorted(events, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""))
    return one_line(ordered[-1].get("message") or "") if ordered else ""
