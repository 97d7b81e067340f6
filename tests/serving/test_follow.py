"""A server that follows models.json tries again what failed, and lets go of nothing that it was not told to let go."""

import errno
import logging
from pathlib import Path

import pytest

from eyewall.serving.backoff import Backoff
from eyewall.serving.follow import Follower
from eyewall.serving.index import Index, ServedModel, Version, write_index
from eyewall.serving.lock import repository_lock
from eyewall.serving.manager import ModelManager
from eyewall.storage import Store

SHA = "ab" * 32


class Disk:
    """Loads a folder as its own name, or fails where ``faults`` says how; counts the loads of each."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.loads: list[str] = []

    def __call__(self, folder: Path) -> str:
        """Load."""
        key = f"{folder.parent.name}/{folder.name}"
        self.loads.append(key)
        if key in self.faults:
            raise self.faults[key]
        return key


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def manager(disk):
    made = ModelManager(load=disk)
    yield made
    made.close()


@pytest.fixture
def store(store_url):
    return Store(store_url)


@pytest.fixture
def follower(manager, store, clock, caplog):
    caplog.set_level(logging.INFO, "eyewall.serving.follow")
    return Follower(manager, store, clock)


def says(*served: int, **labels: int) -> ServedModel:
    versions = {n: Version(model=f"models/m{n}", model_sha256=SHA, state="good") for n in served}
    return ServedModel(versions=versions, served=served, labels=labels)


def write(store: Store, **models: ServedModel) -> None:
    write_index(store, Index(models=models))


def answers(manager: ModelManager, name: str = "track", label: str = "stable") -> str:
    with manager.use(name, label=label) as (_, model):
        return model


def said(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "eyewall.serving.follow"]


def test_what_failed_for_a_passing_reason_is_tried_again_after_growing_pauses(
    follower, manager, store, disk, clock, caplog
):
    write(store, track=says(1, stable=1))
    follower.start()
    disk.faults["track/2"] = OSError(errno.ENOSPC, "No space left on device")
    write(store, track=says(1, 2, stable=2, previous=1))

    for _ in range(3):  # three looks at one moment are one try
        follower.look()
    assert disk.loads.count("track/2") == 1
    clock.now += 4.9  # the first pause is 5 s, the second 10 s
    follower.look()
    assert disk.loads.count("track/2") == 1
    clock.now += 0.1
    follower.look()
    clock.now += 9.9
    follower.look()
    assert disk.loads.count("track/2") == 2
    assert answers(manager) == "track/1"  # untouched all the while
    assert disk.loads.count("track/1") == 1

    del disk.faults["track/2"]
    clock.now += 0.1
    follower.look()
    assert answers(manager) == "track/2"
    assert manager.labels() == {"track": {"stable": 2, "previous": 1}}
    first, second, at_last = said(caplog)
    assert "try 1: track version 2 does not load: OSError: [Errno 28] No space left on device" in first
    assert first.endswith("what was served before stays, tried again in 5 s")
    assert "try 2" in second
    assert second.endswith("tried again in 10 s")
    assert at_last.endswith("after 2 tries in vain")


def test_what_failed_at_the_start_is_tried_again_though_its_label_stands_already(follower, manager, store, disk, clock):
    disk.faults["track/1"] = OSError(errno.EIO, "Input/output error")
    write(store, track=says(1, stable=1))
    follower.start()
    del disk.faults["track/1"]
    follower.look()
    assert disk.loads == ["track/1"]
    clock.now += 5
    follower.look()
    assert answers(manager) == "track/1"


def test_a_model_that_does_not_load_does_not_hold_up_another_one(follower, manager, store, disk):
    write(store, other=says(1, stable=1), track=says(1, stable=1))
    follower.start()
    disk.faults["other/2"] = OSError(errno.ENOSPC, "No space left on device")
    write(store, other=says(1, 2, stable=2, previous=1), track=says(1, 2, stable=2, previous=1))
    follower.look()
    assert (answers(manager, "other"), answers(manager, "track")) == ("other/1", "track/2")


def test_a_change_of_models_json_is_tried_at_once_whatever_failed_before(follower, manager, store, disk):
    write(store, track=says(1, stable=1))
    follower.start()
    disk.faults["track/2"] = OSError(errno.ENOSPC, "No space left on device")
    write(store, track=says(1, 2, stable=2, previous=1))
    follower.look()
    write(store, track=says(1, 3, stable=3, previous=1))
    follower.look()
    assert answers(manager) == "track/3"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda path: path.unlink(), "is missing: restore it", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:40]), "is not valid", id="truncated"),
        pytest.param(lambda path: path.write_bytes(b""), "is not valid", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"{}"), "it names no models", id="an empty object"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "cannot read", id="a folder"),
        pytest.param(
            lambda path: path.parent.rename(path.parent.with_name("away")), "is missing", id="the store is away"
        ),
    ],
)
def test_without_a_valid_models_json_everything_that_is_served_stays_and_it_is_said_once(
    follower, manager, store, caplog, damage, sentence
):
    write(store, track=says(1, 2, stable=2, previous=1))
    follower.start()
    damage(store.local("serving/models.json"))
    for _ in range(5):
        follower.look()
    assert answers(manager) == "track/2"
    assert answers(manager, label="previous") == "track/1"
    (only,) = said(caplog)
    assert sentence in only
    assert only.endswith("what was served before stays")


def test_a_models_json_that_is_there_and_valid_may_unload(follower, manager, store):
    write(store, other=says(1, stable=1), track=says(1, stable=1))
    follower.start()
    write(store, track=says(1, stable=1))
    follower.look()
    assert manager.labels() == {"track": {"stable": 1}}


def test_a_models_json_that_comes_back_is_followed_again(follower, manager, store):
    write(store, track=says(1, stable=1))
    follower.start()
    path = store.local("serving/models.json")
    path.unlink()
    follower.look()
    write(store, track=says(1, 2, stable=2, previous=1))
    follower.look()
    assert answers(manager) == "track/2"


def test_a_server_that_starts_without_the_models_json_of_its_versions_says_so(follower, manager, store, caplog):
    store.write_bytes("serving/track/7/saved_model.pb", b"x")
    follower.start()
    assert manager.labels() == {}
    assert "serving/models.json is missing although serving/track/7 are there" in said(caplog)[0]


def test_a_server_that_starts_before_the_first_publish_has_nothing_to_say(follower, store, caplog):
    follower.start()
    follower.look()
    assert said(caplog) == []


def test_while_a_publisher_is_at_work_nothing_is_followed(follower, manager, store):
    write(store, track=says(1, stable=1))
    follower.start()
    with repository_lock(store, "a test", 1.0):
        write(store, track=says(1, 2, stable=2, previous=1))
        follower.look()
        assert answers(manager) == "track/1"
    follower.look()
    assert answers(manager) == "track/2"


def test_pauses_double_up_to_the_limit_and_another_thing_starts_afresh(clock):
    backoff = Backoff(5.0, 35.0, clock)
    assert [backoff.failed("a") for _ in range(5)] == [5, 10, 20, 35, 35]
    assert not backoff.due("a")
    assert backoff.due("b")
    assert backoff.failed("b") == 5
    clock.now += 5
    assert backoff.due("b")
    assert backoff.failed(None) == 5  # None is a thing like any other
    assert not backoff.due(None)
