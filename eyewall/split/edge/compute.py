"""From frames to packets, in two threads: one reads and checks files, one runs the head; full queues make both wait."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.layout import safe_key
from eyewall.split.edge.answers import Answer, Answers, DiskFull, Outcome
from eyewall.split.edge.handoff import Handoff
from eyewall.split.edge.metrics import Metrics
from eyewall.split.edge.packet import Frame, FrameKey, Packet
from eyewall.split.edge.source import Source
from eyewall.split.edge.switch import Switch
from eyewall.split.edge.ways import Way, fit_frame

_log = logging.getLogger("eyewall.edge")
_DISK_PAUSE_S = 1.0


class Ledger:
    """Which frames are under way, and what happens to those that are done or unusable."""

    def __init__(
        self, answers: Answers, spooled: Callable[[str], bool], metrics: Metrics, stop: threading.Event
    ) -> None:
        """``spooled`` tells whether a frame waits on disk."""
        self._answers, self._spooled, self._metrics, self._stop = answers, spooled, metrics, stop
        self._busy: set[str] = set()
        self.source: Source | None = None
        self.quarantine: Path | None = None  #: where the files of bad frames go; None: they stay where they are
        self.folder: Path | None = None

    def known(self, frame_id: str) -> bool:
        """Whether a frame is done or under way."""
        return frame_id in self._busy or self._spooled(frame_id) or self._answers.has(frame_id)

    def begin(self, frame_id: str) -> None:
        """A frame is under way."""
        self._busy.add(frame_id)

    def settled(self, key: FrameKey, outcome: Outcome) -> None:
        """A frame's answer, or why it has none, is on record."""
        self._busy.discard(key.id)
        if outcome == "quarantined" and self.quarantine is not None:
            self._move(key)
        if self.source is not None:
            self.source.finished(key)

    def refuse(self, key: FrameKey, taken_at_s: float, reason: str) -> None:
        """Put a frame into quarantine: on record with the reason, and never tried again."""
        _log.warning("frame %s goes to quarantine: %s", key.id, reason)
        answer = Answer(key, "quarantined", taken_at_s, reason=reason)
        while True:
            try:
                (new,) = self._answers.record([answer])
                break
            except DiskFull as error:
                _log.warning("%s", error)
                if self._stop.wait(_DISK_PAUSE_S):
                    return  # found again at the next start
        self._metrics.count("frames", outcome="quarantined" if new else "repeated")
        self.settled(key, "quarantined")

    def _move(self, key: FrameKey) -> None:
        if self.quarantine is None or self.folder is None or not key.name:
            return
        try:
            self.quarantine.mkdir(parents=True, exist_ok=True)
            path = self.folder / key.name
            status = path.lstat()
            if (status.st_size, status.st_mtime_ns) == (key.bytes, key.mtime_ns):
                shutil.move(path, self.quarantine / safe_key(key.id))
        except OSError as error:
            _log.warning("%s cannot be moved to quarantine: %s", key.name, error.strerror)


def take_in(
    source: Source, ledger: Ledger, frames: Handoff[Frame], first_number: int, metrics: Metrics, stop: threading.Event
) -> None:
    """The first thread: number what the source finds, and hand on what can be used."""
    number = first_number
    for found in source.frames(stop):
        if found is None:
            continue
        taken_at_s = time.time()
        key = FrameKey(found.key.id, number, found.key.name, found.key.bytes, found.key.mtime_ns)
        number += 1
        ledger.begin(key.id)
        if found.arrays is None:
            ledger.refuse(key, taken_at_s, found.reason)
        elif not frames.put(Frame(key, found.arrays, taken_at_s), stop):
            return
        metrics.count("taken_frames")


def compute(
    frames: Handoff[Frame],
    packets: Handoff[Packet],
    switch: Switch,
    ledger: Ledger,
    metrics: Metrics,
    *,
    batch: int,
    linger_s: float,
    may_begin: Callable[[], bool],
    stop: threading.Event,
) -> None:
    """The second thread: frames to packets by the way that is planned, until ``frames`` is over or ``stop`` is set.

    ``may_begin`` is asked before each packet; where it says no, the thread waits. Raises ContractError when a head
    does not do what its contract says.
    """
    while not frames.over and not stop.is_set():
        if not may_begin():
            time.sleep(0.0005)
            continue
        way = switch.way()
        taken = frames.take(min(batch, way.most_frames()), linger_s)
        for packet in _packets(way, taken, ledger, metrics):
            if not packets.put(packet, stop):
                return


def _packets(way: Way, frames: list[Frame], ledger: Ledger, metrics: Metrics) -> list[Packet]:
    """One packet of all frames that fit; bad ones are found one by one."""
    fitting = []
    for frame in frames:
        try:
            fitting.append(Frame(frame.key, fit_frame(dict(frame.inputs), way.wants()), frame.taken_at_s))
        except InputError as error:
            ledger.refuse(frame.key, frame.taken_at_s, str(error))
    if not fitting:
        return []
    began_s = time.monotonic()
    try:
        packet = way.pack(fitting)
    except ContractError:
        raise
    except InputError as error:
        if len(fitting) == 1:
            ledger.refuse(fitting[0].key, fitting[0].taken_at_s, str(error))
            return []
        return [packet for frame in fitting for packet in _packets(way, [frame], ledger, metrics)]
    packet.ready_s = time.monotonic()
    metrics.took("head", packet.ready_s - began_s)
    return [packet]
