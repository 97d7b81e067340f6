"""The dispatcher: gives free GPUs to waiting jobs, starts them, watches them, and takes over what others leave behind.

Any number may run, on one machine or many. One thread waits for news of the database, in the session that holds the
dispatcher's advisory lock; each attempt has a thread of its own (`eyewall.jobs.supervise`); each look at a worker too
(`eyewall.jobs.health`). The thread of `run` alone claims, so that decisions come one after the other:

1. register: a row in ``dispatcher``, its advisory lock, LISTEN
2. adopt what nobody looks after (`eyewall.jobs.takeover`), at the start and with every heartbeat
3. claim until nothing fits (`eyewall.jobs.claim`), whenever something changed: a job came, a GPU is free
4. heartbeat; what the database does not count among ours any more is let go
5. where a search has nobody to run it, start a process that does (`eyewall.jobs.searches`)

It keeps nothing that matters: when it ends, its jobs go on, and the next dispatcher goes on with them.
"""

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.claim import claim
from eyewall.jobs.database import Closing, Database
from eyewall.jobs.health import PROBE_S, Health
from eyewall.jobs.process.machine import is_in_reach
from eyewall.jobs.runner import Assignment, Runner, Worker
from eyewall.jobs.runners import runner_for
from eyewall.jobs.searches import Searches
from eyewall.jobs.supervise import GRACE_S, Supervision
from eyewall.jobs.takeover import Sweeper, adopt
from eyewall.storage import Store

#: How long what is at its end may take to get there when the dispatcher is told to end, s.
_LEAVE_S = 5.0


class Dispatcher:
    """One dispatcher, in this process."""

    def __init__(
        self,
        url: str,
        store: Store,
        workers: Sequence[str] | None = None,
        idle_s: float | None = None,
        say: Callable[[str], None] | None = None,
        make_runner: Callable[[Worker, Store], Runner] = runner_for,
        grace_s: float = GRACE_S,
        probe_s: float = PROBE_S,
    ) -> None:
        """``workers``: only these; None: all in reach. ``idle_s``: end once nothing waited or ran for so long."""
        self.id = 0
        self._store, self._names, self._idle_s, self._grace_s = store, workers, idle_s, grace_s
        self._say_to = say or say_on_stderr
        self._closing = threading.Event()
        self._database = Database(url, self._closing, self._say)
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._watched: dict[int, Supervision] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._workers: list[Worker] = []
        self._make_runner = make_runner
        self._health = Health(self._database, self._runner_of, self._say, probe_s)
        self._sweeper = Sweeper(self._database, self._runner_of, self._say)
        self._searches = Searches(self._database, url, self._say)

    def _say(self, text: str) -> None:
        self._say_to(f"dispatcher {self.id}: {text}" if self.id else text)

    def _runner_of(self, worker: Worker) -> Runner:
        return self._make_runner(worker, self._store)

    def stop(self) -> None:
        """Let `run` end; may be called from a signal's handler, or any thread. Jobs go on."""
        self._closing.set()
        self._inbox.put(("end", None))

    # ---- its life

    def run(self) -> None:
        """Dispatch until told to stop, or idle for long enough."""
        try:
            session = self._register()
            listener = threading.Thread(target=self._listen, args=(session,), name="listen", daemon=True)
            listener.start()
            self._say(f"at work, process {os.getpid()} on {socket.gethostname()}")
            self._loop()
        except Closing:
            pass
        finally:
            self._leave()

    def _register(self) -> Connection:
        values = {"host": socket.gethostname(), "pid": os.getpid()}

        def first(connection: Connection) -> int:
            row = connection.execute(statement("jobs/register_dispatcher"), values).fetchone()
            assert row is not None
            return int(row[0])

        self.id = self._database.run(first)
        self._database.application_name = f"eyewall dispatcher {self.id}"
        return self._database.run(lambda _: self._lock())

    def _lock(self) -> Connection:
        """A session of its own that holds our lock and hears what happens. Raises psycopg.OperationalError."""
        session = self._database.connect()
        try:
            row = session.execute(statement("jobs/lock_dispatcher"), {"dispatcher": self.id}).fetchone()
            if not (row and row[0]):  # the server has not noticed yet that our last session is gone
                session.execute(statement("jobs/end_sessions"), {"dispatchers": [self.id]})
                raise psycopg.OperationalError("an older session has this dispatcher's lock still")
            session.execute(statement("jobs/listen"))
        except BaseException:
            session.close()
            raise
        return session

    def _listen(self, session: Connection) -> None:
        """Pass on what the database tells; get a new session, with the lock, where this one breaks."""
        while not self._closing.is_set():
            try:
                for notice in session.notifies(timeout=1.0):
                    self._inbox.put((notice.channel, notice.payload))
            except (psycopg.Error, OSError):
                session.close()
                try:
                    session = self._database.run(lambda _: self._lock())
                except Closing:
                    break
                self._inbox.put(("eyewall_queue", ""))  # what was told meanwhile was not heard
        session.close()

    def _loop(self) -> None:
        beat_due = 0.0
        idle_since = time.monotonic()
        while not self._closing.is_set():
            try:
                if time.monotonic() >= beat_due:
                    beat_due = time.monotonic() + self._beat()
                    self._look_around()
                    self._searches.look()
                self._claim_all()
            except psycopg.Error as error:  # of a statement, not of the connection: the next heartbeat tries again
                self._say(f"the database refused: {' '.join(str(error).split())}")
            if self._threads or self._idle_s is None or self._searches.at_work or self._anything_left():
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= self._idle_s:
                self._say(f"nothing waited or ran for {self._idle_s:g} s, ending")
                return
            wait_s = max(0.0, beat_due - time.monotonic())
            self._hear(wait_s if self._idle_s is None else min(wait_s, self._idle_s))

    def _hear(self, wait_s: float) -> None:
        """Take all the news there is; wait for the first, so long at most."""
        try:
            what, about = self._inbox.get(timeout=wait_s)
            while True:
                if what == "eyewall_stop":
                    self._pass_on_stop(int(about))
                elif what == "eyewall_sweep":
                    self._searches.look()
                elif what == "done":
                    self._forget(about)
                what, about = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _forget(self, supervision: Supervision) -> None:
        attempt = supervision.assignment.attempt
        if self._watched.get(attempt) is supervision:  # it may have come back meanwhile, to another one
            del self._watched[attempt], self._threads[attempt]

    def _pass_on_stop(self, job: int) -> None:
        """A job is to stop: how is in the answer to a heartbeat."""
        if any(each.assignment.job == job for each in self._watched.values()):
            self._beat()

    def _leave(self) -> None:
        """Let go of what runs; what has ended is written down first, where that takes no longer than _LEAVE_S."""
        running = sum(not each.ended for each in self._watched.values())
        self._say(f"ending{f'; {running} jobs go on, for the next dispatcher' if running else ''}")
        for supervision in self._watched.values():
            supervision.let_go()
        self._searches.close()
        deadline = time.monotonic() + _LEAVE_S
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._closing.set()
        if self.id:
            try:  # once, for a server that is away must not hold up our end
                connection = self._database.connect()
                with connection:
                    connection.execute(statement("jobs/end_dispatcher"), {"dispatcher": self.id})
            except psycopg.Error:
                self._say("the database does not answer: it will see by our lock that we are gone")
        self._database.close()

    # ---- what it does

    def _beat(self) -> float:
        """Heartbeat; tell each attempt what its job was asked, or that it is not ours; seconds until the next."""
        values = {"dispatcher": self.id}

        def beat(connection: Connection) -> tuple[dict[int, tuple[int, str]], float]:
            rows = connection.execute(statement("jobs/heartbeat"), values).fetchall()
            interval = connection.execute(statement("jobs/beat")).fetchone()
            assert interval is not None
            return {int(row[0]): (int(row[1]), str(row[2])) for row in rows}, float(interval[0])

        ours, heartbeat_s = self._database.run(beat)
        for attempt, supervision in self._watched.items():
            token, stop = ours.get(attempt, (-1, ""))
            if token != supervision.assignment.token:
                if not supervision.ended:
                    supervision.let_go()
            elif stop:
                supervision.ask_to_stop(stop)
        return heartbeat_s

    def _look_around(self) -> None:
        """Workers, their GPUs, attempts that nobody looks after, and what is left of those that have ended."""
        values = {"names": None if self._names is None else list(self._names)}
        rows = self._database.run(lambda c: c.execute(statement("jobs/workers"), values).fetchall())
        every = [Worker(name, kind, url, options) for name, kind, url, options, _ in rows]
        self._workers = [worker for worker in every if is_in_reach(worker)]
        self._health.look_at(self._workers)
        names = [worker.name for worker in self._workers]
        for assignment, of in self._database.run(lambda c: adopt(c, self.id, self._watched, names)):
            self._say(f"job {assignment.job} attempt {assignment.number} is taken over from dispatcher {of}")
            self._supervise(assignment)
        self._sweeper.sweep(self.id, self._watched, names)

    def _claim_all(self) -> None:
        names = [worker.name for worker in self._workers]
        while names and not self._closing.is_set():
            assignment = self._database.run(lambda c: claim(c, self.id, names))
            if assignment is None:
                return
            self._supervise(assignment)

    def _supervise(self, assignment: Assignment) -> None:
        attempt = assignment.attempt
        if attempt in self._watched:  # ours of an older token: it was taken from us and has come back
            self._watched[attempt].let_go()
        supervision = Supervision(
            assignment,
            self._runner_of(assignment.worker),
            self._store,
            self._database,
            self._say,
            freed=lambda: self._inbox.put(("freed", None)),
            grace_s=self._grace_s,
        )
        thread = threading.Thread(target=self._see_to_its_end, args=(supervision,), name=assignment.name, daemon=True)
        self._watched[attempt], self._threads[attempt] = supervision, thread
        thread.start()

    def _see_to_its_end(self, supervision: Supervision) -> None:
        try:
            supervision.run()
        except Exception as error:  # unforeseen: said, and begun again at the next heartbeat, as what nobody watches
            job = supervision.assignment.job
            self._say(f"job {job}: watching it failed, to be tried again: {type(error).__name__}: {error}")
        finally:
            self._inbox.put(("done", supervision))

    def _anything_left(self) -> bool:
        row = self._database.run(lambda c: c.execute(statement("jobs/unfinished")).fetchone())
        return bool(row and row[0])


def say_on_stderr(text: str) -> None:
    """One line, in one call to the system: threads that print at once, or at the very end, do not get mixed up."""
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(2, f"{text}\n".encode(errors="replace"))
