"""The docker backend on a real engine: ends, output, limits, and containers found again after a killed task."""

# NOTE: the fixture bench comes from docker_engine: a store, a plan for the container, and what that left.

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from docker_engine import Bench

from eyewall.contracts.jobs import IngestJob, Job
from eyewall.contracts.settings import Settings
from operators.docker import DockerBackend, container_name
from operators.outcome import Outcome
from operators.step import raise_for

pytestmark = pytest.mark.docker
ROOT = Path(__file__).resolve().parents[2]


class Task:
    """What a backend needs of a task and of its context, and everything that it said."""

    def __init__(self, bench: Bench, **docker_settings) -> None:
        self.bench = bench
        self.said: list[str] = []
        log = SimpleNamespace(info=lambda text, *rest: self.said.append(text % rest if rest else text))
        self.backend = DockerBackend(
            Settings.model_validate(bench.settings(**docker_settings)), SimpleNamespace(task_id="ingest", log=log)
        )

    @property
    def context(self):
        """As Airflow gives it."""
        ti = SimpleNamespace(dag_id="ingest", run_id=self.bench.run_id, task_id="ingest", map_index=-1)
        return {"ti": ti}

    def job(self, **fields) -> Job:
        """An ingest with these fields."""
        return IngestJob(store=str(self.bench.store), **{"reader": "ahi_hsd", **fields})

    def run(self, **fields) -> Outcome:
        """Run that to its end."""
        return self.backend.run(self.job(**fields), self.context)

    def in_background(self, **fields) -> "Background":
        """The same, in a thread."""
        return Background(lambda: self.run(**fields))


class Background:
    """A call in a thread, and what it gave or raised."""

    def __init__(self, call) -> None:
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None

        def work() -> None:
            try:
                self.outcome = call()
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def end(self) -> Outcome | None:
        """Wait for it."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome


def until(true, seconds=120.0):
    """Wait for something that is about to be true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def test_a_step_runs_to_its_end_and_leaves_no_container(bench):
    bench.plan(lines=["slot 1 of 2", "slot 2 of 2"], last=['{"frames": 2, "path": "a/b"}'])
    task = Task(bench)

    outcome = task.run(stream="wide")

    assert outcome == (0, {"frames": 2, "path": "a/b"}, "slot 2 of 2")
    assert [line for line in task.said if line.startswith(("slot", "{"))] == [
        "slot 1 of 2", "slot 2 of 2", '{"frames": 2, "path": "a/b"}',
    ]  # fmt: skip
    (start,) = bench.starts()
    # The store as the container sees it, and the step's own options; the host's path is nowhere.
    assert start.split()[1:] == ["ingest", "--store=/store", "--stream=wide", "--reader=ahi_hsd", "--json"]
    assert bench.containers() == []


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        pytest.param(65, AirflowFailException, id="bad input fails for good"),
        pytest.param(99, AirflowSkipException, id="nothing new skips"),
        pytest.param(70, AirflowException, id="all others are tried again"),
    ],
)
def test_the_exit_code_becomes_the_tasks_state(bench, code, raised):
    bench.plan(lines=['{"frames": 2}'], last=["eyewall: no file of slot 04:00"], code=code)

    outcome = Task(bench).run()

    assert outcome == (code, {}, "no file of slot 04:00")
    with pytest.raises(raised, match="no file of slot 04:00") as caught:
        raise_for(outcome, "ingest")
    assert type(caught.value) is raised
    assert bench.containers() == []


def test_lines_arrive_while_the_step_runs(bench):
    bench.plan(lines=["halfway"], until="go")
    task = Task(bench)
    running = task.in_background()

    until(lambda: "halfway" in task.said)
    assert bench.containers()[0]["State"] == "running"
    (bench.store / "go").touch()

    assert running.end().code == 0


def test_the_container_gets_the_limits_of_its_step_and_no_rights(bench):
    bench.plan(until="go")
    task = Task(bench, resources={"ingest": {"cpus": 0.5, "memory": "192Mi", "shm": "96Mi"}})
    running = task.in_background()
    until(bench.starts)

    found = bench.engine.inspect_container(bench.containers()[0]["Id"])
    (bench.store / "go").touch()
    running.end()

    host = found["HostConfig"]
    # 192 Mi = 192 * 1048576 = 201326592, 96 Mi half of it; half a core is 5e8 of the engine's billionths.
    assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (201326592, 201326592, 100663296)
    assert (host["NanoCpus"], host["Init"], host["Privileged"]) == (500_000_000, True, False)
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert host["ReadonlyRootfs"] is True
    assert found["Config"]["User"] == "10001:10001"


def test_a_step_writes_to_its_store_and_to_tmp_and_nowhere_else(bench):
    bench.plan(probe="[os.access(path, os.W_OK) for path in ('/store', '/tmp', '/', '/usr', '/var/tmp')]")
    task = Task(bench)
    task.run()

    assert "[true, true, false, false, false]" in task.said


def test_a_step_without_enough_memory_says_so(bench):
    bench.plan(mebibytes=200)

    outcome = Task(bench, resources={"ingest": {"memory": "64Mi"}}).run()

    assert outcome.code == 137
    assert "limit of 64Mi" in outcome.sentence


def test_a_step_sees_credentials_and_nothing_of_airflow_or_of_the_host(bench, monkeypatch):
    hidden = {"AIRFLOW__CORE__FERNET_KEY": "k", "EYEWALL_DATABASE_URL": "u", "EYEWALL_SETTINGS": "/etc/x",
              "XDG_CACHE_HOME": "/host/cache", "PYTHONPATH": "/host", "SOME_TOKEN": "t"}  # fmt: skip
    given = {"AWS_SECRET_ACCESS_KEY": "s3cret", "EYEWALL_S3_ENDPOINT": "http://s3", "HTTPS_PROXY": "http://proxy"}
    for name, value in (hidden | given).items():
        monkeypatch.setenv(name, value)
    bench.plan(environment=[*hidden, *given, "EYEWALL_THREADS"])
    task = Task(bench, resources={"ingest": {"cpus": 2}})

    seen = task.run().summary

    assert seen == dict.fromkeys(hidden) | given | {"EYEWALL_THREADS": "2"}
    # The step itself printed them, in one line; neither the command nor any other line of the log has the secret.
    assert sum("s3cret" in line for line in task.said) == 1
    assert "s3cret" not in "".join(bench.starts())


PARENT = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
import airflow_home
from types import SimpleNamespace
from eyewall.contracts.jobs import IngestJob
from eyewall.contracts.settings import Settings
from operators.docker import DockerBackend
settings = Settings.model_validate(json.loads(sys.argv[1]))
log = SimpleNamespace(info=lambda text, *rest: print(text % rest if rest else text, flush=True))
ti = SimpleNamespace(dag_id="ingest", run_id=sys.argv[2], task_id="ingest", map_index=-1)
job = IngestJob(store=settings.store, reader="ahi_hsd")
DockerBackend(settings, SimpleNamespace(task_id="ingest", log=log)).run(job, {{"ti": ti}})
"""


def kill_a_task(bench: Bench) -> None:
    """Start the task of `Task` in a process of its own, and kill -9 that once its container runs."""
    code = PARENT.format(root=str(ROOT), tests=str(ROOT / "tests"))
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps(bench.settings()), bench.run_id], cwd=ROOT)
    try:
        until(bench.starts)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_after_a_killed_task_the_next_try_takes_over_the_running_container(bench):
    bench.plan(lines=["halfway"], until="go", last=['{"frames": 7}'])
    kill_a_task(bench)
    assert [container["State"] for container in bench.containers()] == ["running"]
    task = Task(bench)

    running = task.in_background()
    until(lambda: "halfway" in task.said)  # also what it said before the new try
    (bench.store / "go").touch()

    assert running.end() == (0, {"frames": 7}, "halfway")
    assert len(bench.starts()) == 1  # the work was done once
    assert bench.containers() == []


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        pytest.param(0, (0, {"frames": 7}, "halfway"), id="success"),
        pytest.param(99, (99, {}, "halfway"), id="skip"),
    ],
)
def test_after_a_killed_task_the_result_of_an_ended_container_is_taken(bench, code, outcome):
    bench.plan(lines=["halfway"], until="go", last=['{"frames": 7}'], code=code)
    kill_a_task(bench)
    (bench.store / "go").touch()
    until(lambda: bench.containers()[0]["State"] == "exited")

    assert Task(bench).run() == outcome
    assert len(bench.starts()) == 1
    assert bench.containers() == []


def test_a_container_of_another_command_is_removed(bench):
    """A task was killed, then cleared with another answer in its form."""
    bench.plan(until="never")
    kill_a_task(bench)
    bench.plan(last=['{"frames": 1}'])

    outcome = Task(bench).run(stream="other")

    assert outcome.summary == {"frames": 1}
    assert ["--stream=other" in start for start in bench.starts()] == [False, True]
    assert bench.containers() == []


def test_a_container_that_was_made_but_never_started_is_started(bench):
    bench.plan(last=['{"frames": 1}'])
    task = Task(bench)
    name = container_name("ingest", bench.run_id, "ingest", -1, store=str(bench.store))
    made = task.backend.container(task.job(), name)
    made._create()  # killed before the next call
    assert [container["State"] for container in bench.containers()] == ["created"]

    assert task.run().summary == {"frames": 1}
    assert len(bench.starts()) == 1


def test_two_tries_at_once_share_one_container(bench):
    """The scheduler took a task for dead that was not."""
    bench.plan(lines=["halfway"], until="go", last=['{"frames": 7}'])
    tasks = [Task(bench), Task(bench)]
    running = [task.in_background() for task in tasks]
    until(lambda: all("halfway" in task.said for task in tasks) or any(each.error for each in running))
    (bench.store / "go").touch()

    outcomes = [each.end() for each in running]

    # One of them may find it removed already; that one is tried again, and finds its result in the store.
    assert (0, {"frames": 7}, "halfway") in outcomes
    assert len(bench.starts()) == 1
    assert bench.containers() == []


@pytest.mark.parametrize("obedient", [pytest.param(True, id="obedient"), pytest.param(False, id="deaf to SIGTERM")])
def test_a_stopped_task_leaves_no_container(bench, monkeypatch, obedient):
    monkeypatch.setattr("operators.step_container.GRACE_S", 1.0)
    bench.plan(lines=["halfway"], until="never", obedient=obedient)
    task = Task(bench)
    running = task.in_background()
    until(lambda: "halfway" in task.said)

    task.backend.stop()
    running.end()

    assert bench.containers() == []


def test_a_task_whose_time_is_up_leaves_no_container(bench):
    """Airflow raises in the middle of whatever runs."""
    bench.plan(lines=["halfway"], until="never")
    task = Task(bench)

    def say(text, *rest):
        if text == "halfway":
            raise TimeoutError("the task's time is up")

    task.backend._task.log.info = say
    with pytest.raises(TimeoutError):
        task.run()

    assert bench.containers() == []


def test_a_missing_image_is_named_with_the_remedy(bench):
    task = Task(bench, images={"ingest": "127.0.0.1:1/eyewall-nowhere:9"})

    outcome = task.run()

    assert outcome.code == 69
    assert "eyewall-nowhere:9" in outcome.sentence
    assert bench.containers() == []


def test_a_folder_that_is_not_there_is_named_and_nothing_is_left(bench):
    bench.plan()
    mounts = [*bench.settings()["docker"]["mounts"], {"source": "/no/such/folder", "target": "/data"}]

    outcome = Task(bench, mounts=mounts).run()

    assert outcome.code == 69
    assert "/no/such/folder" in outcome.sentence
    assert bench.containers() == []


def test_gpus_are_asked_for_and_their_absence_is_a_sentence(bench):
    """On a host with NVIDIA's toolkit the step starts; on all others the engine has no driver for what is asked."""
    bench.plan()
    task = Task(bench, resources={"ingest": {"gpus": 2}})
    name = container_name("ingest", bench.run_id, "ingest", -1, store=str(bench.store))
    task.backend.container(task.job(), name)._create()
    found = bench.engine.inspect_container(name)
    assert [(r["Count"], r["Capabilities"]) for r in found["HostConfig"]["DeviceRequests"]] == [(2, [["gpu"]])]

    outcome = task.run()

    if outcome.code:
        assert "container toolkit" in outcome.sentence
    assert bench.containers() == []


def test_an_engine_that_is_away_is_an_error_to_be_tried_again(bench, tmp_path):
    task = Task(bench, url=f"unix://{tmp_path}/nothing.sock")

    with pytest.raises(AirflowException, match="Docker") as caught:
        task.run()
    assert not isinstance(caught.value, AirflowFailException)


def test_a_volume_of_the_engine_can_hold_the_store(bench):
    name = f"eyewall-test-{bench.run_id}"
    bench.engine.create_volume(name)
    try:
        mounts = [
            {"source": f"volume:{name}", "target": "/data", "read_only": False},
            *bench.settings()["docker"]["mounts"],
        ]
        bench.plan(probe="os.path.ismount('/data')")
        task = Task(bench, mounts=mounts)
        assert task.run().code == 0
        assert "true" in task.said
    finally:
        bench.engine.remove_volume(name)
