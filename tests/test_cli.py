"""The command line: expected failures are one sentence and an exit code; help never imports anything heavy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eyewall.contracts.jobs import JOBS


def eyewall(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "eyewall.cli", *args], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["fly"], "No such command 'fly'", id="unknown-verb"),
        pytest.param(["train"], "records_ref", id="missing-option"),
        pytest.param(["train", "--warp=9"], "--warp", id="unknown-option"),
        pytest.param(["train", "--records=r", "--run=a/b"], "'a/b'", id="hostile-name"),
        pytest.param(["train", "--records=r", "--run=a", "--steps=many"], "'many'", id="not-a-number"),
        pytest.param(["train", "--records=../../x", "--run=a"], "../../x", id="path-out-of-the-store"),
        pytest.param(["gate", "--evaluation=evaluations/none"], "evaluations/none", id="artifact-that-is-not-there"),
    ],
)
def test_bad_input_is_one_sentence_and_65(args: list[str], message: str, tmp_path: Path) -> None:
    done = eyewall(*args, cwd=tmp_path)

    assert done.returncode == 65, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not any(p.is_file() for p in tmp_path.rglob("*")), "nothing is written for bad input"


@pytest.mark.parametrize("verb", [pytest.param(verb, id=verb) for verb in JOBS])
def test_every_step_explains_each_of_its_options(verb: str) -> None:
    done = eyewall(verb, "--help")

    assert done.returncode == 0
    for field in JOBS[verb].model_fields:
        assert JOBS[verb].option_of(field) in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, eyewall.cli\n"
        "json.dump([m for m in ('numpy', 'tensorflow', 'satpy', 'pandas', 'airflow') if m in sys.modules], sys.stdout)"
    )

    assert json.loads(subprocess.check_output([sys.executable, "-c", code], text=True)) == []


def test_eyewall_alone_shows_its_help() -> None:
    done = eyewall()

    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert "models" in done.stdout
