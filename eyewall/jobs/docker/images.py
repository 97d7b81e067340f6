"""Images by digest: there, or pulled from the registry that their name says.

A name without a digest is refused: two hosts, or two days, would run different things under it.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound

from eyewall.contracts.errors import ContractError, ServingError
from eyewall.jobs.docker.engine import Engine, sentence
from eyewall.jobs.docker.options import DockerOptions

_BY_DIGEST = re.compile(r"^[a-z0-9][A-Za-z0-9._/:-]{0,300}@(sha256:[0-9a-f]{64})$")
#: How long a registry may be silent while a layer is unpacked, s.
_PULL_TIMEOUT_S = 600.0
#: What a registry says where trying again is no use.
_NEVER = ("manifest unknown", "not found", "access denied", "denied:", "unauthorized", "no basic auth", "name unknown")


def image_there(engine: Engine, image: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """What the engine knows the image by; it is pulled first where the engine has none of that digest.

    Raises ContractError for a name without a digest and for an image that no registry gives, ServingError where the
    registry does not answer.
    """
    match = _BY_DIGEST.match(image or "")
    if image is None or match is None:
        raise ContractError(f"image {image!r} has no digest: build its environment with `eyewall env build`")
    client = engine.client
    # An image that was loaded from a file has no registry's digest; its own id is a digest of its content as well.
    for name in (image, match[1]):
        if (found := _inspect(client, name)) is not None:
            return str(found["Id"])
    _pull(engine, image, DockerOptions.of(engine.worker), environ)
    found = _inspect(client, image)
    if found is None:
        raise ContractError(f"worker {engine.worker.name}: image {image} was pulled, but is not there")
    return str(found["Id"])


def _inspect(client: APIClient, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.inspect_image(name)
    except NotFound:
        return None
    return found


def _pull(engine: Engine, image: str, options: DockerOptions, environ: Mapping[str, str]) -> None:
    client = engine.client
    usual, client.timeout = client.timeout, _PULL_TIMEOUT_S
    said = ""
    try:
        for line in client.pull(image, stream=True, decode=True, auth_config=_login(engine, options, environ)):
            said = str(line.get("error") or said)
    except APIError as error:
        said = sentence(error)
    finally:
        client.timeout = usual
    if not said:
        return
    text = f"worker {engine.worker.name}: image {image} cannot be pulled: {' '.join(said.split())[:300]}"
    if any(words in said.lower() for words in _NEVER):
        raise ContractError(f"{text}; push it with `eyewall env build`, or give the worker the registry's login")
    raise ServingError(f"{text}; the registry may be away")


def _login(engine: Engine, options: DockerOptions, environ: Mapping[str, str]) -> dict[str, str] | None:
    """User and password from the variables that the options name; None: what Docker's own config says."""
    names = (options.registry_user_env, options.registry_password_env)
    if names[0] is None or names[1] is None:
        return None
    for name in names:
        if name not in environ:
            raise ContractError(
                f"worker {engine.worker.name}: variable {name} is not set: it holds the registry's login"
            )
    return {"username": environ[names[0]], "password": environ[names[1]]}
