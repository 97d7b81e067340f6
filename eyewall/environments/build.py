"""Build, verify and remove: what `eyewall env` does, from the recipe to the row of the table."""

import shutil
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eyewall.contracts.errors import EyewallError, InputError, StorageError
from eyewall.contracts.settings import Settings
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.environments import docker_build, process_build, verify
from eyewall.environments.recipe import LOCAL, Recipe
from eyewall.environments.registry import digest_of, engine
from eyewall.environments.table import Environment, building, resolve, sync
from eyewall.progress import Advance

Backend = Literal["docker", "process"]


class Outcome(NamedTuple):
    """What a build has come to: ``where`` is the image by digest, or the folder; ``fresh``: it was made just now."""

    name: str
    backend: Backend
    where: str
    fresh: bool
    seconds: float


class Builder:
    """Builds recipes for one installation."""

    def __init__(self, connection: Connection, settings: Settings, root: Path) -> None:
        """``connection`` in autocommit; ``root``: the folder for the process backend's environments and wheels."""
        self.connection, self.settings, self.root = connection, settings, root
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The Docker engine, asked for when it is needed first."""
        if self._engine is None:
            self._engine = engine(self.settings)
        return self._engine

    def build(self, recipe: Recipe, backend: Backend, say: Advance) -> Outcome:
        """Make what ``backend`` runs, unless it is there. Raises EyewallError; the row says the same sentence."""
        begun = time.monotonic()
        sync(self.connection, recipe.folder)
        with building(self.connection, recipe.name, lambda sentence: say(0, sentence)):
            recipe.lock()  # a recipe without one is refused before anything begins
            sha256 = recipe.sha256(self.settings.environments.base)
            known = resolve_or_none(self.connection, recipe.name)
            if known is not None and known.recipe_sha256 == sha256 and (there := self._there(known, backend)):
                self._end(recipe.name)
                return Outcome(recipe.name, backend, there, False, time.monotonic() - begun)
            self.connection.execute(statement("environments/begin"), {"name": recipe.name})
            if backend == "docker":
                outcome = self._image(recipe, sha256, say, begun)
            else:
                outcome = self._folder(recipe, sha256, say, begun)
        return outcome

    def _there(self, known: Environment, backend: Backend) -> str | None:
        """What the row says is built, if it really is there still."""
        if backend == "process":
            return known.folder if known.folder and (Path(known.folder) / "bin" / "python").exists() else None
        if known.image is None:
            return None
        registry = self.settings.environments.registry
        return known.image if digest_of(self.engine, known.image, registry) else None

    def _image(self, recipe: Recipe, sha256: str, say: Advance, begun: float) -> Outcome:
        built = docker_build.build_image(self.engine, recipe, sha256, self.settings, self.root, say)
        seconds = time.monotonic() - begun
        row = {"image": built.image, "size_bytes": built.size_bytes}
        self._record("environments/record_image", recipe, sha256, seconds, row)
        return Outcome(recipe.name, "docker", built.image, built.fresh, seconds)

    def _folder(self, recipe: Recipe, sha256: str, say: Advance, begun: float) -> Outcome:
        folder = process_build.folder_of(recipe, sha256, self.root).absolute()
        fresh = not folder.exists()
        if fresh:
            process_build.build_folder(recipe, sha256, self.root, say)
        say(0, f"trying it: import {recipe.module}")
        try:
            verify.judge(recipe, verify.run_in_folder(str(folder), recipe), container=False)
        except EyewallError:
            shutil.rmtree(folder, ignore_errors=True)  # what does not work is not found by the next build
            raise
        seconds = time.monotonic() - begun
        row = {"folder": str(folder), "size_bytes": process_build.size_bytes(folder)}
        self._record("environments/record_folder", recipe, sha256, seconds, row)
        return Outcome(recipe.name, "process", str(folder), fresh, seconds)

    def _record(self, name: str, recipe: Recipe, sha256: str, seconds: float, row: dict[str, Any]) -> None:
        common = {
            "name": recipe.name, "framework": recipe.framework, "version": recipe.version, "recipe_sha256": sha256,
            "build_s": seconds,
        }  # fmt: skip
        self.connection.execute(statement(name), common | row)

    def _end(self, name: str) -> None:
        self.connection.execute(statement("environments/record_end"), {"name": name, "reason": ""})

    def verify(self, recipe: Recipe, backend: Backend) -> str:
        """What is built, started and compared with the recipe; in words. Raises EyewallError with what is wrong."""
        known = resolve(self.connection, recipe.name, backend)
        sha256 = recipe.sha256(self.settings.environments.base)
        if known.recipe_sha256 != sha256:
            raise EyewallError(
                f"environment {recipe.name} is built from an older recipe ({known.recipe_sha256[:12]}, now"
                f" {sha256[:12]}): `eyewall env build {recipe.name} --backend {backend}`"
            )
        if backend == "process":
            return verify.judge(recipe, verify.run_in_folder(known.folder or "", recipe), container=False)
        image = known.image or ""
        self._verify_digest(recipe, image, sha256)
        self._pull(image)
        return verify.judge(recipe, verify.run_in_container(self.engine, image, recipe))

    def _verify_digest(self, recipe: Recipe, image: str, sha256: str) -> None:
        registry = self.settings.environments.registry
        _, _, recorded = image.partition("@")
        if digest_of(self.engine, image, registry) is None:
            raise StorageError(
                f"environment {recipe.name}: registry {registry} no longer has {image}:"
                f" `eyewall env build {recipe.name} --backend docker`"
            )
        tagged = digest_of(self.engine, f"{docker_build.repository(recipe, self.settings)}:{sha256[:12]}", registry)
        if tagged != recorded:
            raise StorageError(
                f"environment {recipe.name}: its tag {sha256[:12]} is {tagged} in the registry, but {recorded} was"
                f" recorded: somebody pushed another image; `eyewall env remove {recipe.name}`, then build it again"
            )

    def _pull(self, image: str) -> None:
        from docker.errors import APIError, ImageNotFound

        try:
            self.engine.pull(image)
        except (APIError, ImageNotFound) as error:
            raise StorageError(f"{image} cannot be pulled: {' '.join(str(error).split())[:300]}") from None

    def remove(self, name: str, *, keep: bool = True) -> list[str]:
        """Remove the folder and the engine's copy of the image; what was removed. The registry keeps its own.

        Unless ``keep``, the row goes as well, where no ended job names it.
        Raises InputError while a job that waits or runs names the environment.
        """
        known = resolve_or_none(self.connection, name)
        if known is None or name == LOCAL:
            what = "is the dispatcher's own interpreter" if known else "does not exist"
            raise InputError(f"environment {name!r} {what}: see `eyewall env list`")
        row = self.connection.execute(statement("environments/waiting_jobs"), {"name": name}).fetchone()
        if row and row[0]:
            raise InputError(f"environment {name}: {row[0]} jobs that wait or run need it; cancel them first")
        gone = []
        with building(self.connection, name, lambda _: None):
            self.connection.execute(statement("environments/forget"), {"name": name})
            for folder in self.root.glob(f"*{name}-*"):
                if folder.name.removeprefix(".making-").rpartition("-")[0] == name:
                    shutil.rmtree(folder)
                    gone.append(str(folder))
            if known.image:
                gone += self._remove_images(known.image)
            if not keep:
                self.connection.execute(statement("environments/drop"), {"name": name})
        return gone

    def _remove_images(self, image: str) -> list[str]:
        from docker.errors import APIError

        where, gone = image.partition("@")[0], []
        for found in self.engine.images(name=where):
            for name in found.get("RepoTags") or found.get("RepoDigests") or []:
                try:
                    self.engine.remove_image(name)
                except APIError as error:
                    raise EyewallError(f"{name} cannot be removed: {error.explanation}") from None
                gone.append(name)
        return gone


def resolve_or_none(connection: Connection, name: str) -> Environment | None:
    """The row of ``name``, whatever its state; None without one."""
    row = connection.execute(statement("environments/one"), {"name": name}).fetchone()
    return None if row is None else Environment(*row)
