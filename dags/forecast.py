"""### New frames in, forecasts out

Follows `ingest`: each partition with new frames starts a run, which asks the model server for the track of every
storm that is active at the end of that period and stores each forecast as JSON, GeoJSON and a map.

By hand: `base_time` for any moment, `storm` for a single storm. Without an active storm the run ends as *skipped*.
"""

from datetime import timedelta

from airflow.sdk import PartitionedAssetTimetable, dag

from operators import forms
from operators.assets import FRAMES
from operators.macros import MACROS
from operators.step import StepOperator

STORM_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$"


@dag(
    dag_id="forecast",
    schedule=PartitionedAssetTimetable(assets=FRAMES),
    catchup=False,
    max_active_runs=4,
    doc_md=__doc__,
    tags=["model"],
    params={
        "stream": forms.name("stream of the settings file; empty: the default stream"),
        "base_time": forms.time("base time, UTC; empty: end of the partition, or the newest frame"),
        "storm": forms.text("one storm id; empty: every active storm", STORM_PATTERN),
        "name": forms.name("name of the served model; empty: the one that the stream publishes"),
    },
    user_defined_macros=MACROS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30), "retry_exponential_backoff": True},
)
def forecast() -> None:
    """Ask the served model."""
    StepOperator(
        task_id="forecast",
        verb="forecast",
        stream="{{ params.stream or '' }}",
        arguments={
            "base_time": "{{ params.base_time or period_end(partition_date) }}",
            "storm": "{{ params.storm }}",
            "name": "{{ params.name }}",
        },
        execution_timeout=timedelta(minutes=30),
    )


forecast()
