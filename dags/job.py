"""### One training job on the platform's GPUs

The form of `eyewall job submit`: a command, the environment that it runs in, and what it needs; nothing about servers.
The job waits in the queue for its turn and its GPUs; the run ends as the job does, and shows the end of its output.

* **A refused job** (no such environment, more GPUs than any host has …) fails at once, with the reason.
* **A job that fails** is not tried again: it would fail again. One whose host is lost goes back to its place in the
  queue.
* **Marking the task** failed or success cancels the job; **clearing** it queues the job again.

The run's user is the job's owner. Over REST: `POST /api/v2/dags/job/dagRuns` with
`{"logical_date": null, "conf": {"env": "local", "command": "python train.py --lr 0.01", "gpus": 1}}`.
"""

from datetime import timedelta

from airflow.sdk import dag

from operators import forms
from operators.job import JobOperator
from operators.pools import JOBS


@dag(
    dag_id="job",
    schedule=None,
    catchup=False,
    max_active_runs=1000,  # nearly all of them only wait
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["jobs"],
    params={
        "env": forms.required_name("environment, as `eyewall env list` names it"),
        "command": forms.line("program and arguments, in one line; quoted as for a shell, and run without one"),
        "code": forms.path("folder or archive in the store; the command runs in a copy of it"),
        "data": forms.lines("folders of the store that the job may read"),
        "gpus": forms.integer("GPUs, all of one host; empty: 1", 1, 64),
        "generation": forms.lines("GPU generations that will do, such as h100; none: any", forms.GENERATION_PATTERN),
        "memory_gb": forms.number("memory that each GPU must have, GiB", 0, 4096),
        "priority": forms.integer("0 to 9, 9 first; empty: 5", 0, 9),
        "after": forms.integers("jobs that must have succeeded before, by number", 1),
        "max_hours": forms.number("the job is ended, as failed, after so long", 0.001, 24 * 365),
        "variables": forms.texts_by_name("environment variables of the job"),
        "name": forms.name("name of the job, for people"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
)
def job() -> None:
    """Submit and wait."""
    JobOperator(task_id="job", pool=JOBS)


job()
