"""Looks at every worker now and then: whether it answers, and which of its GPUs can be offered."""

import threading
import time
from collections.abc import Callable, Iterable

from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.database import Closing, Database
from eyewall.jobs.runner import Found, Runner, Worker, WorkerUnreachable
from eyewall.jobs.workers import record_gpus

#: How often a worker is asked whether it answers, s, and, where that costs little, which GPUs can be offered. In
#: between, a GPU that has failed is found by the job that fails on it.
PROBE_S = 15.0


class Health:
    """One thread per look, so that a host that does not answer holds up nothing else."""

    def __init__(
        self,
        database: Database,
        runner_of: Callable[[Worker], Runner],
        say: Callable[[str], None],
        probe_s: float = PROBE_S,
    ) -> None:
        self._database, self._runner_of, self._say, self._probe_s = database, runner_of, say, probe_s
        self._looking: dict[str, threading.Thread] = {}
        self._due: dict[str, float] = {}
        self._probe_due: dict[str, float] = {}  # of its GPUs; not later than a host's return, for it may have others

    def look_at(self, workers: Iterable[Worker]) -> None:
        """Begin to look at those whose time has come."""
        for worker in workers:
            under_way = self._looking.get(worker.name)
            if time.monotonic() < self._due.get(worker.name, 0.0) or (under_way and under_way.is_alive()):
                continue
            self._due[worker.name] = time.monotonic() + self._probe_s
            thread = threading.Thread(target=self._look, args=(worker,), name=f"probe {worker.name}", daemon=True)
            self._looking[worker.name] = thread
            thread.start()

    def _look(self, worker: Worker) -> None:
        found: list[Found] | None = None
        reason = ""
        try:
            runner = self._runner_of(worker)
            if time.monotonic() < self._probe_due.get(worker.name, 0.0):
                runner.answers()
            else:
                found = runner.probe()
                self._probe_due[worker.name] = time.monotonic() + runner.probe_s
        except WorkerUnreachable as error:
            reason = str(error)
        except Exception as error:
            reason = f"it cannot be looked at: {type(error).__name__}: {error}"
        if reason:
            self._probe_due.pop(worker.name, None)
        try:
            self._database.run(lambda connection: self._record(connection, worker, found, reason))
        except Closing:
            pass
        except Exception as error:
            self._say(f"worker {worker.name}: what was found there is not recorded: {type(error).__name__}: {error}")

    def _record(self, connection: Connection, worker: Worker, found: list[Found] | None, reason: str) -> None:
        with connection.transaction():
            if found is not None:
                record_gpus(connection, worker.name, found)
            values = {"name": worker.name, "answers": not reason, "reason": reason}
            row = connection.execute(statement("jobs/answers"), values).fetchone()
        if row is not None and row[0] != row[1]:
            self._say(f"worker {worker.name} is {row[0]}{f': {reason}' if reason else ''}")
