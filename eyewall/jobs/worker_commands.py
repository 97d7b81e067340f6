"""``eyewall worker add|list|drain|resume|remove`` and ``eyewall gpu list``: where jobs run, and who is on what."""

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyewall.contracts.errors import InputError
from eyewall.contracts.settings import Settings
from eyewall.jobs.commands import Json, database, user

if TYPE_CHECKING:
    from eyewall.db.connect import Connection
    from eyewall.jobs.runner import Found, Worker

workers = typer.Typer(
    help="Workers: the hosts, and clusters, that run jobs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
gpus = typer.Typer(help="GPUs, and who is on them.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
_Name = Annotated[str, typer.Argument(help="name of the worker")]
_KINDS = ("process", "docker", "kubernetes")


@gpus.callback()
def _gpu_group() -> None:
    """Keeps ``list`` a command of its own, as typer would take its place where it is the only one."""


@gpus.command("list")
def _list_gpus(as_json: Json = False) -> None:
    """Every GPU: its worker, whether it is free, and the job that is on it."""
    from eyewall.jobs import show

    with database() as connection:
        found = show.rows(connection, "list_gpus")
    if as_json:
        show.print_json(found)
        return
    columns = ("worker", "gpu", "model", "generation", "GiB", "state", "job", "owner", "name", "since", "reason")
    lines = (
        (
            f"{row['worker']}/{row['host']}" if row["host"] else row["worker"],
            row["number"],
            row["model"],
            row["generation"],
            f"{row['memory_mb'] / 1024:.1f}" if row["memory_mb"] else "",
            row["state"] if row["worker_state"] == "up" else f"{row['state']}, {row['worker_state']}",
            row["job"],
            row["owner"],
            row["name"],
            row["since"],
            row["reason"],
        )
        for row in found
    )
    show.print_table(columns, lines, "no GPU is known: see `eyewall worker add`")


@workers.command("list")
def _list_workers(
    every: Annotated[bool, typer.Option("--all", help="also those that were removed")] = False, as_json: Json = False
) -> None:
    """Every worker, its state, and how many of its GPUs are in use."""
    from eyewall.jobs import show

    with database() as connection:
        found = show.rows(connection, "list_workers", removed=every)
    if as_json:
        show.print_json(found)
        return
    columns = ("worker", "kind", "state", "gpus", "busy", "generations", "seen", "url", "reason")
    names = ("name", "kind", "state", "gpus", "busy", "generations", "seen_at", "url", "reason")
    show.print_table(columns, ([row[name] for name in names] for row in found), "no worker: see `eyewall worker add`")


@workers.command("add")
def _add(
    name: _Name,
    kind: Annotated[str, typer.Option(help="process, docker or kubernetes")] = "docker",
    url: Annotated[str, typer.Option(help="Docker host: unix://…, ssh://user@host or tcp://host:2376")] = "",
    devices: Annotated[
        int | None, typer.Option(min=0, help="declare so many devices instead of looking for GPUs")
    ] = None,
    generation: Annotated[str | None, typer.Option(help="generation of declared devices")] = None,
    memory_gb: Annotated[float | None, typer.Option(min=0, help="memory of each declared device, GiB")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE, as in the table [workers.<name>]; repeatable")
    ] = None,
    look: Annotated[bool, typer.Option(help="look now which GPUs it has")] = True,
    as_json: Json = False,
) -> None:
    """Register a worker, or change one, and look which GPUs it has."""
    from eyewall.contracts.fields import NAME_PATTERN
    from eyewall.jobs import show
    from eyewall.jobs.process.machine import as_registered
    from eyewall.jobs.runner import Worker
    from eyewall.jobs.workers import upsert_worker

    if kind not in _KINDS:
        raise InputError(f"--kind {kind!r} is none: kinds are {', '.join(_KINDS)}")
    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(f"{name!r} is no name of a worker: letters, digits and . _ - = only")
    options = _options(option or [])
    declared = {
        "devices": devices,
        "generation": generation,
        "memory_mb": None if memory_gb is None else round(memory_gb * 1024),
    }
    options |= {key: value for key, value in declared.items() if value is not None}
    worker = as_registered(Worker(name=name, kind=kind, url=url, options=options))  # type: ignore[arg-type]
    seen = _look(worker) if look else None  # first, as options that it cannot use are refused there
    with database() as connection:
        upsert_worker(connection, worker)
        _record(connection, name, seen)
        found = next(row for row in show.rows(connection, "list_workers", removed=False) if row["name"] == name)
    if as_json:
        show.print_json(found)
        return
    reason = f": {found['reason'].removeprefix(f'worker {name}: ')}" if found["reason"] else ""
    sys.stdout.write(f"worker {name} is {found['state']}, with {found['gpus']} GPUs{reason}\n")


def _options(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that is JSON is taken as that, another as text."""
    options: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier():
            raise InputError(f"--option {text!r} is not NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _look(worker: "Worker") -> "list[Found] | str":
    """The GPUs of ``worker``, or why it does not answer."""
    from eyewall.jobs.runner import WorkerUnreachable
    from eyewall.jobs.runners import runner_for
    from eyewall.storage import Store

    try:
        return runner_for(worker, Store(Settings.load().store)).probe()
    except WorkerUnreachable as error:
        return str(error)


def _record(connection: "Connection", name: str, seen: "list[Found] | str | None") -> None:
    """What a look found; a worker that is drained stays so, and a dispatcher looks again."""
    from eyewall.db.statements import statement
    from eyewall.jobs.queue import acting
    from eyewall.jobs.workers import record_gpus

    if seen is None:
        return
    answers = not isinstance(seen, str)
    with acting(connection, user()):
        if not isinstance(seen, str):
            record_gpus(connection, name, seen)
        values = {"name": name, "answers": answers, "reason": "" if answers else seen}
        connection.execute(statement("jobs/answers"), values)


@workers.command("drain")
def _drain(name: _Name, reason: Annotated[str, typer.Option()] = "", as_json: Json = False) -> None:
    """Offer a worker no new jobs; what it runs goes on."""
    _set(name, "draining", reason or f"drained by {user()}", as_json)


@workers.command("resume")
def _resume(name: _Name, as_json: Json = False) -> None:
    """Offer a drained worker jobs again."""
    _set(name, "up", "", as_json)


def _set(name: str, state: str, reason: str, as_json: bool) -> None:
    from eyewall.jobs import show
    from eyewall.jobs.workers import set_worker_state

    with database() as connection:
        set_worker_state(connection, name, state, reason, user())
    if as_json:
        show.print_json({"worker": name, "state": state})
        return
    sys.stdout.write(f"worker {name} is {state}\n")


@workers.command("remove")
def _remove(
    name: _Name,
    lost: Annotated[bool, typer.Option("--lost", help="the host is gone for good: what ran there is lost")] = False,
    as_json: Json = False,
) -> None:
    """Take a worker out; what it still runs must end first, or be given up with --lost."""
    from eyewall.jobs import show
    from eyewall.jobs.workers import remove_worker

    with database() as connection:
        attempts = remove_worker(connection, name, lost, user())
    if as_json:
        show.print_json({"worker": name, "state": "removed", "lost": attempts})
        return
    what = f"; {len(attempts)} attempts are lost with it" if attempts else ""
    sys.stdout.write(f"worker {name} is removed{what}\n")
