"""The task that runs a dispatcher of the job queue, unless there is no need for one."""

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from eyewall.contracts.errors import EyewallError
from operators.database import database_url
from operators.platform_command import PlatformCommand


class Dispatch(PlatformCommand):
    """Run ``eyewall job dispatch`` until it has been idle for a while; skipped where nothing waits or one is alive.

    Killing it harms nothing: its jobs go on, and the next dispatcher takes them over.

    :param idle_s: how long it stays after the last job has ended, so that the next one starts at once
    """

    def __init__(self, *, idle_s: int = 60, **kwargs: Any) -> None:
        super().__init__(command=("job", "dispatch"), options={"idle_s": idle_s}, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Look first: a look costs a few milliseconds, a dispatcher a process."""
        if not self._is_needed():
            raise AirflowSkipException("nothing waits in the queue, or a dispatcher is at work")
        return super().execute(context)

    def _is_needed(self) -> bool:
        from eyewall.db.connect import connected
        from eyewall.db.statements import statement

        try:
            with connected(database_url()) as connection:
                row = connection.execute(statement("jobs/needs_dispatcher")).fetchone()
        except EyewallError as error:
            raise AirflowException(str(error)) from None
        return bool(row and row[0])
