"""The command line ``eyewall <verb> …``: one verb a step, made from the job contracts; thin on purpose.

Every option is handed to the contract as text, so that the contract alone decides what is valid. The last line on
stdout with ``--json`` is the summary of the result; progress and messages go to stderr. Exit codes:
`eyewall.contracts.errors`.
"""

import contextlib
import inspect
import json
import os
import signal
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from eyewall import __version__
from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.manifest import Receipt
from eyewall.contracts.settings import Settings

#: Groups of commands beside the steps: name → "module:typer app", imported only when used.
GROUPS: dict[str, str] = {
    "models": "eyewall.serving.commands:app",
    "platform": "eyewall.platform.commands:app",
    "catalogue": "eyewall.db.commands:app",
    "store": "eyewall.storage.commands:app",
    "env": "eyewall.environments.commands:app",
    "job": "eyewall.jobs.commands:app",
    "gpu": "eyewall.jobs.worker_commands:gpus",
    "worker": "eyewall.jobs.worker_commands:workers",
    "sweep": "eyewall.tuning.commands:app",
    "split": "eyewall.split.commands:app",
    "edge": "eyewall.split.edge.commands:app",
}


_TERMINATION_BYTES = 4000
#: A longer value is cut in print, and left out of a termination log that it would overfill.
_LINE_CHARACTERS = 300


class _StepsAndGroups(TyperGroup):
    """The steps, made below, and GROUPS, each imported when it is asked for (or listed by --help)."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = GROUPS[cmd_name].partition(":")
        group = typer.main.get_command(getattr(import_module(module), attribute))
        group.name = cmd_name
        return group


app = typer.Typer(
    cls=_StepsAndGroups,
    name="eyewall",
    help=(__doc__ or "").partition("\n")[0],
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _option(job: type[Job], field: str, info: FieldInfo) -> inspect.Parameter:
    """One field as a typer option: a flag, a repeated text, or a text."""
    name = job.option_of(field)
    origin = typing.get_origin(info.annotation)
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    shown = "" if default in (None, ()) else f" [default: {default}]"
    help_text = (info.description or "") + ("  [required]" if info.is_required() else shown)
    kind: Any
    if info.annotation is bool:
        kind, name = bool | None, f"{name}/--no-{name.removeprefix('--')}"
    elif origin is tuple:
        kind = list[str] | None
    else:
        kind = str | None
    annotated = Annotated[kind, typer.Option(name, help=help_text, show_default=False)]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotated)


def _job_of(job: type[Job], options: Mapping[str, Any]) -> Job:
    """Options as typed → job; where no store is given, the one of the settings (EYEWALL_STORE, eyewall.toml)."""
    values = {
        field: value for field, value in options.items() if field in job.model_fields and value not in (None, [], ())
    }
    if "store" not in values:
        values["store"] = Settings.load().store
    return job.parse(values)


def parse_command_line(args: Sequence[str]) -> Job:
    """``["ingest", "--reader=ahi_hsd", …]`` → the job it stands for, without running it: the inverse of `to_args`."""
    context = typer.main.get_command(app).get_command(None, args[0]).make_context(args[0], list(args[1:]))  # type: ignore[attr-defined]
    return _job_of(JOBS[args[0]], context.params)


def _command(job: type[Job]) -> Callable[..., None]:
    def command(**options: Any) -> None:
        as_json = options.pop("as_json", False)
        finish(run_job(_job_of(job, options)), as_json)

    parameters = [_option(job, field, info) for field, info in job.model_fields.items()]
    json_option = Annotated[bool, typer.Option("--json", help="print the summary as one line of JSON")]
    parameters.append(
        inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=json_option)
    )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = job.__doc__
    return command


def run_job(job: Job) -> Receipt:
    """Run a step in this process and write its receipt where the job wants it."""
    from eyewall.storage import Store  # fsspec takes 0.2 s: not for --help

    module, _, function = job.runner.partition(":")
    receipt: Receipt = getattr(import_module(module), function)(job)
    if job.receipt is not None:
        Store(job.store).write_json(job.receipt, receipt.model_dump(mode="json"))
    return receipt


def finish(receipt: Receipt, as_json: bool) -> None:
    """Print the summary: one line of JSON, or ``key  value`` lines."""
    if as_json:
        line = json.dumps(receipt.summary, allow_nan=False, ensure_ascii=False)
        last_words(line if len(line.encode()) <= _TERMINATION_BYTES else json.dumps(_short(receipt.summary)))
        sys.stdout.write(line + "\n")
        return
    for key, value in receipt.summary.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if len(text) > _LINE_CHARACTERS:
            text = f"{text[:_LINE_CHARACTERS]} … (all of it: --json)"
        sys.stdout.write(f"{key:<14} {text}\n")


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    """The numbers, flags and short texts of a summary."""
    return {key: value for key, value in summary.items() if len(json.dumps(value)) <= _LINE_CHARACTERS}


def last_words(text: str) -> None:
    """Leave the summary or the sentence of the end where EYEWALL_TERMINATION_LOG says.

    In a container that is its termination log, which Kubernetes keeps with the exit code: whoever started the step
    needs neither its output nor the store to know how it ended. Kubernetes keeps 4096 bytes; longer JSON is left
    out, as half of it would be none.
    """
    path = os.environ.get("EYEWALL_TERMINATION_LOG")
    data = text.encode()
    if path and (len(data) <= _TERMINATION_BYTES or not text.startswith("{")):
        with contextlib.suppress(OSError), Path(path).open("wb") as stream:
            stream.write(data[:_TERMINATION_BYTES])


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False,
) -> None:
    if version:
        sys.stdout.write(f"eyewall {__version__}\n")
    elif context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


for _job in JOBS.values():
    app.command(_job.verb, help=(_job.__doc__ or "").strip())(_command(_job))


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C, and not as a plain KeyboardInterrupt.

    Where that one passes through an exec(), as many imports do one, Python remembers it as unhandled, and ends by
    SIGINT instead of with the exit code although it was caught.
    """


def _interrupt(*_: object) -> None:
    raise _Interrupted


def main() -> None:
    """Entry point: every expected failure is one sentence on stderr and its exit code, never a traceback."""
    # A pod or a task is ended by SIGTERM: as an exception it lets every clean-up run before the process goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # one that is ignored (nohup) stays so
        signal.signal(signal.SIGINT, _interrupt)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are no news; Python still hears its errors
    try:
        code = app(standalone_mode=False)  # typer returns its own exits, such as 130 for Ctrl-C, instead of raising
        if isinstance(code, int):
            sys.exit(code)
    except EyewallError as error:
        last_words(str(error))
        sys.stderr.write(f"eyewall: {error}\n")
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")):  # an unknown option, a missing value
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            if "unexpected extra argument" in message:
                message += " Quote a glob, so that the shell leaves it alone."
            last_words(f"{message} See eyewall --help.")
            sys.stderr.write(f"eyewall: {message} See eyewall --help.\n")
            sys.exit(InputError.exit_code)
        last_words(f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
