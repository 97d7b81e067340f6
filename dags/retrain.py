"""### A new candidate model, verified, judged, and served only if it is better

1. **records**: frames and best tracks become storm-centred samples, split by storm and season.
2. **search**: only where the form names a search space: many short trainings on these records, as jobs of the queue.
3. **train**: the model learns, with what the search found best; a retry goes on from the last checkpoint.
4. **verify**: candidate, served model, CLIPER and persistence on one sample of seasons that no training has seen.
5. **gate**: a written decision with its reasons. *No* ends the run here, as skipped.
6. **close_call**: only where the gate cannot tell, a person is asked on the *Required Actions* page.
7. **publish**: a checked copy into the model repository; `stable` moves to it once the server has answered with it.

Daily at midnight UTC (unpausing starts nothing), or by hand: what the form leaves empty comes from the settings of the
stream. The steps hand over files: `receipts/retrain/<run>/<task>.json` in the store names the result of each.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, chain, dag

from operators import forms
from operators.approval import CloseCall
from operators.macros import MACROS
from operators.pools import JOBS
from operators.search import Search, TrainOnBest
from operators.step import StepOperator, receipt_of

STREAM = "{{ params.stream or '' }}"
RUN = "{{ run_key(dag.dag_id, run_id) }}"


@dag(
    dag_id="retrain",
    schedule=CronTriggerTimetable("0 0 * * *", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["model"],
    params={
        "stream": forms.name("stream of the settings file; empty: the default stream"),
        "name": forms.name("name of the served model; empty: the one that the stream publishes"),
        "model": forms.choice("network", "track", "image", "fusion"),
        "strategy": forms.choice(
            "how training is spread", "single", "mirrored", "multi_worker", "parameter_server", "model_parallel"
        ),
        "workers": forms.integer("training replicas, chief included", 1, 1024),
        "ps": forms.integer("parameter servers", 0, 1024),
        "steps": forms.integer("optimizer steps in all", 1, 100_000_000),
        "batch": forms.integer("global batch size", 1, 1_000_000),
        "seed": forms.integer("seed of initial weights and shuffling", 0, 2**31 - 1),
        "sweep": forms.path("search space in the store, to train with the best of; empty: none"),
        "train_from": forms.season("first training season"),
        "train_to": forms.season("last training season; validation begins the year after"),
        "val_to": forms.season("last validation season; testing begins the year after"),
        "test_to": forms.season("last test season"),
    },
    user_defined_macros=MACROS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
)
def retrain() -> None:
    """Records to a served model."""
    records = StepOperator(
        task_id="records",
        verb="records",
        stream=STREAM,
        arguments={season: f"{{{{ params.{season} }}}}" for season in ("train_from", "train_to", "val_to", "test_to")},
    )
    search = Search(
        task_id="search",
        space="{{ params.sweep or '' }}",
        options={"name": RUN, "set": f"records={receipt_of('records')}"},
        best=receipt_of("search"),
        pool=JOBS,
    )
    train = TrainOnBest(
        task_id="train",
        # No search is no reason not to train; without records, which is one, the search is skipped as well.
        trigger_rule="none_failed_min_one_success",
        search=receipt_of("search"),
        verb="train",
        stream=STREAM,
        arguments={
            "records_ref": receipt_of("records"),
            "run": RUN,
            **{
                field: f"{{{{ params.{field} }}}}" for field in ("model", "strategy", "workers", "ps", "steps", "batch")
            },
            "seed": "{{ params.seed }}",
        },
    )
    verify = StepOperator(
        task_id="verify",
        verb="verify",
        stream=STREAM,
        arguments={
            "model_ref": receipt_of("train"),
            "records_ref": receipt_of("records"),
            "incumbent_name": "{{ params.name }}",
            "season_from": "{{ params.val_to + 1 if params.val_to else '' }}",
            "season_to": "{{ params.test_to }}",
            "fit_to": "{{ params.train_to }}",
        },
    )
    gate = StepOperator(task_id="gate", verb="gate", stream=STREAM, arguments={"evaluation_ref": receipt_of("verify")})
    close_call = CloseCall(
        task_id="close_call",
        gate_task_id="gate",
        subject="Publish the candidate of {{ run_id }}?",
        body="The gate calls it close; its reasons: `{{ receipt_path(dag.dag_id, run_id, 'gate') }}`, and its log.",
        response_timeout=timedelta(hours=20),
        defaults="Reject",
    )
    publish = StepOperator(
        task_id="publish",
        verb="publish",
        stream=STREAM,
        arguments={
            "decision_ref": receipt_of("gate"),
            "name": "{{ params.name }}",
            "approved_by": "{{ (ti.xcom_pull(task_ids='close_call') or {}).get('approved_by') }}",
        },
    )
    records >> train
    chain(records, search, train, verify, gate, close_call, publish)


retrain()
