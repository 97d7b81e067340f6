"""The command line ``eyewall <verb> …``: one verb a step, made from the job contracts; thin on purpose.

Every option is handed to the contract as text, so that the contract alone decides what is valid. The last line on
stdout with ``--json`` is the summary of the result; progress and messages go to stderr. Exit codes:
`eyewall.contracts.errors`.
"""

import inspect
import json
import os
import sys
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from eyewall import __version__
from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.manifest import Receipt

app = typer.Typer(
    name="eyewall", help=__doc__.splitlines()[0], no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
)  # fmt: skip


def _allows_none(info: FieldInfo) -> bool:
    return type(None) in typing.get_args(info.annotation)


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


def _command(job: type[Job]) -> Callable[..., None]:
    def command(**options: Any) -> None:
        as_json = options.pop("as_json", False)
        values = {field: value for field, value in options.items() if value not in (None, [])}
        if "store" not in values and "EYEWALL_STORE" in os.environ:
            values["store"] = os.environ["EYEWALL_STORE"]
        finish(run_job(job.parse(values)), as_json)

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
        sys.stdout.write(json.dumps(receipt.summary, allow_nan=False) + "\n")
        return
    for key, value in receipt.summary.items():
        text = value if isinstance(value, str) else json.dumps(value)
        sys.stdout.write(f"{key:<14} {text}\n")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False) -> None:
    if version:
        sys.stdout.write(f"eyewall {__version__}\n")
        raise typer.Exit


for _job in JOBS.values():
    app.command(_job.verb, help=(_job.__doc__ or "").strip())(_command(_job))

#: Groups of commands beside the steps: name → "module:typer app", imported only when used.
GROUPS: dict[str, str] = {}


def main() -> None:
    """Entry point: every expected failure is one sentence on stderr and its exit code, never a traceback."""
    try:
        app(standalone_mode=False)
    except EyewallError as error:
        sys.stderr.write(f"eyewall: {error}\n")
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")):  # an unknown option, a missing value
            message = getattr(error, "format_message", lambda: str(error))()
            sys.stderr.write(f"eyewall: {message} See eyewall --help.\n")
            sys.exit(InputError.exit_code)
        raise


if __name__ == "__main__":
    main()
