"""Answers by frame id, in SQLite: the one place that decides whether a frame is done.

A frame is written once: a second answer to the same id, as after a crash between an answer and its record, changes
nothing and is counted. A record counts once `record` has returned; a kill or a power cut leaves whole ones only.
"""

import json
import math
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eyewall.contracts.errors import StorageError
from eyewall.split.edge.packet import Array, FrameKey, Packet

#: cloud: by the server, all of it or the tail; edge: by this machine; quarantined: unusable, with the reason.
Outcome = Literal["cloud", "edge", "quarantined"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, outcome TEXT NOT NULL, way TEXT NOT NULL, model TEXT NOT NULL, version INTEGER,
    taken_at_s REAL NOT NULL, answered_at_s REAL NOT NULL, outputs TEXT, reason TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_file ON answers (name, bytes, mtime_ns);
CREATE INDEX IF NOT EXISTS answers_by_number ON answers (number);
"""
_COLUMNS = (
    "id", "number", "name", "bytes", "mtime_ns", "outcome", "way", "model", "version",
    "taken_at_s", "answered_at_s", "outputs", "reason",
)  # fmt: skip
_INSERT = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class DiskFull(StorageError):
    """The answers cannot be written now; nothing is half-written."""


@dataclass(frozen=True)
class Answer:
    """What became of one frame. ``outputs`` are of this frame, without a batch axis; none for a quarantined one."""

    key: FrameKey
    outcome: Outcome
    taken_at_s: float
    way: str = ""
    model: str = ""
    version: int | None = None
    outputs: dict[str, Array] | None = None
    reason: str = ""


class Answers:
    """The table; safe to use from many threads, and any number of processes read."""

    def __init__(self, path: Path) -> None:
        """Open or make it. Raises StorageError when it cannot be used."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, timeout=10.0, check_same_thread=False, isolation_level=None)
            # A write-ahead log that is fsynced at every commit: readers never wait, and what is committed stays.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 64")  # pages: 256 KiB of log on a small disk
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StorageError(f"answers {path} cannot be used: {error}; give another --state") from None

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def record(self, answers: Sequence[Answer]) -> list[bool]:
        """Keep them, all or none, and tell for each whether it is the first of its frame.

        Raises DiskFull when there is no room.
        """
        try:
            with self._lock:
                try:
                    return self._transaction(answers)
                except sqlite3.Error:
                    # On a full disk the log itself may be what fills it: its pages go into the table, then once more.
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                    return self._transaction(answers)
        except sqlite3.Error as error:
            raise DiskFull(f"answers cannot be written: {error}; they are asked for again when there is room") from None

    def _transaction(self, answers: Sequence[Answer]) -> list[bool]:
        now = time.time()
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            first = [self._insert(answer, now) for answer in answers]
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return first

    def _insert(self, answer: Answer, now: float) -> bool:
        key = answer.key
        outputs = None if answer.outputs is None else json.dumps(_plain(answer.outputs), allow_nan=False)
        row = (
            key.id, key.number, key.name, key.bytes, key.mtime_ns, answer.outcome, answer.way, answer.model,
            answer.version, answer.taken_at_s, now, outputs, answer.reason or None,
        )  # fmt: skip
        return self._connection.execute(_INSERT, row).rowcount == 1

    def has(self, frame_id: str) -> bool:
        """Whether that frame is done."""
        return self._one("SELECT 1 FROM answers WHERE id = ?", frame_id) is not None

    def has_file(self, name: str, size: int, mtime_ns: int) -> bool:
        """Whether the file of that name, size and time of change is done."""
        query = "SELECT 1 FROM answers WHERE name = ? AND bytes = ? AND mtime_ns = ? LIMIT 1"
        return self._one(query, name, size, mtime_ns) is not None

    def last_number(self) -> int:
        """The highest frame number, -1 where there is none."""
        found = self._one("SELECT max(number) FROM answers")
        return -1 if found is None or found[0] is None else int(found[0])

    def _one(self, query: str, *values: object) -> Any:
        with self._lock:
            return self._connection.execute(query, values).fetchone()

    def counts(self) -> dict[str, int]:
        """Frames by outcome."""
        query = "SELECT outcome, count(*) FROM answers GROUP BY outcome ORDER BY outcome"
        with self._lock:
            return dict(self._connection.execute(query).fetchall())

    def rows(self, after: int = -1, limit: int = 1000) -> Iterator[dict[str, Any]]:
        """Answers by frame number, those above ``after``; outputs as plain lists, None where not a finite number."""
        query = "SELECT * FROM answers WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            found_rows = self._connection.execute(query, (after, limit)).fetchall()
        for row in found_rows:
            found = dict(zip(_COLUMNS, row, strict=True))
            found["outputs"] = None if found["outputs"] is None else json.loads(found["outputs"])
            yield found


def answers_of(
    packet: Packet, outputs: dict[str, Array], version: int | None, outcome: Outcome = "cloud"
) -> list[Answer]:
    """One answer for each frame of a packet, of outputs that have a batch axis."""
    return [
        Answer(
            key, outcome, packet.taken_at_s[i], packet.way, packet.model, version,
            {name: array[i] for name, array in outputs.items()},
        )
        for i, key in enumerate(packet.keys)
    ]  # fmt: skip


def quarantined(packet: Packet, why: str) -> Answer:
    """The end of a packet of one frame that the server refused."""
    return Answer(
        packet.keys[0],
        "quarantined",
        packet.taken_at_s[0],
        packet.way,
        packet.model,
        reason=f"the server refused: {why}",
    )


def _plain(outputs: dict[str, Array]) -> dict[str, Any]:
    return {name: _finite(array.tolist()) for name, array in outputs.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if isinstance(value, float) and not math.isfinite(value) else value
