"""The table ``environment``: what jobs can ask for, what is built of it, and who builds it at this moment."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import psycopg

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.settings import Settings
from eyewall.db.connect import Connection
from eyewall.db.statements import statement

if TYPE_CHECKING:
    from eyewall.environments.recipe import Recipe

Kind = Literal["process", "docker", "kubernetes"]


class Environment(NamedTuple):
    """One row of the table; ``image`` is ``registry/repository@sha256:…``, ``folder`` a prefix like sys.prefix."""

    name: str
    framework: str
    version: str
    recipe_sha256: str
    image: str | None
    folder: str | None
    size_bytes: int | None
    build_s: float | None
    state: str
    reason: str
    built_at: datetime | None
    being_built: bool = False


def environments(connection: Connection) -> list[Environment]:
    """Every environment."""
    return [Environment(*row) for row in connection.execute(statement("environments/all"))]


def resolve(connection: Connection, name: str, kind: Kind | None = None) -> Environment:
    """The environment that a job names, for a worker of ``kind`` if one is given.

    Raises InputError when there is none of the name, or nothing is built of it that such a worker could run.
    """
    row = connection.execute(statement("environments/one"), {"name": name}).fetchone()
    if row is None:
        known = ", ".join(found.name for found in environments(connection)) or "none yet: `eyewall env list`"
        raise InputError(f"no environment {name!r}: environments are {known}")
    found = Environment(*row)
    built = {None: found.image or found.folder, "process": found.folder}.get(kind, found.image)
    if built is None:
        what = "was not built" if kind is None else "has no folder" if kind == "process" else "has no image"
        because = f" ({found.reason})" if found.reason else ""
        backend = "process" if kind == "process" else "docker"
        raise InputError(f"environment {name} {what}{because}: `eyewall env build {name} --backend {backend}`")
    return found


def sync(connection: Connection, folder: Path | None = None) -> list[str]:
    """Make the table know the recipes of ``folder`` (default: the settings'), and killed builds; the names changed.

    Where there are no recipes, as beside an installed wheel, the table stays as it is. Raises InputError for recipes
    that cannot be read.
    """
    from eyewall.environments.recipe import read_recipes, recipes_folder

    settings = Settings.load()
    if folder is None:
        try:
            folder = recipes_folder(settings)
        except InputError:
            if settings.environments.recipes is not None:
                raise
    recipes = () if folder is None else read_recipes(folder).values()
    with connection.transaction():
        changed = [name for (name,) in connection.execute(statement("environments/recover"))]
        for recipe in recipes:
            row = _listed(recipe, settings.environments.base)
            changed += [name for (name,) in connection.execute(statement("environments/list_recipe"), row)]
    return changed


def _listed(recipe: "Recipe", base: str) -> dict[str, str]:
    try:
        recipe.lock()
        reason = ""
    except InputError as error:
        reason = str(error)
    return {
        "name": recipe.name, "framework": recipe.framework, "version": recipe.version, "reason": reason,
        "recipe_sha256": recipe.sha256(base),
    }  # fmt: skip


@contextmanager
def building(connection: Connection, name: str, say: Any) -> Iterator[None]:
    """Be the only one that builds ``name``; state and reason are right at the end, also after a failure.

    ``connection`` must be in autocommit. A process that is killed here frees the lock with its session: the next
    build, or `sync`, says so in the table.
    """
    if not connection.autocommit:
        raise AssertionError("a build takes minutes: its states must be seen meanwhile")
    key = {"name": name}
    if not connection.execute(statement("environments/lock_now"), key).fetchone()[0]:  # type: ignore[index]
        say("another process builds it: waiting for that one")
        connection.execute(statement("environments/lock_wait"), key)
    try:
        yield
    except BaseException as error:
        reason = str(error) if isinstance(error, EyewallError) else f"interrupted by {type(error).__name__}"
        with suppress(psycopg.Error):  # the database may be what failed; `recover` then says it later
            connection.execute(statement("environments/record_end"), {**key, "reason": reason})
        raise
    finally:
        with suppress(psycopg.Error):  # a session that is gone holds no lock
            connection.execute(statement("environments/unlock"), key)
