"""`eyewall env …` from outside: what it prints, and with which code it ends."""

# NOTE: injected by pytest, defined in conftests: recipes, tmp_path, url
import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def env(recipes, tmp_path, url):
    """Runs `eyewall env …` with the tiny recipes and a database of its own; (code, stdout, stderr)."""
    settings = tmp_path / "eyewall.toml"
    settings.write_text(f'[environments]\nrecipes = "{recipes}"\nregistry = "127.0.0.1:9"\n')
    environ = {
        **os.environ, "EYEWALL_DATABASE_URL": url, "EYEWALL_VAR": str(tmp_path / "var"),
        "EYEWALL_SETTINGS": str(settings),
    }  # fmt: skip

    def run(*arguments):
        command = [sys.executable, "-m", "eyewall.cli", "env", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


def test_an_environment_from_its_line_to_its_end(env, tmp_path):
    folder = tmp_path / "var" / "environments"

    code, said, _ = env("lock", "six-1.17")
    assert (code, said.split(" in ")[0].split()) == (0, ["six-1.17", "1", "packages"])
    code, said, progress = env("build", "six-1.17")
    assert code == 0
    assert f": {folder}/six-1.17-" in said
    assert "env build six-1.17, process: installing 1 packages into" in progress
    assert env("build", "--all")[1].split()[2:4] == ["is", "there:"]
    words = ["six", "1.17.0,", "1", "packages", "as", "locked"]
    assert env("verify", "--all")[1].split() == ["six-1.17", "process", "ok:", *words]

    code, said, _ = env("list", "--json")
    (row,) = [each for each in json.loads(said) if each["name"] != "local"]
    assert (code, row["state"], row["old_recipe"]) == (0, "built", False)
    assert str(row["folder"]) in env("list")[1]

    assert env("remove", "six-1.17")[1] == f"removed {row['folder']}\n"
    assert env("remove", "six-1.17")[1] == "nothing of six-1.17 was here\n"


def test_a_changed_recipe_is_shown(env, recipes):
    env("build", "six-1.17")
    dockerfile = recipes / "environment" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "# changed\n")

    assert "recipe has changed: build it again" in env("list")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        pytest.param(("build",), 65, "which environments? Give names, or --all", id="no name"),
        pytest.param(("build", "six-1.17", "--all"), 65, "which environments? Give names, or --all", id="both"),
        pytest.param(("build", "six-9"), 65, "no environment 'six-9': environments are six-1.17;", id="unknown"),
        pytest.param(
            ("build", "six-1.17", "--backend", "podman"), 65, "--backend 'podman': environments are", id="backend"
        ),
        pytest.param(("verify", "six-1.17"), 1, "1 environments are not what their recipes say", id="not built"),
        pytest.param(
            ("remove", "six-9"),
            65,
            "environment 'six-9' does not exist: see `eyewall env list`",
            id="nothing to remove",
        ),
    ],
)
def test_a_wrong_call_is_one_sentence(env, arguments, code, sentence):
    ended, said, error = env(*arguments)

    assert (ended, error.strip().splitlines()[-1][: len(f"eyewall: {sentence}")]) == (code, f"eyewall: {sentence}")
    if arguments[0] == "verify":
        assert "six-1.17               process  not ok: environment six-1.17 has no folder" in said


def test_recipes_that_are_not_there_are_one_sentence(env, recipes):
    (recipes / "environments.yaml").unlink()

    ended, _, error = env("list")

    assert ended == 65
    assert error.endswith("run this in the project's folder, or set recipes in [environments]\n")


def listed(env):
    """Names of the list but "local", which is no recipe's."""
    return [line.split()[0] for line in env("list")[1].splitlines() if not line.startswith("local ")]


def test_one_that_is_in_no_recipe_any_more_can_be_taken_off_the_list(env, recipes):
    env("list")
    (recipes / "environments.yaml").write_text("idna-3.7: {requirements: [idna==3.7]}\n")
    assert listed(env) == ["idna-3.7", "six-1.17"]

    assert env("remove", "six-1.17")[0] == 0

    assert listed(env) == ["idna-3.7"]
