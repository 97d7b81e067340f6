"""Does an environment do what its recipe says? It is started, imports its framework and computes something tiny.

What its own Python reports (`probe`) is compared with the recipe and, package by package, with the lock.
"""

import inspect
import json
import subprocess
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from eyewall.contracts.errors import EyewallError
from eyewall.environments import probe
from eyewall.environments.lock import packages
from eyewall.environments.recipe import Recipe

#: Importing TensorFlow from a cold disk takes half a minute.
_SECONDS: Final = 300
_OUTPUT_BYTES: Final = 1 << 20


def judge(recipe: Recipe, found: dict[str, Any], *, container: bool = True) -> str:
    """What was found, in words. Raises EyewallError with the first thing that is not as the recipe says."""
    name, asked = recipe.name, packages(recipe.lock())
    installed = {canonicalize_name(package): version for package, version in found["packages"].items()}
    wrong = [
        f"{package} is {installed.get(canonicalize_name(package), 'missing')}, not {version}"
        for package, version in asked.items()
        if installed.get(canonicalize_name(package)) != version
    ]
    if found["python"] != recipe.python:
        wrong.insert(0, f"its Python is {found['python']}, not {recipe.python}")
    if "error" in found:
        wrong.insert(0, f"import {recipe.module}: {found['error']}")
    elif not found["check"]:
        wrong.insert(0, f"{recipe.check} is not true")
    elif found["reports"] != ["eyewall-report"] * 2:
        wrong.insert(0, f"eyewall.report printed {found['reports']}")
    if container and found["uid"] == 0:
        wrong.append("it runs as root")
    if container and found["unwritable"]:
        wrong.append(f"jobs cannot write to {', '.join(found['unwritable'])}")
    if wrong:
        raise EyewallError(f"environment {name} is not what its recipe says: {'; '.join(wrong)[:600]}")
    return f"{recipe.module} {found['version'] or recipe.version}, {len(asked)} packages as locked"


def run_in_folder(folder: str, recipe: Recipe) -> dict[str, Any]:
    """What the Python of a process worker's folder finds. Raises EyewallError when it does not even answer."""
    python = Path(folder) / "bin" / "python"
    command = [str(python), "-I", "-c", inspect.getsource(probe), recipe.module, recipe.check]
    try:
        run = subprocess.run(
            command, capture_output=True, timeout=_SECONDS, text=True, stdin=subprocess.DEVNULL,
            env={"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": "/nonexistent", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    except OSError as error:
        raise EyewallError(
            f"environment {recipe.name}: {python} cannot be run: {error.strerror}; build it again"
        ) from None
    except subprocess.TimeoutExpired:
        raise EyewallError(f"environment {recipe.name}: import {recipe.module} takes more than {_SECONDS} s") from None
    return _answer(recipe, run.stdout, run.stderr, run.returncode)


def run_in_container(client: Any, image: str, recipe: Recipe) -> dict[str, Any]:
    """What the Python of an image finds, without network and rights. Raises EyewallError when it does not answer."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    command = ["python", "-c", inspect.getsource(probe), recipe.module, recipe.check]
    made = None
    try:
        made = client.create_container(
            image, command, network_disabled=True, environment={"TF_CPP_MIN_LOG_LEVEL": "3"},
            labels={"eyewall.verify": recipe.name},
            host_config=client.create_host_config(cap_drop=["ALL"], security_opt=["no-new-privileges"]),
        )["Id"]  # fmt: skip
        client.start(made)
        code = client.wait(made, timeout=_SECONDS)["StatusCode"]
        out = client.logs(made, stdout=True, stderr=False)[-_OUTPUT_BYTES:].decode(errors="replace")
        err = client.logs(made, stdout=False, stderr=True)[-_OUTPUT_BYTES:].decode(errors="replace")
    except (APIError, RequestException) as error:
        said = " ".join(str(error).split())[:300]
        raise EyewallError(f"environment {recipe.name}: {image} cannot be run: {said}") from None
    finally:
        if made is not None:
            client.remove_container(made, force=True, v=True)
    return _answer(recipe, out, err, code)


def _answer(recipe: Recipe, out: str, err: str, code: int) -> dict[str, Any]:
    last = next(iter(reversed(out.strip().splitlines())), "")
    try:
        found: dict[str, Any] = json.loads(last)
    except ValueError:
        words = " ".join((err or out).split())[-300:]
        raise EyewallError(
            f"environment {recipe.name}: import {recipe.module} ended its Python with {code}: {words}"
        ) from None
    return found
