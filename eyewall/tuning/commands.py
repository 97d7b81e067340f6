"""``eyewall sweep create|run|list|show|stop|resume``: searches over the settings of a training."""

import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyewall.contracts.errors import ContractError, EyewallError, InputError

if TYPE_CHECKING:
    from eyewall.db.connect import Connection
    from eyewall.storage import Store
    from eyewall.tuning.space import Space

app = typer.Typer(
    help="Searches: many trials of one training, each an ordinary job of the queue.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="of the search")]
_Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_Best = Annotated[str, typer.Option("--best", help="path in the store for a receipt that says the best trial")]
_StoreUrl = Annotated[str, typer.Option("--store", help="artifact store; default: the settings' own")]
_Actor = Annotated[str, typer.Option("--actor", help="who does it, for the table event; default: this user")]


@app.command("create")
def _create(
    space: Annotated[str, typer.Argument(metavar="SPACE.yaml", help="file with the search space")],
    name: Annotated[str, typer.Option(help="of the search; default: the space's own, or its file's")] = "",
    owner: Annotated[str, typer.Option(help="whose jobs they are; default: this user")] = "",
    trials: Annotated[str, typer.Option(help="another budget of trials")] = "",
    hours: Annotated[str, typer.Option(help="another budget of hours")] = "",
    gpu_hours: Annotated[str, typer.Option(help="another budget of GPU-hours")] = "",
    parallel: Annotated[str, typer.Option(help="another number of trials at the same time")] = "",
    priority: Annotated[str, typer.Option(help="another priority of its jobs, 0 to 9")] = "",
    seed: Annotated[str, typer.Option(help="another seed")] = "",
    given: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of a constant of the space; may be repeated")
    ] = None,
    in_store: Annotated[bool, typer.Option("--in-store", help="SPACE.yaml is a path inside the store")] = False,
    run: Annotated[bool, typer.Option("--run", help="run it here and now, to its end")] = False,
    key: Annotated[str, typer.Option(help="of the task that asks for it")] = "",
    best: _Best = "",
    store: _StoreUrl = "",
    as_json: _Json = False,
) -> None:
    """Register a search of a space; dispatchers run it, unless --run. Registering the same again is harmless."""
    from eyewall.environments.table import sync
    from eyewall.jobs.inputs import refuse_absent
    from eyewall.tuning import sweeps

    opened = _store(store)
    budget = _given({"trials": trials, "hours": hours, "gpu_hours": gpu_hours})
    overrides: dict[str, Any] = _given({"parallel": parallel, "priority": priority, "seed": seed})
    overrides["constants"] = {"store": _everywhere(opened), **_constants(given or [])}
    if budget:
        overrides["budget"] = budget
    read = _read(opened, space, in_store, overrides)
    name = name or read.name or Path(space).stem
    owner = owner or _user()
    refuse_absent(opened, read.submission(name, 0, read.example(), owner=owner, key="example"))
    with _database() as connection:
        sync(connection)
        sweep = sweeps.create(connection, read, name, owner)
        if not run:
            sweeps.hand_over(connection, sweep, owner, key)
    if run:
        _run_to_its_end(sweep.name, best, opened, as_json)
        return
    _print({"sweep": sweep.name, "id": sweep.id, "state": sweep.state, "study": sweep.study}, as_json)


@app.command("run")
def _run(name: _Name, best: _Best = "", store: _StoreUrl = "", as_json: _Json = False) -> None:
    """Run a search to its end. It may be killed and run again at any time, and run twice without harm."""
    _run_to_its_end(name, best, _store(store), as_json)


@app.command("keep", hidden=True)
def _keep() -> None:
    """Run all searches that nobody runs, while standard input is held open; a dispatcher starts it beside itself."""
    from eyewall.db.connect import database_url
    from eyewall.tuning.keeper import keep

    keep(database_url(), _say, sys.stdin.buffer.read)
    sys.stderr.flush()
    os._exit(0)  # controllers are threads in the midst of something, which is harmless, but not to be waited for


@app.command("list")
def _list(as_json: _Json = False) -> None:
    """All searches, the newest first."""
    from eyewall.tuning import sweeps

    with _database() as connection:
        rows = sweeps.overview(connection)
    if as_json:
        sys.stdout.write(json.dumps(rows, default=str) + "\n")
        return
    if not rows:
        sys.stdout.write("no search yet: eyewall sweep create SPACE.yaml\n")
    for row in rows:
        best = "" if row["best"] is None else f"  best {row['metric']} {row['best']:.6g}"
        counts = f"{row['succeeded']} succeeded, {row['pruned']} pruned, {row['failed']} failed, {row['live']} live"
        sys.stdout.write(f"{row['name']:<28} {row['owner']:<14} {row['state']:<9} {counts}{best}\n")


@app.command("show")
def _show(
    name: _Name,
    plot: Annotated[Path | None, typer.Option(help="draw curves and parallel coordinates into this file")] = None,
    rows: Annotated[int, typer.Option(min=1, help="trials to list at most")] = 20,
    as_json: _Json = False,
) -> None:
    """The best trial, the leaderboard, the learning curves."""
    from eyewall.tuning import results, text

    with _database() as connection:
        found = results.read(connection, name)
    if plot is not None:
        from eyewall.tuning.plot import draw

        draw(found, plot)
    sys.stdout.write(json.dumps(found.to_json(), allow_nan=False) + "\n" if as_json else text.report(found, rows))


@app.command("stop")
def _stop(
    name: _Name,
    let_finish: Annotated[bool, typer.Option("--let-finish", help="let running trials come to their end")] = False,
    actor: _Actor = "",
    as_json: _Json = False,
) -> None:
    """Start no more trials, and end those that are on their way. `eyewall sweep resume` goes on."""
    from eyewall.tuning import sweeps

    with _database() as connection:
        asked = sweeps.stop(connection, name, actor or _user(), let_finish=let_finish)
        state = sweeps.find(connection, name).state
    _print({"sweep": name, "state": state, "asked_to_end": asked}, as_json)


@app.command("resume")
def _resume(
    name: _Name,
    trials: Annotated[str, typer.Option(help="+20: so many more; 60: so many in all")] = "",
    hours: Annotated[str, typer.Option(help="+2: so many more; 5: so many in all")] = "",
    gpu_hours: Annotated[str, typer.Option(help="+2: so many more; 5: so many in all")] = "",
    run: Annotated[bool, typer.Option("--run", help="run it here and now, to its end")] = False,
    key: Annotated[str, typer.Option(help="of the task that asks for it")] = "",
    best: _Best = "",
    store: _StoreUrl = "",
    actor: _Actor = "",
    as_json: _Json = False,
) -> None:
    """Let a search go on that was stopped or is at its end, with a larger budget if asked; dispatchers run it."""
    from eyewall.tuning import sweeps

    with _database() as connection:
        more = _given({"trials": trials, "hours": hours, "gpu_hours": gpu_hours})
        actor = actor or _user()
        sweep = sweeps.resume(connection, name, actor, more)
        if not run:
            sweeps.hand_over(connection, sweep, actor, key)
    if run:
        _run_to_its_end(name, best, _store(store), as_json)
        return
    _print({"sweep": name, "state": sweep.state, "budget": sweep.spec["budget"]}, as_json)


def _run_to_its_end(name: str, best: str, store: "Store", as_json: bool) -> None:
    from eyewall.db.connect import database_url
    from eyewall.tuning import controller, results

    controller.run(database_url(), name, _say)
    with _database() as connection:
        found = results.read(connection, name)
    if best and found.best is not None:
        store.write_json(best, results.receipt(found).model_dump(mode="json"))
    _print(results.summary(found), as_json)
    if found.sweep.state == "failed":
        raise InputError(f"search {name!r} {found.sweep.reason}")
    results.require_best(found)


def _say(text: str) -> None:
    sys.stderr.write(f"eyewall sweep: {text}\n")
    sys.stderr.flush()


@contextmanager
def _database() -> "Iterator[Connection]":
    from eyewall.db.connect import connected, database_url

    with connected(database_url()) as connection:
        yield connection


def _store(url: str) -> "Store":
    from eyewall.contracts.settings import Settings
    from eyewall.storage import Store

    return Store(url or Settings.load().store)


def _everywhere(store: "Store") -> str:
    """The store's URL as a program in another working directory takes it."""
    return str(Path(store.root).resolve()) if store.is_local else store.url


def _read(store: "Store", path: str, in_store: bool, overrides: dict[str, Any]) -> "Space":
    from eyewall.tuning.space import Space, read_file

    return Space.read(store.read_bytes(path), path, **overrides) if in_store else read_file(Path(path), **overrides)


def _constants(given: list[str]) -> dict[str, str]:
    values = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise ContractError(f"--set {each!r} is not NAME=VALUE")
        values[name] = value
    return values


def _given(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise EyewallError("this process has no user name: give --owner or --actor, or set USER") from None


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(values) + "\n")
        return
    for key, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        sys.stdout.write(f"{key:<14} {shown}\n")
