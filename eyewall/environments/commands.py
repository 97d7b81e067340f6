"""``eyewall env list|lock|build|verify|remove|registry``: framework environments from the command line."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.settings import Settings
from eyewall.progress import progress

if TYPE_CHECKING:
    from eyewall.environments.build import Backend, Builder
    from eyewall.environments.recipe import Recipe

app = typer.Typer(
    help="Framework environments that jobs can ask for.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_Names = Annotated[list[str] | None, typer.Argument(help="environments, as `eyewall env list` names them")]
_All = Annotated[bool, typer.Option("--all", help="every one of the list but the GPU variants")]
_Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_Backends = Annotated[
    list[str] | None,
    typer.Option("--backend", help="docker or process; may be repeated; default: process, unless the settings' backend"
                 " is another"),
]  # fmt: skip


@app.callback()
def _group() -> None:
    """Framework environments that jobs can ask for."""


@app.command("list")
def _list(as_json: _Json = False) -> None:
    """Every environment, and what is built of it."""
    from eyewall.environments.table import environments, sync

    with _builder() as builder:
        base = builder.settings.environments.base
        sync(builder.connection)
        recipes = _known(builder.settings)
        rows = environments(builder.connection)
    old = {row.name: row.name in recipes and recipes[row.name].sha256(base) != row.recipe_sha256 for row in rows}
    if as_json:
        listed = [{**row._asdict(), "old_recipe": old[row.name]} for row in rows]
        sys.stdout.write(json.dumps(listed, default=str) + "\n")
        return
    for row in rows:
        size = f"{row.size_bytes / 1e9:6.2f} GB" if row.size_bytes else " " * 9
        seconds = f"{row.build_s:6.0f} s" if row.build_s else " " * 8
        places = ", ".join(place for place in (row.image, row.folder) if place)
        note = "recipe has changed: build it again" if old[row.name] else row.reason
        sys.stdout.write(f"{row.name:<22} {row.state:<9} {size} {seconds}  {'; '.join(filter(None, (places, note)))}\n")


@app.command("lock")
def _lock(
    names: _Names = None,
    every: _All = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="take the newest versions instead of those locked")
    ] = False,
) -> None:
    """Write the lock of environments: every package with its version."""
    from eyewall.environments.lock import make_lock, packages

    settings = Settings.load()
    for recipe in _recipes(names, every, settings):
        with progress(f"env lock {recipe.name}"):
            path = make_lock(recipe, _root(), upgrade=upgrade)
        sys.stdout.write(f"{recipe.name:<22} {len(packages(path.read_text()))} packages in {path}\n")


@app.command("build")
def _build(names: _Names = None, every: _All = False, backend: _Backends = None, as_json: _Json = False) -> None:
    """Build environments, unless they are built: an image in the registry, or a folder for the process backend."""
    with _builder() as builder:
        for recipe in _recipes(names, every, builder.settings):
            for each in _backends(backend, builder.settings):
                with progress(f"env build {recipe.name}, {each}") as advance:
                    outcome = builder.build(recipe, each, advance)
                if as_json:
                    sys.stdout.write(json.dumps(outcome._asdict()) + "\n")
                    continue
                done = f"built in {outcome.seconds:.0f} s" if outcome.fresh else "is there"
                sys.stdout.write(f"{recipe.name:<22} {each:<8} {done}: {outcome.where}\n")


@app.command("verify")
def _verify(names: _Names = None, every: _All = False, backend: _Backends = None) -> None:
    """Start environments, import their framework, compute something, and compare all of it with recipe and registry."""
    from eyewall.environments.table import sync

    failed = 0
    with _builder() as builder:
        sync(builder.connection)
        for recipe in _recipes(names, every, builder.settings):
            for each in _backends(backend, builder.settings):
                try:
                    with progress(f"env verify {recipe.name}, {each}") as advance:
                        advance(0, f"import {recipe.module}")
                        words = builder.verify(recipe, each)
                    sys.stdout.write(f"{recipe.name:<22} {each:<8} ok: {words}\n")
                except EyewallError as error:
                    failed += 1
                    sys.stdout.write(f"{recipe.name:<22} {each:<8} not ok: {error}\n")
    if failed:
        raise EyewallError(f"{failed} environments are not what their recipes say")


@app.command("remove")
def _remove(name: Annotated[str, typer.Argument(help="environment")]) -> None:
    """Remove an environment's folder and the engine's copy of its image; the registry keeps what was pushed.

    One that is in no recipe any more, and that no job has used, is gone from the list as well.
    """
    with _builder() as builder:
        gone = builder.remove(name, keep=name in _known(builder.settings))
    sys.stdout.write("".join(f"removed {what}\n" for what in gone) or f"nothing of {name} was here\n")


@app.command("registry")
def _registry() -> None:
    """Start a registry on this machine, for one that has none: a container on the loopback address."""
    from eyewall.environments.registry import engine, start_registry

    settings = Settings.load()
    sys.stdout.write(f"registry {start_registry(engine(settings), settings.environments.registry)}\n")


def _root() -> Path:
    """Where the process backend's environments are: var/environments, or below EYEWALL_VAR."""
    import os

    return Path(os.environ.get("EYEWALL_VAR") or "var").absolute() / "environments"


@contextmanager
def _builder() -> "Iterator[Builder]":
    from eyewall.db.connect import connected, database_url
    from eyewall.environments.build import Builder

    with connected(database_url()) as connection:
        connection.commit()
        connection.autocommit = True
        yield Builder(connection, Settings.load(), _root())


def _known(settings: Settings) -> "dict[str, Recipe]":
    """All recipes; none beside an installed wheel, where what the database knows is all there is."""
    from eyewall.environments.recipe import read_recipes, recipes_folder

    try:
        folder = recipes_folder(settings)
    except InputError:
        if settings.environments.recipes is not None:
            raise
        return {}
    return read_recipes(folder)


def _recipes(names: list[str] | None, every: bool, settings: Settings) -> "list[Recipe]":
    from eyewall.environments.recipe import GPU_SUFFIX, read_recipes, recipe_named, recipes_folder

    if bool(names) == every:
        raise InputError("which environments? Give names, or --all")
    folder = recipes_folder(settings)
    if every:
        return [recipe for name, recipe in read_recipes(folder).items() if not name.endswith(GPU_SUFFIX)]
    return [recipe_named(name, folder) for name in names or []]


def _backends(given: list[str] | None, settings: Settings) -> "list[Backend]":
    known: dict[str, Literal["docker", "process"]] = {"docker": "docker", "process": "process"}
    if not given:
        return ["process" if settings.backend == "process" else "docker"]
    for each in given:
        if each not in known:
            raise InputError(f"--backend {each!r}: environments are built for docker and for process")
    return [known[each] for each in given]
