"""models.json, and the lock that lets one writer at a time change it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from eyewall.contracts.errors import ContractError, InputError, ServingError
from eyewall.serving.index import INDEX_PATH, Index, ServedModel, Version, read_index, write_index
from eyewall.serving.lock import LOCK_PATH, repository_lock, while_unchanged
from eyewall.serving.repository import labelled_version, relabelled, stable_version
from eyewall.storage import Store


def good(letter: str) -> Version:
    return Version(model=f"models/{letter}", model_sha256=letter * 64, state="good")


TWO = ServedModel(versions={1: good("a"), 2: good("b")}, served=(1, 2), labels={"stable": 2, "previous": 1})


def test_an_index_comes_back_from_the_store_as_it_was_written(store_url):
    store = Store(store_url)
    write_index(store, Index(models={"track": TWO}))
    assert read_index(store) == Index(models={"track": TWO})
    assert stable_version(store, "track") == "serving/track/2"
    assert labelled_version(store, "track", "previous") == "serving/track/1"


def test_before_the_first_publish_nothing_is_stable(store_url):
    assert stable_version(Store(store_url), "track") is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"{", id="not-json"),
        pytest.param(b'{"schema_version": 2}', id="another-schema"),
        pytest.param(b'{"models": {"../x": {}}}', id="a-name-that-climbs"),
        pytest.param(b'{"models": {"track": {"labels": {"stable": "two"}}}}', id="a-label-on-no-number"),
        pytest.param(b'{"models": {"track": {"colour": 1}}}', id="an-unknown-field"),
    ],
)
def test_a_damaged_index_is_named_and_never_taken_for_an_empty_one(store_url, content):
    store = Store(store_url)
    store.write_bytes(INDEX_PATH, content)
    with pytest.raises(ContractError, match=r"serving/models\.json"):
        read_index(store)


def test_an_unknown_model_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match="'nope': there is track"):
        Index(models={"track": TWO}).known("nope")


def test_a_third_version_that_becomes_stable_leaves_the_second_as_previous():
    third = TWO.with_version(3, Version(model="models/c", model_sha256="c" * 64, state="candidate"))
    after = relabelled(third, 3)
    assert after.labels == {"stable": 3, "previous": 2}
    assert after.served == (2, 3)
    assert after.versions[3].state == "good"


def test_a_version_that_was_rolled_back_never_becomes_previous():
    back = TWO.with_state(2, "rolled_back")
    third = back.with_version(3, Version(model="models/c", model_sha256="c" * 64, state="candidate"))
    assert relabelled(third, 3).labels == {"stable": 3}


@pytest.mark.parametrize("url", [pytest.param("local", id="folder"), pytest.param("memory://lock", id="object-store")])
def test_the_second_writer_is_told_who_holds_the_repository(url, store_url):
    store = Store(store_url if url == "local" else url)
    with (
        repository_lock(store, "the first", 1.0),
        pytest.raises(ServingError, match="held by the first"),
        repository_lock(store, "the second", 0.3),
    ):
        pytest.fail("two writers at once")
    with repository_lock(store, "the third", 0.3):
        pass


def test_a_writer_waits_for_the_one_before(store_url):
    store, order = Store(store_url), []

    def second() -> None:
        with repository_lock(store, "second", 10.0):
            order.append("second")

    with repository_lock(store, "first", 1.0):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_writer_killed_with_9_leaves_no_lock_behind(store_url):
    code = (
        "import sys, time\n"
        "from eyewall.serving.lock import repository_lock\n"
        "from eyewall.storage import Store\n"
        "with repository_lock(Store(sys.argv[1]), 'the dead', 1.0):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, store_url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ServingError, match="the dead"), repository_lock(Store(store_url), "next", 0.3):
            pytest.fail("two writers at once")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with repository_lock(Store(store_url), "next", 0.3):
        pass


def test_on_an_object_store_a_lease_that_has_ended_is_no_lock():
    store = Store("memory://lease")
    second = repository_lock(store, "second", 0.3)
    with repository_lock(store, "first", 1.0, lease_s=-1.0):  # ended a second before it began
        second.__enter__()
        assert json.loads(store.read_bytes(LOCK_PATH))[0] == "second"


def test_a_reader_leaves_things_alone_while_a_writer_is_at_work(store_url):
    store = Store(store_url)
    with while_unchanged(store) as free:
        assert free  # nothing was ever written
    with repository_lock(store, "the writer", 1.0), while_unchanged(store) as free:
        assert not free
    with while_unchanged(store) as free:
        assert free
        with while_unchanged(store) as other:
            assert other  # readers do not keep each other out
        with pytest.raises(ServingError, match="another process"), repository_lock(store, "the writer", 0.3):
            pytest.fail("wrote while a reader acts on what it read")
