"""An environment as an image of the registry: built by an engine, tried, pushed, and known by its digest from then on.

The tag holds the recipe's digest. So a build that was killed after its push, or that another machine has made, is found
in the registry instead of being made again.
"""

import io
import json
import re
import tarfile
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from eyewall.contracts.errors import EyewallError, StorageError
from eyewall.contracts.settings import Settings
from eyewall.environments.lock import fetch_wheels, labelled, packages, wheels_of
from eyewall.environments.recipe import Recipe, eyewall_files
from eyewall.environments.registry import digest_of, is_here
from eyewall.environments.verify import judge, run_in_container
from eyewall.progress import Advance

_LINE_CHARACTERS: Final = 300
_SHOWN_CHARACTERS: Final = 90  # of a step, while it runs
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")  # what a step prints on stderr comes in red
_RECIPE_LABEL: Final = "eyewall.recipe"


class Built(NamedTuple):
    """An image that can be pulled: ``registry/repository@sha256:…``, and its size when unpacked."""

    image: str
    size_bytes: int | None
    fresh: bool


def repository(recipe: Recipe, settings: Settings) -> str:
    """``registry/eyewall-env-<name>``."""
    return f"{settings.environments.registry}/eyewall-env-{recipe.name}"


def build_image(client: Any, recipe: Recipe, sha256: str, settings: Settings, root: Path, say: Advance) -> Built:
    """Build, try and push the image of ``recipe``, unless the registry has one that does what the recipe says.

    Raises StorageError when the registry does not answer (before anything is built), EyewallError with the last words
    of the step that failed. ``root``: the folder of all environments, for wheels that no index has.
    """
    registry = settings.environments.registry
    where, tag = repository(recipe, settings), sha256[:12]
    name = f"{where}:{tag}"
    digest = digest_of(client, name, registry)
    if digest is not None and (found := _taken_over(client, recipe, f"{where}@{digest}", sha256, say)):
        return found
    lock = recipe.lock()
    files = fetch_wheels(recipe, labelled(packages(lock)), wheels_of(recipe, root))
    base = settings.environments.base.replace("{python}", recipe.python)
    arguments = {
        "PYTHON": recipe.python, "BASE": base, "NAME": recipe.name, "VERSION": recipe.version, "RECIPE": sha256,
    }  # fmt: skip
    with tempfile.TemporaryFile() as context:
        _write_context(context, recipe, lock, files)
        said = client.build(
            fileobj=context, custom_context=True, tag=name, buildargs=arguments, rm=True, forcerm=True, decode=True,
            network_mode=settings.environments.build_network, target="trimmed" if files else "whole",
        )  # fmt: skip
        _follow_build(recipe, said, say)
    # A stage with the wheels is larger than the image, and of no use once that is there.
    client.prune_images(filters={"dangling": True, "label": [f"{_RECIPE_LABEL}={sha256}"]})
    say(0, f"trying it: import {recipe.module}")
    judge(recipe, run_in_container(client, name, recipe))
    digest = _push(client, recipe, where, tag, say)
    here = is_here(client, name)
    return Built(f"{where}@{digest}", here["Size"] if here else None, fresh=True)


def _taken_over(client: Any, recipe: Recipe, image: str, sha256: str, say: Advance) -> Built | None:
    """The image that is in the registry already, if it does what the recipe says; else None."""
    from docker.errors import APIError, ImageNotFound

    say(0, f"found {image} in the registry: trying it")
    try:
        client.pull(image)
        inspected = client.inspect_image(image)
        if (inspected["Config"].get("Labels") or {}).get(_RECIPE_LABEL) != sha256:
            say(0, "it says that it is of another recipe: building it again")
            return None
        judge(recipe, run_in_container(client, image, recipe))
    except (APIError, ImageNotFound, EyewallError) as error:
        say(0, f"it does not do what its recipe says ({str(error)[:200]}): building it again")
        return None
    return Built(image, inspected["Size"], fresh=False)


def _write_context(stream: Any, recipe: Recipe, lock: str, wheels: Iterable[Path]) -> None:
    """The build's files as a tar: always the same bytes for the same files, so that the engine's cache works."""
    with tarfile.open(fileobj=stream, mode="w") as archive:

        def add(name: str, data: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))

        add("Dockerfile", recipe.dockerfile.read_bytes())
        add("lock.txt", lock.encode())
        for name, data in eyewall_files().items():
            add(f"eyewall/{name}", data)
        folder = tarfile.TarInfo("wheels")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for wheel in wheels:
            entry = tarfile.TarInfo(f"wheels/{wheel.name}")
            entry.size, entry.mode = wheel.stat().st_size, 0o644
            with wheel.open("rb") as data_stream:
                archive.addfile(entry, data_stream)
    stream.seek(0)


def _follow_build(recipe: Recipe, said: Iterable[Mapping[str, Any]], say: Advance) -> None:
    step, last = "", ""
    for message in said:
        text = _COLOUR.sub("", str(message.get("stream", ""))).strip()
        if text.startswith("Step "):
            step = " ".join(text.split())
            if " : RUN " in step or " : COPY " in step:
                say(0, textwrap.shorten(step, _SHOWN_CHARACTERS, placeholder=" …"))
        elif text and not text.startswith(("--->", "Removing intermediate container")):
            last = text.splitlines()[-1]
        if "error" in message:
            raise EyewallError(
                f"environment {recipe.name}, docker: {step[:_LINE_CHARACTERS]}: {last[-_LINE_CHARACTERS:]}"
                f" ({str(message['error']).strip()[-_LINE_CHARACTERS:]})"
            )


def _push(client: Any, recipe: Recipe, where: str, tag: str, say: Advance) -> str:
    """Push; the digest that the registry gave. Raises StorageError when it refuses."""
    from docker.errors import APIError

    layers: dict[str, str] = {}
    digest = ""
    try:
        for message in client.push(where, tag=tag, stream=True, decode=True):
            if "error" in message:
                raise StorageError(
                    f"environment {recipe.name}: the registry does not take {where}:{tag}: {message['error']}"
                )
            if (layer := message.get("id")) and len(layer) == 12 and message.get("status"):
                before, layers[layer] = layers.get(layer), message["status"]
                done = sum(status in ("Pushed", "Layer already exists") for status in layers.values())
                if before != layers[layer] and layers[layer] in ("Pushed", "Layer already exists"):
                    say(0, f"pushing to {where}: {done} of {len(layers)} layers")
            digest = (message.get("aux") or {}).get("Digest", digest)
    except APIError as error:
        raise StorageError(
            f"environment {recipe.name}: {where}:{tag} cannot be pushed: {json.dumps(str(error.explanation))[:300]}"
        ) from None
    if not digest:
        raise StorageError(f"environment {recipe.name}: the registry of {where} gave no digest; push it again")
    return digest
