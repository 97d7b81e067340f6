"""One attempt, from wherever it stands to its end: made, started, watched, stopped, recorded. One thread each.

Any number of dispatchers may have begun the same before: every step is one that may be done again, and every write
says whose it is (the attempt's token), so that one who was frozen meanwhile changes nothing when it wakes up:

1. look: what is there of it on its worker? Nothing, though it had been started: it is lost.
2. create, but let nothing run; then ask the database whether it is ours still and mark it running; only then start.
3. watch: its output becomes the log and the reports; SIGTERM, a grace, SIGKILL where it is to stop or its time is up.
4. at its end: the log and what it left go to the store, then the end into the database, and only then is it removed.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from eyewall.contracts.errors import EXIT_TEMPORARY, EyewallError, InputError, StorageError
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.attempt_end import EndState, clear, verdict
from eyewall.jobs.claim import end
from eyewall.jobs.database import Closing, Database
from eyewall.jobs.output import Output
from eyewall.jobs.runner import Assignment, Runner, Seen, WorkerUnreachable
from eyewall.storage import Store

T = TypeVar("T")
#: How long a job has between SIGTERM and SIGKILL: enough for a last checkpoint, or the next report of a trial.
GRACE_S = 30.0
_RETRY_S = 2.0
#: Reports are passed on as they come, a little gathered; the log is looked at as often.
_GATHER_S, _TICK_S = 0.1, 1.0
_OUTPUT_RETRIES = 3
_STORE_PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0)


class NotOurs(Exception):
    """Another dispatcher has the attempt, or it has ended: whatever we were at is none of our business any more."""


class Supervision:
    """Sees one attempt to its end. `run` is its thread; the other methods are called from the dispatcher's."""

    def __init__(
        self,
        assignment: Assignment,
        runner: Runner,
        store: Store,
        database: Database,
        say: Callable[[str], None],
        freed: Callable[[], None],
        grace_s: float = GRACE_S,
    ) -> None:
        """``freed`` is called as soon as its GPUs can be given to the next; ``say`` takes lines for people."""
        self.assignment = assignment
        self._runner, self._store, self._database = runner, store, database
        self._tell, self._freed, self._grace_s = say, freed, grace_s
        self._output = Output(store, assignment)
        self._wake = threading.Event()
        self._let_go = threading.Event()
        self._stop = self._broke_off = ""
        self._retries_left = _OUTPUT_RETRIES
        self.ended = False

    # ---- from outside

    def ask_to_stop(self, how: str) -> None:
        """The job is to end as ``how``, cancelled or pruned."""
        self._stop = how
        self._wake.set()

    def let_go(self) -> None:
        """Another dispatcher has it, or will have: leave everything as it is."""
        self._let_go.set()
        self._wake.set()

    # ---- the thread

    def run(self) -> None:
        """See the attempt to its end, or to where it is no longer ours."""
        try:
            started_before_s = self._bring_to_run()
            if started_before_s is not None:
                self._watch(time.monotonic() - started_before_s)
        except NotOurs:
            if not self._database.closing.is_set():
                self._say("is in other hands, left to them")
        except Closing:
            pass

    def _say(self, text: str) -> None:
        self._tell(f"job {self.assignment.job} attempt {self.assignment.number}: {text}")

    def _run(self, action: Callable[[Connection], T]) -> T:
        return self._database.run(action)

    def _reach(self, action: Callable[[], T]) -> T:
        """Do something on the worker, as soon as it answers. Raises NotOurs where we are to let go before it does."""
        told = False
        while True:
            self._still_ours()
            try:
                return action()
            except WorkerUnreachable as error:
                if not told:
                    told = True
                    self._say(f"worker {self.assignment.worker.name} does not answer, nothing is concluded: {error}")
                self._worker_answers(False, str(error))
            self._let_go.wait(_RETRY_S)

    def _worker_answers(self, answers: bool, reason: str) -> None:
        values = {"name": self.assignment.worker.name, "answers": answers, "reason": reason}
        self._run(lambda c: c.execute(statement("jobs/answers"), values))

    def _still_ours(self) -> None:
        if self._let_go.is_set():
            raise NotOurs

    # ---- 1 and 2: to where it runs

    def _bring_to_run(self) -> float | None:
        """Start the attempt unless it was; seconds since its start, or None where it came to its end already."""
        seen = self._reach(lambda: self._runner.look(self.assignment))
        state, stop, started_before_s = self._standing()
        if seen.state == "absent" and state == "running":
            self._finish("lost", None, seen.reason or "nothing is left of it on its worker")
            return None
        if seen.state in ("absent", "created"):
            return self._start(seen, stop)
        self._begin()  # where who started it was killed before that could be written
        self._say(f"taken over on {self.assignment.worker.name}, {seen.state}")
        self._stop = self._stop or stop
        return started_before_s

    def _standing(self) -> tuple[str, str, float]:
        values = {"attempt": self.assignment.attempt, "token": self.assignment.token}
        row = self._run(lambda c: c.execute(statement("jobs/standing"), values).fetchone())
        if row is None:
            raise NotOurs
        return row[0], row[1], row[2]

    def _begin(self) -> str:
        """Mark it as running; what it was asked to stop as. Raises NotOurs."""
        values = {"attempt": self.assignment.attempt, "token": self.assignment.token}
        row = self._run(lambda c: c.execute(statement("jobs/begin_attempt"), values).fetchone())
        if row is None:
            raise NotOurs
        return str(row[0])

    def _start(self, seen: Seen, stop: str) -> float | None:
        if seen.state == "absent" and not stop:
            try:
                self._reach(lambda: self._runner.create(self.assignment))
            except EyewallError as error:  # what a retry may mend is tried again, what it cannot is the user's
                code = None if isinstance(error, InputError) else EXIT_TEMPORARY
                self._finish("failed", code, str(error), ran=False)
                return None
        stop = stop or self._begin_or_undo()
        if stop:
            self._reach(lambda: self._runner.stop(self.assignment, 0.0))  # nobody starts it any more
            self._finish("pruned" if stop == "pruned" else "cancelled", None, f"{stop} before it began", ran=False)
            return None
        gpus = ", ".join(gpu.uuid for gpu in self.assignment.gpus)
        self._say(f"starts on {self.assignment.worker.name} ({gpus}): {self.assignment.command[0]}")
        self._reach(lambda: self._runner.start(self.assignment))
        return 0.0

    def _begin_or_undo(self) -> str:
        """As `_begin`; where it has ended long since, what we have just made of it is removed again."""
        try:
            self._still_ours()
            return self._begin()
        except NotOurs:
            values = {"attempt": self.assignment.attempt}
            row = self._run(lambda c: c.execute(statement("jobs/has_ended"), values).fetchone())
            if row is not None and row[0]:
                self._runner.remove(self.assignment)
            raise

    # ---- 3: while it runs

    def _watch(self, started_at: float) -> None:
        """Watch until the end; ``started_at`` is by the monotonic clock, which cannot jump."""
        reader = self._read()
        stopped_as = ""
        while True:
            if reader.is_alive():
                self._wake.wait(_TICK_S if self.assignment.max_s is None else min(_TICK_S, self.assignment.max_s))
                self._wake.clear()
            self._still_ours()
            self._pass_on()
            over_time = self.assignment.max_s is not None and time.monotonic() - started_at > self.assignment.max_s
            if not stopped_as and (self._stop or over_time):
                self._standing()
                stopped_as = self._stop or "failed"
                self._say("asked to end: " + (self._stop or f"its {self.assignment.max_s} s are over"))
                self._reach(lambda: self._runner.stop(self.assignment, self._grace_s))
            if reader.is_alive():
                continue
            seen = self._reach(lambda: self._runner.look(self.assignment))
            if seen.state == "ended" and not (self._broke_off and self._output_retries_left()):
                self._record(seen, stopped_as)
                return
            if seen.state == "absent":
                self._finish("lost", None, seen.reason or "nothing is left of it on its worker")
                return
            if seen.state == "created":
                self._reach(lambda: self._runner.start(self.assignment))
            self._let_go.wait(_RETRY_S)  # the worker was away, or the stream of its output broke
            self._output.restart()
            reader = self._read()

    def _output_retries_left(self) -> bool:
        """Whether to read the output of what has ended once more; where that never works, the log says so."""
        self._retries_left -= 1
        if self._retries_left < 0:
            self._output.take(f"[eyewall: the rest of the output could not be read: {self._broke_off}]")
        return self._retries_left >= 0

    def _read(self) -> threading.Thread:
        reader = threading.Thread(target=self._take_lines, name=f"read {self.assignment.name}", daemon=True)
        reader.start()
        return reader

    def _take_lines(self) -> None:
        self._broke_off = ""
        try:
            for line in self._runner.lines(self.assignment):
                if self._output.take(line):
                    self._wake.set()
                if self._let_go.is_set():
                    return
        except Exception as error:  # also WorkerUnreachable; another look tells what to do
            self._broke_off = f"{type(error).__name__}: {error}"
            self._say(f"its output broke off: {self._broke_off}")
        finally:
            self._wake.set()

    def _pass_on(self) -> None:
        """Reports to the database, the log to the store; a store that is away now may be back at the end."""
        if reports := self._output.new_reports():
            values = {
                "attempt": self.assignment.attempt,
                "token": self.assignment.token,
                "metrics": [each.metric for each in reports],
                "steps": [each.step for each in reports],
                "values": [each.value for each in reports],
            }
            self._run(lambda c: c.execute(statement("jobs/upsert_reports"), values))
            self._let_go.wait(_GATHER_S)
        if self._output.is_due():
            self._standing()  # one that was frozen must not put its old log over the whole one
            try:
                self._output.write()
            except StorageError as error:
                self._say(f"its log waits: {error}")

    # ---- 4: its end

    def _record(self, seen: Seen, stopped_as: str) -> None:
        _, stop, _ = self._standing()
        self._finish(*verdict(seen, stop or stopped_as, self.assignment.max_s, self._output.last_line()))

    def _finish(self, state: EndState, exit_code: int | None, reason: str, ran: bool = True) -> None:
        """Record the end; ``ran``: there may be output to keep."""
        self._still_ours()
        self._standing()  # one that was frozen must not put its old log over the whole one
        failure = ""
        if ran:
            self._pass_on()
            failure = self._keep()
        if failure:
            reason = f"{reason}; {failure}" if reason else failure
            state = "failed" if state == "succeeded" else state
        token, attempt = self.assignment.token, self.assignment.attempt
        if not self._run(lambda c: end(c, attempt, token, state, exit_code, reason)):
            raise NotOurs
        self.ended = True
        self._freed()
        self._say(f"{state}{f': {reason}' if reason else ''}")
        clear(self._runner, self.assignment, self._database, left=bool(failure))

    def _keep(self) -> str:
        """Log and output to the store; an empty text, or the sentence that says what could not be kept."""
        for pause_s in (*_STORE_PAUSES_S, None):
            try:
                self._output.write()
                self._reach(lambda: self._runner.keep(self.assignment))
                return ""
            except EyewallError as error:
                if pause_s is None:
                    return f"its output could not be kept, and stays on {self.assignment.worker.name}: {error}"
                self._say(f"its output could not be kept, once more: {error}")
            self._let_go.wait(pause_s)
            self._still_ours()
        raise AssertionError("unreachable")
