"""Searches that are left to dispatchers: run to their end by whoever is there, begun again by the next one."""

# NOTE: injected by pytest, defined in conftest: url, connection, dispatcher
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from eyewall.db.connect import Connection
from eyewall.jobs.database import Database
from eyewall.jobs.searches import Searches
from eyewall.tuning import controller, keeper, results, sweeps
from eyewall.tuning.keeper import Keeper
from eyewall.tuning.space import Space

SPACE = Space.parse(
    {
        "job": {"environment": "local", "command": ["train", "--lr={lr}"]},
        "parameters": {"lr": {"type": "float", "low": 0.1, "high": 0.4, "step": 0.1}},
        "objective": {"metric": "loss"},
        "sampler": "grid",
        "parallel": 2,
    }
)


def training(command: tuple[str, ...]) -> Iterator[float]:
    time.sleep(0.02)
    yield float(command[1].removeprefix("--lr="))


def left_to_dispatchers(connection: Connection, *names: str) -> None:
    for name in names:
        sweeps.hand_over(connection, sweeps.create(connection, SPACE, name, "ada"), "ada", f"dag/run/{name}")


def to_run(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM search_to_run ORDER BY id")]


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_only_a_search_that_was_left_to_dispatchers_and_that_nobody_runs_is_theirs(url, connection):
    left_to_dispatchers(connection, "theirs", "led", "stopped")
    sweeps.create(connection, SPACE, "by-hand", "ada")
    sweeps.stop(connection, "stopped", "ada")

    with psycopg.connect(url, autocommit=True) as session:
        led = sweeps.find(connection, "led").id
        session.execute("SELECT pg_advisory_lock(1702454648, %s::int)", (led,))
        assert to_run(connection) == ["theirs"]
    until(lambda: to_run(connection) == ["theirs", "led"])


def test_several_searches_are_run_at_once_and_it_ends_when_all_have(url, connection, dispatcher):
    left_to_dispatchers(connection, "a", "b")
    said: list[str] = []

    with dispatcher(training, lockstep=False):
        Keeper(url, said.append, threading.Event()).run()

    for name in ("a", "b"):
        found = results.read(connection, name)
        assert (found.sweep.state, found.best.params) == ("finished", {"lr": 0.1})
        assert f"{name}: finished, the whole grid of 4" in said
    assert to_run(connection) == []


def test_a_search_that_comes_while_it_runs_is_taken_up_at_once(url, connection, dispatcher, monkeypatch):
    """The next look by itself would be a minute later."""
    monkeypatch.setattr(keeper, "LOOK_EVERY_S", 60.0)
    gate = threading.Event()

    def gated(command: tuple[str, ...]) -> Iterator[float]:
        if not gate.is_set():
            return  # no value: a failed trial; the first search is only to keep it busy
        yield from training(command)

    left_to_dispatchers(connection, "first")
    thread = threading.Thread(target=Keeper(url, lambda _: None, threading.Event()).run, daemon=True)
    thread.start()
    until(lambda: not to_run(connection))
    left_to_dispatchers(connection, "second")
    until(lambda: not to_run(connection), 20.0)
    gate.set()
    with dispatcher(gated, lockstep=False):
        thread.join(60)

    assert sweeps.find(connection, "second").state == "finished"


def test_a_search_whose_controller_fails_holds_up_no_other_and_is_tried_again_later(
    url, connection, dispatcher, monkeypatch
):
    monkeypatch.setattr(keeper, "AGAIN_S", 0.5)
    monkeypatch.setattr(keeper, "LOOK_EVERY_S", 0.2)
    real, tried = controller.run, []

    def failing(url: str, name: str, say: controller.Say) -> sweeps.Sweep:
        tried.append(name)
        if name == "bad" and tried.count("bad") == 1:
            raise KeyError("a bug")
        return real(url, name, say)

    monkeypatch.setattr(controller, "run", failing)
    left_to_dispatchers(connection, "bad", "good")
    said: list[str] = []

    with dispatcher(training, lockstep=False):
        Keeper(url, said.append, threading.Event()).run()

    assert {sweeps.find(connection, name).state for name in ("bad", "good")} == {"finished"}
    assert any("KeyError" in text for text in said)
    assert (tried.count("good"), tried.count("bad")) == (1, 2)


def process(url: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "eyewall.cli", "sweep", "keep"],
        env={**os.environ, "EYEWALL_DATABASE_URL": url}, stdin=subprocess.PIPE,
    )  # fmt: skip


def test_it_ends_with_the_dispatcher_that_holds_it_and_after_kill_9_the_next_one_goes_on(url, connection, dispatcher):
    left_to_dispatchers(connection, "rates")

    one = process(url)
    until(lambda: not to_run(connection))
    one.stdin.close()  # as the kernel does when the dispatcher is killed
    assert one.wait(30) == 0
    until(lambda: to_run(connection) == ["rates"])

    two = process(url)
    until(lambda: not to_run(connection))
    os.kill(two.pid, signal.SIGKILL)
    two.wait(30)
    until(lambda: to_run(connection) == ["rates"])

    with dispatcher(training, lockstep=False):
        Keeper(url, lambda _: None, threading.Event()).run()
    found = results.read(connection, "rates")
    assert sorted(trial.params["lr"] for trial in found.trials) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert {trial.state for trial in found.trials} == {"succeeded"}


def test_a_dispatcher_starts_one_process_where_there_is_need_and_not_again_at_once_where_it_fails(
    url, connection, monkeypatch
):
    said: list[str] = []
    searches = Searches(Database(url, threading.Event(), said.append), url, said.append)
    searches.look()
    assert not searches.at_work  # nothing to run
    left_to_dispatchers(connection, "rates")

    searches.look()
    assert searches.at_work
    until(lambda: not to_run(connection))
    searches.close()
    until(lambda: to_run(connection) == ["rates"])
    monkeypatch.setattr("eyewall.jobs.searches.sys.executable", "/bin/false")
    searches.look()
    until(lambda: not searches.at_work)
    searches.look()

    assert not searches.at_work
    assert said == ["running search rates", "running search rates",
                    "the process that runs searches ended with exit code 1, another one comes in 30 s"]  # fmt: skip
