"""Packets to the server and answers back, with one thread that owns the link, the spool and the answers.

    window   requests that are out, in order; answers are recorded in that order
    held     packets that came back unanswered, to go again before anything new
    spool    packets on disk, older than everything else

Up: the spool is drained first, then what is held goes, then what comes; new packets wait meanwhile, so that order is
kept. Away: what comes goes to the spool (or to the local tail), and one packet after each pause tries whether the
server is back. A packet is let go of only when its answer is recorded or it is on disk, and a frame that has an answer
is never asked for again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from eyewall.contracts.errors import ContractError, EyewallError, InputError
from eyewall.serving.backoff import Backoff
from eyewall.split.edge.answers import Answer, Answers, DiskFull, Outcome, answers_of, quarantined
from eyewall.split.edge.bandwidth import Bandwidth
from eyewall.split.edge.handoff import Handoff
from eyewall.split.edge.link import Call, End, Link, failure
from eyewall.split.edge.metrics import Metrics
from eyewall.split.edge.packet import Array, FrameKey, Packet
from eyewall.split.edge.spool import Spool, SpoolFull
from eyewall.split.edge.ways import LocalTail

_log = logging.getLogger("eyewall.edge")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 15.0
_LOOK_S = 0.2  # how long the thread sleeps at most


@dataclass(frozen=True)
class Rules:
    """How the courier goes about it."""

    in_flight: int = 4  #: requests that are out at once
    timeout_s: float = 30.0  #: for one request, besides its bytes at the measured bandwidth
    grace_s: float = 5.0  #: for requests that are out when the edge is told to stop
    journal: bool = False  #: every packet goes through the spool: the source cannot be read again
    give_up_s: float | None = None  #: end with an error when the server has been away so long


class Courier:
    """Run it in a thread of its own; the public attributes may be read from others."""

    def __init__(
        self,
        incoming: Handoff[Packet],
        link: Link,
        spool: Spool,
        answers: Answers,
        *,
        rules: Rules,
        metrics: Metrics,
        bandwidth: Bandwidth,
        wake: threading.Event,
        settled: Callable[[FrameKey, Outcome], None],
        tail_s: Callable[[str], float] = lambda _: 0.0,
        fallback: LocalTail | None = None,
        models: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``settled`` is called for each frame whose answer is on disk; ``tail_s`` is the server's work by way.

        ``models`` are those of the server by the digest of the heads at hand: what an earlier run spooled goes to the
        name that its tail has now.
        """
        self._models = models
        self._incoming, self._link, self._spool, self._answers = incoming, link, spool, answers
        self._rules, self._metrics, self._bandwidth, self._wake = rules, metrics, bandwidth, wake
        self._settled, self._tail_s, self._fallback = settled, tail_s, fallback
        self._window: deque[Call] = deque()
        self._held: deque[Packet] = deque()
        self._open: dict[object, int] = {}  # record of the spool → frames of it that are not settled yet
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._fatal: EyewallError | None = None
        self._stop_at_s: float | None = None
        self._pinging = False
        self._heard = False
        self.away_since_s: float | None = None  #: monotonic; None while the server answers
        self.why_away = ""
        self.full = False  #: the spool, or the disk below the answers, refuses

    # ---- from other threads

    @property
    def in_flight(self) -> int:
        """Requests that are out."""
        return len(self._window)

    @property
    def idle(self) -> bool:
        """Whether nothing is out or held."""
        return not self._window and not self._held

    def stop(self) -> None:
        """Let what is out come back, put the rest on disk, and end; the spool stays."""
        self._stop_at_s = time.monotonic() + self._rules.grace_s
        self._wake.set()

    def server_heard(self) -> None:
        """The server answered a small question."""
        self._heard = True
        self._wake.set()

    # ---- the loop

    def run(self) -> None:
        """Until everything is answered and nothing will come, or until `stop`. Raises what cannot be mended by time."""
        while True:
            self._wake.clear()
            worked, full = False, ""
            for step in (self._collect, self._put_aside, self._send):
                try:
                    worked |= step()
                except (SpoolFull, DiskFull) as error:  # the other steps go on: one of them may make room
                    full = str(error)
            if full and not self.full:
                _log.warning("%s", full)
            self.full = bool(full)
            if self._over():
                break
            if not worked:
                self._wake.wait(_LOOK_S)
        if self._fatal is not None:
            raise self._fatal

    def _over(self) -> bool:
        if self._fatal is not None:
            return True
        now = time.monotonic()
        if self._stop_at_s is not None:
            if self._incoming.over and self.idle:
                return True
            if now < self._stop_at_s:
                return False
            self._abandon_window()
            self.flush()
            return True
        patience_s, away_s = self._rules.give_up_s, self.away_since_s
        if away_s is not None and patience_s is not None and now - away_s > patience_s:
            self._fatal = failure(self._link.address, self.why_away)
            self._abandon_window()
            return True
        return self._incoming.over and self.idle and not self._spool.packets

    def flush(self) -> None:
        """At the end: whatever still waits goes to disk, or stays at its source where that is full."""
        try:
            self._put_aside(stopping=True)
        except (SpoolFull, DiskFull) as error:
            _log.warning("%s", error)

    # ---- what comes back

    def _collect(self) -> bool:
        """Record the answers at the head of the window; deal with what failed."""
        if self._heard:
            self._heard = False
            self._up()
        done: list[tuple[Call, dict[str, Array], int]] = []
        bad: tuple[End, str] | None = None
        for call in self._window:
            if not call.done:
                break
            end, why, outputs, version = call.end()
            if end is not End.ANSWERED:
                bad = (end, why)
                break
            done.append((call, outputs, version))
        if done:
            self._record(
                [answer for call, outputs, version in done for answer in answers_of(call.packet, outputs, version)]
            )
            for call, _, _ in done:  # only now: where the disk was full they are looked at again
                self._window.popleft()
                self._measure(call)
                self._settle(call.packet, "cloud")
            self._up()
        if bad is not None:
            self._failed(*bad)
        return bool(done) or bad is not None

    def _measure(self, call: Call) -> None:
        ended_s = call.ended_s or time.monotonic()
        packet, now = call.packet, time.time()
        self._bandwidth.answered(call.bytes, ended_s, self._tail_s(packet.way) * len(packet.keys))
        self._metrics.count("requests", end="answered")
        self._metrics.count("bytes", call.bytes, direction="up")
        self._metrics.count("bytes", call.bytes_down, direction="down")
        self._metrics.took("link", ended_s - call.began_s)
        if packet.place is None:
            for taken_at_s in packet.taken_at_s:
                self._metrics.took("whole", max(0.0, now - taken_at_s))

    def _failed(self, end: End, why: str) -> None:
        """The first request of the window has failed."""
        self._metrics.count("requests", end=end.value)
        call = self._window[0]
        if end is End.OTHER_SPLIT and call.packet.digest not in self._models:
            end, why = End.REFUSED, f"{why}; it was spooled by a head that is no longer here"
        if end is End.REFUSED:
            if len(call.packet.keys) == 1:
                self._record([quarantined(call.packet, why)])
                _log.warning("frame %s: %s", call.packet.keys[0].id, why)
            self._window.popleft()
            self._bandwidth.failed()
            if len(call.packet.keys) == 1:
                self._settle(call.packet, "quarantined")
            else:  # one of them is bad: each by itself, before anything new
                self._held.extendleft(reversed(call.packet.parts()))
            self._up()
            return
        if end is End.OTHER_SPLIT:
            # That no frame can pass is for people to mend; what is on its way goes to the spool and waits for them.
            self._fatal = ContractError(
                f"model server {self._link.address} refused the head {call.packet.way}: {why[:1500]}"
            )
        self._abandon_window()
        self._away(why)

    def _abandon_window(self) -> None:
        """Nothing is out any more: what came from the spool stays there, the rest is held, in order."""
        direct = [call.packet for call in self._window if call.packet.place is None]
        for call in self._window:
            call.cancel()
            self._bandwidth.failed()
        self._window.clear()
        self._held = deque([*direct, *(packet for packet in self._held if packet.place is None)])
        self._spool.rewind()
        self._open.clear()

    def _away(self, why: str) -> None:
        self._backoff.failed(self._link.address)
        self.why_away = why
        if self.away_since_s is None:
            self.away_since_s = time.monotonic()
            _log.warning("model server %s is away: %s", self._link.address, why)
        self._bandwidth.reset()
        if "DEADLINE_EXCEEDED" in why or self._backoff.tries > 3:
            self._link.renew()

    def _up(self) -> None:
        if self.away_since_s is not None:
            away_s = time.monotonic() - self.away_since_s
            _log.info(
                "model server %s is back after %.1f s: %d packets to drain",
                self._link.address,
                away_s,
                self._spool.packets,
            )
        self.away_since_s, self.why_away = None, ""
        self._backoff.clear()

    # ---- what goes to disk

    def _put_aside(self, stopping: bool = False) -> bool:
        """While the server is away (or always, with a journal): packets to the local tail or the spool."""
        worked = False
        while self._rules.journal or stopping or self.away_since_s is not None:
            packet = self._held[0] if self._held else self._incoming.peek()
            if packet is None or packet.place is not None:  # parts of a packet that is on disk already
                break
            if not self._settle_here(packet):
                if not self._spool.could_hold(packet):
                    break  # it waits for the server
                self._spool.append(packet)
                self._metrics.count("spooled_frames", len(packet.keys))
            self._take()
            worked = True
        return worked

    def _take(self) -> None:
        if self._held:
            self._held.popleft()
        else:
            self._incoming.pop()

    def _settle_here(self, packet: Packet) -> bool:
        """Whether the packet needs no server: it is answered already, or the local tail can."""
        if not packet.model:
            outputs = dict(packet.tensors)
        elif self._fallback is not None and self.away_since_s is not None and self._fallback.fits(packet):
            try:
                outputs = self._fallback.answer(packet)
            except InputError as error:
                _log.warning("the local tail refuses %d frames: %s", len(packet.keys), error)
                return False
        else:
            return False
        self._record(answers_of(packet, outputs, None, "edge"))
        for taken_at_s in packet.taken_at_s:
            self._metrics.took("whole", max(0.0, time.time() - taken_at_s))
        self._settle(packet, "edge")
        return True

    # ---- what goes out

    def _send(self) -> bool:
        """Fill the window; one packet at a time while the server is away, once its pause is over."""
        sent = False
        while self._fatal is None and len(self._window) < (
            1 if self.away_since_s is not None else self._rules.in_flight
        ):
            if self.away_since_s is not None and not self._backoff.due(self._link.address):
                break
            packet = self._next()
            if packet is None:
                if self.away_since_s is not None:
                    self._ask()
                break
            if packet.ready_s:
                self._metrics.took("queue", time.monotonic() - packet.ready_s)
            call = self._link.send(packet, self._timeout_s(packet))
            self._bandwidth.sent(call.began_s)
            self._window.append(call)
            sent = True
        return sent

    def _next(self) -> Packet | None:
        """The next packet to send, older ones first."""
        if self._held and self._held[0].place is not None:  # parts of a packet of the spool
            return self._held.popleft()
        while self._stop_at_s is None and (packet := self._spool.next()) is not None:
            packet.model = self._models.get(packet.digest, packet.model)
            left = [part for part in packet.parts() if not self._answers.has(part.keys[0].id)]
            if not left:
                self._spool.done(packet)
                continue
            self._open[packet.place] = len(left)
            if len(left) < len(packet.keys):
                self._held.extendleft(reversed(left))
                return self._held.popleft()
            return packet
        if self._spool.unread:
            return None
        if self._held:
            return self._held.popleft()
        if self._rules.journal:
            return None
        while (packet := self._incoming.peek()) is not None and not packet.model:
            self._settle_here(packet)
            self._incoming.pop()
        return self._incoming.pop() if packet is not None else None

    def _ask(self) -> None:
        """Away, and no packet to try with: a small question."""
        self._backoff.failed(self._link.address)
        self._link.ping("eyewall", lambda _: self.server_heard())

    def _timeout_s(self, packet: Packet) -> float:
        bps = self._bandwidth.bps
        out = packet.content_bytes + sum(call.bytes for call in self._window)
        return self._rules.timeout_s + (4 * 8 * out / bps if bps else 0.0)

    # ---- what is kept

    def _record(self, answers: list[Answer]) -> None:
        began_s = time.monotonic()
        first = self._answers.record(answers)
        self._metrics.took("record", time.monotonic() - began_s)
        for answer, new in zip(answers, first, strict=True):
            self._metrics.count("frames", outcome=answer.outcome if new else "repeated")

    def _settle(self, packet: Packet, outcome: Outcome) -> None:
        """The packet's frames are on record."""
        for key in packet.keys:
            self._settled(key, outcome)
        if packet.place is None:
            return
        left = self._open.get(packet.place, 0) - len(packet.keys)
        if left > 0:
            self._open[packet.place] = left
        else:
            self._open.pop(packet.place, None)
            self._spool.done(packet)
