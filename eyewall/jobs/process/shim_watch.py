"""A shim as another process sees it: whether it lives, its end, signals to it, and what it leaves when it is killed."""

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from eyewall.jobs.process import shim


class ShimWatch:
    """Waits for a shim's end without a delay where the system has pidfds, with one of a poll elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pidfd: int | None = None
        with contextlib.suppress(OSError, ValueError, KeyError):
            self._pid = int(json.loads((folder / "begun.json").read_text())["pid"])
            if sys.platform == "linux":
                self._pidfd = os.pidfd_open(self._pid)
            # Its pid may be another's by now, or be of another container's count.
            if not self._is_alive() or not _is_shim(self._pid, folder):
                self._close()

    def __enter__(self) -> "ShimWatch":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _is_alive(self) -> bool:
        try:
            lock = shim.take_lock(str(self._folder), wait_s=0.0)
        except FileNotFoundError:  # the folder was removed
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return (self._folder / "end.json").exists() or not self._is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait for the shim's end, at most so long; whether it has come."""
        if self._pidfd is None:
            time.sleep(seconds)
            return self.ended()
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the shim, and never to a process that got its pid; whether that could be done."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif sys.platform != "linux" and self._is_alive():
                os.kill(self._pid, number)
            else:
                return False
        return True


def _is_shim(pid: int, folder: Path) -> bool:
    """Whether ``pid`` is a shim of ``folder``, as far as its command line says; taken for granted without /proc."""
    with contextlib.suppress(OSError):
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return sys.platform != "linux"


def kill_marked(folder: Path) -> None:
    """Kill every process that has this attempt's EYEWALL_OUT in its environment, and wait until it has gone."""
    mark = f"EYEWALL_OUT={folder / 'out'}".encode()
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        left = [pid for pid in _pids() if mark in _environ_of(pid)]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _pids() -> list[int]:
    """Every process of this machine; none where there is no /proc."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208
    return []


def _environ_of(pid: int) -> list[bytes]:
    """The environment that a process began with; none of another user's, nor of one that has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []
