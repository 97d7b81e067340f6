"""A close call: when the gate's verdict is "ask", a person answers in the UI; otherwise the run goes straight on."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context


class CloseCall(ApprovalOperator):
    """Wait for a yes or no, without taking a slot meanwhile, only when the gate could not decide.

    :param gate_task_id: the gate's task, whose XCom holds ``decision``
    """

    def __init__(self, *, gate_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate_task_id = gate_task_id

    def execute(self, context: Context) -> Any:
        """{"approved_by": None} at once, or the question; a no skips what follows."""
        gate = context["ti"].xcom_pull(task_ids=self.gate_task_id) or {}
        if gate.get("decision") != "ask":
            return {"approved_by": None}
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """{"approved_by": name of who answered}."""
        answer = super().execute_complete(context, event)
        user = answer.get("responded_by_user") or {}
        return {"approved_by": str(user.get("name") or user.get("id") or "unknown")}
