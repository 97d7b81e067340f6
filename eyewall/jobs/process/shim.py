"""Runs one job's command, and outlives whoever asked for it: ``python -I -S shim.py FOLDER``; standard library only.

The folder is one attempt's place on its machine:

    spec.json     what to run: command, working directory, whole environment; written before, never changed
    lock          held (flock) while a shim lives: who can take it knows that none does
    begun.json    written before the command starts: what has begun once is never begun again
    stop.json     {"grace_s": …}: the command is to be stopped. The shim looks for it; a SIGTERM makes it look at once
    end.json      {"exit_code": …, "reason": …}, written last, in one rename
    output/       made before; the command's output in segments named by the offset of their first byte; of a flood the
                  first and the last few are kept. reports.log: every line of a report in it, with its offset

The command runs in a session of its own. At its end everything that it started is killed, also what has left its
session: the shim is the subreaper of its descendants (prctl(2); Linux alone has it). Where the shim itself is killed,
the kernel kills the command (PR_SET_PDEATHSIG), and `ProcessRunner.look` what that one had started.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

SEGMENT_BYTES = 1 << 20
#: Segments kept beside the first: a job that prints without end costs 8 MiB of disk.
TAIL_SEGMENTS = 7
REPORT = b"eyewall-report "
#: Of reports found in a flood, for those who read slower than it comes.
REPORT_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_DEFAULT_GRACE_S = 15.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write a small file whole or not at all, flushed to disk."""
    beside = f"{path}.{os.getpid()}.tmp"
    with open(beside, "w") as stream:  # noqa: PTH123 - pathlib is a third of this program's start
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)  # noqa: PTH105


def take_lock(folder: str, wait_s: float = 2.0) -> int | None:
    """Descriptor of the folder's lock, exclusively ours until it is closed; None where a shim lives in the folder.

    It is tried for ``wait_s``: another process that only asks whether a shim lives holds it for a moment.
    """
    descriptor = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.01)


class Output:
    """The command's output on disk, bounded whatever it prints; a full disk costs output, never the job."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._offset = 0
        self._stream: Any = None
        self._room = 0
        self._starts: list[int] = []
        self._carry = b""
        self._report_room = REPORT_BYTES

    def take(self, data: bytes) -> None:
        """Append what was printed."""
        self._note_reports(data)
        while data:
            if self._room == 0:
                self._next_segment()
            piece = data[: self._room]
            with contextlib.suppress(OSError):
                if self._stream is not None:
                    self._stream.write(piece)
            self._offset += len(piece)
            self._room -= len(piece)
            data = data[len(piece) :]

    def _next_segment(self) -> None:
        with contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.close()
        self._stream, self._room = None, SEGMENT_BYTES
        with contextlib.suppress(OSError):
            self._stream = open(f"{self._folder}/{self._offset:016d}.log", "wb", buffering=0)  # noqa: SIM115, PTH123
        self._starts.append(self._offset)
        if len(self._starts) > TAIL_SEGMENTS + 1:
            with contextlib.suppress(OSError):
                os.unlink(f"{self._folder}/{self._starts.pop(1):016d}.log")  # noqa: PTH108

    def _note_reports(self, data: bytes) -> None:
        """Keep the lines of reports in a file of their own: a search needs them, also out of a flood."""
        start = self._offset - len(self._carry)
        data = self._carry + data
        whole = data.rfind(b"\n") + 1
        self._carry = data[max(whole, len(data) - _CHUNK_BYTES) :]
        found = data.find(REPORT, 0, whole)
        while found >= 0:
            end = data.index(b"\n", found)
            line = b"%d %s\n" % (start + found, data[found:end])
            at_line_start = found == 0 or data[found - 1 : found] == b"\n"
            if at_line_start and len(line) <= 4096 and len(line) <= self._report_room:
                self._report_room -= len(line)
                with contextlib.suppress(OSError), open(f"{self._folder}/reports.log", "ab") as stream:  # noqa: PTH123
                    stream.write(line)
            found = data.find(REPORT, end, whole)


class Shim:
    """One run of one command."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._stopping = self._from_outside = False
        self._kill_at: float | None = None
        self._child = 0
        self._status: int | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def run(self) -> None:
        """Start the command and see it to its end; ``end.json`` is there afterwards."""
        with open(f"{self._folder}/spec.json") as stream:  # noqa: PTH123
            spec = json.load(stream)
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the selector
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._libc is not None:
            self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        read_end, write_end = os.pipe()
        try:
            self._spawn(spec, write_end)
        except OSError as error:
            code = 126 if isinstance(error, PermissionError) else 127
            self._end(code, f"cannot start {spec['command'][0]!r}: {error.strerror}; check the command and its code")
            return
        finally:
            os.close(write_end)
        self._watch(read_end, wake_r)
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        if self._from_outside:
            self._end(None, "ended from outside, as when its machine goes down")
        elif code >= 0:
            self._end(code, "")
        else:
            why = ", by somebody or as memory ran out" if code == -signal.SIGKILL and not self._stopping else ""
            self._end(128 - code, f"killed by {signal.Signals(-code).name}{why}")

    def _spawn(self, spec: dict[str, Any], output: int) -> None:
        """Start the command in a session of its own, to be killed by the kernel should this process be."""
        us, libc = os.getpid(), self._libc

        def before_exec() -> None:
            if libc is not None:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != us:  # killed before that took effect
                    os._exit(1)

        process = subprocess.Popen(
            spec["command"],
            cwd=spec["cwd"],
            env=spec["environ"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=before_exec,  # safe: this program has one thread
        )
        process.returncode = 0  # reaped below, with whatever else becomes our child
        self._child = process.pid

    def _watch(self, read_end: int, wake: int) -> None:
        """Take the output and wait for the end; kill what is left then, and take what that had still printed."""
        output = Output(f"{self._folder}/output")
        selector = selectors.DefaultSelector()
        selector.register(read_end, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        drain_until: float | None = None
        while drain_until is None or (read_end in selector.get_map() and time.monotonic() < drain_until):
            for key, _ in selector.select(0.1 if self._stopping or drain_until else 1.0):
                data = os.read(key.fd, _CHUNK_BYTES)
                if key.fd == read_end and data:
                    output.take(data)
                elif key.fd == read_end:
                    selector.unregister(read_end)
            self._press()
            self._reap()
            if self._status is not None and drain_until is None:
                self._kill_descendants()
                drain_until = time.monotonic() + 2.0

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._from_outside = not self._is_wanted()
        self._stopping = True

    def _is_wanted(self) -> bool:
        return os.path.exists(f"{self._folder}/stop.json")  # noqa: PTH110

    def _press(self) -> None:
        """Once asked to stop: SIGTERM to the command's session, SIGKILL after the grace."""
        if self._status is not None or not (self._stopping or self._is_wanted()):
            return
        self._stopping = True
        if self._kill_at is None:
            grace_s = _DEFAULT_GRACE_S
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(f"{self._folder}/stop.json") as f:  # noqa: PTH123
                grace_s = float(json.load(f)["grace_s"])
            self._kill_at = time.monotonic() + grace_s
            self._signal_group(signal.SIGTERM)
        elif time.monotonic() >= self._kill_at:
            self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._child, number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child:
                    self._status = status

    def _kill_descendants(self) -> None:
        """Kill the command's group, and those that left it and became our children when their parent ended."""
        self._signal_group(signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            for pid in children_of(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
            except ChildProcessError:
                return

    def _end(self, code: int | None, reason: str) -> None:
        for _ in range(60):
            try:
                write_json(f"{self._folder}/end.json", {"exit_code": code, "reason": reason})
                return
            except OSError:  # a full disk: an end that nobody can read is no end
                time.sleep(1.0)


def children_of(parent: int) -> list[int]:
    """Pids whose parent is ``parent``; none where there is no /proc."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stream:  # noqa: PTH123
                    # Field 4; the command in field 2 may hold spaces and brackets.
                    if int(stream.read().rpartition(")")[2].split()[1]) == parent:
                        found.append(int(name))
    return found


def main(folder: str) -> None:
    """Fork, so that nobody has to wait for us; the first process ends once the second has begun, or refused."""
    told_r, told_w = os.pipe()
    if os.fork():
        os.close(told_w)
        os.read(told_r, 1)
        return
    os.setsid()
    os.close(told_r)
    lock = take_lock(folder)
    if lock is None or any(os.path.exists(f"{folder}/{name}.json") for name in ("begun", "end")):  # noqa: PTH110
        return
    write_json(f"{folder}/begun.json", {"pid": os.getpid()})
    os.close(told_w)
    Shim(folder).run()


if __name__ == "__main__":
    main(sys.argv[1])
