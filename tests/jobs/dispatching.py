"""An installation of the job platform for tests: a database, a store, and dispatchers that are real processes.

Leases last 2 s and heartbeats come every 0.3 s, so that a takeover from a frozen dispatcher takes no longer.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from eyewall.contracts.queueing import QueueSettings
from eyewall.contracts.submission import Submission
from eyewall.jobs import queue
from eyewall.jobs.installation import add_local_environment
from eyewall.jobs.policy import set_policy
from eyewall.jobs.process.machine import as_registered
from eyewall.jobs.process.runner import ProcessRunner
from eyewall.jobs.runner import Worker
from eyewall.jobs.workers import record_gpus, upsert_worker
from eyewall.storage import Store

POLICY = QueueSettings(lease_s=2.0, heartbeat_s=0.3, retry_s=0.0)
LONG_S = 40.0


def wait_until(what: Callable[[], Any], deadline_s: float = LONG_S) -> Any:
    """The first true value of ``what``; fails after the deadline, which says nothing about how fast it should be."""
    deadline = time.monotonic() + deadline_s
    while not (value := what()):
        assert time.monotonic() < deadline, f"not so after {deadline_s} s"
        time.sleep(0.03)
    return value


class Place:
    """One installation."""

    def __init__(self, url: str, folder: Path, devices: int) -> None:
        self.url, self.folder = url, folder
        self.store = Store(str(folder / "store"))
        self.scratch = folder / "scratch"
        options = {"devices": devices, "folder": str(self.scratch)}
        self.worker = as_registered(Worker("local", "process", "", options))
        with psycopg.connect(url, autocommit=True) as connection:
            set_policy(connection, POLICY, "test")
            add_local_environment(connection)
            upsert_worker(connection, self.worker)
            record_gpus(connection, "local", ProcessRunner(self.worker, self.store).probe())

    def submit(self, *command: str, **values: Any) -> int:
        """A job of this test."""
        submission = Submission.parse({"environment": "local", "owner": "tester", "command": list(command)} | values)
        with psycopg.connect(self.url, autocommit=True) as connection:
            return queue.submit(connection, submission)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def state(self, job: int) -> str:
        """State of a job."""
        return str(self.rows("SELECT state FROM job WHERE id = %s", job)[0][0])

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM job GROUP BY 1"))

    def wait_for(self, job: int, *states: str) -> str:
        """Wait until a job is in one of the states; which."""
        return str(wait_until(lambda: (now := self.state(job)) in states and now))

    def attempts(self, job: int) -> list[tuple[Any, ...]]:
        """(state, token, exit code, reason) of each attempt of a job."""
        return self.rows("SELECT state, token, exit_code, reason FROM attempt WHERE job = %s ORDER BY number", job)

    def log(self, job: int, number: int = 1) -> str:
        """The log of an attempt."""
        return self.store.read_bytes(f"jobs/{job}/{number}/log.txt").decode()

    def nothing_left(self) -> bool:
        """Whether no lease lives, nothing of an ended attempt is left, and no folder of one."""
        live = self.rows("SELECT count(*) FROM lease WHERE released_at IS NULL")[0][0]
        held = self.rows("SELECT count(*) FROM gpu WHERE held_by IS NOT NULL")[0][0]
        uncleared = self.rows("SELECT count(*) FROM attempt WHERE cleared_at IS NULL")[0][0]
        return live == held == uncleared == 0 and not list(self.scratch.glob("*eyewall-job*"))

    @contextmanager
    def dispatcher(self, *args: str) -> Iterator["Process"]:
        """A dispatcher in a process of its own; killed at the end unless it has ended."""
        process = Process(self, *args)
        try:
            yield process
        finally:
            process.kill()


class Process:
    """A dispatcher's process."""

    def __init__(self, place: Place, *args: str) -> None:
        self._place = place
        self.said = place.folder / f"dispatcher-{time.monotonic_ns()}.log"
        with self.said.open("wb") as stream:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("dispatcher_process.py")),
                    place.url,
                    str(place.folder),
                    *args,
                ],
                env={
                    **os.environ,
                    "EYEWALL_DATABASE_URL": "a secret of the dispatcher",
                    "AWS_SECRET_ACCESS_KEY": "too",
                },
                stdout=stream,
                stderr=stream,
            )
        wait_until(lambda: "at work" in self.text() or self._process.poll() is not None)
        assert self._process.poll() is None, self.text()

    def text(self) -> str:
        """What it has said."""
        return self.said.read_text()

    def halted(self) -> bool:
        """Whether it has come to where it was told to halt."""
        return (self._place.folder / "halted").exists()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float = LONG_S) -> int:
        """Its exit code."""
        return self._process.wait(timeout_s)
