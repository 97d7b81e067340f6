"""Recipes: ``images/environments.yaml``, read strictly. A line there and a lock beside it are an environment.

images/environments.yaml              name → recipe
images/environments/<name>.txt        its lock, made by `eyewall env lock <name>`
images/environment/Dockerfile         one for all
"""

import hashlib
import json
import re
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eyewall.contracts.errors import InputError
from eyewall.contracts.settings import Settings

#: The environment of the dispatcher's own interpreter; no recipe may take its name.
LOCAL: Final = "local"
GPU_SUFFIX: Final = "-gpu"
_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*-[0-9]+(\.[0-9]+)*"
_MODULE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
#: All that a job needs of Eyewall: it is the standard library only, and so goes with any framework's packages.
_EYEWALL_FILES = ("__init__.py", "report.py")


def _requirement(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"{text!r} is no requirement ({str(error).splitlines()[0]}): give name==version") from None
    if requirement.url is not None:
        raise ValueError(f"{text!r} is a URL: name a package of an index, so that the lock can pin it")
    return requirement


def _pinned(requirement: Requirement) -> str | None:
    """The version behind a single ``==``; None without one."""
    pins = list(requirement.specifier)
    exact = len(pins) == 1 and pins[0].operator == "==" and not pins[0].version.endswith("*")
    return pins[0].version if exact else None


class _Entry(BaseModel):
    """One entry of the file, as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requirements: tuple[str, ...] = Field(min_length=1)
    python: str = Field("3.11", pattern=r"^3\.[0-9]{1,2}$")
    omit: tuple[str, ...] = ()
    module: str | None = Field(None, pattern=_MODULE)
    check: str = ""
    index: str | None = Field(None, pattern=r"^https://[^\s@]+$")
    gpu: tuple[str, ...] = ()

    @field_validator("requirements", "gpu")
    @classmethod
    def _requirements(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        requirements = [_requirement(text) for text in texts]
        if requirements and _pinned(requirements[0]) is None:
            raise ValueError(f"{texts[0]!r}, the framework, is not pinned: give {requirements[0].name}==version")
        return texts

    @field_validator("omit")
    @classmethod
    def _names(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if _requirement(text).name != text:
                raise ValueError(f"{text!r} is more than a package's name")
        return texts

    @field_validator("check")
    @classmethod
    def _expression(cls, text: str) -> str:
        if text:
            try:
                compile(text, "check", "eval")
            except (SyntaxError, ValueError) as error:
                raise ValueError(f"{text!r} is no Python expression: {error}") from None
        return text


class Recipe(BaseModel):
    """One environment: a framework at a version, and all that decides what is in it."""

    model_config = ConfigDict(frozen=True)

    name: str
    framework: str
    version: str
    requirements: tuple[str, ...]
    python: str
    omit: tuple[str, ...]
    module: str
    check: str
    index: str | None
    folder: Path

    @property
    def lock_file(self) -> Path:
        """Its lock."""
        return self.folder / "environments" / f"{self.name}.txt"

    @property
    def dockerfile(self) -> Path:
        """The one of all environments."""
        return self.folder / "environment" / "Dockerfile"

    @property
    def asks_for(self) -> str:
        """What the lock has to be made for, in one line; the lock repeats it, so that an old one is noticed."""
        omitted = f" without {' '.join(self.omit)}" if self.omit else ""
        return f"Python {self.python}, Linux x86_64: {' '.join(self.requirements)}{omitted}"

    def lock(self) -> str:
        """Text of the lock. Raises InputError where there is none, or where it is another recipe's."""
        try:
            text = self.lock_file.read_text()
        except OSError:
            raise InputError(
                f"environment {self.name} has no lock {self.lock_file}: `eyewall env lock {self.name}`"
            ) from None
        if f"# {self.asks_for}\n" not in text:
            raise InputError(
                f"{self.lock_file} was made for other requirements than {', '.join(self.requirements)}:"
                f" `eyewall env lock {self.name}`"
            )
        return text

    def sha256(self, base: str) -> str:
        """Digest of all that decides what is in the environment: entry, lock, Dockerfile, base, `eyewall.report`.

        What verifies it (module, check) decides nothing, and a missing lock counts as an empty one.
        """
        lock = self.lock_file.read_bytes() if self.lock_file.is_file() else b""
        parts = {
            "format": 1,
            "entry": [list(self.requirements), self.python, list(self.omit)],
            "lock": hashlib.sha256(lock).hexdigest(),
            "dockerfile": hashlib.sha256(self._dockerfile_bytes()).hexdigest(),
            "base": base.replace("{python}", self.python),
            "eyewall": {name: hashlib.sha256(data).hexdigest() for name, data in eyewall_files().items()},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _dockerfile_bytes(self) -> bytes:
        try:
            return self.dockerfile.read_bytes()
        except OSError as error:
            raise InputError(f"{self.dockerfile} cannot be read: {error.strerror}; it belongs to the recipes") from None


def eyewall_files() -> dict[str, bytes]:
    """File name → content of the little of the package ``eyewall`` that every environment has."""
    package = files("eyewall")
    return {name: (package / name).read_bytes() for name in _EYEWALL_FILES}


def recipes_folder(settings: Settings) -> Path:
    """The folder of environments.yaml. Raises InputError when there is none."""
    if settings.environments.recipes is not None:
        folder = Path(settings.environments.recipes)
    else:
        candidates = (Path.cwd(), Path(__file__).resolve().parents[2])
        folder = next((c for c in candidates if (c / "images" / "environments.yaml").is_file()), candidates[0])
        folder = folder / "images"
    if not (folder / "environments.yaml").is_file():
        raise InputError(
            f"no {folder / 'environments.yaml'}: run this in the project's folder, or set recipes in [environments]"
        )
    return folder


class _Strict(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} stands there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_recipes(folder: Path) -> dict[str, Recipe]:
    """Name → recipe, in the order of the file, each GPU variant after its own.

    Raises InputError: one sentence that names the file, the place and the offending value.
    """
    path = folder / "environments.yaml"
    try:
        entries = yaml.load(path.read_bytes(), Loader=_Strict)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{path} is not valid YAML: {where}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f"{path} lists no environments: give name: {{requirements: [package==version]}}")
    recipes: dict[str, Recipe] = {}
    for name, values in entries.items():
        for recipe in _recipes_of(path, name, values):
            recipes[recipe.name] = recipe
    return recipes


def recipe_named(name: str, folder: Path) -> Recipe:
    """The recipe ``name``. Raises InputError with the names that there are."""
    recipes = read_recipes(folder)
    if name not in recipes:
        raise InputError(
            f"no environment {name!r}: environments are {', '.join(recipes)}; add it to {folder / 'environments.yaml'}"
        )
    return recipes[name]


def _recipes_of(path: Path, name: Any, values: Any) -> list[Recipe]:
    if not isinstance(name, str) or not re.fullmatch(_NAME, name) or len(name) > 60:
        raise InputError(f"{path}: {name!r} names no environment: give framework-version, such as tensorflow-2.21")
    if not isinstance(values, dict):
        raise InputError(f"{path}: {name} is {values!r}: give {{requirements: [package==version]}}")
    try:
        entry = _Entry.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f" = {first.get('input')!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {name}: {where}{given}: {message}") from None
    framework, _, version = name.rpartition("-")
    made = [_recipe(path, name, framework, version, entry, entry.requirements, entry.omit)]
    if entry.gpu:  # what the CPU's package stands in for is asked for itself there
        made.append(_recipe(path, name + GPU_SUFFIX, framework, version, entry, entry.gpu, ()))
    return made


def _recipe(
    path: Path,
    name: str,
    framework: str,
    prefix: str,
    entry: _Entry,
    requirements: tuple[str, ...],
    omit: tuple[str, ...],
) -> Recipe:
    first = Requirement(requirements[0])
    pinned = _pinned(first) or ""
    if not f"{Version(pinned).public}.".startswith(f"{prefix}."):
        raise InputError(f"{path}: {name} is not {requirements[0]!r}: name it {framework}-{Version(pinned).public}")
    gone = {canonicalize_name(other) for other in omit} & {canonicalize_name(Requirement(r).name) for r in requirements}
    if gone:
        raise InputError(f"{path}: {name} asks for {', '.join(sorted(gone))} and omits it: take it out of one of them")
    return Recipe(
        name=name, framework=framework, version=str(Version(pinned)), requirements=requirements, python=entry.python,
        omit=omit, module=entry.module or framework.replace("-", "_"), check=entry.check, index=entry.index,
        folder=path.parent.absolute(),
    )  # fmt: skip
