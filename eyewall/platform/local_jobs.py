"""Jobs of the queue that are processes of this machine: they outlive every dispatcher, but not their installation."""

import contextlib
import time

import psutil  # type: ignore[import-untyped]

from eyewall.jobs.process import shim
from eyewall.platform.places import Places

_PATIENCE_S = 10.0


def end_local_jobs(places: Places) -> int:
    """Kill the jobs that run below the installation's folder, with all that they started; how many there were.

    They are not asked to end: a job that ends with an exit code has failed, one that is killed with its watcher is
    lost, and goes back to its place in the queue. Call it when no dispatcher runs, as one would start them again.
    """
    folder = f"{places.var / 'jobs'}/"
    watchers = [process for process in psutil.process_iter() if _watches(process, folder)]
    _kill(watchers)  # the kernel kills their commands with them
    deadline = time.monotonic() + _PATIENCE_S
    while left := [process for process in psutil.process_iter() if _is_of_a_job(process, folder)]:
        _kill(left)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return len(watchers)


def _watches(process: psutil.Process, folder: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        words = process.cmdline()
        return shim.__file__ in words and words[-1].startswith(folder)
    return False


def _is_of_a_job(process: psutil.Process, folder: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return str(process.environ().get("EYEWALL_OUT", "")).startswith(folder)
    return False


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=2.0)
