"""``eyewall job submit|list|show|cancel|requeue|priority``: the queue from the command line.

`job dispatch` and `job logs` are in `eyewall.jobs.dispatch_commands`.
"""

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyewall.contracts.errors import InputError
from eyewall.contracts.settings import Settings
from eyewall.contracts.submission import Submission
from eyewall.jobs.dispatch_commands import app as dispatch_app

if TYPE_CHECKING:
    from eyewall.db.connect import Connection

app = typer.Typer(
    help="Jobs: any command in an environment, on GPUs that the queue finds for it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_Job = Annotated[int, typer.Argument(help="number of the job")]
_Text = Annotated[str, typer.Option()]


@contextmanager
def database() -> Iterator["Connection"]:
    """The project's database, with its schema up to date."""
    from eyewall.db.connect import connected, database_url

    with connected(database_url()) as connection:
        yield connection


def user() -> str:
    """Who is at this terminal, as the operating system has it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise InputError("this user has no name here: give one with --owner, or in the variable USER") from None


@app.command("submit")
def _submit(
    command: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM ARGUMENT …", help="what to run; no shell is involved")
    ],
    environment: Annotated[str, typer.Option("--env", help="framework environment, see `eyewall env list`")],
    code: Annotated[str | None, typer.Option(help="folder or archive in the store: the job's working folder")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="folder of the store that the job may read; repeatable")
    ] = None,
    gpus: Annotated[str, typer.Option(help="GPUs, all of one host")] = "1",
    generation: Annotated[str, typer.Option(help="GPU generations that will do, such as h100,a100")] = "",
    memory_gb: Annotated[str, typer.Option(help="memory that each GPU must have, GiB")] = "0",
    priority: Annotated[str, typer.Option(help="0 to 9; 9 goes first")] = "5",
    after: Annotated[list[str] | None, typer.Option(help="job that must have succeeded before; repeatable")] = None,
    max_hours: Annotated[str | None, typer.Option(help="ended, as failed, after so long")] = None,
    max_attempts: Annotated[str, typer.Option(help="in all, where a host is lost or exit code 75 says: again")] = "3",
    variable: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE for its environment; repeatable")
    ] = None,
    name: Annotated[str | None, typer.Option(help="for people; need not be unique")] = None,
    owner: Annotated[str | None, typer.Option(help="fair share is by owner; default: this user")] = None,
    key: Annotated[str | None, typer.Option(help="submitting the same key again gives the job that is there")] = None,
    as_json: Json = False,
) -> None:
    """Put a job into the queue; prints its number."""
    # Numbers are text until here: the contract alone says what is valid, and names the value.
    submission = Submission.parse(
        {
            "command": command,
            "environment": environment,
            "code": code,
            "data": data or (),
            "gpus": gpus,
            "generations": [part.strip() for part in generation.split(",") if part.strip()],
            "memory_gb": memory_gb,
            "priority": priority,
            "after": after or (),
            "max_hours": max_hours,
            "max_attempts": max_attempts,
            "variables": _variables(variable or []),
            "name": name,
            "owner": owner or user(),
            "key": key,
        }
    )
    from eyewall.environments.table import sync
    from eyewall.jobs import queue, show
    from eyewall.jobs.inputs import refuse_absent
    from eyewall.jobs.installation import ensure_local_environment
    from eyewall.storage import Store

    refuse_absent(Store(Settings.load().store), submission)
    with database() as connection:
        sync(connection)
        ensure_local_environment(connection)
        job = queue.submit(connection, submission)
    if as_json:
        show.print_json({"job": job})
    else:
        sys.stdout.write(f"{job}\n")


def _variables(given: list[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise InputError(f"--set {text!r} is not NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


@app.command("list")
def _list(
    every: Annotated[bool, typer.Option("--all", help="also those that have ended, the latest first")] = False,
    state: Annotated[str | None, typer.Option(help="only those in this state")] = None,
    owner: Annotated[str | None, typer.Option(help="only this user's")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="rows at most")] = 100,
    as_json: Json = False,
) -> None:
    """Jobs that wait or run, in the queue's order, each with why it waits."""
    from eyewall.jobs import show

    with database() as connection:
        found = show.rows(
            connection, "list_jobs", ended=every or state is not None, state=state, owner=owner, limit=limit
        )
    if as_json:
        show.print_json([show.finite(row) for row in found])
        return
    columns = ("job", "state", "owner", "name", "gpus", "worker", "waited", "ran", "metric", "command", "why")
    show.print_table(columns, map(_line, found), "no job waits or runs; see --all")


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    from eyewall.jobs import show

    metric = "" if row["metric"] is None else f"{row['metric']} {row['value']:.4g}"
    state = f"{row['state']}, to be {row['stop']}" if row["stop"] and row["state"] == "running" else row["state"]
    return (
        row["id"],
        state,
        row["owner"],
        row["name"],
        row["gpus"],
        row["worker"],
        show.duration(row["waited_s"]),
        show.duration(row["ran_s"]),
        metric,
        show.shortened(row["command"]),
        row["why"] or row["reason"],
    )


@app.command("show")
def _show(job: _Job, as_json: Json = False) -> None:
    """One job: what was asked for, its attempts, and all that happened to it."""
    from eyewall.jobs import show

    with database() as connection:
        found = show.rows(connection, "show_job", job=job)
        if not found:
            raise InputError(f"no job {job}: see `eyewall job list --all`")
        row = show.finite(found[0])
        row["attempts"] = show.rows(connection, "attempts_of_job", job=job)
        row["events"] = show.rows(connection, "events_of_job", job=job)
    if as_json:
        show.print_json(row)
        return
    attempts, events = row.pop("attempts"), row.pop("events")
    row["command"] = show.shortened(row["command"])
    for key, value in row.items():
        if value not in (None, "", [], {}):
            sys.stdout.write(f"{key:<14} {show.clean(value)}\n")
    for title, lines in (("attempts", attempts), ("events", events)):
        if lines:
            sys.stdout.write(f"\n{title}\n")
            show.print_table(tuple(lines[0]), (tuple(line.values()) for line in lines), "")


@app.command("cancel")
def _cancel(
    jobs: Annotated[list[int], typer.Argument(help="numbers of the jobs")], reason: _Text = "", as_json: Json = False
) -> None:
    """Cancel jobs: at once where they wait; where they run, their program is asked to end."""
    from eyewall.jobs import queue

    with database() as connection:
        words = {"running": "is asked to end", "cancelled": "is cancelled"}
        _each(jobs, lambda job: queue.cancel(connection, job, user(), reason), words, as_json)


@app.command("requeue")
def _requeue(jobs: Annotated[list[int], typer.Argument(help="numbers of the jobs")], as_json: Json = False) -> None:
    """Let jobs that have ended run again."""
    from eyewall.jobs import queue

    with database() as connection:

        def requeue(job: int) -> str:
            queue.requeue(connection, job, user())
            return "queued"

        _each(jobs, requeue, {"queued": "is in the queue again"}, as_json)


@app.command("priority")
def _priority(
    job: _Job, priority: Annotated[int, typer.Argument(help="0 to 9; 9 goes first")], as_json: Json = False
) -> None:
    """Give a job another priority."""
    from eyewall.jobs import queue, show

    with database() as connection:
        queue.set_priority(connection, job, priority, user())
    if as_json:
        show.print_json({str(job): priority})
    else:
        sys.stdout.write(f"job {job} has priority {priority}\n")


def _each(jobs: list[int], action: Callable[[int], str], words: dict[str, str], as_json: bool) -> None:
    """Do it to each job and tell at once, as one that is refused ends the command; what was done stays done."""
    from eyewall.jobs import show

    states = {}
    for job in jobs:
        states[str(job)] = action(job)
        if not as_json:
            sys.stdout.write(f"job {job} {words[states[str(job)]]}\n")
    if as_json:
        show.print_json(states)


app.add_typer(dispatch_app)  # without a name: its commands are this group's
