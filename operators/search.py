"""A search of the platform as a task, and the step that takes what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from eyewall.contracts.errors import EXIT_FAILED, ContractError
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.settings import Settings
from eyewall.contracts.submission import key_of
from operators.job import owner
from operators.job_trigger import SearchTrigger
from operators.outcome import small
from operators.platform_command import PlatformCommand
from operators.step import StepOperator, raise_for
from operators.tries import is_cleared


class Search(PlatformCommand):
    """`eyewall sweep create`, then wait for the search's end without taking a slot: dispatchers run it meanwhile.

    Tried again, it finds the search that is there and waits on; cleared by a person, it lets one that was stopped or
    gave up go on. Skipped where no space is named. A search without any success fails without another try.

    :param space: path of the search space in the store (templated); empty: no search is asked for
    :param options: of `eyewall sweep create` (templated); ``set`` holds one NAME=VALUE a line
    :param best: path in the store for the receipt that names the best trial (templated)
    """

    template_fields: Sequence[str] = ("space", "options", "words", "best")

    def __init__(self, *, space: str, best: str, options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(command=("sweep", "create"), options=options, **kwargs)
        self.space = space
        self.best = best

    def execute(self, context: Context) -> dict[str, Any]:
        """Register, then defer to the search's end."""
        if self.space in ("", "None"):
            raise AirflowSkipException("no search was asked for")
        run = context["dag_run"]
        asked_by = {
            "owner": owner(getattr(run, "triggering_user_name", None)),
            "key": key_of(run.dag_id, run.run_id, self.task_id),
        }
        constants = [line for line in str(self.options.get("set", "")).splitlines() if line]
        self.options |= {"set": constants, "in_store": True, "json": True, **asked_by}
        self.words = [self.space]
        made = super().execute(context)
        name = str(made["sweep"])
        if made["state"] in ("stopped", "failed") and is_cleared(self, context):
            actor, key = (f"--{option}={asked_by[of]}" for option, of in (("actor", "owner"), ("key", "key")))
            raise_for(self.run_args(["sweep", "resume", actor, key, "--json", "--", name]), "sweep resume")
        self.log.info("look at it: eyewall sweep show %s, or the page Jobs", name)
        self.defer(trigger=SearchTrigger(int(made["id"]), name), method_name="ended")

    def ended(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Settle what the search has left, and write down the best; the small part of the summary."""
        outcome = self.run_args(["sweep", "run", f"--best={self.best}", "--json", "--", str(event["search"])])
        if outcome.code == EXIT_FAILED:
            raise AirflowFailException(outcome.sentence)
        raise_for(outcome, "sweep run")
        return small(outcome.summary)


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
