"""The controller of a search: asks Optuna for trials, submits them as jobs, passes reports on, prunes, tells the ends.

It keeps nothing that is not in the database, so it may be killed at any point and run again, and any number of them
may run: one holds the search's advisory lock, the others wait for it. A trial passes through

    asked of Optuna  →  its job and its link in one transaction  →  reports  →  the job's end  →  told to Optuna

and every look at the database takes each trial one step on from wherever it is: a trial that was asked for and has no
job gets it (its key makes that safe to repeat), a job that ended and was not told is told. A new trial is asked for
only when fewer than ``parallel`` are on their way, so that the sampler knows as many ends as it can.

Between looks it waits for NOTIFY; a look every few seconds makes up for one that was missed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from eyewall.contracts.errors import InputError, StorageError
from eyewall.db.connect import Connection, migrate
from eyewall.db.statements import statement
from eyewall.jobs import queue
from eyewall.tuning import APPLICATION, sweeps
from eyewall.tuning.space import Space
from eyewall.tuning.sweeps import Sweep
from eyewall.tuning.template import text_of

LOOK_EVERY_S, PATIENCE_S = 5.0, 120.0
#: How long to let notifications gather before the next look: a burst of reports is one look, not a hundred.
_GATHER_S = 0.02
_LIVE = ("blocked", "queued", "running")
Say = Callable[[str], None]


def run(url: str, name: str, say: Say, *, look_every_s: float = LOOK_EVERY_S, patience_s: float = PATIENCE_S) -> Sweep:
    """Run the search ``name`` to its end; the search as it ended. A database that is away is waited for.

    Raises InputError for an unknown search, StorageError when the database stays away for ``patience_s``.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    away_since: float | None = None
    while True:
        try:
            with (
                _session(url) as connection,
                closing(Controller(connection, url, sweeps.find(connection, name), say, look_every_s)) as controller,
            ):
                while not controller.look():
                    away_since = None
                    controller.wait()
                return controller.sweep
        except (psycopg.OperationalError, psycopg.InterfaceError, StorageInternalError, SQLAlchemyError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            # From the first failure on: a slow look, cut at its end, is no sign of a database that is away.
            away_since = time.monotonic() if away_since is None else away_since
            if time.monotonic() - away_since > patience_s:
                raise StorageError(f"database: {reason}; check EYEWALL_DATABASE_URL") from None
            say(f"the database does not answer, trying again: {reason[:200]}")
            time.sleep(min(1.0, patience_s / 10))


@contextmanager
def _session(url: str) -> Iterator[Connection]:
    """A session that commits at once, hears of jobs, and names itself in the table event."""
    with psycopg.connect(url, connect_timeout=10, autocommit=True, application_name=APPLICATION) as connection:
        migrate(connection)
        connection.execute(statement("sweeps/act_as"), {"actor": "sweep"})
        connection.execute(statement("sweeps/listen"))
        yield connection


class Controller:
    """One session's work on one search."""

    def __init__(self, connection: Connection, url: str, sweep: Sweep, say: Say, look_every_s: float) -> None:
        """``connection`` commits at once and holds the lock of the search, as soon as it is free."""
        self.sweep = sweep
        self._connection, self._url, self._say, self._look_every_s = connection, url, say, look_every_s
        self._leads = self._said_waiting = False
        self._jobs: set[int] = set()  #: whose notifications are news

    def look(self) -> bool:
        """Take every trial as far as it can go now; whether the search has ended and all of its trials are told."""
        if not self._lead():
            return False
        self.sweep = sweeps.find(self._connection, self.sweep.name)
        space = self.sweep.space
        live = self._follow(space)
        if self.sweep.state == "running":
            live = self._start(space, live)
        self.sweep = sweeps.find(self._connection, self.sweep.name)
        return not live and self.sweep.state != "running"

    def close(self) -> None:
        """Let go of Optuna's connections; the lock goes with the session."""
        if self._leads:
            self._study.close()

    def wait(self) -> None:
        """Until a job of this search reports or ends, or a look is due anyway."""
        deadline = time.monotonic() + (self._look_every_s if self._leads else min(self._look_every_s, 1.0))
        while (left := deadline - time.monotonic()) > 0:
            for notify in self._connection.notifies(timeout=left, stop_after=1):
                if self._leads and notify.payload.isdecimal() and int(notify.payload) in self._jobs:
                    deadline = min(deadline, time.monotonic() + _GATHER_S)

    def _lead(self) -> bool:
        """Be the one controller of this search; False while another one is."""
        if self._leads:
            return True
        row = self._connection.execute(statement("sweeps/try_lock"), {"sweep": self.sweep.id}).fetchone()
        assert row is not None
        if row[0]:
            from eyewall.tuning import study  # optuna and sqlalchemy: 0.6 s, not for one that only waits

            self._study = study.Study(study.open_storage(self._url), self.sweep.study, self.sweep.space)
            self._leads = True
        elif not self._said_waiting:
            self._said_waiting = True
            self._say(f"search {self.sweep.name} is run by another controller: waiting for it, to go on where it ends")
        return self._leads

    def _follow(self, space: Space) -> set[int]:
        """Take trials that are on their way further; numbers of those that still are."""
        running = self._study.running()
        trials = {row["number"]: row for row in self._rows("trials", numbers=list(running))}
        self._jobs = {row["job"] for row in trials.values()}
        self._pass_reports(space, running, trials)
        live = set(running)
        for number in sorted(running):
            row = trials.get(number)
            if row is None and not self._take_up(space, number):
                live.remove(number)
            elif row is not None and row["state"] not in _LIVE:
                self._settle(space, row)
                live.remove(number)
        return live

    def _pass_reports(self, space: Space, running: dict[int, int], trials: dict[int, dict[str, Any]]) -> None:
        """New reports go to Optuna in the order of their steps, each as if it had come alone: so no rung is missed.

        A job that has ended well by now competes like any other, though it is too late to end it.
        """
        metric, of_job = space.objective.metric, {row["job"]: row for row in trials.values()}
        judged = {
            job for job, row in of_job.items() if row["stop"] or row["state"] in ("pruned", "failed", "cancelled")
        }
        after = [running[row["number"]] for row in of_job.values()]
        for report in self._rows("reports", metric=metric, jobs=list(of_job), after=after):
            job, step, value = report["job"], report["step"], report["value"]
            trial = of_job[job]
            self._study.report(trial["number"], step, value)
            if job not in judged and self._study.should_prune(trial["number"]):
                judged.add(job)
                if trial["state"] in _LIVE:
                    reason = f"{metric} {value:.6g} at step {step}"
                    queue.ask_to_stop(self._connection, job, "pruned", "sweep", f"given up: {reason}")
                    self._say(f"trial {trial['number']}: given up, {reason}")

    def _take_up(self, space: Space, number: int) -> bool:
        """A trial without a job, as the controller that asked for it was killed too early; whether it has one now."""
        if self.sweep.state == "running" and number < space.max_trials:
            return self._submit(space, number, self._study.ask_again(number))
        self._study.tell(number, None)
        return False

    def _settle(self, space: Space, row: dict[str, Any]) -> None:
        """The end of a job: its trial's value is written down, and then told."""
        number, job, state = row["number"], row["job"], row["state"]
        value = None
        if state == "succeeded":
            from eyewall.tuning.study import value_of

            curve = self._rows("reports", metric=space.objective.metric, jobs=[job], after=[-1])
            value = value_of(space.objective, [report["value"] for report in curve])
            if value is not None:
                self._connection.execute(statement("sweeps/set_value"), {"job": job, "value": value})
        self._study.tell(number, value, pruned=state == "pruned")
        if state == "succeeded":
            shown = f"{value:.6g}" if value is not None else "no value was reported, so it counts as failed"
            self._say(f"trial {number}: {space.objective.metric} {shown}")
        elif state != "pruned":
            self._say(f"trial {number}: {state}, {row['reason'] or 'see eyewall job logs ' + str(job)}")

    def _start(self, space: Space, live: set[int]) -> set[int]:
        """Ask for trials while there is room and budget; those that are on their way. Without any, the search ends."""
        started, gave_up = self._study.count(), self._gave_up(space, live)
        why = gave_up or sweeps.used_up(space.budget, sweeps.spent(self._connection, self.sweep.id))
        while not why and started < space.max_trials and len(live) < space.parallel:
            number, params = self._study.ask()
            if not self._submit(space, number, params):
                return live
            started += 1
            live.add(number)
        if not live:
            whole = space.sampler.kind == "grid" and space.max_trials == space.grid_points
            all_of_it = f"the whole grid of {started}" if whole else f"{started} trials"
            self._end("failed" if gave_up else "finished", why or all_of_it)
        return live

    def _gave_up(self, space: Space, live: set[int]) -> str:
        """Why the search gives up, where too many trials failed in a row."""
        (failures,) = self._rows("failures_in_a_row", untold=sorted(live))
        if failures["n"] < space.max_failures:
            return ""
        return f"gave up after {failures['n']} failed trials in a row, the last: {failures['reason']}"

    def _submit(self, space: Space, number: int, params: dict[str, Any]) -> bool:
        """The job of a trial, and the link between them; False where the queue refuses it, which ends the search."""
        sweep = self.sweep
        submission = space.submission(sweep.name, number, params, owner=sweep.owner, key=sweep.key(number))
        try:
            with self._connection.transaction():
                job = queue.submit(self._connection, submission)
                link = {"job": job, "sweep": sweep.id, "number": number, "params": Jsonb(params)}
                self._connection.execute(statement("sweeps/add_trial"), link)
        except InputError as error:
            self._study.tell(number, None)
            self._end("failed", f"trial {number} was refused: {error}")
            return False
        self._jobs.add(job)
        shown = " ".join(f"{name}={text_of(value)}" for name, value in params.items())
        self._say(f"trial {number}: job {job}, {shown}")
        return True

    def _end(self, state: str, reason: str) -> None:
        sweeps.set_state(self._connection, self.sweep, state, reason, only_from=("running",))
        self.sweep = sweeps.find(self._connection, self.sweep.name)

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement(f"sweeps/{name}"), {"sweep": self.sweep.id, **values}).fetchall()
