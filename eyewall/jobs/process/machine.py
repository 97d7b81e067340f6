"""The machine that a process worker is: the folder of its attempts, which marks it, and its GPUs."""

import contextlib
import os
import socket
import uuid
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from eyewall.contracts.errors import InputError
from eyewall.jobs.runner import Found, Worker
from eyewall.platform.places import Places


def scratch_folder(worker: Worker) -> Path:
    """Where attempts of ``worker`` have their folders: its option ``folder``, else jobs/ of the installation."""
    if named := worker.options.get("folder"):
        return Path(named).absolute()
    try:
        return Places.find().var / "jobs"
    except InputError:  # installed as a wheel, and not in a project's folder
        return Path(os.environ.get("EYEWALL_VAR") or "var").absolute() / "jobs"


def as_registered(worker: Worker) -> Worker:
    """A worker as the database is to have it: one of kind process is this machine, with a folder that it knows.

    Its address is the host's name, for people, and the mark of that folder, for dispatchers. Whoever has the folder
    can see its jobs: also a container that was made anew, under another name.
    """
    if worker.kind != "process":
        return worker
    scratch = scratch_folder(worker)
    address = f"{socket.gethostname()}#{_mark_of(scratch, make=True)}"
    return replace(worker, url=address, options={**worker.options, "folder": str(scratch)})


def is_in_reach(worker: Worker) -> bool:
    """Whether this process can see the worker's jobs: always, unless it is a process worker of another machine."""
    mark = worker.url.partition("#")[2]
    return worker.kind != "process" or not mark or mark == _mark_of(scratch_folder(worker))


def _mark_of(scratch: Path, make: bool = False) -> str:
    path = scratch / ".place"
    if make and not path.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        beside = scratch / f".place.{uuid.uuid4().hex[:8]}.tmp"
        beside.write_text(uuid.uuid4().hex[:12])
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)  # as a rename, but the first one wins
        beside.unlink()
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def devices_of(worker: Worker) -> list[Found]:
    """The machine's GPUs by NVML; where it has none, or the worker declares some, the declared devices."""
    declared = worker.options.get("devices")
    if declared is None and (gpus := _gpus()) is not None:
        return gpus
    return [
        Found(
            number=number,
            uuid=f"{worker.name}-{number}",
            model="declared",
            generation=str(worker.options.get("generation", "any")),
            memory_mb=int(worker.options.get("memory_mb", 0)),
            state="ok",
            reason="",
            declared=True,
        )
        for number in range(int(1 if declared is None else declared))
    ]


def _gpus() -> list[Found] | None:
    """The GPUs of this machine; None where there is no NVML or it finds none."""
    try:
        pynvml = import_module("pynvml")  # optional, and without types
    except ImportError:
        return None
    from eyewall.jobs.nvml import read_gpus

    return read_gpus(pynvml) or None
