"""The controller against a real PostgreSQL: every trial asked for once, run once, told once; budgets; pruning."""

# NOTE: injected by pytest, defined in conftest: url, connection, dispatcher
import threading
import time
from typing import Any

import psycopg
import pytest

from eyewall.db.connect import Connection
from eyewall.jobs import claim
from eyewall.tuning import controller, results, sweeps
from eyewall.tuning.space import Space

QUICK = {"look_every_s": 0.5, "patience_s": 2.0}


def space(**changes: Any) -> Space:
    """A space of one learning rate and one depth, whose job gets both."""
    values = {
        "job": {"environment": "local", "command": ["train", "--lr={lr}", "--depth", "{depth}"]},
        "parameters": {
            "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
            "depth": {"type": "int", "low": 1, "high": 4},
        },
        "objective": {"metric": "loss"},
        "sampler": "random",
        "budget": {"trials": 6},
        "parallel": 3,
        "seed": 7,
    }
    return Space.parse({**values, **changes})


def lr_of(command: tuple[str, ...]) -> float:
    return float(command[1].removeprefix("--lr="))


def falling(command: tuple[str, ...]):
    """Three reports, the last of which is the learning rate."""
    for factor in (3.0, 2.0, 1.0):
        yield factor * lr_of(command)


def run(connection: Connection, url: str, asked: Space, name: str = "s", **options: Any) -> results.Results:
    sweeps.create(connection, asked, name, "ada")
    return run_again(connection, url, name, **options)


def run_again(connection: Connection, url: str, name: str = "s", **options: Any) -> results.Results:
    controller.run(url, name, say=lambda _: None, **(QUICK | options))
    return results.read(connection, name)


def optuna_trials(connection: Connection) -> list[tuple[int, str]]:
    return connection.execute("SELECT number, state::text FROM optuna.trials ORDER BY number").fetchall()


def test_a_search_runs_its_budget_of_trials_and_knows_the_best(connection, url, dispatcher):
    with dispatcher(falling) as running:
        found = run(connection, url, space())

    assert (found.sweep.state, found.sweep.reason) == ("finished", "6 trials")
    assert sorted(trial.number for trial in found.trials) == list(range(6))
    assert {trial.state for trial in found.trials} == {"succeeded"}
    # The last report is the learning rate itself, so the best trial is the one with the lowest.
    lowest = min(trial.params["lr"] for trial in found.trials)
    assert found.best.params["lr"] == found.best.value == lowest
    assert [value / lowest for _, value in found.curves[found.best.number]] == pytest.approx([3, 2, 1])
    assert optuna_trials(connection) == [(n, "COMPLETE") for n in range(6)]
    assert running.most_at_once == 3


def test_a_grid_visits_each_of_its_points_exactly_once_and_then_ends(connection, url, dispatcher):
    """Without a budget: the grid is one. 3 rates by 2 depths: 6 points."""
    asked = space(
        parameters={
            "lr": {"type": "float", "low": 0.01, "high": 1.0, "log": True, "points": 3},
            "depth": {"type": "int", "low": 1, "high": 4, "step": 3},
        },
        sampler="grid",
        budget={},
        parallel=4,
    )
    with dispatcher(falling):
        found = run(connection, url, asked)

    points = sorted((trial.params["lr"], trial.params["depth"]) for trial in found.trials)
    assert points == [(0.01, 1), (0.01, 4), (0.1, 1), (0.1, 4), (1.0, 1), (1.0, 4)]
    assert (found.sweep.state, found.sweep.reason) == ("finished", "the whole grid of 6")


def test_a_bad_trial_is_given_up_as_soon_as_its_rung_says_so(connection, url, dispatcher):
    """ASHA with rungs at steps 1 and 3, one trial after another: of each three that reach a rung one goes on.

    The first is always the best so far and goes on; then only a trial that is better than those before it does.
    """
    rates = iter([0.2, 0.9, 0.1, 0.8])
    given = []

    def training(command: tuple[str, ...]):
        given.append(next(rates))
        yield from [given[-1]] * 5

    asked = space(pruner={"kind": "asha", "min_resource": 1, "reduction_factor": 3}, budget={"trials": 4}, parallel=1)
    with dispatcher(training):
        found = run(connection, url, asked)

    ends = {trial.number: (trial.state, trial.step) for trial in found.trials}
    assert ends == {0: ("succeeded", 5), 1: ("pruned", 1), 2: ("succeeded", 5), 3: ("pruned", 1)}
    assert optuna_trials(connection) == [(0, "COMPLETE"), (1, "PRUNED"), (2, "COMPLETE"), (3, "PRUNED")]
    reasons = connection.execute("SELECT reason FROM job WHERE state = 'pruned' ORDER BY id").fetchall()
    assert reasons == [("given up: loss 0.9 at step 1",), ("given up: loss 0.8 at step 1",)]
    assert [trial.number for trial in found.trials] == [2, 0, 3, 1]  # the best first, then who was given up


def test_a_failed_trial_and_one_without_a_value_count_as_failed_and_the_search_goes_on(connection, url, dispatcher):
    def training(command: tuple[str, ...]):
        if len(seen) == 1:
            seen.append(command)
            raise ZeroDivisionError("out of memory")
        seen.append(command)
        yield from [] if len(seen) == 3 else [0.5]

    seen: list[tuple[str, ...]] = []
    with dispatcher(training):
        found = run(connection, url, space(budget={"trials": 4}, parallel=1))

    assert optuna_trials(connection) == [(0, "COMPLETE"), (1, "FAIL"), (2, "FAIL"), (3, "COMPLETE")]
    assert [(t.number, t.state, t.value) for t in sorted(found.trials)] == [
        (0, "succeeded", 0.5), (1, "failed", None), (2, "succeeded", None), (3, "succeeded", 0.5),
    ]  # fmt: skip


def test_a_search_whose_trials_all_fail_gives_up_and_says_why(connection, url, dispatcher):
    def training(command: tuple[str, ...]):
        raise ZeroDivisionError("no such data")
        yield

    with dispatcher(training):
        found = run(connection, url, space(budget={"trials": 50}, parallel=2, max_failures=4))

    assert found.sweep.state == "failed"
    assert "failed trials in a row, the last: no such data" in found.sweep.reason
    assert 4 <= len(found.trials) <= 5  # the fourth failure, and what was on its way beside it


def test_the_best_of_a_curve_counts_where_that_is_asked_for(connection, url, dispatcher):
    def bouncing(command: tuple[str, ...]):
        yield from (0.4, float("nan"), 0.9, 0.7)

    asked = space(objective={"metric": "loss", "direction": "maximize", "value": "best"}, budget={"trials": 1})
    with dispatcher(bouncing):
        found = run(connection, url, asked)

    assert found.best.value == 0.9


def test_trials_are_those_of_seed_and_number_whoever_asks(connection, url, dispatcher):
    """Two searches of one seed try the same points, a third of another seed others."""
    with dispatcher(falling):
        first, again = (run(connection, url, space(), name) for name in ("first", "again"))
        other = run(connection, url, space(seed=8), "other")

    points = [[trial.params for trial in sorted(found.trials)] for found in (first, again, other)]
    assert points[0] == points[1]
    assert not any(point in points[0] for point in points[2])


def test_a_stopped_search_ends_its_jobs_and_goes_on_when_resumed_with_more_trials(connection, url, dispatcher):
    """The third trial never ends by itself; the search is stopped when it runs."""

    def training(command: tuple[str, ...]):
        seen.append(command)
        while len(seen) == 3:
            time.sleep(0.01)
            yield 9.0
        yield lr_of(command)

    seen: list[tuple[str, ...]] = []

    def stop_in_the_third():
        while len(seen) < 3:
            time.sleep(0.01)
        sweeps.stop(other, "s", "eve")

    with psycopg.connect(url, autocommit=True) as other, dispatcher(training):
        thread = threading.Thread(target=stop_in_the_third)
        thread.start()
        stopped = run(connection, url, space(budget={"trials": 5}, parallel=1))
        thread.join()
        sweep = sweeps.resume(connection, "s", "ada", {"trials": "+1"})
        ended = run_again(connection, url)

    assert (stopped.sweep.state, stopped.sweep.reason) == ("stopped", "stopped by eve")
    assert [trial.state for trial in sorted(stopped.trials)] == ["succeeded", "succeeded", "cancelled"]
    assert sweep.spec["budget"]["trials"] == 6
    assert ended.sweep.state == "finished"
    assert optuna_trials(connection)[2] == (2, "FAIL")
    assert [trial.number for trial in sorted(ended.trials)] == list(range(6))


def test_no_trial_is_started_once_the_hours_are_used_up(connection, url, dispatcher):
    """0.36 s: the search ends with far fewer trials than ten thousand, all of them told."""
    with dispatcher(falling, lockstep=False):
        found = run(connection, url, space(budget={"trials": 10_000, "hours": 1e-4}))

    assert (found.sweep.state, found.sweep.reason) == ("finished", "0.0001 hours are used up")
    assert found.spent.hours >= 1e-4
    assert 3 <= len(found.trials) < 10_000
    assert {state for _, state in optuna_trials(connection)} == {"COMPLETE"}


def test_gpu_hours_are_those_of_all_leases(connection, url, dispatcher):
    with dispatcher(falling):
        found = run(connection, url, space(budget={"gpu_hours": 1e-4}, parallel=2))

    (used,) = connection.execute(
        "SELECT sum(extract(epoch FROM released_at - granted_at))::float / 3600 FROM lease"
    ).fetchone()
    assert found.spent.gpu_hours == pytest.approx(used)
    assert found.sweep.reason == "0.0001 GPU-hours are used up"


def test_what_a_second_attempt_reports_again_changes_nothing(connection, url, dispatcher):
    """The first attempt is lost after two reports; the second begins anew and gets to the end."""
    lost = []

    def training(command: tuple[str, ...]):
        values = [4.0, 3.0, 2.0] if lost else [4.5, 3.5, None]
        for value in values:
            if value is None:
                lost.append(True)
                each = running.live[0]
                with psycopg.connect(url, autocommit=True) as other:
                    claim.end(other, each.assignment.attempt, each.assignment.token, "lost", None, "its host burned")
                running.live.clear()
                return
            yield value

    with dispatcher(training, lockstep=False) as running:
        running._ended = end_unless_lost(running)
        found = run(connection, url, space(budget={"trials": 1}))

    assert found.curves == {0: [(1, 4.0), (2, 3.0), (3, 2.0)]}
    assert found.best.value == 2.0


def end_unless_lost(running: Any):
    """As the dispatcher's own, but nothing for an attempt that is not live any more."""
    original = type(running)._ended

    def ended(connection: Connection, each: Any, *rest: Any) -> None:
        if each in running.live:
            original(running, connection, each, *rest)

    return ended
