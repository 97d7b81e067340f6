"""``eyewall platform up|down|status|demo``: the local installation from the command line."""

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from eyewall.platform.up import Installation

app = typer.Typer(help="The local installation: Airflow, PostgreSQL and the model server.", no_args_is_help=True)


@app.command("up")
def _up() -> None:
    """Start what does not run, wait until it answers, print the address and the password."""
    from eyewall.platform import airflow
    from eyewall.platform.up import Installation, up

    installation = Installation.of()
    console = Console(stderr=True)
    with console.status("starting …") as shown:
        started = up(installation, lambda text: _say(console, shown.update, text))
    places = installation.places
    what = f"started {', '.join(started)}" if started else "was running already"
    sys.stdout.write(
        f"Eyewall {what}.\n"
        f"  Airflow       {installation.url}\n"
        f"  user          {airflow.USER}\n"
        f"  password      {airflow.password(places)}   (kept in {places.passwords})\n"
        f"  model server  {_model_server(installation)}\n"
        f"  logs          {places.log}\n"
    )


def _model_server(installation: "Installation") -> str:
    ports = installation.ports
    if installation.settings.server is not None:
        return f"gRPC {installation.settings.server}   (named by the settings, not started here)"
    return f"gRPC 127.0.0.1:{ports.grpc}, REST http://127.0.0.1:{ports.rest}"


_said: list[str] = []


def _say(console: Console, update: Callable[[str], None], text: str) -> None:
    """Progress: a spinner on a terminal, one plain line per new thing elsewhere."""
    if console.is_terminal:
        update(text)
    elif text not in _said[-1:]:
        _said[:] = [text]
        console.print(text)


@app.command("down")
def _down() -> None:
    """End everything that `up` started, whatever state it is in."""
    from eyewall.platform.up import Installation, down

    ended = down(Installation.of())
    sys.stdout.write(f"ended {ended} process{'es' if ended > 1 else ''}\n" if ended else "nothing was running\n")


@app.command("status")
def _status(as_json: Annotated[bool, typer.Option("--json", help="print one line of JSON")] = False) -> None:
    """What runs and what does not."""
    from eyewall.platform.up import Installation, status

    found = status(Installation.of())
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for name, state in found.items():
        sys.stdout.write(f"{name:<14} {state}\n")


@app.command("prepare")
def _prepare() -> None:
    """In containers, before Airflow starts: its database, its tables and its password file, from the environment."""
    from eyewall.platform.prepare import prepare

    prepare(lambda text: Console(stderr=True).print(text, markup=False))


@app.command("demo")
def _demo(
    small: Annotated[
        bool, typer.Option("--small", help="a smaller season and fewer steps, as the tests run it")
    ] = False,
    folder: Annotated[str, typer.Option(help="where; it is emptied first")] = "",
    backend: Annotated[str, typer.Option(help="where the steps run: process or docker")] = "process",
) -> None:
    """The whole main job on a simulated season, from an empty folder; everything is stopped afterwards."""
    from pathlib import Path

    from eyewall.platform.demo import FULL, SMALL, demo
    from eyewall.platform.demo_results import show

    results = demo(SMALL if small else FULL, Path(folder) if folder else None, backend=backend)
    show(results, Console())
