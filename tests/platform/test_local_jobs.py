"""Jobs that are processes of this machine end with their installation, and with no other."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from eyewall.jobs.process import shim
from eyewall.platform.local_jobs import end_local_jobs
from eyewall.platform.places import Places

SLEEP = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(120)"]


@pytest.fixture
def start():
    """Starts a process as one of a job in a folder: its watcher, or what its program has started."""
    started = []

    def begin(folder: Path, watcher: bool) -> "subprocess.Popen[bytes]":
        words = [shim.__file__, str(folder)] if watcher else []
        environ = {"PATH": os.defpath} if watcher else {"EYEWALL_OUT": str(folder / "out")}
        process = subprocess.Popen([*SLEEP, *words], env=environ, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_watchers_and_all_that_their_jobs_started_are_killed_and_counted_by_job(start, tmp_path):
    mine, other = Places(tmp_path, tmp_path / "var"), tmp_path / "variant"
    ended = [start(mine.var / "jobs" / "eyewall-job-1-1", watcher) for watcher in (True, False, False)]
    spared = [start(other / "jobs" / "eyewall-job-1-1", watcher) for watcher in (True, False)]

    assert end_local_jobs(mine) == 1

    assert not any(psutil.pid_exists(process.pid) for process in ended)
    assert all(psutil.pid_exists(process.pid) for process in spared)


def test_where_no_job_runs_nothing_is_ended(tmp_path):
    assert end_local_jobs(Places(tmp_path, tmp_path / "var")) == 0
