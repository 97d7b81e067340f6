"""The command line: expected failures are one sentence and an exit code; help never imports anything heavy."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eyewall import cli
from eyewall.contracts.jobs import JOBS
from eyewall.contracts.manifest import Receipt


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


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(
            ["train", "--records=none", "--run=r", "--store={tmp}"], 65, "none", id="the sentence of a refusal"
        ),
        pytest.param(["gate", "--min-cases=many"], 65, "min_cases = 'many'", id="the contract's own sentence"),
        pytest.param(["gat"], 65, "No such command 'gat'", id="an unknown step"),
    ],
)
def test_the_end_of_a_failed_step_is_left_in_the_termination_log(tmp_path, args, code, words):
    log = tmp_path / "termination-log"
    environ = os.environ | {"EYEWALL_TERMINATION_LOG": str(log)}

    outcome = subprocess.run(
        [sys.executable, "-m", "eyewall.cli", *(arg.format(tmp=tmp_path) for arg in args)], env=environ, check=False
    )

    assert outcome.returncode == code
    assert words in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_summary_too_long_for_the_termination_log_is_left_out_whole(tmp_path, monkeypatch):
    log = tmp_path / "termination-log"
    monkeypatch.setenv("EYEWALL_TERMINATION_LOG", str(log))

    cli.last_words('{"a": 1}')
    assert log.read_text() == '{"a": 1}'
    cli.last_words(json.dumps({"long": "x" * 5000}))
    assert log.read_text() == '{"a": 1}'
    cli.last_words("é" * 5000)  # a sentence may be cut: 2 bytes each
    assert log.stat().st_size == 4000


def test_a_step_typed_by_hand_uses_the_store_of_the_settings(tmp_path):
    (tmp_path / "eyewall.toml").write_text('store = "shelf"\n')
    environ = {name: value for name, value in os.environ.items() if name != "EYEWALL_STORE"}

    def store_of(*args, **more):
        code = "from eyewall.cli import parse_command_line as p; import sys; print(p(sys.argv[1:]).store)"
        command = [sys.executable, "-c", code, "gate", "--evaluation=e", *args]
        return subprocess.run(command, cwd=tmp_path, env=environ | more, capture_output=True, text=True).stdout.strip()

    assert store_of() == "shelf"
    assert store_of(EYEWALL_STORE="s3://bucket") == "s3://bucket"
    assert store_of("--store=mine", EYEWALL_STORE="s3://bucket") == "mine"


def test_a_long_summary_is_cut_in_print_and_short_in_a_pod_and_whole_as_json(tmp_path, monkeypatch, capsys):
    log = tmp_path / "termination-log"
    monkeypatch.setenv("EYEWALL_TERMINATION_LOG", str(log))
    receipt = Receipt(verb="verify", summary={"n": 3, "leads": {str(lead): "x" * 900 for lead in (6, 12, 24, 48, 72)}})

    cli.finish(receipt, as_json=False)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) < 400

    cli.finish(receipt, as_json=True)
    assert json.loads(capsys.readouterr().out) == receipt.summary
    assert json.loads(log.read_text()) == {"n": 3}


def test_ctrl_c_ends_with_130_even_where_it_falls_into_an_exec_of_an_import(tmp_path):
    """Python would end by SIGINT itself (-2): scripts that look at the exit code must not see two kinds of Ctrl-C."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal\n"
        "from eyewall import cli\n"
        'cli.app = lambda **_: exec("os.kill(os.getpid(), signal.SIGINT)")\n'
        "cli.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (ended.returncode, ended.stderr) == (130, b"")
