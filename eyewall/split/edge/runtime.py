"""``eyewall edge run``: the parts put together, their threads, and how they end."""

import contextlib
import fcntl
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import InputError, StorageError
from eyewall.serving.access import ClientAccess
from eyewall.split.edge.answers import Answers
from eyewall.split.edge.bandwidth import Bandwidth
from eyewall.split.edge.compute import Ledger, compute, take_in
from eyewall.split.edge.courier import Courier, Rules
from eyewall.split.edge.endpoint import Endpoint
from eyewall.split.edge.handoff import Handoff
from eyewall.split.edge.link import Link
from eyewall.split.edge.metrics import Metrics
from eyewall.split.edge.options import EdgeOptions
from eyewall.split.edge.packet import Frame, Packet
from eyewall.split.edge.source import Folder, Source, Stream
from eyewall.split.edge.spool import Spool
from eyewall.split.edge.switch import Switch, read_profile
from eyewall.split.edge.ways import ClientWay, CloudWay, LocalTail, SplitWay, Way

_log = logging.getLogger("eyewall.edge")
#: Tells a view where the running edge answers; in the state folder.
ADDRESS_FILE = "edge.json"
ANSWERS_FILE = "answers.db"
_PING_S = 5.0


class Edge:
    """One edge over one state folder; `run` it once, from the thread that gets the signals."""

    def __init__(self, options: EdgeOptions) -> None:
        """Open everything. Raises InputError, ContractError or StorageError before a frame is touched."""
        self.options = options
        self._state = Path(options.state)
        self._wake, self._stop, self._source_stop = threading.Event(), threading.Event(), threading.Event()
        self._failures: list[BaseException] = []
        self._began_s = time.time()
        self._closed = False
        ways = open_ways(options)
        profile = read_profile(options.profile) if options.profile else None
        self.switch = Switch(ways, profile, options.max_loss)
        fallback = LocalTail.open(options.fallback, options.threads) if options.fallback else None
        access = ClientAccess.of_environment(
            str(options.ca) if options.ca else None, str(options.token_file) if options.token_file else None
        )
        self._lock_file = _lock(self._state)
        self.metrics, self.bandwidth = Metrics(), Bandwidth()
        self.spool = Spool(self._state / "spool", int(options.spool_mb * 2**20), int(options.reserve_mb * 2**20))
        self.answers = Answers(self._state / ANSWERS_FILE)
        self.ledger = Ledger(self.answers, self.spool.ids.__contains__, self.metrics, self._stop)
        self._source = self._make_source()
        self.frames: Handoff[Frame] = Handoff(max(options.queue, options.batch))
        self.packets: Handoff[Packet] = Handoff(options.queue, self._wake)
        self.link = Link(options.server, access, self._wake.set)
        self.courier = Courier(
            self.packets,
            self.link,
            self.spool,
            self.answers,
            rules=Rules(
                options.in_flight,
                options.timeout_s,
                options.grace_s,
                journal=not self._source.again,
                give_up_s=options.give_up_s if options.once else None,
            ),
            metrics=self.metrics,
            bandwidth=self.bandwidth,
            wake=self._wake,
            settled=self.ledger.settled,
            tail_s=self.switch.tail_s,
            fallback=fallback,
            models={way.contract.model: way.model for way in ways if isinstance(way, SplitWay)},
        )
        self._gauges()
        self.endpoint = Endpoint(options.metrics_host, options.port, self.metrics.text, self.status)
        _write_address(self._state, options.metrics_host, self.endpoint.port)

    def _make_source(self) -> Source:
        options, largest = self.options, int(self.options.frame_mb * 2**20)
        if options.stream:
            return Stream(sys.stdin.buffer, largest=largest)
        self.ledger.folder = Path(options.frames)
        self.ledger.quarantine = self._state / "quarantine" if options.remove else None
        source = Folder(
            Path(options.frames),
            self.ledger.known,
            self.answers.has_file,
            watch=not options.once,
            remove=options.remove,
            settle_s=options.settle_s,
            poll_s=options.poll_s,
            largest=largest,
        )
        self.ledger.source = source
        return source

    def _gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("queue_length", lambda: len(self.frames), queue="frames")
        gauge("queue_length", lambda: len(self.packets), queue="packets")
        gauge("queue_length", lambda: self.courier.in_flight, queue="link")
        gauge("spool_bytes", lambda: self.spool.bytes)
        gauge("spool_limit_bytes", lambda: self.spool.max_bytes)
        gauge("spool_frames", lambda: self.spool.frames)
        gauge("spool_full", lambda: self.courier.full)
        gauge("link_up", lambda: self.courier.away_since_s is None)
        gauge("bandwidth_bits_per_second", lambda: self.bandwidth.bps or 0.0)
        gauge("round_trip_seconds", lambda: self.bandwidth.rtt_s)
        for name in self.switch.names:
            gauge("plan", partial(self._is_planned, name), way=name)

    def _is_planned(self, way: str) -> bool:
        return way == self.switch.name

    def status(self) -> dict[str, Any]:
        """What the live view shows."""
        away = self.courier.away_since_s
        plan = self.switch.plan
        return self.metrics.snapshot() | {
            "server": self.options.server,
            "up_s": time.time() - self._began_s,
            "away_s": None if away is None else time.monotonic() - away,
            "why_away": self.courier.why_away,
            "plan": self.switch.name,
            "ways": self.switch.names,
            "break_evens": [] if plan is None else [b.model_dump() for b in plan.break_evens],
            "pid": os.getpid(),
        }

    def stop(self) -> None:
        """Take no further frame, let what is out come back, keep the rest on disk; `run` then returns."""
        self._source_stop.set()
        self.courier.stop()

    def run(self) -> dict[str, Any]:
        """Until `stop`, or with ``once`` until every frame is answered; the summary. Raises what a thread raised."""
        first = 1 + max(self.answers.last_number(), self.spool.last_number)
        threads = [
            self._thread("frames", lambda: self._take_in(first)),
            self._thread("head", self._compute),
            self._thread("link", self.courier.run),
        ]
        for thread in threads:
            thread.start()
        try:
            self._watch(threads)
        finally:
            self._end(threads)
        if self._failures:
            raise self._failures[0]
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Frames by outcome, of this run and of all, and what is left."""
        outcomes = ("cloud", "edge", "quarantined", "repeated")
        now = {outcome: int(self.metrics.value("frames", outcome=outcome)) for outcome in outcomes}
        return now | {
            "spooled": int(self.metrics.value("spooled_frames")),
            "waiting": self.spool.frames,
            "bytes_up": int(self.metrics.value("bytes", direction="up")),
            "bytes_down": int(self.metrics.value("bytes", direction="down")),
            "switches": int(self.metrics.value("switches")),
            "plan": self.switch.name,
            "mean_ms": {part: round(1e3 * of["mean_s"], 3) for part, of in self.metrics.snapshot()["parts"].items()},
            "seconds": round(time.time() - self._began_s, 3),
        }

    def close(self) -> None:
        """Let go of everything; once is enough."""
        if self._closed:
            return
        self._closed = True
        self.endpoint.close()
        self.link.close()
        self.spool.close()
        self.answers.close()
        with contextlib.suppress(OSError):
            (self._state / ADDRESS_FILE).unlink()
        os.close(self._lock_file)

    # ---- threads

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._failures.append(error)
                self._source_stop.set()

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _take_in(self, first: int) -> None:
        try:
            take_in(self._source, self.ledger, self.frames, first, self.metrics, self._source_stop)
        finally:
            self.frames.close()

    def _compute(self) -> None:
        overlap = self.options.overlap
        try:
            compute(
                self.frames,
                self.packets,
                self.switch,
                self.ledger,
                self.metrics,
                batch=self.options.batch,
                linger_s=self.options.linger_s,
                may_begin=lambda: overlap or (not self.packets and self.courier.idle),
                stop=self._stop,
            )
        finally:
            self.packets.close()

    def _watch(self, threads: list[threading.Thread]) -> None:
        """While they run: the plan, the round trip; until the link has ended, or one has failed."""
        link, next_plan_s, next_ping_s = threads[-1], 0.0, 0.0
        while link.is_alive() and not self._failures:
            link.join(0.1)
            now = time.monotonic()
            if now >= next_ping_s and self.courier.away_since_s is None and self.switch.name != "client":
                next_ping_s = now + _PING_S
                self.link.ping("eyewall", self.bandwidth.round_trip)
            if now >= next_plan_s:
                next_plan_s = now + self.options.replan_s
                if self.switch.consider(self.bandwidth.bps, self.bandwidth.rtt_s):
                    self.metrics.count("switches")

    def _end(self, threads: list[threading.Thread]) -> None:
        """Every thread ends; what they leave in memory goes to disk."""
        intake, head, link = threads
        self._source_stop.set()
        self.courier.stop()
        link.join(self.options.grace_s + 10.0)
        head.join(self.options.grace_s if not self._source.again else 0.5)  # a stream's frames are nowhere else
        self._stop.set()
        head.join(10.0)
        if not link.is_alive():
            self.courier.flush()
        if self._source.again:
            intake.join(5.0)


def open_ways(options: EdgeOptions) -> list[Way]:
    """The ways at hand, in the order of preference without a profile. Raises InputError, ContractError."""
    ways: list[Way] = [SplitWay.open(head.folder, head.model, options.threads) for head in options.head]
    if options.cloud is not None:
        ways.append(CloudWay(options.cloud, _input_name(ways)))
    if options.client is not None:
        ways.append(ClientWay.open(options.client, options.threads))
    names = [way.name for way in ways]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two heads are both {name}: give each cut, number of channels and wire once")
    return ways


def _input_name(ways: list[Way]) -> str:
    """What a lone array is called by a server that is asked for the whole model: as the heads call it."""
    names = {name for way in ways for name in way.wants()}
    return next(iter(names)) if len(names) == 1 else ""


def _lock(state: Path) -> int:
    """The state folder is this process's until it ends. Raises InputError when another has it, StorageError."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"state folder {str(state)!r} cannot be used: {error.strerror}; give another --state"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(f"another edge works in {str(state)!r}: stop it, or give another --state") from None
    return descriptor


def _write_address(state: Path, host: str, port: int) -> None:
    beside = state / f".{ADDRESS_FILE}.tmp"
    beside.write_text(json.dumps({"host": host, "pid": os.getpid(), "port": port}) + "\n")
    beside.replace(state / ADDRESS_FILE)


__all__ = ["ADDRESS_FILE", "ANSWERS_FILE", "Edge", "open_ways"]
