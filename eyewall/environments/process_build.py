"""An environment as a folder of this machine, for its process worker: a venv of the same lock that images are made of.

It is written beside and renamed, so a folder under its final name is whole. Its name holds the recipe's digest: a new
recipe gets a new folder, and jobs that run in the old one keep theirs.
"""

import secrets
import shutil
from pathlib import Path

from eyewall.contracts.errors import EyewallError
from eyewall.environments.lock import fetch_wheels, labelled, packages, run_uv, uv, wheels_of
from eyewall.environments.recipe import Recipe, eyewall_files
from eyewall.progress import Advance

_BESIDE = ".making-"


def folder_of(recipe: Recipe, sha256: str, root: Path) -> Path:
    """Where the folder of the recipe with this digest is, or would be."""
    return root / f"{recipe.name}-{sha256[:12]}"


def build_folder(recipe: Recipe, sha256: str, root: Path, say: Advance) -> Path:
    """Make the folder; it is not there yet, and the caller is the only one who makes it. Its absolute path.

    Raises InputError when a package of the lock does not exist, EyewallError when uv ends otherwise.
    """
    final = folder_of(recipe, sha256, root).absolute()
    root.mkdir(parents=True, exist_ok=True)
    for leftover in root.glob(f"{_BESIDE}{recipe.name}-*"):  # of a build that was killed: nobody else makes this one
        shutil.rmtree(leftover, ignore_errors=True)
    # Never the same name twice: the uv of a killed build may still be writing to its own.
    beside = root.absolute() / f"{_BESIDE}{recipe.name}-{secrets.token_hex(6)}"
    lock = packages(recipe.lock())
    say(0, f"installing {len(lock)} packages into {final}")
    wheels = wheels_of(recipe, root)
    fetch_wheels(recipe, labelled(lock), wheels)
    what = f"environment {recipe.name}, process"
    try:
        # Relocatable: its programs find their Python beside themselves, also after the renaming.
        run_uv("venv", "--quiet", "--relocatable", "--no-python-downloads", "--no-project", "--python", recipe.python,
               str(beside), what=what)  # fmt: skip
        run_uv("pip", "install", "--quiet", "--python", str(beside / "bin" / "python"), "--no-deps",
               "--compile-bytecode", "--find-links", str(wheels), "-r", str(recipe.lock_file), what=what)  # fmt: skip
        package = _site_packages(beside) / "eyewall"
        package.mkdir()
        for name, data in eyewall_files().items():
            (package / name).write_bytes(data)
        beside.rename(final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return final


def _site_packages(prefix: Path) -> Path:
    found = list(prefix.glob("lib/python3*/site-packages"))
    if len(found) != 1:
        raise EyewallError(f"{prefix} made by {uv()} has {len(found)} folders site-packages, not one: update uv")
    return found[0]


def size_bytes(folder: Path) -> int:
    """Bytes of all files below ``folder``; links count as nothing."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
