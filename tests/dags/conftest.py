"""Every DAG of the project, read once, the way Airflow reads them."""

from datetime import UTC, datetime
from typing import Any

import airflow_home
import pytest


@pytest.fixture(scope="session")
def dags() -> dict[str, Any]:
    """DAG id → DAG; fails with the import error of a DAG file."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(airflow_home.ROOT / "dags")
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture
def render(dags):
    """Call with a task and the conf of its run; returns the task with every template rendered."""

    def rendered(dag_id: str, task_id: str, conf: dict[str, Any] | None = None, **context: Any) -> Any:
        dag = dags[dag_id]
        task = dag.get_task(task_id).prepare_for_execution()
        params = {**dag.params.dump(), **(conf or {})}
        task.render_template_fields(
            {
                "dag": dag,
                "run_id": "manual__2026-11-21T04:00:00+00:00",
                "params": params,
                "partition_date": None,
                "ti": Ti(),
                **context,
            }
        )
        return task

    return rendered


class Ti:
    """The task instance of a template: one XCom, of a close call that somebody has answered."""

    def xcom_pull(self, task_ids: str) -> Any:
        """As Airflow's, for one task."""
        return {"close_call": {"approved_by": "forecaster"}}.get(task_ids)


@pytest.fixture
def partition() -> datetime:
    """Start of the partition that the tests run for: 2026-09-03 11:00 UTC."""
    return datetime(2026, 9, 3, 11, tzinfo=UTC)
