"""What a task asked of the job queue ends when a person marks the task failed or success, or its run.

The API server, where people do that, tells listeners of it at once, whoever holds the task then: a worker, a triggerer,
or nobody yet. A cleared task is not marked: it is tried again, finds its job or its search, and waits on.
"""

import logging
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

#: Operators whose tasks ask the queue for something; no other task's mark costs a look at the database.
ASKERS = ("JobOperator", "Search")
ACTOR = "airflow"
REASON = "a person ended its task in Airflow"
log = logging.getLogger(__name__)


class MarkedTasks:
    """Airflow calls these for every end of a task; of one by a person it does not say the state before."""

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        """Marked success, or succeeded."""
        _ended(previous_state, task_instance)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any) -> None:
        """Marked failed, or failed."""
        _ended(previous_state, task_instance)

    @hookimpl
    def on_task_instance_skipped(self, previous_state: Any, task_instance: Any) -> None:
        """Marked skipped, or skipped."""
        _ended(previous_state, task_instance)


def _ended(previous_state: Any, task: Any) -> None:
    if previous_state is not None or task.operator not in ASKERS:
        return
    from jobs_api.database import DatabaseAway

    from eyewall.contracts.errors import EyewallError
    from eyewall.contracts.submission import key_of

    key = key_of(task.dag_id, task.run_id, task.task_id)
    try:
        _end_what_it_asked_for(key)
    except (EyewallError, DatabaseAway) as error:
        log.error("what %s asked for goes on: %s; end it with `eyewall job cancel` or `eyewall sweep stop`", key, error)


def _end_what_it_asked_for(key: str) -> None:
    """Cancel the job of that key, and stop the searches. Raises EyewallError, DatabaseAway."""
    from jobs_api.database import url

    from eyewall.db.connect import connected
    from eyewall.db.statements import statement
    from eyewall.jobs import queue
    from eyewall.tuning import sweeps

    with connected(url()) as connection:
        for (job,) in connection.execute(statement("jobs/live_job_of_key"), {"key": key}).fetchall():
            queue.ask_to_stop(connection, job, "cancelled", ACTOR, REASON)
            log.info("job %s is to end, as a person marked its task", job)
        for name in sweeps.stop_of_key(connection, key, ACTOR):
            log.info("search %s is stopped, as a person marked its task", name)


class MarkedTasksPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "marked_tasks"
    listeners = [MarkedTasks()]  # noqa: RUF012 - as Airflow declares it
