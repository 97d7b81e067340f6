"""Search spaces: what they become, and the one sentence for each way to get one wrong."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.errors import ContractError
from eyewall.tuning.parameter import Parameter
from eyewall.tuning.space import Space, read_file
from eyewall.tuning.template import fill, placeholders, text_of

GOOD: dict[str, Any] = {
    "job": {"environment": "local", "command": ["python", "train.py", "--lr={lr}"], "variables": {"DEPTH": "{depth}"}},
    "parameters": {
        "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
        "depth": {"type": "categorical", "choices": [2, 4, "auto"]},
    },
    "objective": {"metric": "loss"},
    "budget": {"trials": 20},
}
_ABSENT = object()
ROOT = Path(__file__).resolve().parents[2]


def changed(place: str, value: Any) -> dict[str, Any]:
    """GOOD with another value at a dotted place, or without it."""
    space = copy.deepcopy(GOOD)
    *parents, last = place.split(".")
    table = space
    for parent in parents:
        table = table.setdefault(parent, {})
    if value is _ABSENT:
        del table[last]
    else:
        table[last] = value
    return space


def test_a_trial_is_the_template_with_its_values_in_words_and_variables():
    job = Space.parse(GOOD).submission("s", 7, {"lr": 0.00012, "depth": 4}, owner="ada", key="sweep/1/7")

    assert job.command == ("python", "train.py", "--lr=0.00012")
    assert job.variables == {"DEPTH": "4"}
    assert (job.owner, job.key, job.priority, job.name) == ("ada", "sweep/1/7", 2, "s-7")


def test_a_command_in_one_line_is_split_before_it_is_filled_so_no_value_becomes_two_words():
    space = changed("job.command", "python train.py --lr {lr} --note {depth}")
    space["job"]["variables"] = {}
    space["parameters"]["depth"]["choices"] = ["a b; rm -rf /", "$(id)"]

    job = Space.parse(space).submission("s", 0, {"lr": 0.5, "depth": "a b; rm -rf /"}, owner="ada", key="k")

    assert job.command == ("python", "train.py", "--lr", "0.5", "--note", "a b; rm -rf /")


def test_constants_and_the_searchs_own_names_are_filled_in_too():
    space = changed("job.data", ["{records}"]) | {"constants": {"records": "records/ab", "store": "/srv/store"}}
    space["job"]["command"] = ["t", "{lr}", "--run={sweep}-{trial}", "--store={store}"]

    job = Space.parse(space).submission("rates", 3, {"lr": 0.5, "depth": 2}, owner="ada", key="k")

    assert job.data == ("records/ab",)
    assert job.command == ("t", "0.5", "--run=rates-3", "--store=/srv/store")


def test_json_among_the_arguments_is_no_placeholder():
    assert placeholders(['{"rate": {"of": 1}}', "{a b}", "{}", "{{lr}}"]) == {"lr": "job.3"}
    assert fill('{"x": {lr}}', {"lr": 0.5}) == '{"x": 0.5}'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_into_a_command_is_read_back_as_itself(value):
    assert float(text_of(value)) == value


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        pytest.param({"type": "int", "low": 1, "high": 4}, [1, 2, 3, 4], id="an int by ones"),
        pytest.param({"type": "int", "low": 16, "high": 64, "step": 16}, [16, 32, 48, 64], id="an int by sixteens"),
        pytest.param({"type": "int", "low": 1, "high": 100, "log": True, "points": 3}, [1, 10, 100], id="log ints"),
        pytest.param({"type": "int", "low": 1, "high": 3, "points": 9}, [1, 2, 3], id="no int twice"),
        pytest.param({"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5], id="tenths"),
        pytest.param({"type": "float", "low": 1e-4, "high": 1, "log": True, "points": 3}, [1e-4, 0.01, 1], id="log"),
        pytest.param({"type": "categorical", "choices": ["b", "a", True]}, ["b", "a", True], id="choices"),
    ],
)
def test_a_grid_visits_these_values(parameter, values):
    got = Parameter.model_validate(parameter).grid()

    assert got == values
    assert [type(value) for value in got] == [type(value) for value in values] or parameter["type"] == "float"


@given(low=st.floats(1e-6, 1e3), factor=st.floats(1.5, 1e4), points=st.integers(2, 40), log=st.booleans())
def test_points_of_a_grid_rise_from_low_to_high(low, factor, points, log):
    high = low * factor
    got = Parameter(type="float", low=low, high=high, points=points, log=log).grid()

    assert (got[0], got[-1]) == (low, high)
    assert len(got) == points
    assert all(a <= b for a, b in itertools.pairwise(got))


def test_the_number_of_trials_is_the_grids_or_the_budget_if_that_is_less():
    grid = changed("parameters.lr", {"type": "float", "low": 0.1, "high": 0.4, "step": 0.1}) | {"sampler": "grid"}

    assert Space.parse(grid | {"budget": {}}).max_trials == 4 * 3
    assert Space.parse(grid | {"budget": {"trials": 5}}).max_trials == 5


def test_overrides_are_merged_with_the_file_and_come_as_text():
    data = yaml.safe_dump(GOOD | {"constants": {"a": 1}}).encode()

    space = Space.read(data, "x.yaml", budget={"hours": "2.5"}, parallel="9", constants={"b": "two"})

    assert (space.budget.trials, space.budget.hours, space.parallel) == (20, 2.5, 9)
    assert space.constants == {"a": 1, "b": "two"}


def test_what_is_kept_in_the_database_is_the_same_space_again():
    space = Space.parse(GOOD)

    assert Space.parse(space.model_dump(mode="json")) == space


LR = {"type": "float", "low": 1e-5, "high": 0.1}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        pytest.param("sampeler", "tpe", "sampeler: there is no such key", id="an unknown key"),
        pytest.param("parameters.lr.hi", 1, "parameters.lr.hi: there is no such key", id="an unknown key inside"),
        pytest.param("objective", _ABSENT, "objective is missing", id="no objective"),
        pytest.param("objective.metric", "", "objective.metric = ''", id="no metric"),
        pytest.param("objective.direction", "up", "objective.direction = 'up'", id="an unknown direction"),
        pytest.param("parameters", {}, "parameters = '{}'", id="no parameter"),
        pytest.param("parameters.2x", LR, "parameters.2x", id="a name that is none"),
        pytest.param("parameters.lr", {**LR, "type": "double"}, "parameters.lr.type = 'double'", id="an unknown type"),
        pytest.param(
            "parameters.lr",
            {"type": "float", "low": 1},
            "parameters.lr: a parameter of type float needs low and high",
            id="no high",
        ),
        pytest.param("parameters.lr.low", "small", "parameters.lr.low = 'small'", id="a word for a number"),
        pytest.param("parameters.lr.low", float("nan"), "parameters.lr.low = 'nan'", id="not a number"),
        pytest.param("parameters.lr.low", 0.5, "parameters.lr: low 0.5 is not below high 0.1", id="low above high"),
        pytest.param("parameters.lr.low", 0, "parameters.lr: low 0 has no logarithm", id="a logarithm of zero"),
        pytest.param("parameters.lr.step", 0.01, "parameters.lr: log and step exclude each other", id="log with step"),
        pytest.param(
            "parameters.lr",
            {**LR, "step": 0.03},
            "parameters.lr: step 0.03 does not lead from",
            id="a step that misses high",
        ),
        pytest.param(
            "parameters.lr", {"type": "int", "low": 0.5, "high": 4}, "whole numbers, not [0.5, 4.0]", id="half an int"
        ),
        pytest.param("parameters.lr", {**LR, "choices": [1]}, "has low and high, no choices", id="choices of a float"),
        pytest.param(
            "parameters.lr",
            {**LR, "points": 4},
            "parameters.lr.points: only a grid has points",
            id="points without a grid",
        ),
        pytest.param(
            "parameters.depth.choices", [], "parameters.depth: a categorical parameter needs choices", id="no choice"
        ),
        pytest.param("parameters.depth.choices", [2, 2], "hold the same value twice", id="a choice twice"),
        pytest.param("parameters.depth.choices", [[1]], "parameters.depth.choices.0", id="a list for a choice"),
        pytest.param(
            "parameters.depth.low",
            1,
            "parameters.depth: a categorical parameter has choices only",
            id="low of a category",
        ),
        pytest.param("parameters.trial", LR, "parameters.trial: the name is taken", id="a name that is taken"),
        pytest.param(
            "parameters.width", LR, "parameters.width: the job does not use {width}", id="a parameter of no use"
        ),
        pytest.param(
            "job.command",
            ["t", "{lr}", "{rate}"],
            "job.command.2: {rate} is neither a parameter nor a constant; known are depth, lr, store",
            id="an unknown placeholder",
        ),
        pytest.param("job.command", "t '{lr}", "cannot be split into words", id="an open quote"),
        pytest.param("job.comand", ["t"], "job.comand", id="an unknown field of a job"),
        pytest.param("job.environment", _ABSENT, "job.environment", id="no environment"),
        pytest.param("job.gpus", 0, "job.gpus = 0", id="no GPU"),
        pytest.param(
            "job.variables.EYEWALL_JOB",
            "{lr}",
            "variable EYEWALL_JOB is the platform's own",
            id="a variable of the platform",
        ),
        pytest.param(
            "job.priority",
            9,
            "job.priority: the search itself gives owner, key, priority",
            id="a priority in the template",
        ),
        pytest.param("job.owner", "eve", "job.owner: the search itself gives", id="another owner"),
        pytest.param("sampler", "bayes", "sampler.kind = 'bayes'", id="an unknown sampler"),
        pytest.param("sampler", "grid", "parameters.lr: a grid needs step or points here", id="a grid without end"),
        pytest.param("pruner", "asha2", "pruner.kind = 'asha2'", id="an unknown pruner"),
        pytest.param("pruner", "hyperband", "pruner: hyperband needs max_resource", id="hyperband without its end"),
        pytest.param("pruner", {"kind": "asha", "min_resource": 0}, "pruner.min_resource = '0'", id="a rung at zero"),
        pytest.param("budget", {}, "budget: give trials, hours or gpu_hours", id="no budget"),
        pytest.param("budget.trials", 0, "budget.trials = '0'", id="a budget of nothing"),
        pytest.param("budget.hours", -1, "budget.hours = '-1'", id="a negative budget"),
        pytest.param("parallel", 0, "parallel = '0'", id="no trial at a time"),
        pytest.param("priority", 10, "priority = '10'", id="a priority of ten"),
        pytest.param("seed", 1.5, "seed = '1.5'", id="half a seed"),
        pytest.param("name", "../x", "name = '../x'", id="a path for a name"),
        pytest.param("constants", {"lr": 1}, "parameters.lr: the name is taken", id="a constant and a parameter"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_place(place, value, sentence):
    with pytest.raises(ContractError) as caught:
        Space.parse(changed(place, value), "x.yaml")

    said = str(caught.value)
    assert said.startswith("x.yaml: ")
    assert sentence in said
    assert "\n" not in said
    assert "pydantic" not in said.lower()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("job: {a: 1\n", "x.yaml: line 2: not YAML", id="an open brace"),
        pytest.param("seed: 1\nseed: 2\n", "x.yaml: line 2: 'seed' stands there twice", id="a key twice"),
        pytest.param("a: &x [1]\nb: *x\n", "x.yaml: line 2: aliases are not taken", id="an alias"),
        pytest.param("- 1\n", "x.yaml: a search space is a table", id="a list"),
        pytest.param("", "x.yaml: a search space is a table", id="nothing"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "x.yaml: line 1: not YAML", id="a call"),
        pytest.param("#" * 70_000, "70000 bytes are no search space", id="too long"),
        pytest.param("a: \x00\n", "x.yaml: not YAML", id="a NUL"),
        pytest.param("[a]: 1\n", "x.yaml: ", id="a list for a key"),
    ],
)
def test_a_file_that_is_no_yaml_of_a_table_is_refused_with_its_line(text, sentence):
    with pytest.raises(ContractError) as caught:
        Space.read(text.encode(), "x.yaml")

    assert str(caught.value).startswith(sentence) or sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"absent\.yaml cannot be read: No such file"):
        read_file(tmp_path / "absent.yaml")


def test_the_space_that_the_documentation_shows_is_one():
    text = (ROOT / "docs" / "architecture" / "08-jobs.md").read_text()
    shown = text.partition("## Searches")[2].partition("```yaml\n")[2].partition("```")[0]

    space = Space.read(shown.encode(), "08-jobs.md")

    assert (space.sampler.kind, space.pruner.kind, space.budget.gpu_hours) == ("tpe", "asha", 40)


def test_the_space_that_is_shipped_gives_trials_that_eyewall_train_takes():
    """Its command line is parsed by the command line itself."""
    from eyewall.cli import parse_command_line

    space = read_file(
        ROOT / "include" / "spaces" / "track.yaml", constants={"store": "/srv/store", "records": "records/ab"}
    )

    job = space.submission("rates", 3, {"learning_rate": 0.004, "batch": 32}, owner="ada", key="k")

    step = parse_command_line(job.command[1:])
    assert job.command[0] == "eyewall"
    assert (step.verb, step.learning_rate, step.batch, step.run, step.store) == (
        "train",
        0.004,
        32,
        "rates-3",
        "/srv/store",
    )
    assert space.pruner.min_resource % step.checkpoint_every == 0  # what is reported only then can be judged only then
    assert math.log(step.steps / space.pruner.min_resource, space.pruner.reduction_factor) == pytest.approx(2)
