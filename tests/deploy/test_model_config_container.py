"""The fleet's container `config`, its shell lines run for real: the config file follows serving/models.json."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rendered import of_kind, overlay

from eyewall.serving.index import Index, ServedModel, Version, write_index
from eyewall.serving.promote import config_text
from eyewall.storage import Store


def _index(*versions: int) -> Index:
    good = {n: Version(model=f"models/{n:016x}", model_sha256=f"{n:064x}", state="good") for n in versions}
    labels = {"stable": versions[-1]} | ({"previous": versions[-2]} if len(versions) > 1 else {})
    return Index(models={"track": ServedModel(versions=good, served=versions, labels=labels)})


def _until(condition: Callable[[], bool], limit_s: float = 60.0) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def places(tmp_path: Path) -> tuple[Store, Path]:
    """A store, and the folder of the config file."""
    (tmp_path / "config").mkdir()
    return Store(str(tmp_path / "store")), tmp_path / "config"


def _command(container: str, store: Store, config: Path) -> list[str]:
    """The container's own command line, with the test's folders for its mounts, polling faster."""
    pod = of_kind(overlay("claim"), "Deployment")["model-server"]["spec"]["template"]["spec"]
    (found,) = (c for c in [*pod["initContainers"], *pod["containers"]] if c["name"] == container)
    (script,) = found["args"]
    script = (
        script.replace("--base /store", "--base @").replace("/store", store.url).replace("--base @", "--base /store")
    )
    return [*found["command"], script.replace("/config", str(config)).replace("sleep 5", "sleep 0.2")]


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where `eyewall` is
    return {**os.environ, "PATH": path}


@pytest.fixture
def follower(places: tuple[Store, Path]) -> Iterator[subprocess.Popen[bytes]]:
    """The container at work."""
    if shutil.which("cmp") is None:
        pytest.skip("needs cmp of diffutils, which the images have")
    process = subprocess.Popen(
        _command("config", *places), env=_environment(), stderr=subprocess.PIPE, start_new_session=True
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def test_before_the_first_publish_the_server_starts_from_a_config_without_models(places: tuple[Store, Path]) -> None:
    store, config = places
    subprocess.run(_command("first-config", store, config), env=_environment(), check=True, timeout=60)

    assert (config / "models.config").read_text() == config_text(Index(), "/store/serving")


def test_the_file_follows_the_index_and_outlives_a_damaged_one(
    places: tuple[Store, Path], follower: subprocess.Popen[bytes]
) -> None:
    store, config = places
    file = config / "models.config"

    def says(index: Index) -> bool:
        return file.exists() and file.read_text() == config_text(index, "/store/serving")

    write_index(store, _index(1))
    assert _until(lambda: says(_index(1)))
    assert 'base_path: "/store/serving/track"' in file.read_text()

    write_index(store, _index(1, 2))
    assert _until(lambda: says(_index(1, 2)))

    store.local("serving/models.json").write_text("{")
    time.sleep(2.5)  # several looks
    assert says(_index(1, 2))

    write_index(store, _index(2, 3))
    assert _until(lambda: says(_index(2, 3)))


def test_it_ends_at_once_when_the_pod_does(places: tuple[Store, Path], follower: subprocess.Popen[bytes]) -> None:
    """A shell that is process 1 and waits for `sleep` in the foreground would take the whole grace period."""
    write_index(places[0], _index(1))
    assert _until((places[1] / "models.config").exists)

    follower.send_signal(signal.SIGTERM)

    assert follower.wait(timeout=20) == 0
