"""Images as an engine and a registry see them: what is there, by which digest, and a registry for a laptop.

Everything is asked of the engine, not of the registry itself: the engine is who pulls, and it may be on another host.
"""

import os
from typing import Any, Final

from eyewall.contracts.errors import EyewallError, InputError, StorageError
from eyewall.contracts.settings import Settings

_REGISTRY_IMAGE: Final = "registry:2"
_SILENCE_S: Final = 3600  # a step of a build may print nothing for as long as it downloads


def engine(settings: Settings) -> Any:
    """A client of the engine that builds: DOCKER_HOST, else the settings' [docker] url. Raises EyewallError."""
    import docker
    from docker.utils import kwargs_from_env

    where = kwargs_from_env() if os.environ.get("DOCKER_HOST") else {"base_url": settings.docker.url}
    try:
        return docker.APIClient(version="auto", timeout=_SILENCE_S, **where)
    except docker.errors.DockerException as error:
        sentence = str(error).splitlines()[0][:200]
        raise EyewallError(f"no Docker engine answers ({sentence}): start it, or set DOCKER_HOST") from None


def digest_of(client: Any, image: str, registry: str) -> str | None:
    """``sha256:…`` of ``image`` (a tag or a digest) in the registry; None when it is not there.

    Raises StorageError when the registry does not answer the engine, or refuses it.
    """
    from docker.errors import APIError

    try:
        digest: str = client.inspect_distribution(image)["Descriptor"]["digest"]
        return digest
    except APIError as error:
        said = " ".join(str(error.explanation or error).split())
    if "manifest unknown" in said or "not found" in said or "name unknown" in said:
        return None
    raise StorageError(
        f"registry {registry} does not answer the engine ({said[:200]}): start one with `eyewall env registry`, or name"
        " yours as registry in [environments]"
    )


def is_here(client: Any, image: str) -> dict[str, Any] | None:
    """What the engine knows of an image that it has; None when it has none."""
    from docker.errors import ImageNotFound

    try:
        found: dict[str, Any] = client.inspect_image(image)
        return found
    except ImageNotFound:
        return None


def start_registry(client: Any, registry: str) -> str:
    """Run a registry on this machine's loopback address, for all time; what was done, in words.

    Raises InputError when the settings name a registry elsewhere, EyewallError when the engine cannot start one.
    """
    from docker.errors import APIError, ImageNotFound, NotFound

    host, _, port = registry.partition("/")[0].partition(":")
    if host not in ("127.0.0.1", "localhost") or not port:
        raise InputError(f"registry {registry} is not one of this machine: start it where it is")
    name = f"eyewall-registry-{port}"
    try:
        state = client.inspect_container(name)["State"]
        if not state["Running"]:
            client.start(name)
        return f"{'runs' if state['Running'] else 'started'} at {registry}"
    except NotFound:
        pass
    try:
        if is_here(client, _REGISTRY_IMAGE) is None:
            client.pull(*_REGISTRY_IMAGE.split(":"))
        client.create_container(
            _REGISTRY_IMAGE,
            name=name,
            ports=[5000],
            volumes=["/var/lib/registry"],
            host_config=client.create_host_config(
                port_bindings={5000: ("127.0.0.1", int(port))},
                binds=[f"{name}:/var/lib/registry"],
                restart_policy={"Name": "unless-stopped"},
            ),
        )
        client.start(name)
    except (APIError, ImageNotFound) as error:
        raise EyewallError(f"registry at {registry} does not start: {' '.join(str(error).split())[:300]}") from None
    return f"made and started at {registry}; its images are in the volume {name}"
