"""Local replicas: the same ``eyewall train`` command once per replica in its own environment, supervised to the end.

A replica that dies, or falls silent for ``heartbeat_timeout_s`` (frozen, or waiting for a peer that is), is lost: the
others cannot go on without it, so all are ended and the cluster starts again from the last checkpoint, a few times.
An error that would only come again (bad input, a loss that is not a number) ends the training at once.
Workers and parameter servers never end by themselves: they are ended when the chief has.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eyewall.contracts.cluster import Cluster, Replica
from eyewall.contracts.errors import (
    EXIT_INPUT,
    EXIT_IO,
    EyewallError,
    InputError,
    StorageError,
    TrainingError,
)
from eyewall.contracts.jobs import TrainJob
from eyewall.training.heartbeat import FILE_VARIABLE, FINISHED, LAUNCHER_VARIABLE, START_UP_S
from eyewall.training.pulse import Pulse
from eyewall.training.tensorflow_setup import THREADS_VARIABLE, usable_cores

MAX_RESTARTS = 3
_POLL_S = 0.2
_GRACE_S = 2.0  # between the first replica's end and the verdict: the cause may come to light in another one
#: Exit codes after which a new start would end the same way.
_FINAL: dict[int, type[EyewallError]] = {EXIT_INPUT: InputError, EXIT_IO: StorageError}


class _ReplicaLost(Exception):
    """A replica died or fell silent; the message says which and how."""


@dataclass
class _Process:
    """One running replica: its process, its pulse, and the last lines that it said."""

    replica: Replica
    process: subprocess.Popen[str]
    pulse: Pulse
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    reader: threading.Thread | None = None

    def follow(self) -> None:
        """Keep the replica's lines, and pass the chief's own ones on."""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if self.replica.role == "chief" and line.startswith("eyewall train:"):
                sys.stderr.write(line)
                sys.stderr.flush()

    def last_words(self) -> str:
        """The sentence with which the command ended, else the exception's line, else its last line."""
        if self.reader is not None:
            self.reader.join(timeout=1.0)
        for pattern in (r"eyewall: (.*)", r"([\w.]+(?:Error|Exception): .*)", r"(.*\S.*)"):
            found = [m[1] for line in self.lines if (m := re.match(pattern, line))]
            if found:
                return found[-1]
        return "no message"


def local_cluster(job: TrainJob) -> Cluster:
    """A cluster on free loopback ports, whose chief trains too, but for parameter servers."""
    workers = job.workers_beside_chief
    with contextlib.ExitStack() as held:  # all held at once, so that no port is given twice
        addresses = [f"127.0.0.1:{_free_port(held)}" for _ in range(1 + workers + job.ps)]
    return Cluster(chief=addresses[0], workers=tuple(addresses[1 : 1 + workers]), ps=tuple(addresses[1 + workers :]))


def _free_port(held: contextlib.ExitStack) -> int:
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    return int(listener.getsockname()[1])


def launch(job: TrainJob) -> None:
    """Run the training's replicas to the end. Raises TrainingError when too many are lost, or what a replica raised."""
    for attempt in range(MAX_RESTARTS + 1):
        try:
            _run_cluster(job)
        except _ReplicaLost as loss:
            if attempt == MAX_RESTARTS:
                raise TrainingError(
                    f"{loss}; given up after {MAX_RESTARTS} restarts: run {job.run!r} keeps its last checkpoint"
                ) from None
            sys.stderr.write(f"eyewall train: {loss}; starting again from the last checkpoint\n")
            sys.stderr.flush()
        else:
            return


def _run_cluster(job: TrainJob) -> None:
    """One life of a cluster. Raises _ReplicaLost when a new one may do better."""
    cluster = local_cluster(job)
    with tempfile.TemporaryDirectory(prefix="eyewall-train-") as folder, _ending_on_sigterm():
        processes: list[_Process] = []
        try:
            for replica in cluster.replicas():  # the chief first
                processes.append(_start(job, cluster, replica, Path(folder)))  # noqa: PERF401 - each at once: see finally
            _supervise(job, processes)
        finally:
            _end(processes)


def replica_command(job: TrainJob) -> list[str]:
    """What every replica runs: this very step; TF_CONFIG tells them apart. The receipt is this process's to write."""
    return [sys.executable, "-m", "eyewall.cli", *job.model_copy(update={"receipt": None}).to_args()]


def _start(job: TrainJob, cluster: Cluster, replica: Replica, folder: Path) -> _Process:
    heartbeat = folder / f"{replica}.beat"
    # The chief of an asynchronous training hardly computes, nor do parameter servers.
    computing = job.workers
    environ = os.environ | {
        **cluster.environment(replica, job.strategy),
        FILE_VARIABLE: str(heartbeat),
        LAUNCHER_VARIABLE: str(os.getpid()),
        THREADS_VARIABLE: str(max(usable_cores() // computing, 1)),
        "OMP_NUM_THREADS": str(max(usable_cores() // computing, 1)),
        "GRPC_VERBOSITY": "NONE",
    }
    environ.pop("EYEWALL_STORE", None)  # the job names its store; a default in the environment must not replace it
    process = subprocess.Popen(
        replica_command(job),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    started = _Process(replica, process, Pulse(heartbeat, time.monotonic()))
    started.follow()
    return started


def _supervise(job: TrainJob, processes: list[_Process]) -> None:
    """Wait until the chief has ended well; the others then get a moment to do so too."""
    chief = processes[0]
    while chief.process.poll() is None or chief.process.returncode:
        if any(p.process.poll() for p in processes):
            _judge(processes)
        _check_pulses([p for p in processes if p.process.poll() is None], job.heartbeat_timeout_s)
        time.sleep(_POLL_S)
    deadline = time.monotonic() + _GRACE_S
    # Workers and servers of an asynchronous cluster would wait for ever.
    while job.strategy != "parameter_server" and time.monotonic() < deadline:
        if all(p.process.poll() is not None for p in processes):
            return
        time.sleep(_POLL_S)


def _check_pulses(running: list[_Process], timeout_s: float) -> None:
    """Raise _ReplicaLost for a replica that no longer beats, or when none of them gets any further."""
    now = time.monotonic()
    for process in running:
        process.pulse.look(now)
        if process.pulse.silent_s(now) > timeout_s:
            raise _ReplicaLost(f"{process.replica} has been silent for {timeout_s:g} s")
    if any(p.pulse.progress == FINISHED for p in running):
        return
    # All of them, because one that validates or saves keeps the others waiting.
    stalled = [s for p in running if (s := p.pulse.stalled_s(now)) is not None]
    started_s = now - max(p.pulse.started_at for p in running)
    if (min(stalled) > timeout_s) if stalled else (started_s > max(timeout_s, START_UP_S)):
        names = ", ".join(str(p.replica) for p in running)
        raise _ReplicaLost(f"none of {names} has got any further for {min(stalled, default=started_s):.0f} s")


def _judge(processes: list[_Process]) -> None:
    """Find the cause among the replicas that have ended. Raises it, or _ReplicaLost."""
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and any(p.process.poll() is None for p in processes):
        time.sleep(_POLL_S)
    failed = [p for p in processes if p.process.returncode]
    for process in failed:
        kind = _FINAL.get(process.process.returncode)
        if kind is not None:
            raise kind(process.last_words())
    # A replica that was killed is the cause; its peers fail because of it.
    first = min(failed, key=lambda p: p.process.returncode)
    code = first.process.returncode
    how = (
        f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code} ({first.last_words()[:300]})"
    )
    raise _ReplicaLost(f"{first.replica} {how}")


def _end(processes: list[_Process]) -> None:
    """End every replica that still runs. SIGKILL: a frozen one, or one that waits inside TensorFlow, heeds no other."""
    for process in processes:
        if process.process.poll() is None:
            process.process.kill()
    for process in processes:
        process.process.wait()
        if process.process.stderr is not None:
            if process.reader is not None:
                process.reader.join(timeout=1.0)
            process.process.stderr.close()


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends this process through its clean-up meanwhile, so that no replica stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TrainingError("stopped by SIGTERM: the same command goes on from the last checkpoint")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
