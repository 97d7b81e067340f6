"""A job of the platform as an Airflow task: submit it, wait for its end without taking a slot, tell how it ended."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.submission import Submission, key_of, owner_of
from operators.database import database_url
from operators.job_trigger import JobTrigger
from operators.step import refuse_unknown_conf
from operators.tries import is_cleared

if TYPE_CHECKING:
    from eyewall.db.connect import Connection

#: Owner of a job whose run nobody started by hand, and actor of what Airflow does with it.
AIRFLOW = "airflow"
#: Lines of the job's log that its task shows.
TAIL_LINES = 40
#: Field of the form → field of the submission, where they differ.
_FIELDS = {"env": "environment", "generation": "generations"}


class JobOperator(BaseOperator):
    """Submit a job to the queue and wait for its end.

    Succeeded is success; failed, and cancelled, fail without another try, with the job's own reason; pruned is skipped.
    What the platform refuses fails without another try as well. A task that is tried again waits for the job that it
    submitted before; one that a person clears queues it again where it failed or was cancelled. Whoever ends the task
    by hand cancels the job.

    :param submission: fields as in the form of the DAG `job` (templated); default: the form of the task's own run
    """

    template_fields: Sequence[str] = ("submission",)
    ui_color = "#ede9fe"

    def __init__(self, *, submission: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.submission = None if submission is None else dict(submission)
        self._job: int | None = None

    def execute(self, context: Context) -> None:
        """Submit, then defer to the job's end."""
        refuse_unknown_conf(context)
        try:
            asked = self.asked(context)
            self._job = self._submit(asked, cleared=is_cleared(self, context))
        except InputError as error:
            raise AirflowFailException(str(error)) from None
        except EyewallError as error:
            raise AirflowException(str(error)) from None
        self.log.info("job %s of %s on %s: %s", self._job, asked.owner, asked.environment, shlex.join(asked.command))
        self.log.info("look at it: eyewall job show %s; eyewall job logs %s", self._job, self._job)
        self.defer(trigger=JobTrigger(self._job), method_name="ended")

    def asked(self, context: Context) -> Submission:
        """The submission of this (rendered) task. Raises ContractError for anything that its contract refuses."""
        given = context["params"] if self.submission is None else self.submission
        fields = {_FIELDS.get(name, name): value for name, value in given.items() if value not in (None, "", "None")}
        run = context["dag_run"]
        return Submission.parse(
            {
                **fields,
                "owner": owner(getattr(run, "triggering_user_name", None)),
                "key": key_of(run.dag_id, run.run_id, self.task_id),
            }
        )

    def _submit(self, asked: Submission, cleared: bool) -> int:
        """As `eyewall job submit` does it."""
        from eyewall.contracts.settings import Settings
        from eyewall.db.connect import connected
        from eyewall.environments.table import sync
        from eyewall.jobs import queue
        from eyewall.jobs.inputs import refuse_absent
        from eyewall.storage import Store

        refuse_absent(Store(Settings.load().store), asked)
        with connected(database_url()) as connection:
            sync(connection)
            job = queue.submit(connection, asked)
            if cleared and _end(connection, job)["state"] in ("failed", "cancelled"):
                queue.requeue(connection, job, AIRFLOW)
        return job

    def ended(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Tell how the job ended; {"job", "state", "attempts", "log"} where it succeeded."""
        from eyewall.db.connect import connected

        job = int(event["job"])
        try:
            with connected(database_url()) as connection:
                end = _end(connection, job)
        except EyewallError as error:
            raise AirflowException(str(error)) from None
        log = f"jobs/{job}/{end['attempt']}/log.txt"
        if end["attempt"] is not None:
            self._show_tail(log)
        sentence = f"job {job} {end['state']}" + (f": {end['reason']}" if end["reason"] else "")
        if end["state"] == "pruned":
            raise AirflowSkipException(sentence)
        if end["state"] != "succeeded":
            raise AirflowFailException(sentence)
        self.log.info("%s on %s", sentence, end["worker"])
        return {"job": job, "state": end["state"], "attempts": end["attempt"], "log": log}

    def _show_tail(self, path: str) -> None:
        """The last lines of the job's log, and where all of it is; a store that is away hides nothing else."""
        from eyewall.contracts.settings import Settings
        from eyewall.storage import Store

        try:
            store = Store(Settings.load().store)
            lines = store.read_bytes(path).decode(errors="replace").splitlines()
        except (EyewallError, OSError) as error:
            self.log.warning("no log of the job: %s", error)
            return
        for line in lines[-TAIL_LINES:]:
            self.log.info("| %s", line)
        self.log.info("all %s lines: %s", len(lines), store.uri(path))

    def on_kill(self) -> None:
        """Cancel the job when the task is stopped or marked while it submits."""
        if self._job is not None:
            cancel(database_url(), self._job, "its task in Airflow was stopped")


def owner(user: str | None) -> str:
    """The job's owner: who triggered the run, as a name that jobs may have."""
    return owner_of(user) if user else AIRFLOW


def cancel(url: str, job: int, reason: str) -> None:
    """Cancel ``job``; harmless where it has ended."""
    from eyewall.db.connect import connected
    from eyewall.jobs import queue

    try:
        with connected(url) as connection:
            queue.cancel(connection, job, AIRFLOW, reason)
    except InputError:  # it has ended
        return


def _end(connection: "Connection", job: int) -> dict[str, Any]:
    """State, reason and last attempt of ``job``."""
    from eyewall.db.statements import statement

    row = connection.execute(statement("jobs/end_of_job"), {"job": job}).fetchone()
    if row is None:
        return {"state": "gone", "reason": "somebody deleted it", "attempt": None, "worker": None}
    state, reason, number, worker, _, attempt_reason = row
    return {"state": state, "reason": reason or attempt_reason or "", "attempt": number, "worker": worker}
