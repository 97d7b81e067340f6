"""The process backend: a job as a process of this machine, looked after by a shim that outlives the dispatcher.

Each attempt has a folder, ``<var>/jobs/<its name>``, which is its only trace: every method goes by what is in it and
by who holds its lock (`eyewall.jobs.process.shim`), so that any dispatcher of this machine goes on with what another
began.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.layout import attempt_dir
from eyewall.jobs.code_files import code_files, plain_path
from eyewall.jobs.inside import demand_inside
from eyewall.jobs.kept import LEFT_OUT
from eyewall.jobs.log_reader import LogReader
from eyewall.jobs.process import shim
from eyewall.jobs.process.machine import devices_of, is_in_reach, scratch_folder
from eyewall.jobs.process.shim_watch import ShimWatch, kill_marked
from eyewall.jobs.runner import Assignment, Found, Seen, Worker, WorkerUnreachable
from eyewall.jobs.variables import told
from eyewall.storage import Store

#: What a job sees of the dispatcher's environment: no secrets, no database, no credentials of the store.
PASSED_ON = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
#: The environment that is the dispatcher's own interpreter.
LOCAL_ENVIRONMENT = "local"
_POLL_S = 0.1
#: How long a shim may take, beside the grace, to end what it started, s.
_SHIM_S = 15.0


class ProcessRunner:
    """Runs jobs as processes of this machine."""

    probe_s = 0.0  # NVML is asked here, which costs nothing

    def __init__(self, worker: Worker, store: Store) -> None:
        """``worker``: its options ``folder``, ``devices``, ``generation`` and ``memory_mb`` count."""
        self._worker, self._store = worker, store
        self._scratch = scratch_folder(worker)

    def _folder(self, assignment: Assignment) -> Path:
        if not is_in_reach(self._worker):
            host = self._worker.url.partition("#")[0]
            raise WorkerUnreachable(f"its jobs are processes of {host}, and their folders are not on this machine")
        return self._scratch / f"{assignment.name}-{assignment.mark[:8]}"

    # ---- what there is

    def look(self, assignment: Assignment) -> Seen:
        """The state of the attempt; where its shim was killed, what is left of the attempt is killed first."""
        folder = self._folder(assignment)
        if not (folder / "spec.json").exists():
            return Seen("absent")
        if seen := _end_of(folder):
            return seen
        if not (folder / "begun.json").exists():
            return Seen("created")
        lock = shim.take_lock(str(folder), wait_s=0.0)
        if lock is None:
            return Seen("running")
        try:
            if seen := _end_of(folder):  # between the first look and the lock
                return seen
            kill_marked(folder)
            shim.write_json(
                str(folder / "end.json"), {"exit_code": None, "reason": "the process that watched over it was killed"}
            )
        finally:
            os.close(lock)
        return _end_of(folder) or Seen("ended")

    # ---- making and starting

    def create(self, assignment: Assignment) -> None:
        """Make the attempt's folder with code, data and what to run; nothing runs yet.

        Raises InputError where the code, the data or the environment is not there, EyewallError on a full disk.
        """
        folder = self._folder(assignment)
        if folder.exists():
            return
        beside = self._scratch / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            beside.mkdir(parents=True, mode=0o700)
            for name in ("code", "data", "out", "output"):
                (beside / name).mkdir()
            if assignment.code:
                self._bring_code(assignment.code, beside / "code")
            data = [self._add_data(beside, folder, number, url) for number, url in enumerate(assignment.data)]
            spec = {
                "command": list(assignment.command),
                "cwd": str(folder / "code"),
                "environ": _environ(assignment, folder, data),
            }
            shim.write_json(str(beside / "spec.json"), spec)
            with contextlib.suppress(FileExistsError, OSError):
                beside.rename(folder)  # refused where another dispatcher was faster: its folder is as good
        except OSError as error:
            raise EyewallError(f"cannot make {beside}: {error.strerror}; free some space there") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _bring_code(self, url: str, into: Path) -> None:
        """A copy of the code: what a job writes beside it is its own."""
        for file in code_files(self._store, url):
            target = into / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                shutil.copyfileobj(file.content, stream)
            target.chmod(0o755 if file.executable else 0o644)

    def _add_data(self, beside: Path, folder: Path, number: int, url: str) -> str:
        """Where the job finds one of its data: a link to the store where that is a folder, its URL otherwise."""
        if "://" in url:
            return url
        if not self._store.is_local:
            return self._store.uri(url)
        demand_inside(self._store, url, "data")
        source = self._store.local(url).absolute()
        place = f"data/{number}-{source.name}"
        (beside / place).symlink_to(source)
        return str(folder / place)

    def start(self, assignment: Assignment) -> None:
        """Let the shim run the command; harmless where it has begun, or was stopped before it could."""
        folder = self._folder(assignment)
        if not (folder / "spec.json").exists() or (folder / "begun.json").exists():
            return
        with (folder / "shim.log").open("ab") as log:
            subprocess.run(  # ends at once: the shim forks
                [sys.executable, "-I", "-S", shim.__file__, str(folder)],
                env={"PATH": os.defpath},  # nothing of the dispatcher's: a job may look into /proc
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
            )

    # ---- watching, stopping

    def lines(self, assignment: Assignment) -> Iterator[str]:
        """Lines of the output as they come, until the attempt has ended; also those of an attempt that has."""
        folder = self._folder(assignment)
        reader = LogReader(folder / "output")
        with ShimWatch(folder) as watch:
            ended = watch.ended()
            while not ended:
                yield from reader.new_lines()
                ended = watch.wait(_POLL_S)
            yield from reader.new_lines()
            yield from reader.rest()

    def stop(self, assignment: Assignment, grace_s: float) -> None:
        """SIGTERM to the job's session, SIGKILL after ``grace_s``; what has not begun never will."""
        folder = self._folder(assignment)
        if not (folder / "spec.json").exists() or _end_of(folder):
            return
        with contextlib.suppress(OSError):  # a full disk: the shim has a grace of its own
            shim.write_json(str(folder / "stop.json"), {"grace_s": grace_s})
        while not _end_of(folder):
            lock = shim.take_lock(str(folder), wait_s=0.1)
            if lock is None:
                self._stop_shim(folder, grace_s)
                continue
            try:
                if not (folder / "begun.json").exists():
                    end = {"exit_code": 128 + signal.SIGTERM, "reason": "stopped before it began"}
                    shim.write_json(str(folder / "end.json"), end)
            finally:
                os.close(lock)
            self.look(assignment)  # ends what has begun and has lost its shim

    def _stop_shim(self, folder: Path, grace_s: float) -> None:
        """Ask a living shim to end its job; kill it where it does not."""
        with ShimWatch(folder) as watch:
            watch.signal(signal.SIGTERM)
            deadline = time.monotonic() + grace_s + _SHIM_S
            while not watch.ended():
                if time.monotonic() > deadline and not watch.signal(signal.SIGKILL):
                    raise WorkerUnreachable(f"what watches over {folder.name} does not end, and is not ours to signal")
                watch.wait(_POLL_S)

    # ---- afterwards

    def keep(self, assignment: Assignment) -> None:
        """Copy what is in the output folder to the store; what is no plain file is named in LEFT-OUT.txt instead.

        Raises StorageError where the store cannot be reached or is full.
        """
        out = self._folder(assignment) / "out"
        kept = f"{attempt_dir(assignment.job, assignment.number)}/out"
        left_out = []
        for path in _entries(out):
            name = path.relative_to(out).as_posix()
            if path.is_symlink() or not path.is_file():  # a link may lead anywhere
                left_out.append(f"{name!r}: a link or a device, not a file")
            elif plain_path(name) is None:
                left_out.append(f"{name!r}: no plain name")
            else:
                self._store.put_file(path, f"{kept}/{name}")
        if left_out:
            self._store.write_bytes(f"{kept}/{LEFT_OUT}", "".join(f"{note}\n" for note in left_out).encode())

    def remove(self, assignment: Assignment) -> None:
        """Remove the attempt's folder, and what dispatchers that were killed left of making it."""
        folder = self._folder(assignment)
        for left in (folder, *self._scratch.glob(f".{folder.name}.*.tmp")):
            shutil.rmtree(left, onerror=_open_and_remove)

    # ---- the machine itself

    def probe(self) -> list[Found]:
        """The machine's GPUs by NVML; where it has none, or the worker declares some, the declared devices."""
        return devices_of(self._worker)

    def answers(self) -> None:
        """Nothing: this machine does."""


def _end_of(folder: Path) -> Seen | None:
    """The end as the shim wrote it; None where there is none yet."""
    try:
        end = json.loads((folder / "end.json").read_text())
    except FileNotFoundError:
        return None
    return Seen("ended", end["exit_code"], end["reason"])


def _environ(assignment: Assignment, folder: Path, data: list[str]) -> dict[str, str]:
    """The job's whole environment."""
    prefix = sys.prefix if assignment.environment == LOCAL_ENVIRONMENT else assignment.folder
    if not prefix or not Path(prefix).is_dir():
        raise InputError(
            f"environment {assignment.environment!r} has no folder on this machine, as processes need: {prefix!r};"
            " choose another, or a worker that runs containers"
        )
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **passed,
        "PATH": f"{prefix}/bin:{os.environ.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": prefix,
        "PYTHONUNBUFFERED": "1",  # a line that waits in a buffer is no news
        **assignment.variables,
        **told(assignment, str(folder / "code"), data, str(folder / "out")),
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in assignment.gpus if not gpu.declared),
    }


def _entries(top: Path) -> Iterator[Path]:
    """Everything below a folder but folders, in order; a job may have taken our right to read from some."""
    for root, folders, names in os.walk(top):
        folders.sort()
        for name in folders:
            if (path := Path(root, name)).is_symlink():
                yield path  # os.walk does not follow it
            else:
                path.chmod(0o700)
        for name in sorted(names):
            if (path := Path(root, name)).is_file() and not path.is_symlink() and not os.access(path, os.R_OK):
                path.chmod(0o600)
            yield path


def _open_and_remove(function: Any, path: str, _error: Any) -> None:
    """For `shutil.rmtree`: once more, after giving us the rights that a job took away; gone is fine."""
    with contextlib.suppress(OSError):
        Path(path).parent.chmod(0o700)
        Path(path).chmod(0o700)
        function(path)
