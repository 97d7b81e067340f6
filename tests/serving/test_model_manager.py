"""Loading, swapping and letting go of versions, with models that are made of nothing but time."""

import threading
import time
from pathlib import Path

import pytest

from eyewall.serving.manager import ModelManager
from eyewall.serving.plan import ModelPlan
from eyewall.serving.status import StatusError


class Loader:
    """Loads a folder as its own name; waits at ``gate`` if told to, and fails where ``broken`` says so."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.gate: dict[str, threading.Event] = {}
        self.loads: list[str] = []

    def __call__(self, folder: Path) -> str:
        """Load."""
        self.loads.append(folder.name)
        if folder.name in self.gate:
            assert self.gate[folder.name].wait(10)
        if folder.name in self.broken:
            raise StatusError("INTERNAL", "variables are missing")
        return folder.name


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def manager(loader):
    made = ModelManager(load=loader)
    yield made
    made.close()


def plan(*versions: int, **labels: int) -> ModelPlan:
    return ModelPlan("track", Path("/models/track"), "specific", versions=versions, labels=labels)


def states(manager: ModelManager) -> dict[int, str]:
    return {v.version: v.state for v in manager.status("track")}


def wait_for(condition, what="the state"):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.005)


def asked(manager: ModelManager, **choice) -> tuple[int, str]:
    with manager.use("track", **choice) as answer:
        return answer


def test_a_new_model_is_available_once_reload_returns(manager):
    manager.reload([plan(1, 2, stable=1)], early_labels=True)
    assert states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert asked(manager) == (2, "2")  # the highest
    assert asked(manager, version=1) == (1, "1")
    assert asked(manager, label="stable") == (1, "1")


@pytest.mark.parametrize(
    ("name", "choice", "code", "sentence"),
    [
        pytest.param("nope", {}, "NOT_FOUND", r"Latest\(nope\)", id="model"),
        pytest.param("track", {"version": 9}, "NOT_FOUND", r"Specific\(track, 9\)", id="version"),
        pytest.param("track", {"label": "nope"}, "INVALID_ARGUMENT", "Unrecognized servable version label", id="label"),
        pytest.param("", {}, "INVALID_ARGUMENT", "no name", id="no-name"),
    ],
)
def test_what_is_not_there_is_refused_as_tensorflow_serving_does(manager, name, choice, code, sentence):
    manager.reload([plan(1)])
    with pytest.raises(StatusError, match=sentence) as refused, manager.use(name, **choice):
        pytest.fail("found")
    assert refused.value.code == code


def test_the_old_version_answers_until_the_new_one_is_loaded(manager, loader):
    manager.reload([plan(1)])
    loader.gate["2"] = threading.Event()
    manager.reload([plan(2)])  # returns at once: the model is not new
    wait_for(lambda: states(manager)[2] == "LOADING")
    assert asked(manager) == (1, "1")
    loader.gate["2"].set()
    wait_for(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert asked(manager) == (2, "2")


def test_a_version_is_freed_only_after_its_last_request(manager):
    manager.reload([plan(1)])
    with manager.use("track") as (_, model):
        manager.reload([plan(2)])
        wait_for(lambda: states(manager)[1] == "UNLOADING")
        assert asked(manager) == (2, "2")  # no new request gets the old one
        assert model == "1"
    wait_for(lambda: states(manager)[1] == "END")


def test_a_version_wanted_again_while_it_drains_is_not_loaded_twice(manager, loader):
    manager.reload([plan(1)])
    with manager.use("track"):
        manager.reload([plan(2)])
        wait_for(lambda: states(manager)[1] == "UNLOADING")
        manager.reload([plan(1, 2)])
        assert states(manager)[1] == "AVAILABLE"
    assert states(manager)[1] == "AVAILABLE"
    assert loader.loads == ["1", "2"]


def test_a_version_that_does_not_load_leaves_the_old_one_serving_and_says_why(manager, loader):
    manager.reload([plan(1, stable=1)], early_labels=True)
    loader.broken.add("2")
    manager.reload([plan(2, stable=1)])
    wait_for(lambda: states(manager)[2] == "END")
    assert states(manager)[1] == "AVAILABLE"
    assert asked(manager, label="stable") == (1, "1")
    (failed,) = manager.status("track", 2)
    assert (failed.error.code, str(failed.error)) == ("INTERNAL", "variables are missing")


def test_a_version_that_failed_is_loaded_again_when_it_is_asked_for_again(manager, loader):
    loader.broken.add("1")
    with pytest.raises(StatusError, match=r"did not become available.*variables are missing"):
        manager.reload([plan(1)])
    loader.broken.clear()
    manager.reload([plan(1)])
    wait_for(lambda: states(manager)[1] == "AVAILABLE")


def test_a_label_on_a_version_that_is_not_available_is_refused_and_nothing_changes(manager):
    manager.reload([plan(1, stable=1)], early_labels=True)
    with pytest.raises(StatusError, match="version 2 of model track, which is not currently available") as refused:
        manager.reload([plan(1, 2, stable=2)])
    assert refused.value.code == "FAILED_PRECONDITION"
    assert states(manager) == {1: "AVAILABLE"}
    assert asked(manager, label="stable") == (1, "1")


def test_a_model_that_is_not_in_the_config_is_let_go(manager):
    manager.reload([plan(1)])
    manager.reload([])
    wait_for(lambda: states(manager) == {1: "END"})
    with pytest.raises(StatusError, match=r"Latest\(track\)"):
        asked(manager)


def test_a_new_model_that_takes_too_long_is_reported_and_still_loads_in_the_background(manager, loader):
    loader.gate["1"] = threading.Event()
    with pytest.raises(StatusError, match="did not become available") as late:
        manager.reload([plan(1)], wait_s=0.05)
    assert late.value.code == "UNKNOWN"
    loader.gate["1"].set()
    wait_for(lambda: states(manager)[1] == "AVAILABLE")


def test_an_error_that_nobody_foresaw_ends_the_version_not_the_server():
    def load(folder: Path) -> str:
        raise MemoryError(f"{folder.name} is too much")

    manager = ModelManager(load=load)
    with pytest.raises(StatusError, match="MemoryError: 1 is too much"):
        manager.reload([plan(1)])
    manager.close()


def test_with_the_policy_latest_a_new_folder_is_found_and_served(tmp_path, loader):
    manager = ModelManager(load=loader)
    (tmp_path / "1").mkdir()
    manager.reload([ModelPlan("track", tmp_path)])
    (tmp_path / ".2.tmp").mkdir()
    manager.refresh()
    assert states(manager) == {1: "AVAILABLE"}
    (tmp_path / ".2.tmp").rename(tmp_path / "2")
    manager.refresh()
    wait_for(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    manager.close()
