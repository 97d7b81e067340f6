"""Which try of a task a person has asked for, and which one Airflow makes by itself."""

from airflow.sdk import BaseOperator, Context


def is_cleared(task: BaseOperator, context: Context) -> bool:
    """Whether this is the first try since a person cleared the task; False for Airflow's own retries of any kind.

    Clearing gives a task its retries anew, counted from the try before it: ``max_tries`` is that number plus the
    retries. Airflow itself leaves ``max_tries`` as it is.
    """
    ti = context["ti"]
    return ti.try_number > 1 and ti.try_number == ti.max_tries - (task.retries or 0) + 1
