"""Locks: every package of an environment with its version, for Linux on x86_64 and one Python.

uv resolves. A version with a local label, such as PyTorch's ``+cpu``, is on no public index that uv would look at: pip
fetches its wheel once, from wherever pip is configured to look (its find-links), else from the recipe's own index.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.environments.recipe import Recipe

PLATFORM: Final = "x86_64-manylinux_2_28"
_PIP_PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def packages(lock: str) -> dict[str, str]:
    """Package → version of a lock's text."""
    lines = (line.partition(";")[0].strip() for line in lock.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


def labelled(versions: dict[str, str]) -> list[str]:
    """The ``name==version+label`` among them, which no public index has."""
    return [f"{name}=={version}" for name, version in versions.items() if "+" in version]


def wheels_of(recipe: Recipe, root: Path) -> Path:
    """Folder for wheels that no index has, below that of all environments; one for each recipe.

    In a common one a GPU variant would find the CPU's wheel, and take it.
    """
    return root.absolute() / "wheels" / recipe.name


def make_lock(recipe: Recipe, root: Path, *, upgrade: bool = False) -> Path:
    """Write the lock of ``recipe``; versions that are locked already stay, unless ``upgrade``. The file.

    ``root``: the folder of all environments, for wheels that no index has.

    Raises InputError when the requirements contradict each other, EyewallError when no index answers.
    """
    wheels = wheels_of(recipe, root)
    fetch_wheels(recipe, labelled(packages("\n".join(recipe.requirements))), wheels)
    path = recipe.lock_file
    path.parent.mkdir(parents=True, exist_ok=True)
    made, overrides = path.with_suffix(".making"), path.with_suffix(".overrides")
    try:
        if path.exists() and not upgrade:
            shutil.copyfile(path, made)
        overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in recipe.omit))
        run_uv(
            "pip", "compile", "-", "--python-version", recipe.python, "--python-platform", PLATFORM, "--no-annotate",
            "--no-header", "--no-emit-index-url", "--find-links", str(wheels), "--overrides", str(overrides),
            "--output-file", str(made), given="\n".join(recipe.requirements),
            what=f"environment {recipe.name} cannot be locked",
        )  # fmt: skip
        heading = f"# Made by `eyewall env lock {recipe.name}` for:\n# {recipe.asks_for}\n"
        made.write_text(heading + made.read_text())
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
        overrides.unlink(missing_ok=True)
    return path


def fetch_wheels(recipe: Recipe, pins: list[str], folder: Path) -> list[Path]:
    """The wheels of ``pins`` (name==version+label), in ``folder``: those that are missing are fetched by pip.

    Raises InputError when neither pip's configured places nor the recipe's index have one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for pin in pins:
        name, _, version = pin.partition("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            _fetch(recipe, pin, folder)
        found += sorted(folder.glob(pattern))
    return found


def _fetch(recipe: Recipe, pin: str, folder: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--python-version", recipe.python, *(f"--platform={platform}" for platform in _PIP_PLATFORMS),
    ]  # fmt: skip
    beside = folder / f".fetching-{os.getpid()}"
    places: list[list[str]] = [[], *([["--index-url", recipe.index]] if recipe.index else [])]
    said = ""
    try:
        for place in places:
            run = subprocess.run([*command, "--dest", str(beside), *place, pin], capture_output=True, text=True)
            if run.returncode == 0:
                for wheel in beside.iterdir():
                    wheel.replace(folder / wheel.name)
                return
            said = next(iter(reversed(run.stderr.strip().splitlines())), "")
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    where = f"pip's own places nor {recipe.index}" if recipe.index else "pip's own places; give the entry an index"
    raise InputError(f"environment {recipe.name}: {pin} is in neither of {where} ({said[:200]})")


def uv() -> str:
    """Path of uv. Raises InputError when it is not installed."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise InputError("uv is not installed, and environments are made with it: pip install uv")
    return found


def run_uv(*arguments: str, what: str, given: str = "") -> str:
    """Run uv; what it printed on stdout. Raises InputError with its last words for 1, EyewallError for any other end.

    1 is uv's code for a question without an answer (a version that does not exist, a contradiction).
    """
    # Not from within a project: uv would apply that one's own settings. Those of the user and the machine hold.
    run = subprocess.run([uv(), *arguments], input=given, capture_output=True, text=True, cwd="/")
    if run.returncode:
        words = " ".join(run.stderr.replace("×", "").replace("╰─▶", ":").replace("│", "").split())
        kind = InputError if run.returncode == 1 else EyewallError
        raise kind(f"{what}: {words[-600:]}")
    return run.stdout
