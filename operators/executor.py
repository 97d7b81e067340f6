"""Airflow's LocalExecutor, which knows that a task is still with it.

A task that defers is handed out twice under one key: once until it defers, once when it is resumed. Airflow 3.3 forgets
a task as soon as a worker has taken it. So where the end of the first worker is heard after the task was resumed, the
scheduler takes it for the end of the second ("finished with state success, but the task instance's state attribute is
running"), and the task fails or is tried again (apache/airflow#72716). This one counts.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.executors import local_executor

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

#: What a worker's end is told as. A task's own state is another matter: it told that to the API server.
_ENDS = ("success", "failed")


class LocalExecutor(local_executor.LocalExecutor):
    """As Airflow's; its name stays, as Airflow and its chart look at the name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        #: Workers that have a task, or will take it from their queue: by the task's key.
        self._holders: Counter[Any] = Counter()

    def has_task(self, task_instance: "TaskInstance") -> bool:
        """Whether the task waits here, or any worker has it."""
        return self._holders[task_instance.key] > 0 or super().has_task(task_instance)

    def change_state(self, key: Any, state: Any, info: Any = None, remove_running: bool = True) -> None:
        """Note what a worker says of ``key``."""
        super().change_state(key, state, info, remove_running)
        if state in _ENDS:
            self._holders[key] -= 1
            if self._holders[key] <= 0:
                del self._holders[key]

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
        self._holders.update(workload.key for workload in workload_list)
