"""A task that runs a command of the platform itself, `eyewall job|sweep|env …`, where Airflow runs.

Not a step: it does no work on the store but speaks to the project's database, so it is a child process of the task
whatever the setting ``backend`` says, and the only kind of child that is given the database's URL.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from eyewall.contracts.errors import EyewallError
from eyewall.contracts.settings import Settings
from operators.database import VARIABLE, database_url
from operators.outcome import Outcome, small
from operators.process import ProcessBackend
from operators.step import raise_for, refuse_unknown_conf


class PlatformCommand(BaseOperator):
    """Run ``eyewall <command> --option=value … -- word …`` with the database at hand; its output is the task's log.

    Exit codes become states as those of a step do: 0 success, 65 failed for good, 99 skipped, others tried again.
    XCom holds the small part of the last line of JSON, where the command prints one.

    :param command: group and command: ``("sweep", "run")``
    :param options: option → value (templated). ``{"max_hours": 2}`` is ``--max-hours=2``; True is a flag; a list is the
        option again and again; None, False and an empty text leave it out
    :param words: arguments after ``--`` (templated), which may begin with a dash without being taken for options
    """

    template_fields: Sequence[str] = ("options", "words")
    ui_color = "#ede9fe"

    def __init__(
        self,
        *,
        command: Sequence[str],
        options: Mapping[str, Any] | None = None,
        words: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.command = tuple(command)
        self.options = dict(options or {})
        self.words = list(words)
        self._backend: ProcessBackend | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the command to its end; the small part of its summary."""
        refuse_unknown_conf(context)
        outcome = self.run_args(self.args())
        raise_for(outcome, " ".join(self.command))
        return small(outcome.summary)

    def run_args(self, args: Sequence[str]) -> Outcome:
        """Run ``eyewall <args>``; how it ended."""
        self.log.info("eyewall %s", shlex.join(args))  # without the database: that is in the environment alone
        try:
            self._backend = ProcessBackend(Settings.load(), self)
        except EyewallError as error:
            raise AirflowFailException(str(error)) from None
        return self._backend.run_command(args, {VARIABLE: database_url()})

    def args(self) -> list[str]:
        """The (rendered) arguments of `eyewall`."""
        found = list(self.command)
        for name, value in self.options.items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                found.append(option)
            elif isinstance(value, list | tuple):
                found += [f"{option}={each}" for each in value]
            elif value is not False and value not in (None, "", "None"):  # 0 is a value
                found.append(f"{option}={value}")
        return [*found, "--", *map(str, self.words)] if self.words else found

    def on_kill(self) -> None:
        """End the command when the task is stopped, marked or timed out."""
        if self._backend is not None:
            self._backend.stop()
