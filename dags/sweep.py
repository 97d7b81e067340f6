"""### A search over the settings of a training

The search space, a YAML file in the store, is checked as a whole and registered. Dispatchers run the search: trials are
asked of Optuna, and each is an ordinary job of the queue; those that lag behind are given up early. The task waits for
the end of the budget, and takes no slot meanwhile.

The best trial is in the run's receipt, and on the *Jobs* page with its leaderboard and curves; `eyewall sweep show`
shows the same.

* **A retry**, or a run of the same name, waits for the search that is there: no trial is lost or run twice.
* **Marking the task** failed or success stops the search and its jobs; **clearing** it lets the search go on.
* **More trials** afterwards: `eyewall sweep resume NAME --trials +20`.
"""

from datetime import timedelta

from airflow.sdk import dag

from operators import forms
from operators.macros import MACROS
from operators.pools import JOBS
from operators.search import Search
from operators.step import receipt_of

NAME = "{{ params.name or run_key(dag.dag_id, run_id) }}"


@dag(
    dag_id="sweep",
    schedule=None,
    catchup=False,
    max_active_runs=100,  # nearly all of them only wait
    is_paused_upon_creation=False,
    doc_md=__doc__,
    tags=["jobs"],
    params={
        "space": forms.line("path of the search space in the store, such as spaces/track.yaml", 300),
        "name": forms.name("name of the search; empty: the run's own"),
        "trials": forms.integer("budget of trials; empty: the space's own", 1, 1_000_000),
        "hours": forms.number("budget of hours; empty: the space's own", 0.001, 24 * 365),
        "gpu_hours": forms.number("budget of GPU-hours; empty: the space's own", 0.001, 10**7),
        "parallel": forms.integer("trials at the same time; empty: the space's own", 1, 10_000),
        "priority": forms.integer("priority of the trials' jobs, 0 to 9; empty: the space's own", 0, 9),
        "set": forms.lines("constants of the space, as NAME=VALUE"),
    },
    user_defined_macros=MACROS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
)
def sweep() -> None:
    """Register and wait."""
    Search(
        task_id="sweep",
        space="{{ params.space }}",
        options={
            "name": NAME,
            **{
                field: f"{{{{ params.{field} }}}}" for field in ("trials", "hours", "gpu_hours", "parallel", "priority")
            },
            "set": "{{ (params.set or []) | join('\n') }}",
        },
        best=receipt_of("sweep"),
        pool=JOBS,
    )


sweep()
