"""Containers of steps on a Docker engine, as the local platform sees them: are they possible, and which are left."""

import contextlib
from collections.abc import Iterator
from typing import Any

from eyewall.contracts.errors import InputError
from eyewall.contracts.placement import IMAGE_OF, STORE_LABEL
from eyewall.contracts.settings import Settings

#: Seconds for one answer of the engine.
_TIMEOUT_S = 60


@contextlib.contextmanager
def _engine(settings: Settings) -> Iterator[Any]:
    """A client of the settings' engine. Raises InputError where none answers."""
    import docker  # comes with the extra `airflow`; 0.3 s that other backends need not wait for
    from docker.errors import DockerException

    try:
        client = docker.APIClient(base_url=settings.docker.url, version="auto", timeout=_TIMEOUT_S)
    except DockerException as error:
        raise InputError(
            f"no Docker engine answers at {settings.docker.url}: start one, or name another in [docker] url ({error})"
        ) from None
    with contextlib.closing(client):
        yield client


def demand_images(settings: Settings, verbs: tuple[str, ...]) -> None:
    """Raise InputError where no engine answers, or has not the images of the steps ``verbs``."""
    with _engine(settings) as client:
        wanted = sorted({settings.docker.image(verb) for verb in verbs if verb in IMAGE_OF})
        missing = [image for image in wanted if not client.images(name=image)]
    if missing:
        raise InputError(f"the Docker engine has no image {', '.join(missing)}: make them with `make images`")


def remove_steps(settings: Settings, store: str) -> int:
    """End and remove the containers of steps on ``store`` that nobody follows any more; how many there were.

    A task that is killed leaves its container to its next try; where Airflow is ended there is none. An engine that
    is away has none either.
    """
    if settings.backend != "docker":
        return 0
    from docker.errors import DockerException

    removed = 0
    with contextlib.suppress(InputError, DockerException), _engine(settings) as client:
        for found in client.containers(all=True, filters={"label": f"{STORE_LABEL}={store}"}):
            with contextlib.suppress(DockerException):  # its own task may be removing it
                client.remove_container(found["Id"], force=True)
                removed += 1
    return removed
