"""Background processes that outlive the command that starts them, known by pid files and ended with all they started.

A pid file holds the pid and the birth of the process, so that a pid that was handed to another program after a crash
or a reboot is never taken for ours, and never killed.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from eyewall.contracts.errors import EyewallError, InputError

#: In the environment of every process of an installation: its var folder. What lost its parent is found by it.
MARKER = "EYEWALL_INSTALLATION"


@dataclass(frozen=True)
class Service:
    """One background process: its name, its command (a list, never a shell's) and its whole environment."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]


def birth_of(pid: int) -> float | None:
    """When process ``pid`` began, in a unit that the clock cannot move; None when there is no such process."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":  # field 22, ticks since boot; the command in field 2 may hold spaces
            return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return None


class Supervisor:
    """Starts, finds and ends the services of one installation."""

    def __init__(self, run: Path, log: Path, marker: str) -> None:
        """``run`` takes pid files, ``log`` one log per service; ``marker`` is the value of MARKER everywhere."""
        self.run, self.log, self.marker = run, log, marker

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Only one command changes an installation at a time. Raises InputError when another one is at it."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"another eyewall platform command is changing {self.run.parent}: wait for it to end"
                ) from None
            yield

    def _pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def _entry(self, name: str) -> tuple[int, float] | None:
        """(pid, birth) as the pid file has it; None when there is none, or a damaged one."""
        try:
            entry = json.loads(self._pid_file(name).read_text())
            return int(entry["pid"]), float(entry["birth"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def pid_of(self, name: str) -> int | None:
        """Pid of a running service; None when it does not run, whatever a stale pid file says."""
        entry = self._entry(name)
        if entry is None or birth_of(entry[0]) != entry[1]:
            return None
        with contextlib.suppress(psutil.Error):
            if psutil.Process(entry[0]).status() != psutil.STATUS_ZOMBIE:
                return entry[0]
        return None

    def start(self, service: Service, cwd: Path) -> int:
        """Start ``service`` unless it runs already, its output appended to its log; its pid."""
        running = self.pid_of(service.name)
        if running is not None:
            return running
        with (self.log / f"{service.name}.log").open("ab") as output:
            process = subprocess.Popen(
                service.command,
                cwd=cwd,
                env={**service.environ, MARKER: self.marker},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal must not reach it
            )
        birth = birth_of(process.pid)
        if birth is None:
            raise EyewallError(f"{service.name} ended at once: {self.tail(service.name)}")
        beside = self._pid_file(service.name).with_suffix(".tmp")
        beside.write_text(json.dumps({"pid": process.pid, "birth": birth}) + "\n")
        beside.replace(self._pid_file(service.name))
        return process.pid

    def tail(self, name: str, lines: int = 5) -> str:
        """The last lines of a service's log, and where the rest is."""
        path = self.log / f"{name}.log"
        try:
            last = path.read_text(errors="replace").splitlines()[-lines:]
        except OSError:
            last = []
        return " | ".join(line.strip() for line in last if line.strip())[-800:] + f" (all of it: {path})"

    def _members(self, name: str) -> dict[int, psutil.Process]:
        """A service, all that it started, and what is left of its session where it has died itself."""
        entry = self._entry(name)
        if entry is None or birth_of(entry[0]) not in (None, entry[1]):  # None: dead, its session may live on
            return {}
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(entry[0])
            found = {process.pid: process for process in (leader, *leader.children(recursive=True))}
        for process in psutil.process_iter():
            # Airflow's workers overwrite their environment with their title: only the session tells whose they are.
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == entry[0] and Path(process.exe()) == Path(sys.executable).resolve():
                    found[process.pid] = process
        return found

    def _orphans(self, names: Sequence[str]) -> dict[int, psutil.Process]:
        """Processes of this installation, by their environment, that belong to no running service but ``names``."""
        others = {path.stem for path in self.run.glob("*.pid")} - set(names)
        kept = {os.getpid(), *(pid for name in others for pid in self._members(name))}
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid not in kept and process.environ().get(MARKER) == self.marker:
                    found[process.pid] = process
        return found

    def stop(self, names: Sequence[str], grace_s: float = 15.0) -> int:
        """End the services and all that they ever started: SIGTERM, ``grace_s`` to comply, SIGKILL; the number of them.

        The services are asked first, so that they can end their own children in order; what is left is ended then,
        also where a service had died before.
        """

        def everything() -> dict[int, psutil.Process]:
            return {pid: process for name in names for pid, process in self._members(name).items()}

        leaders = [psutil.Process(pid) for name in names if (pid := self.pid_of(name)) is not None]
        before = everything()
        _signal(leaders, signal.SIGTERM)
        _, deaf = psutil.wait_procs(leaders, timeout=grace_s)
        found = before | everything() | self._orphans(names)
        rest = [process for process in found.values() if process.is_running()]
        _signal([process for process in rest if process not in deaf], signal.SIGTERM)
        _, alive = psutil.wait_procs(rest, timeout=2.0)
        _signal(alive, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5.0)
        for name in names:
            self._pid_file(name).unlink(missing_ok=True)
        return len(found)


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each; psutil checks that the pid has not been handed on meanwhile."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
