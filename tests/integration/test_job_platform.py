"""The job queue behind real Airflow and a real PostgreSQL: forms, events, refusals, cancels, searches, and kills."""

# NOTE: injected by pytest: platform
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import receipt_path
from eyewall.platform import postgres
from eyewall.platform.local_jobs import _is_of_a_job, _watches
from eyewall.platform.ports import Ports
from eyewall.platform.processes import MARKER
from eyewall.platform.rest import FINAL
from eyewall.platform.up import Installation, down, up
from eyewall.storage import Store

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]
SETTINGS = """
store = "{var}/store"
default_stream = "sim"
airflow_port = {ports.airflow}
grpc_port = {ports.grpc}
rest_port = {ports.rest}

[workers.desk]
kind = "process"
devices = 2

[streams.sim.records]
tracks = "{var}/season/besttrack.csv"
train_from = 2001
train_to = 2008
val_to = 2009
test_to = 2010
frames = 0
[streams.sim.train]
model = "track"
steps = 20
checkpoint_every = 10
"""


@dataclass
class Platform:
    """An installation that runs, and what tests ask of it."""

    installation: Installation
    url: str

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What psql would show."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query, values).fetchall()

    def trigger(self, dag: str = "job", /, **conf: Any) -> str:
        """Start a run; its id."""
        with self.installation.client() as client:
            return client.trigger(dag, conf)

    def task(self, run_id: str, dag: str = "job", task_id: str = "") -> dict[str, Any]:
        """A task as it stands; default: the one that is named as its DAG is."""
        with self.installation.client() as client:
            return dict(client.call("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances/{task_id or dag}"))

    def ended(self, run_id: str, dag: str = "job", task_id: str = "", within_s: float = 240.0) -> dict[str, Any]:
        """A task at its end."""
        deadline = time.monotonic() + within_s
        while (task := self.task(run_id, dag, task_id))["state"] not in FINAL:
            assert time.monotonic() < deadline, (task, self.rows("SELECT id, state, reason FROM job ORDER BY id"))
            time.sleep(0.5)
        return task

    def log(self, run_id: str, dag: str = "job", task_id: str = "") -> str:
        """The log of a task's first try, to be shown as well."""
        with self.installation.client() as client:
            return "\n".join(client.log(dag, run_id, task_id or dag, 1))

    def cli(self, *args: str) -> "subprocess.CompletedProcess[str]":
        """The command line, on the same database and store."""
        places = self.installation.places
        environ = {
            **self.installation.environ, "EYEWALL_DATABASE_URL": self.url, "EYEWALL_VAR": str(places.var),
            "EYEWALL_STORE": self.installation.settings.store, "PYTHONPATH": str(places.root),
        }  # fmt: skip
        return subprocess.run([sys.executable, "-m", "eyewall.cli", *args], env=environ, capture_output=True, text=True)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Airflow's four processes, PostgreSQL and a worker of two declared devices, once for this module."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "EYEWALL"))}
    with tempfile.TemporaryDirectory(prefix="eyewall-jobs-platform-") as name:  # PostgreSQL's user may enter it
        var = Path(name)
        var.chmod(0o755)
        (var / "eyewall.toml").write_text(SETTINGS.format(var=var, ports=Ports.free()))
        installation = Installation.of({**environ, "EYEWALL_SETTINGS": str(var / "eyewall.toml")}, var)
        try:
            up(installation, lambda text: None)
            socket_folder = postgres.socket_folder(installation.places.postgres)
            yield Platform(installation, postgres.uri(socket_folder, "eyewall"))
        finally:
            down(installation)
        assert left_running(var) == []


def left_running(var: Path) -> list[str]:
    """Command lines of processes of the installation, jobs included."""
    found = []
    for process in psutil.process_iter():
        try:
            folder = f"{var}/jobs/"
            if process.environ().get(MARKER) == str(var) or _watches(process, folder) or _is_of_a_job(process, folder):
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.Error, OSError):
            continue
    return found


def program(platform: Platform, name: str, code: str, *args: str) -> dict[str, str]:
    """``code`` in the store, and the part of the form that runs it."""
    file = Path(platform.installation.settings.store) / "programs" / name / "main.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    return {"env": "local", "code": f"programs/{name}", "command": shlex.join(["python", "main.py", *args])}


TRAIN = """
import os, sys
print("devices", os.environ["EYEWALL_GPUS"], "database", "EYEWALL_DATABASE_URL" in os.environ, *sys.argv[1:])
for step in range(3):
    print('eyewall-report {"step": %d, "metric": "loss", "value": %r}' % (step, 1 / (step + 1)))
open(os.path.join(os.environ["EYEWALL_OUT"], "model.txt"), "w").write("weights")
"""


def test_a_job_over_rest_runs_on_a_declared_device_as_soon_as_the_database_tells(platform, record_property):
    """Nothing but an event starts it: the periodic run comes only every ten minutes."""
    train = program(platform, "train", TRAIN, "$HOME; touch /tmp/x", "*")
    run_id = platform.trigger(**train, name="first", priority=6)

    task = platform.ended(run_id)

    log = platform.log(run_id)
    assert task["state"] == "success", log
    assert "| devices 1 database False $HOME; touch /tmp/x *" in log  # no shell has seen it, nor has it the database
    ((job, owner, state, wait_s, worker, token, exit_code),) = platform.rows(
        "SELECT j.id, j.owner, j.state, extract(epoch FROM a.started_at - j.submitted_at), worker, token, exit_code"
        " FROM job j JOIN attempt a ON a.job = j.id WHERE j.name = 'first'"
    )
    record_property("seconds_from_submission_to_start", float(wait_s))
    sys.stderr.write(f"\nfrom submission to start, without a dispatcher: {wait_s:.1f} s\n")
    assert (owner, state, worker, token, exit_code) == ("admin", "succeeded", "desk", 1, 0)
    with platform.installation.client() as client:
        assert "asset_triggered" in {run["run_type"] for run in client.runs("dispatch")}
    assert platform.rows("SELECT metric, step, value FROM report JOIN attempt a ON a.id = attempt WHERE job = %s"
                         " ORDER BY step", job) == [("loss", 0, 1.0), ("loss", 1, 0.5), ("loss", 2, 1 / 3)]  # fmt: skip
    assert platform.rows("SELECT count(*) FROM lease WHERE released_at IS NULL") == [(0,)]
    store = Path(platform.installation.settings.store)
    assert (store / f"jobs/{job}/1/out/model.txt").read_text() == "weights"
    assert f"{store}/jobs/{job}/1/log.txt" in log


def test_while_a_dispatcher_lives_the_next_job_starts_without_airflow(platform):
    """No process of Airflow's is in the way from the queue to the device: a second or two at the most."""
    submitted = platform.cli("job", "submit", "--env=local", "--name=second", "--json", "--", "true")
    assert submitted.returncode == 0, submitted.stderr
    job = json.loads(submitted.stdout)["job"]
    deadline = time.monotonic() + 60
    while (state := platform.rows("SELECT state FROM job WHERE id = %s", job)[0][0]) != "succeeded":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)

    assert platform.rows(
        "SELECT count(DISTINCT dispatcher) FROM attempt JOIN job ON job.id = job WHERE name IN ('first', 'second')"
    ) == [(1,)]


def test_the_form_and_the_command_line_make_the_same_job(platform):
    store = Path(platform.installation.settings.store)
    for name in ("code/train.py", "sets/a/x", "sets/b/y"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text("print('trained')\n")
    form = {
        "env": "local", "command": "python train.py --lr 0.01 'two words'", "code": "code",
        "data": ["sets/a", "sets/b"],
        "gpus": 2, "generation": ["any"], "priority": 3, "max_hours": 0.5, "variables": {"LR": "1e-3"}, "name": "form",
    }  # fmt: skip

    run_id = platform.trigger(**form)
    typed = platform.cli(
        "job", "submit", "--env=local", "--code=code", "--data=sets/a", "--data=sets/b", "--gpus=2", "--generation=any",
        "--priority=3", "--max-hours=0.5", "--set=LR=1e-3", "--name=typed", "--owner=admin",
        "--", "python", "train.py", "--lr", "0.01", "two words",
    )  # fmt: skip

    assert typed.returncode == 0, typed.stderr
    assert platform.ended(run_id)["state"] == "success", platform.log(run_id)
    columns = "owner, environment, command, code, data, variables, gpus, generations, memory_mb, priority, max_s"
    rows = platform.rows(f"SELECT {columns} FROM job WHERE name IN ('form', 'typed')")
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_what_cannot_run_is_refused_with_its_sentence_and_not_tried_again(platform):
    refused = {
        platform.trigger(env="tensorflow-0.1", command="true"): "no environment 'tensorflow-0.1'",
        platform.trigger(env="local", command="python 'train.py"): "cannot be split into words",
        platform.trigger(env="local", command="true", gpus=3): "GPUs on one host are more than any has",
        platform.trigger(env="local", command="true", code="no/such"): "no/such",
    }
    broken = platform.trigger(env="local", command="no-such-program --lr 1", name="broken")
    before = platform.rows("SELECT count(*) FROM job")

    for run_id, sentence in refused.items():
        task = platform.ended(run_id)
        assert (task["state"], task["try_number"]) == ("failed", 1), platform.log(run_id)
        assert sentence in platform.log(run_id)
    task = platform.ended(broken)
    assert (task["state"], task["try_number"]) == ("failed", 1), platform.log(broken)
    assert "no-such-program" in platform.log(broken)
    assert platform.rows("SELECT j.state, a.state FROM job j JOIN attempt a ON a.job = j.id"
                         " WHERE j.name = 'broken'") == [("failed", "failed")]  # fmt: skip
    assert platform.rows("SELECT count(*) FROM job")[0][0] <= before[0][0] + 1  # of the refused, none


def worker_of(task: dict[str, Any], but: tuple[int, ...] = ()) -> psutil.Process:
    """The worker of Airflow's that has the task, none of ``but``: soon after it was handed out."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or ())
            if "LocalExecutor" in title and task["id"] in title and process.pid not in but:
                return process
        time.sleep(0.02)
    raise AssertionError(f"no worker has {task}")


def stopped_between_deferral_and_end(platform: Platform, task: dict[str, Any]) -> psutil.Process | None:
    """The worker that defers ``task``, stopped before it could tell its own end; None where it was quicker."""
    worker = worker_of(task)
    airflow = postgres.uri(postgres.socket_folder(platform.installation.places.postgres), "airflow")
    with psycopg.connect(airflow, autocommit=True) as connection:
        while connection.execute("SELECT state FROM task_instance WHERE id = %s", (task["id"],)).fetchone() != (
            "deferred",
        ):
            time.sleep(0.005)
    worker.suspend()
    if task["id"] in " ".join(worker.cmdline()):
        return worker
    worker.resume()
    return None


def test_a_worker_whose_end_is_heard_after_its_task_was_resumed_costs_the_task_no_try(platform):
    """Airflow's own executor lets the scheduler take that end for the resumed task's, and the task is tried again."""
    wait = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"
    for number in range(10):
        go = platform.installation.places.var / f"go-{number}"
        run_id = platform.trigger(**program(platform, f"wait-{number}", wait, str(go)))
        first = stopped_between_deferral_and_end(platform, platform.task(run_id))
        go.touch()
        if first is None:
            continue
        second = worker_of(platform.task(run_id), but=(first.pid,))
        second.suspend()
        first.resume()
        time.sleep(5)  # the scheduler looks about every second
        second.resume()
        task = platform.ended(run_id)
        assert (task["state"], task["try_number"]) == ("success", 1)
        return
    raise AssertionError("of ten workers, none could be stopped in time")


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"env": "local"}, id="no_command"),
        pytest.param({"env": "local", "command": "true", "gpus": "two"}, id="not_a_number"),
        pytest.param({"env": "../x", "command": "true"}, id="hostile_name"),
        pytest.param({"env": "local", "command": "true\nrm"}, id="two_lines"),
    ],
)
def test_what_the_form_forbids_never_becomes_a_run(platform, conf):
    with pytest.raises(InputError, match="Airflow answers 4"):
        platform.trigger(**conf)


WAIT = """
import os, sys, time
with open(sys.argv[1], "a") as starts:
    starts.write(os.environ["EYEWALL_ATTEMPT"] + "\\n")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.1)
print("let go")
"""


def running(platform, name: str, within_s: float = 120.0) -> int:
    """The job of this name, as soon as it runs on its device."""
    deadline = time.monotonic() + within_s
    while not (rows := platform.rows("SELECT j.id FROM job j JOIN attempt a ON a.job = j.id AND a.state = 'running'"
                                     " WHERE j.name = %s", name)):  # fmt: skip
        assert time.monotonic() < deadline, platform.rows("SELECT id, name, state, reason FROM job")
        time.sleep(0.2)
    return int(rows[0][0])


def test_marking_the_task_failed_ends_the_job_also_before_a_triggerer_has_taken_it(platform, tmp_path):
    run_id = platform.trigger(**program(platform, "wait", WAIT, str(tmp_path / "starts"), "/none"), name="stopped")
    deadline = time.monotonic() + 120
    while not (rows := platform.rows("SELECT id FROM job WHERE name = 'stopped'")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ((job,),) = rows

    with platform.installation.client() as client:
        client.call("PATCH", f"/dags/job/dagRuns/{run_id}/taskInstances/job", {"new_state": "failed"})
    while platform.rows("SELECT state FROM job WHERE id = %s", job) != [("cancelled",)]:
        assert time.monotonic() < deadline, platform.rows("SELECT state, stop, reason FROM job WHERE id = %s", job)
        time.sleep(0.2)

    assert platform.rows("SELECT count(*) FROM lease l JOIN attempt a ON a.id = l.attempt"
                         " WHERE a.job = %s AND l.released_at IS NULL", job) == [(0,)]  # fmt: skip
    folder = f"{platform.installation.places.var}/jobs/"
    assert not [process for process in psutil.process_iter() if _is_of_a_job(process, folder)]


def test_a_job_survives_the_death_of_scheduler_and_triggerer(platform, tmp_path):
    """Both get kill -9 while it runs, then `up` again: not lost, not doubled, the states true, nothing held."""
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    run_id = platform.trigger(**program(platform, "wait", WAIT, str(starts), str(gate)), name="survivor")
    job = running(platform, "survivor")
    supervisor = platform.installation.supervisor
    before = {name: supervisor.pid_of(name) for name in ("scheduler", "triggerer")}

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    time.sleep(1.0)
    assert platform.rows("SELECT state FROM job WHERE id = %s", job) == [("running",)]
    assert set(up(platform.installation, lambda text: None)) == set(before)

    gate.touch()
    task = platform.ended(run_id)
    assert task["state"] == "success", platform.log(run_id)
    assert starts.read_text() == "1\n"  # it ran once
    assert platform.rows("SELECT number, state, exit_code FROM attempt WHERE job = %s", job) == [(1, "succeeded", 0)]
    assert platform.rows("SELECT count(*) FROM lease WHERE released_at IS NULL") == [(0,)]
    assert platform.rows("SELECT count(*) FROM job WHERE state IN ('queued', 'running')") == [(0,)]


TRIAL = """
import os, sys, time
rate, gate = float(sys.argv[1]), sys.argv[2]
with open(gate + ".starts", "a") as starts:
    starts.write(f"{rate}\\n")
while not os.path.exists(gate):
    time.sleep(0.1)
for step in range(1, 4):
    print('eyewall-report {"step": %d, "metric": "loss", "value": %r}' % (step, rate + 1 / step), flush=True)
"""
RATES = """
job: {{environment: local, command: [python, main.py, "{{rate}}", "{gate}"], code: programs/trial}}
parameters: {{rate: {{type: categorical, choices: [0.3, 0.1, 0.2]}}}}
objective: {{metric: loss}}
sampler: grid
parallel: 2
"""


def in_store(platform, path: str, text: str) -> str:
    """A space in the store; its path there."""
    file = Path(platform.installation.settings.store) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return path


def until(platform, query: str, wanted: list[tuple[Any, ...]], within_s: float = 120.0) -> None:
    """Wait for what psql is to show."""
    deadline = time.monotonic() + within_s
    while (found := platform.rows(query)) != wanted:
        assert time.monotonic() < deadline, (found, platform.rows("SELECT id, name, state, reason FROM job"))
        time.sleep(0.2)


def test_a_search_over_rest_holds_no_slot_and_survives_the_death_of_who_runs_it(platform, tmp_path):
    """Dispatcher and controller get kill -9 while two of three trials run; each trial runs once, the best is right."""
    gate = tmp_path / "gate"
    program(platform, "trial", TRIAL)
    space = in_store(platform, "spaces/rates.yaml", RATES.format(gate=gate))

    run_id = platform.trigger("sweep", space=space, name="rates")

    until(platform, "SELECT count(*) FROM trial JOIN attempt a USING (job) WHERE a.state = 'running'", [(2,)])
    deadline = time.monotonic() + 30
    while platform.task(run_id, "sweep")["state"] != "deferred":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ((dispatcher, pid),) = platform.rows("SELECT id, pid FROM dispatcher ORDER BY id DESC LIMIT 1")
    controllers = [child for child in psutil.Process(pid).children() if "keep" in child.cmdline()]
    assert len(controllers) == 1
    for process in (pid, controllers[0].pid):
        os.kill(process, signal.SIGKILL)
    gate.touch()
    task = platform.ended(run_id, "sweep")

    assert task["state"] == "success", platform.log(run_id, "sweep")
    assert sorted((tmp_path / "gate.starts").read_text().split()) == ["0.1", "0.2", "0.3"]
    assert platform.rows("SELECT state, reason FROM sweep WHERE name = 'rates'") == [
        ("finished", "the whole grid of 3")
    ]
    assert platform.rows("SELECT max(id) > %s FROM dispatcher", dispatcher) == [(True,)]
    best = Store(platform.installation.settings.store).read_json(receipt_path("sweep", run_id, "sweep"))["summary"]
    assert (best["params"], best["value"]) == ({"rate": 0.1}, pytest.approx(0.1 + 1 / 3))


def test_marking_the_task_of_a_search_stops_it_and_clearing_lets_it_go_on(platform, tmp_path):
    gate = tmp_path / "gate"
    program(platform, "trial", TRIAL)
    space = in_store(platform, "spaces/marked.yaml", RATES.format(gate=gate))
    run_id = platform.trigger("sweep", space=space, name="marked")
    trials = "FROM sweep s JOIN trial t ON t.sweep = s.id JOIN job j ON j.id = t.job WHERE s.name = 'marked'"
    until(platform, f"SELECT count(*) {trials} AND j.state = 'running'", [(2,)])

    with platform.installation.client() as client:
        client.call("PATCH", f"/dags/sweep/dagRuns/{run_id}/taskInstances/sweep", {"new_state": "failed"})
        until(platform, f"SELECT DISTINCT s.state, j.state {trials}", [("stopped", "cancelled")])
        gate.touch()
        # Cleared in the moment in which the scheduler ends the run, Airflow (3.3.2) would leave the run failed.
        deadline = time.monotonic() + 120
        while client.call("GET", f"/dags/sweep/dagRuns/{run_id}")["state"] != "failed":
            assert time.monotonic() < deadline, "the run of a failed task does not end"
            time.sleep(0.2)
        clear = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["sweep"], "only_failed": False}
        client.call("POST", "/dags/sweep/clearTaskInstances", clear)
    until(platform, "SELECT state FROM sweep WHERE name = 'marked'", [("finished",)])

    assert platform.ended(run_id, "sweep")["state"] == "success"
    assert platform.rows(f"SELECT count(*) {trials} AND j.state = 'succeeded'") == [(1,)]  # two points were given up


LEARNING_RATES = """
job:
  environment: local
  command: [eyewall, train, "--store={store}", "--records={records}", "--run={sweep}-{trial}", --model=track,
    --steps=20, --checkpoint-every=10, "--learning-rate={learning_rate}"]
parameters: {learning_rate: {type: categorical, choices: [0.003, 0.05]}}
objective: {metric: val_score, value: best}
sampler: grid
parallel: 2
"""


def test_retrain_that_is_asked_for_a_search_first_trains_on_the_best(platform):
    """On its own records, of simulated best tracks; the best trial's model is the answer, nothing is trained again."""
    made = platform.cli(
        "simulate", f"--out={platform.installation.places.var}/season", "--first-season=2001", "--last-season=2010",
        "--storms-per-season=8", "--imaged-storms=0",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    store = Store(platform.installation.settings.store)
    space = in_store(platform, "spaces/learning.yaml", LEARNING_RATES)
    with platform.installation.client() as client:
        client.unpause("retrain")

    run_id = platform.trigger("retrain", sweep=space)
    states = {task: platform.ended(run_id, "retrain", task, 400)["state"] for task in ("records", "search", "train")}

    assert set(states.values()) == {"success"}, (states, platform.log(run_id, "retrain", "search"))
    said = {
        task: store.read_json(receipt_path("retrain", run_id, task)) for task in ("records", "search", "train")
    }  # fmt: skip
    best = said["search"]["summary"]
    values = dict(platform.rows("SELECT params ->> 'learning_rate', value FROM trial WHERE params ? 'learning_rate'"))
    assert len(values) == 2
    assert best["value"] == min(values.values()) == values[str(best["params"]["learning_rate"])]
    assert f"trial {best['trial']} of search" in platform.log(run_id, "retrain", "train")
    model = store.read_manifest(said["train"]["result"]["uri"])
    assert model.config["learning_rate"] == best["params"]["learning_rate"]
    assert len(list(Path(store.root, "models").glob("*/manifest.json"))) == 2
    with platform.installation.client() as client:
        client.call("PATCH", f"/dags/retrain/dagRuns/{run_id}", {"state": "failed"})
