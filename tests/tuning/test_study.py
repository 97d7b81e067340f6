"""Optuna as searches use it: points that depend on seed and number alone, pruners as asked for, values of curves."""

from typing import Any

import optuna
import pytest

from eyewall.tuning.space import Objective, Space
from eyewall.tuning.study import Study, make_pruner, value_of
from eyewall.tuning.text import sparkline

NAN = float("nan")


def space(**changes: Any) -> Space:
    values = {
        "job": {"environment": "local", "command": ["t", "{x}", "{n}", "{c}"]},
        "parameters": {
            "x": {"type": "float", "low": -1, "high": 1},
            "n": {"type": "int", "low": 1, "high": 1000, "log": True},
            "c": {"type": "categorical", "choices": ["a", "b"]},
        },
        "objective": {"metric": "loss"},
        "budget": {"trials": 100},
    }
    return Space.parse({**values, **changes})


def study(asked: Space) -> Study:
    return Study(optuna.storages.InMemoryStorage(), "s", asked)


def loss(point: dict[str, Any]) -> float:
    """A bowl whose lowest point is x = 0.3, n = 10, c = b."""
    return (point["x"] - 0.3) ** 2 + (len(str(point["n"])) - 2) ** 2 + (point["c"] == "a")


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_points_depend_on_seed_and_number_and_ends_alone(kind):
    def points(seed: int) -> list[dict[str, Any]]:
        asked = study(space(sampler=kind, seed=seed))
        found = []
        for _ in range(14):
            number, point = asked.ask()
            asked.tell(number, loss(point))
            found.append(point)
        return found

    assert points(3) == points(3)
    assert not any(point in points(4) for point in points(3))


def test_tpe_finds_lower_ground_than_random_points_of_the_same_number():
    """40 trials of each, over 5 seeds: the mean of the best."""

    def best(kind: str, seed: int) -> float:
        asked, found = study(space(sampler=kind, seed=seed)), []
        for _ in range(40):
            number, point = asked.ask()
            found.append(loss(point))
            asked.tell(number, found[-1])
        return min(found)

    assert sum(best("tpe", seed) for seed in range(5)) < sum(best("random", seed) for seed in range(5))


def test_an_end_told_twice_is_told_once():
    asked = study(space())
    number, _ = asked.ask()

    asked.tell(number, 0.5)
    asked.tell(number, None)

    assert asked._study.trials[0].value == 0.5
    assert asked.running() == {}


def test_what_is_running_comes_with_its_last_step():
    asked = study(space())
    for steps in ([], [1, 4]):
        number, _ = asked.ask()
        for step in steps:
            asked.report(number, step, 0.5)

    assert asked.running() == {0: -1, 1: 4}


@pytest.mark.parametrize(
    ("pruner", "steps", "given_up"),
    [
        # Four trials, each worse than the one before. ASHA with reduction 2: the first goes on, the second is the
        # worse half of two.
        pytest.param("none", 4, [None] * 4, id="none"),
        pytest.param({"kind": "asha", "reduction_factor": 2}, 4, [None, 1, 1, 1], id="asha"),
        pytest.param({"kind": "asha", "reduction_factor": 2, "min_resource": 3}, 4, [None, 3, 3, 3], id="asha, later"),
        pytest.param({"kind": "median", "startup_trials": 2}, 4, [None, None, 1, 1], id="median after two ends"),
        pytest.param(
            {"kind": "median", "startup_trials": 1, "warmup_steps": 2}, 4, [None, 2, 2, 2], id="median, later"
        ),
    ],
)
def test_each_pruner_gives_up_where_it_should(pruner, steps, given_up):
    asked = study(space(pruner=pruner))
    found: list[int | None] = []
    for trial in range(4):
        number, _ = asked.ask()
        for step in range(1, steps + 1):
            asked.report(number, step, float(1 + trial))
            if asked.should_prune(number):
                asked.tell(number, None, pruned=True)
                found.append(step)
                break
        else:
            asked.tell(number, float(1 + trial))
            found.append(None)

    assert found == given_up


def test_hyperband_has_brackets_from_the_first_step_to_the_last():
    """Of resource 1 to 27 with reduction 3: 1, 3, 9 and 27, so four."""
    pruner = make_pruner(space(pruner={"kind": "hyperband", "min_resource": 1, "max_resource": 27}))
    asked = study(space(pruner={"kind": "hyperband", "min_resource": 1, "max_resource": 27}))
    number, _ = asked.ask()
    asked.report(number, 1, 0.5)
    asked.should_prune(number)

    assert type(pruner) is type(asked._study.pruner)
    assert len(asked._study.pruner._pruners) == 4


@pytest.mark.parametrize(
    ("objective", "curve", "value"),
    [
        pytest.param({}, [3.0, 1.0, 2.0], 2.0, id="last"),
        pytest.param({"value": "best"}, [3.0, 1.0, 2.0], 1.0, id="least"),
        pytest.param({"value": "best", "direction": "maximize"}, [3.0, 1.0, 2.0], 3.0, id="greatest"),
        pytest.param({}, [3.0, NAN], None, id="diverged at the end"),
        pytest.param({"value": "best"}, [3.0, NAN], 3.0, id="best before it diverged"),
        pytest.param({"value": "best"}, [NAN], None, id="never a number"),
        pytest.param({}, [], None, id="no report"),
    ],
)
def test_the_value_of_a_trial_is_one_of_its_reports(objective, curve, value):
    assert value_of(Objective(metric="loss", **objective), curve) == value


def test_a_curve_in_blocks_falls_from_high_to_low_and_shows_what_is_no_number():
    assert sparkline([8.0, 4.0, NAN, 1.0], 1.0, 8.0) == "█▄?▁"
    assert sparkline([100.0, -100.0], 1.0, 8.0) == "█▁"
    assert len(sparkline([float(i) for i in range(1000)], 0.0, 999.0)) <= 24
    assert sparkline([], 0.0, 1.0) == ""
