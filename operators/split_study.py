"""A step of the split study that is only asked for where the form names what it needs."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from operators.step import StepOperator


class OptionalStep(StepOperator):
    """A step that is skipped where one of its ``needed`` arguments is empty.

    :param needed: arguments without which nobody asked for the step
    """

    def __init__(self, *, needed: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.needed = needed

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, or skip it."""
        missing = [name for name in self.needed if self.arguments.get(name) in (None, "", "None")]
        if missing:
            raise AirflowSkipException(
                f"{self.task_id} was not asked for: the form names no {' and no '.join(missing)}"
            )
        return super().execute(context)
