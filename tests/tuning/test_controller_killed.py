"""Controllers that are killed, doubled, cut off, or that left something half done: no trial lost, none doubled."""

# NOTE: injected by pytest, defined in conftest: url, connection, dispatcher
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from eyewall.db.connect import Connection
from eyewall.tuning import controller, results, study, sweeps
from eyewall.tuning.space import Space

TRIALS = 12
SPACE = Space.parse(
    {
        "job": {"environment": "local", "command": ["train", "--lr={lr}"]},
        "parameters": {"lr": {"type": "float", "low": 0.0, "high": 1.1, "step": 0.1}},
        "objective": {"metric": "loss"},
        "sampler": "grid",
        "pruner": {"kind": "median", "startup_trials": 3},
        "parallel": 4,
    }
)
QUICK = {"look_every_s": 0.3, "patience_s": 3.0}


def training(command: tuple[str, ...]):
    for _ in range(4):
        time.sleep(0.005)
        yield float(command[1].removeprefix("--lr="))


def check_whole(connection: Connection, found: results.Results) -> None:
    """Each point of the grid has one trial, each trial one job that ran once, and all of them are told."""
    assert (found.sweep.state, found.sweep.reason) == ("finished", f"the whole grid of {TRIALS}")
    assert sorted(round(trial.params["lr"] * 10) for trial in found.trials) == list(range(TRIALS))
    assert {trial.state for trial in found.trials} <= {"succeeded", "pruned"}
    jobs, keys, attempts = connection.execute(
        "SELECT (SELECT count(*) FROM job), (SELECT count(DISTINCT key) FROM job), (SELECT count(*) FROM attempt)"
    ).fetchone()
    assert (jobs, keys, attempts) == (TRIALS, TRIALS, TRIALS)
    told = dict(connection.execute("SELECT number, state::text FROM optuna.trials").fetchall())
    assert told == {t.number: "PRUNED" if t.state == "pruned" else "COMPLETE" for t in found.trials}
    assert found.best.value == 0.0


def in_a_child(run: Callable[[], Any], kill_before: int) -> int:
    """Run in a forked process that is killed -9 right before its n-th statement or commit; its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = kill_before

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    psycopg.Cursor.execute = counted(psycopg.Cursor.execute)
    psycopg.Connection.commit = counted(psycopg.Connection.commit)
    try:
        run()
        os._exit(0)
    except BaseException:
        os._exit(1)


def test_killed_before_any_statement_and_run_again_the_search_comes_out_whole(connection, url, dispatcher):
    """At statements drawn at random, some 70 of which take a trial from nothing to its job, until one gets through."""
    sweeps.create(connection, SPACE, "s", "ada")
    draw, kills = random.Random(5), 0
    with dispatcher(training, lockstep=False):
        while status := in_a_child(lambda: controller.run(url, "s", lambda _: None, **QUICK), draw.randint(60, 450)):
            assert os.WIFSIGNALED(status), "the controller failed by itself"
            kills += 1

    assert kills > 2
    check_whole(connection, results.read(connection, "s"))


def test_a_real_process_killed_in_the_middle_is_gone_on_from_by_the_next(connection, url, dispatcher):
    """By the command line, as Airflow or a person would."""
    sweeps.create(connection, SPACE, "s", "ada")
    environ = {**os.environ, "EYEWALL_DATABASE_URL": url}
    command = [sys.executable, "-m", "eyewall.cli", "sweep", "run", "s", "--json"]
    with dispatcher(training, lockstep=False):
        first = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        while connection.execute("SELECT count(*) FROM trial WHERE value IS NOT NULL").fetchone()[0] < 2:
            time.sleep(0.005)
        first.kill()
        first.communicate()
        second = subprocess.run(command, env=environ, capture_output=True, text=True)

    assert first.returncode == -signal.SIGKILL
    assert second.returncode == 0, second.stderr
    assert '"best": {"trial": ' in second.stdout
    check_whole(connection, results.read(connection, "s"))


def test_two_controllers_at_once_do_what_one_does_and_see_the_same_end(connection, url, dispatcher):
    sweeps.create(connection, SPACE, "s", "ada")
    ends, said = [], []

    def run() -> None:
        ends.append(controller.run(url, "s", said.append, **QUICK))

    with dispatcher(training, lockstep=False):
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [end.state for end in ends] == ["finished"] * 3
    assert sum("run by another controller" in text for text in said) == 2
    check_whole(connection, results.read(connection, "s"))


def test_connections_cut_in_the_middle_are_made_again(connection, url, dispatcher):
    """As a restart of the server does, three times."""
    sweeps.create(connection, SPACE, "s", "ada")

    cuts = []

    def cut() -> None:
        while len(cuts) < 3:
            time.sleep(0.2)
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'eyewall sweep'"
            ).fetchall()
            cuts.extend([True] * bool(found))

    said: list[str] = []
    cutter = threading.Thread(target=cut)
    with dispatcher(training, lockstep=False):
        cutter.start()
        controller.run(url, "s", said.append, look_every_s=0.3, patience_s=60)  # three cuts on a busy machine
        cuts.extend([True] * 3)
        cutter.join()

    assert any("the database does not answer, trying again" in text for text in said)
    check_whole(connection, results.read(connection, "s"))


def test_a_trial_that_was_asked_for_but_never_got_its_job_gets_it_now(connection, url, dispatcher):
    """What a kill between Optuna's commit and ours leaves: here two trials, one without even its point."""
    sweep = sweeps.create(connection, SPACE, "s", "ada")
    storage = study.open_storage(url)
    left = study.Study(storage, sweep.study, SPACE)
    number, point = left.ask()
    storage.create_new_trial(left._study._study_id)
    storage.engine.dispose()
    with dispatcher(training):
        controller.run(url, "s", lambda _: None, **QUICK)

    found = results.read(connection, "s")
    check_whole(connection, found)
    assert next(trial.params for trial in found.trials if trial.number == number) == point


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_point_that_was_half_chosen_is_completed_and_not_chosen_again(connection, url, kind):
    asked = Space.parse(
        SPACE.model_dump(mode="json")
        | {
            "sampler": kind,
            "budget": {"trials": 3},
            "job": {"environment": "local", "command": ["train", "{lr}", "{depth}"]},
            "parameters": {
                "lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
                "depth": {"type": "int", "low": 1, "high": 50},
            },
        }
    )
    sweep = sweeps.create(connection, asked, "s", "ada")
    storage = study.open_storage(url)
    whole = study.Study(storage, "another", asked).ask()[1]  # the same seed and number, to its end
    half = study.Study(storage, sweep.study, asked)
    trial = half._study.ask()
    trial.suggest_float("lr", 1e-3, 1.0, log=True)  # the sampler of trial 0, but killed here

    point = study.Study(storage, sweep.study, asked).ask_again(trial.number)

    storage.engine.dispose()
    assert point["lr"] == trial.params["lr"] == whole["lr"]
    assert 1 <= point["depth"] <= 50
