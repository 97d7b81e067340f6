"""What a job prints: its log in the store, bounded, and the values that it reports.

A report is a line ``eyewall-report {"step": 3, "metric": "loss", "value": 0.12}``; any program can print one, Python
programs by `eyewall.report`. The log is ``jobs/<job>/<attempt>/log.txt``: the first MiB and the last seven.
"""

import json
import threading
import time
from collections import deque
from typing import NamedTuple

from eyewall.contracts.layout import attempt_dir
from eyewall.jobs.runner import Assignment
from eyewall.storage import Store

REPORT = "eyewall-report "
HEAD_BYTES, TAIL_BYTES = 1 << 20, 7 << 20
#: More values than this of one attempt are left out: they are rows of a database.
MAX_REPORTS = 100_000
_MAX_METRIC_CHARACTERS = 100
#: Of the last line, where it becomes the reason of a failure.
MAX_SAID_CHARACTERS = 200
#: A log is written anew whenever it has changed: at most so often, and so many bytes a second.
_WRITE_INTERVAL_S, _WRITE_BYTES_PER_S = 2.0, 1 << 19


class Report(NamedTuple):
    """One value of one metric."""

    metric: str
    step: int
    value: float


def log_path(job: int, number: int) -> str:
    """Where in the store the log of an attempt is."""
    return f"{attempt_dir(job, number)}/log.txt"


def report_of(line: str) -> Report | None:
    """The value that a line reports; None where it reports none, or not as it should."""
    if not line.startswith(REPORT):
        return None
    try:
        found = json.loads(line[len(REPORT) :])
        step, metric, value = found["step"], found["metric"], found["value"]
        if isinstance(step, bool) or not isinstance(step, int) or not -(2**63) <= step < 2**63:
            return None
        if not isinstance(metric, str) or not 0 < len(metric) <= _MAX_METRIC_CHARACTERS or "\x00" in metric:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return Report(metric.encode("utf-8", "replace").decode(), step, float(value))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


class Output:
    """The output of one attempt as far as it was read; taken by one thread, written and reported by another."""

    def __init__(self, store: Store, assignment: Assignment) -> None:
        self._store = store
        self._path = log_path(assignment.job, assignment.number)
        self._lock = threading.Lock()
        self._written_at = float("-inf")
        self.restart()

    def restart(self) -> None:
        """Forget all: it is going to be read again from the first line."""
        with self._lock:
            self._head: list[bytes] = []
            self._head_room = HEAD_BYTES
            self._tail: deque[bytes] = deque()
            self._tail_bytes = self._left_out = self._reported = 0
            self._reports: dict[tuple[str, int], float] = {}
            self._changed = False

    def take(self, line: str) -> bool:
        """Add a line; whether it is a report that is to be passed on."""
        report = report_of(line)
        with self._lock:
            self._append(line.encode(errors="replace") + b"\n")
            if report is None:
                return False
            self._reported += 1
            if self._reported > MAX_REPORTS:
                if self._reported == MAX_REPORTS + 1:
                    self._append(f"[eyewall: no more than {MAX_REPORTS} reports are taken from here on]\n".encode())
                return False
            self._reports[report.metric, report.step] = report.value
            return True

    def _append(self, line: bytes) -> None:
        self._changed = True
        if len(line) <= self._head_room:
            self._head.append(line)
            self._head_room -= len(line)
            return
        self._head_room = 0  # nothing later may come before what is in the tail
        self._tail.append(line)
        self._tail_bytes += len(line)
        while self._tail_bytes > TAIL_BYTES:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._left_out += gone

    def new_reports(self) -> list[Report]:
        """Values since the last call, the last one where a step was reported twice."""
        with self._lock:
            taken, self._reports = self._reports, {}
        return [Report(metric, step, value) for (metric, step), value in taken.items()]

    def text(self) -> bytes:
        """The log as it stands."""
        with self._lock:
            said = (
                f"[eyewall: {self._left_out} bytes of output are left out here]\n".encode() if self._left_out else b""
            )
            return b"".join((*self._head, said, *self._tail))

    def last_line(self) -> str:
        """The last line that says something, at most `MAX_SAID_CHARACTERS` of it; reports say nothing."""
        with self._lock:
            for raw in (*reversed(self._tail), *reversed(self._head)):
                # No colours of a terminal, and no zeros, which the database does not take.
                printable = "".join(c if c.isprintable() else " " for c in raw.decode(errors="replace"))
                line = " ".join(printable.split())
                if line and not line.startswith(REPORT.strip()):
                    return line[:MAX_SAID_CHARACTERS]
        return ""

    def is_due(self) -> bool:
        """Whether the log has changed since it was written, and that is long enough ago for its size."""
        size = HEAD_BYTES - self._head_room + self._tail_bytes
        due = self._written_at + max(_WRITE_INTERVAL_S, size / _WRITE_BYTES_PER_S)
        return self._changed and time.monotonic() >= due

    def write(self) -> None:
        """Write the log to the store as it stands. Raises StorageError."""
        self._changed = False
        self._written_at = time.monotonic()
        self._store.write_bytes(self._path, self.text())
