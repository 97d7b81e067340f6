"""One operator for every step: a job contract becomes ``eyewall <verb> …``, its exit code becomes a task state.

    0      success; XCom holds the path of the receipt and the small part of the summary
    65     failed for good: the input is unusable, a retry cannot mend it
    99     skipped, with the step's own sentence
    other  failed, to be tried again

Results are handed on by receipts: `receipt_of` names one before the task that writes it has run, so that no data and
no path has to travel through XCom.
"""

import shlex
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from eyewall.contracts.errors import EXIT_INPUT, EXIT_SKIP, ContractError, EyewallError
from eyewall.contracts.jobs import Job
from eyewall.contracts.layout import receipt_path
from eyewall.contracts.settings import Settings
from operators.outcome import Outcome, small

#: setting ``backend`` → the class that runs a job there. More of them are added here and nowhere else. It is chosen
#: when the task runs, not when the DAG is parsed: a DAG file reads no settings, and whether a training is one pod or
#: a gang of them is an answer of the form.
BACKENDS = {
    "process": "operators.process:ProcessBackend",
    "docker": "operators.docker:DockerBackend",
    "kubernetes": "operators.kubernetes:KubernetesBackend",
}


class Backend(Protocol):
    """What a backend must give: run a job to its end, and stop it from a signal handler."""

    def __init__(self, settings: Settings, task: BaseOperator) -> None: ...

    def run(self, job: Job, context: Context) -> Outcome:
        """Run the job; its end. May defer, to ``trigger_reentry``."""

    def resume(self, job: Job, context: Context, event: dict[str, Any]) -> Outcome:
        """Go on where a deferral ended with ``event``; may defer again."""

    def stop(self) -> None:
        """End what `run` started."""


class StepOperator(BaseOperator):
    """Run one step of the pipeline where the setting ``backend`` says.

    :param verb: the step: ingest, records, train, verify, gate, publish, forecast …
    :param stream: the stream whose settings apply (templated); empty: the installation's default stream;
        None: the step belongs to no stream, and an installation needs none for it
    :param arguments: fields of the step's job that go before the stream's settings (templated); an empty text or
        None leaves the setting as it is
    :param required: arguments that must not be empty, because the step would take that for "everything there is"
    """

    template_fields: Sequence[str] = ("stream", "arguments")
    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        verb: str,
        stream: str | None = "",
        arguments: dict[str, Any] | None = None,
        required: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.verb = verb
        self.stream = stream
        self.arguments = arguments or {}
        self.required = tuple(required)
        self._backend: Backend | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; {"receipt": path in the store, …small summary}."""
        refuse_unknown_conf(context)
        job, backend = self._prepare(context)
        self.log.info("eyewall %s", shlex.join(job.to_args()))  # to be pasted into a shell as it stands
        return self._finish(job, backend.run(job, context))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after a deferral of the backend; in another process than before it, so everything is made anew."""
        job, backend = self._prepare(context)
        return self._finish(job, backend.resume(job, context, event))

    def _prepare(self, context: Context) -> tuple[Job, Backend]:
        ti = context["ti"]
        receipt = receipt_path(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
        try:
            settings = Settings.load()
            job = self.job(settings, receipt)
            self._backend = load_backend(settings, self)
        except EyewallError as error:
            raise AirflowFailException(str(error)) from None
        return job, self._backend

    def _finish(self, job: Job, outcome: Outcome) -> dict[str, Any]:
        raise_for(outcome, self.verb)
        return {"receipt": job.receipt, **small(outcome.summary)}

    def job(self, settings: Settings, receipt: str) -> Job:
        """The job of this (rendered) task. Raises ContractError for anything that its contract refuses."""
        given = {field: value for field, value in self.arguments.items() if value not in (None, "", "None")}
        missing = [field for field in self.required if field not in given]
        if missing:
            raise ContractError(
                f"{self.task_id} would read all there is without {' and '.join(missing)}: "
                "give them in the form (conf), or run a partition"
            )
        stream = None if self.stream is None else self.stream or settings.default_stream
        return settings.job(self.verb, stream, **given, receipt=receipt)

    def on_kill(self) -> None:
        """End the step when the task is stopped, marked or timed out."""
        if self._backend is not None:
            self._backend.stop()


def load_backend(settings: Settings, task: BaseOperator) -> Backend:
    """The backend that the settings name, for ``task``."""
    module, _, attribute = BACKENDS[settings.backend].partition(":")
    backend: Backend = getattr(import_module(module), attribute)(settings, task)
    return backend


def raise_for(outcome: Outcome, verb: str) -> None:
    """The task state of an exit code: nothing for 0, Airflow's exceptions for the others."""
    if outcome.code == 0:
        return
    if outcome.code == EXIT_SKIP:
        raise AirflowSkipException(outcome.sentence)
    sentence = f"eyewall {verb} (exit {outcome.code}): {outcome.sentence}"
    if outcome.code == EXIT_INPUT:
        raise AirflowFailException(sentence)
    raise AirflowException(sentence)


def refuse_unknown_conf(context: Context) -> None:
    """Airflow takes a conf field that no Param declares without a word; a typing error must not pass for a choice."""
    dag_run = context["dag_run"]
    unknown = sorted(set(getattr(dag_run, "conf", None) or {}) - set(context["dag"].params))
    if unknown:
        known = ", ".join(sorted(context["dag"].params))
        raise AirflowFailException(f"unknown conf fields {unknown}: {context['dag'].dag_id} knows {known}")


def receipt_of(task_id: str) -> str:
    """Template for the receipt of ``task_id`` in the same run; needs `operators.macros.MACROS` in the DAG."""
    return f"{{{{ receipt_path(dag.dag_id, run_id, {task_id!r}) }}}}"
