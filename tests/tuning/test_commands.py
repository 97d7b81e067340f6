"""`eyewall sweep`, as typed: with the real dispatcher and real processes, and what it says of mistakes."""

# NOTE: injected by pytest, defined in conftest: url, connection, dispatcher
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eyewall.cli import app
from eyewall.storage import Store
from eyewall.tuning import controller

TRAIN = """
import sys, time
rate = float(sys.argv[1])
for step in range(1, 10):
    print(f'eyewall-report {{"step": {step}, "metric": "loss", "value": {rate + 1 / step}}}', flush=True)
    time.sleep(0.05 if rate < 1 else 0.5)  # the bad ones would take longest
"""
SPACE = """
job:
  environment: local
  command: [python, train.py, "{rate}"]
  code: code
parameters:
  rate: {type: categorical, choices: [0.1, 0.2, 5.0, 0.3, 6.0, 7.0]}
objective: {metric: loss}
sampler: grid
pruner: {kind: median, startup_trials: 1}
parallel: 2
"""


@pytest.fixture
def place(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a space, and a store with code; this database."""
    store = Store(str(tmp_path / "store"))
    store.write_bytes("code/train.py", TRAIN.encode())
    store.write_bytes("spaces/rates.yaml", SPACE.encode())
    (tmp_path / "rates.yaml").write_text(SPACE)
    (tmp_path / "eyewall.toml").write_text('store = "store"\n[workers.here]\nkind = "process"\ndevices = 2\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    for name in ("EYEWALL_STORE", "EYEWALL_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def sweep(*args: str) -> str:
    """Output of a command that ends well."""
    done = CliRunner().invoke(app, ["sweep", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def failure(*args: str) -> str:
    """The error of a command that does not."""
    done = CliRunner().invoke(app, ["sweep", *args])
    assert done.exit_code != 0
    return str(done.exception)


def test_a_search_of_real_processes_ends_with_the_best_and_gives_up_the_bad_ones_early(place, connection):
    """Two devices, six trials; the three bad ones would take 4.5 s each, and are ended by a signal."""
    dispatch = [sys.executable, "-m", "eyewall.cli", "job", "dispatch"]
    dispatching = subprocess.Popen(dispatch, cwd=place, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        said = json.loads(
            sweep(
                "create", "spaces/rates.yaml", "--in-store", "--owner=ada", "--run", "--best=receipts/b.json", "--json"
            )
        )
    finally:
        dispatching.terminate()
        dispatching.communicate()

    assert (said["state"], said["trials"], said["best"]["rate"]) == ("finished", 6, 0.1)
    assert said["best"]["value"] == pytest.approx(0.1 + 1 / 9)
    assert said["pruned"] >= 1
    assert said["succeeded"] + said["pruned"] == 6
    best = Store(str(place / "store")).read_json("receipts/b.json")
    assert (best["verb"], best["summary"]["params"]) == ("sweep", {"rate": 0.1})
    given_up = connection.execute(
        "SELECT t.params ->> 'rate', a.state FROM trial t JOIN job j ON j.id = t.job JOIN attempt a ON a.job = j.id"
        " WHERE j.state = 'pruned'"
    ).fetchall()
    assert {state for _, state in given_up} == {"pruned"}
    assert {float(rate) for rate, _ in given_up} <= {5.0, 6.0, 7.0, 0.2, 0.3}
    assert connection.execute("SELECT count(*) FROM lease WHERE released_at IS NULL").fetchone() == (0,)


def test_a_search_that_is_only_registered_is_run_by_the_dispatcher_which_ends_after_it(place, connection):
    """As a job is: nobody says `sweep run`. There is nothing in the queue when the dispatcher starts."""
    said = json.loads(sweep("create", "spaces/rates.yaml", "--in-store", "--owner=ada", "--key=d/r/t", "--json"))
    dispatch = [sys.executable, "-m", "eyewall.cli", "job", "dispatch", "--idle-s=1"]

    done = subprocess.run(dispatch, cwd=place, capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stderr
    found = json.loads(sweep("show", "rates", "--json"))
    assert (said["state"], said["id"], found["state"], found["best"]["rate"]) == ("running", 1, "finished", 0.1)
    assert "running search rates" in done.stderr
    assert "rates: trial 0: job" in done.stderr


@pytest.fixture
def finished(place: Path, url: str, dispatcher) -> Path:
    """A search by the name of its file that has ended, three of its six trials given up."""

    def training(command: tuple[str, ...]):
        for step in (1, 2, 4):
            yield float(command[2]) + 1 / step

    sweep("create", "rates.yaml", "--owner=ada")
    with dispatcher(training, lockstep=False):
        controller.run(url, "rates", lambda _: None, look_every_s=0.5)
    return place


def test_a_search_is_shown_on_a_terminal_as_json_and_as_a_picture(finished):
    text = sweep("show", "rates", "--rows=2", "--plot=p.png")
    known = json.loads(sweep("show", "rates", "--json"))
    listed = json.loads(sweep("list", "--json"))

    assert text.splitlines()[0] == "rates  finished: the whole grid of 6"
    assert "best: trial " in text
    assert ", 0.35, rate=0.1" in text  # 0.1 + 1/4
    assert "… and 4 more" in text
    assert any(block in text for block in "▁▂▃▄▅▆▇█")
    assert known["best"]["rate"] == 0.1
    assert len(known["trials"]) == 6
    assert known["trials"][0]["value"] == pytest.approx(0.35)
    assert known["curves"][str(known["trials"][0]["number"])] == [[1, 1.1], [2, 0.6], [3, 0.35]]
    assert known["spent"]["trials"] == 6
    assert [(row["name"], row["owner"], row["trials"], row["live"]) for row in listed] == [("rates", "ada", 6, 0)]
    assert (finished / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "rates" in sweep("list")


def test_mistakes_are_told_in_one_sentence(finished):
    assert "no search 'ratse': see `eyewall sweep list`" in failure("show", "ratse")
    assert "no search 'ratse'" in failure("run", "ratse")
    assert "another search of the name 'rates'" in failure("create", "rates.yaml", "--owner=ada", "--seed=9")
    assert "absent.yaml cannot be read" in failure("create", "absent.yaml")
    assert "'spaces/absent.yaml' in store" in failure("create", "spaces/absent.yaml", "--in-store")
    assert "--set 'x' is not NAME=VALUE" in failure("create", "rates.yaml", "--set=x")
    assert "priority = '12'" in failure("create", "rates.yaml", "--priority=12")
    assert "nothing left to do, all of its 6 trials were started" in failure("resume", "rates")
    assert "has no budget of trials to add +5 to" in failure("resume", "rates", "--trials=+5")
    assert "'many' is no number of hours" in failure("resume", "rates", "--hours=many")
    assert "ends neither in .png nor in .pdf nor in .svg" in failure("show", "rates", "--plot=p.txt")


def test_a_space_whose_jobs_can_never_run_is_refused_before_anything_is_there(place, connection):
    (place / "x.yaml").write_text(SPACE.replace("environment: local", "environment: caffe"))
    (place / "y.yaml").write_text(SPACE.replace("code: code", "code: nowhere"))
    (place / "z.yaml").write_text(SPACE.replace("code: code", "code: code\n  gpus: 9"))

    assert "no environment 'caffe'" in failure("create", "x.yaml")
    assert "nowhere" in failure("create", "y.yaml")
    assert "GPUs on one host are more than any has: the largest has 8" in failure("create", "z.yaml")
    assert connection.execute("SELECT (SELECT count(*) FROM sweep), (SELECT count(*) FROM job)").fetchone() == (0, 0)


def test_creating_the_same_again_is_harmless_and_stopping_needs_no_controller(place):
    first, again = (json.loads(sweep("create", "rates.yaml", "--json")) for _ in range(2))
    stopped = json.loads(sweep("stop", "rates", "--json"))

    assert first == again
    assert first["study"].endswith("-rates")
    assert stopped == {"sweep": "rates", "state": "stopped", "asked_to_end": 0}
    assert json.loads(sweep("resume", "rates", "--json"))["state"] == "running"
