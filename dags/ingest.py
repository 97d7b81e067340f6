"""### Satellite slots in, frames out

Each run reads the slots of one period (its partition: `[start, next start)`) of a stream's source, checks every file,
moves bad ones to quarantine with a reason, and stores one calibrated frame a slot.

* **By schedule**: one run for each period of `EYEWALL_INGEST_CRON` (hourly unless the installation says otherwise).
* **Backfill**: `POST /api/v2/backfills {"dag_id": "ingest", "from_date": …, "to_date": …}` or the Backfill tab:
  one run for each period from the first to the last partition, both inclusive.
* **By hand**: give `slot_from` and `slot_to` for any stretch of an archive in one run.

A period without slots ends as *skipped*. New frames are announced as the asset `frames`, by partition.
"""

from datetime import timedelta

from airflow.sdk import dag
from slot_timetable import SlotTimetable

from operators import forms
from operators.assets import FRAMES
from operators.macros import MACROS
from operators.step import StepOperator


@dag(
    dag_id="ingest",
    schedule=SlotTimetable(),
    catchup=False,
    max_active_runs=8,
    doc_md=__doc__,
    tags=["satellite"],
    params={
        "stream": forms.name("stream of the settings file; empty: the default stream"),
        "slot_from": forms.time("first nominal slot time, inclusive, UTC; empty: start of the run's partition"),
        "slot_to": forms.time("last nominal slot time, exclusive, UTC; empty: end of the run's partition"),
    },
    user_defined_macros=MACROS,
    # 1, 2, 4 … minutes, an hour in all: a slot whose files still arrive (exit 75) is looked at until its limit passes.
    default_args={"retries": 6, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True},
)
def ingest() -> None:
    """Read the slots of one period."""
    StepOperator(
        task_id="ingest",
        verb="ingest",
        stream="{{ params.stream or '' }}",
        arguments={
            "slot_from": "{{ params.slot_from or period_start(partition_date) }}",
            "slot_to": "{{ params.slot_to or period_end(partition_date) }}",
        },
        required=("slot_from", "slot_to"),  # without them the step reads the whole source
        outlets=[FRAMES],
        execution_timeout=timedelta(hours=6),
    )


ingest()
