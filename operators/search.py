"""A search of the platform as a task, and the step that takes what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.settings import Settings
from operators.job import owner
from operators.platform_command import PlatformCommand
from operators.step import StepOperator


class Search(PlatformCommand):
    """`eyewall sweep create`: register a search, and with the option ``run`` run it to its end.

    Tried again, it finds the search that is there and goes on with it; killed, it leaves the search's jobs running.
    Skipped where no space is named.

    :param space: path of the search space in the store (templated); empty: no search is asked for
    :param options: of `eyewall sweep create` (templated); ``set`` holds one NAME=VALUE a line
    """

    template_fields: Sequence[str] = ("space", "options", "words")

    def __init__(self, *, space: str, options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(command=("sweep", "create"), options=options, **kwargs)
        self.space = space

    def execute(self, context: Context) -> dict[str, Any]:
        """Register, and run where that is asked for; the small part of the summary."""
        if self.space in ("", "None"):
            raise AirflowSkipException("no search was asked for")
        user = getattr(context["dag_run"], "triggering_user_name", None)
        constants = [line for line in str(self.options.get("set", "")).splitlines() if line]
        self.options |= {"set": constants, "in_store": True, "json": True, "owner": owner(user)}
        self.words = [self.space]
        return super().execute(context)


class TrainOnBest(StepOperator):
    """A step whose arguments a search chose: those that were searched go before all others.

    :param search: path of the search's receipt in the store (templated); where there is none, no search was asked for
    """

    template_fields: Sequence[str] = ("stream", "arguments", "search")

    def __init__(self, *, search: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.search = search

    def job(self, settings: Settings, receipt: str) -> Job:
        """The job of this (rendered) task. Raises ContractError where the search was of what is no argument of it."""
        from eyewall.storage import Store  # fsspec: not where a DAG file is read

        store = Store(settings.store)
        if store.exists(self.search):
            found = store.read_json(self.search)["summary"]
            unknown = sorted(set(found["params"]) - set(JOBS[self.verb].model_fields))
            if unknown:
                raise ContractError(
                    f"search {found['sweep']!r} was of {unknown}, which eyewall {self.verb} does not take: name its"
                    f" parameters as the fields of that step"
                )
            self.log.info("trial %s of search %s: %s", found["trial"], found["sweep"], found["params"])
            self.arguments = {**self.arguments, **found["params"]}
        return super().job(settings, receipt)
