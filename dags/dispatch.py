"""### The job queue's dispatcher

Starts queued jobs on free GPUs and watches them until they end, and runs the searches that were asked for. A run begins
as soon as PostgreSQL tells that there is work and no dispatcher is alive (and every ten minutes, should nobody have
been told); it goes on while anything is queued or running, and a minute longer, so that the next job starts at once.

* **Nothing to do, or another dispatcher at work**: the run ends as *skipped*.
* **Stopping a run** stops no job: jobs go on, and the next dispatcher takes them over. `eyewall job cancel` stops one.
* **Paused**, jobs wait in the queue; `eyewall job dispatch` on a command line does the same work.
"""

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, dag

from operators.dispatch import Dispatch
from operators.job_trigger import QueueTrigger
from operators.pools import DISPATCH

QUEUE = Asset(
    name="job_queue",
    uri="eyewall://database/job_queue",
    watchers=[AssetWatcher(name="job_queue", trigger=QueueTrigger())],
)


@dag(
    dag_id="dispatch",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("*/10 * * * *", timezone="UTC"), assets=[QUEUE]),
    catchup=False,
    max_active_runs=2,  # the second takes over at once where the first one is frozen, before Airflow notices
    is_paused_upon_creation=False,  # it does nothing until somebody submits a job
    doc_md=__doc__,
    tags=["jobs"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
)
def dispatch() -> None:
    """One dispatcher."""
    Dispatch(task_id="dispatch", pool=DISPATCH)


dispatch()
