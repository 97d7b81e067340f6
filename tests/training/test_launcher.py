"""Supervision of replicas, with small scripts in TensorFlow's place."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eyewall.contracts.cluster import Replica
from eyewall.contracts.errors import ContractError, InputError, StorageError, TrainingError
from eyewall.contracts.jobs import TrainJob
from eyewall.training import launcher
from eyewall.training.heartbeat import FINISHED, SERVING
from eyewall.training.launcher import MAX_RESTARTS, launch, local_cluster, replica_command
from eyewall.training.pulse import Pulse
from eyewall.training.strategies import replica_of

#: What each script begins with: its role, a count of its starts in the working directory, a heartbeat.
PREFACE = """
import json, os, signal, sys, time
from pathlib import Path
from eyewall.training.heartbeat import Heartbeat
task = json.loads(os.environ["TF_CONFIG"])["task"]
me = f"{task['type']}-{task['index']}"
starts = Path(f"{me}.starts")
n = len(starts.read_text()) + 1 if starts.exists() else 1
starts.write_text("x" * n)
beat = Heartbeat().start()
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replicas run this file instead of the train step, in a folder of their own."""
    path = tmp_path / "replica.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "_GRACE_S", 1.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(launcher.__file__).parents[2]))
    monkeypatch.setattr(launcher, "replica_command", lambda _: [sys.executable, str(path)])
    return path


def job(**values: object) -> TrainJob:
    """Two synchronous workers."""
    defaults = {"records_ref": "records/x", "run": "r", "strategy": "multi_worker", "workers": 2, "batch": 8}
    return TrainJob.parse(defaults | values)


def starts(name: str) -> int:
    """How often a replica was started."""
    return len(Path(f"{name}.starts").read_text())


def test_all_replicas_run_once_and_end(script: Path) -> None:
    """A chief and a worker, each with its own TF_CONFIG of one cluster."""
    script.write_text(PREFACE + "Path(me + '.config').write_text(os.environ['TF_CONFIG'])")

    launch(job())

    configs = [json.loads(Path(f"{name}.config").read_text()) for name in ("chief-0", "worker-0")]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert [len(configs[0]["cluster"][role]) for role in ("chief", "worker")] == [1, 1]
    assert (starts("chief-0"), starts("worker-0")) == (1, 1)


def test_workers_and_servers_of_an_asynchronous_cluster_are_ended_with_the_chief(script: Path) -> None:
    """They would wait for ever."""
    script.write_text(PREFACE + "Path(me + '.pid').write_text(str(os.getpid()))\nif me != 'chief-0': time.sleep(600)\n"
                      "while len(list(Path('.').glob('*.pid'))) < 4: time.sleep(0.05)")  # fmt: skip

    launch(job(strategy="parameter_server", ps=1))

    pids = [int(p.read_text()) for p in Path.cwd().glob("*.pid")]
    assert len(pids) == 4
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_killed_replica_starts_the_whole_cluster_again(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The chief would wait for it: it is ended too, and both start once more."""
    script.write_text(PREFACE + "if n == 1 and me == 'worker-0': os.kill(os.getpid(), signal.SIGKILL)\n"
                      "if n == 1: time.sleep(600)")  # fmt: skip

    launch(job())

    assert (starts("chief-0"), starts("worker-0")) == (2, 2)
    assert "worker-0 was killed by SIGKILL; starting again from the last checkpoint" in capfd.readouterr().err


def test_a_frozen_replica_is_named_and_the_cluster_starts_again(
    script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Stopped, it neither beats nor dies."""
    freeze = "if n == 1 and me == 'worker-0': time.sleep(0.7); os.kill(os.getpid(), signal.SIGSTOP)\n"
    script.write_text(PREFACE + freeze + "if n == 1: time.sleep(600)")

    launch(job(heartbeat_timeout_s=5))

    assert (starts("chief-0"), starts("worker-0")) == (2, 2)
    assert "worker-0 has been silent for 5 s; starting again" in capfd.readouterr().err


def test_replicas_that_wait_for_each_other_for_ever_are_lost(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Alive, beating, and not getting any further after their first step."""
    script.write_text(PREFACE + "beat.progress()\nif n == 1: time.sleep(600)")

    launch(job(heartbeat_timeout_s=3))

    assert "none of chief-0, worker-0 has got any further for 3 s; starting again" in capfd.readouterr().err


def test_restarts_are_bounded(script: Path) -> None:
    """A cluster that loses a replica each time is given up, with the last reason."""
    script.write_text(PREFACE + "if me == 'worker-0': sys.exit(1)\ntime.sleep(600)")

    with pytest.raises(TrainingError, match=f"worker-0 ended with 1 .*given up after {MAX_RESTARTS} restarts"):
        launch(job())

    assert starts("worker-0") == MAX_RESTARTS + 1


@pytest.mark.parametrize(
    ("code", "error"), [pytest.param(65, InputError, id="input"), pytest.param(74, StorageError, id="store")]
)
def test_an_error_that_would_come_again_is_passed_on_at_once(script: Path, code: int, error: type[Exception]) -> None:
    """With the replica's own sentence, though its peer fails with another code because of it."""
    last_words = "print('eyewall: the loss is nan', file=sys.stderr)"
    script.write_text(PREFACE + f"if me == 'worker-0': {last_words}; sys.exit({code})\nsys.exit(1)")

    with pytest.raises(error, match=r"^the loss is nan$"):
        launch(job())

    assert starts("worker-0") == 1


def test_the_chiefs_progress_is_passed_on_and_other_noise_is_not(
    script: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One voice on stderr, nothing on stdout."""
    script.write_text(
        PREFACE + "print('eyewall train: step 1/2 of', me, file=sys.stderr)\nprint('E0000 noise', file=sys.stderr)"
    )

    launch(job())

    out, err = capfd.readouterr()
    assert err == "eyewall train: step 1/2 of chief-0\n"
    assert out == ""


def test_replicas_do_not_outlive_a_killed_launcher(tmp_path: Path) -> None:
    """Kill -9 of the launcher, which can end nobody then: they see that their parent has gone."""
    replica = tmp_path / "replica.py"
    replica.write_text(PREFACE + "Path(me + '.pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    parent = (
        "import sys\nfrom eyewall.training import launcher\nfrom eyewall.contracts.jobs import TrainJob\n"
        f"launcher.replica_command = lambda _: [sys.executable, {str(replica)!r}]\n"
        "launcher.launch(TrainJob(records_ref='x', run='r', strategy='multi_worker', workers=2, batch=8))"
    )
    root = str(Path(launcher.__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, env=os.environ | {"PYTHONPATH": root})
    deadline = time.monotonic() + 60
    pids: list[int] = []
    while len(pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        pids = [
            int(pid) for p in tmp_path.glob("*.pid") if (pid := p.read_text())
        ]  # a file is made before it is written

    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody collects does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_pulse_tells_silence_from_stalling(tmp_path: Path) -> None:
    """Beats at 10 and 12 s, of which the first got further; looked at at 20 s: silent for 8, stalled for 10."""
    path = tmp_path / "r.beat"
    pulse = Pulse(path, started_at=1.0)
    assert (pulse.silent_s(5.0), pulse.stalled_s(5.0)) == (4.0, None)

    for now, stamp in ((10.0, 100), (12.0, 102)):
        path.write_text("7")
        os.utime(path, ns=(stamp, stamp))
        pulse.look(now)

    assert (pulse.silent_s(20.0), pulse.stalled_s(20.0)) == (8.0, 10.0)
    path.write_text(str(FINISHED))
    pulse.look(20.0)
    assert pulse.progress == FINISHED
    path.write_text(f"{SERVING} 1.0 2.0")
    pulse.look(20.0)
    assert pulse.stalled_s(99.0) is None


@pytest.mark.parametrize(
    ("values", "workers", "ps"),
    [
        pytest.param({"workers": 3, "batch": 9}, 2, 0, id="the chief is one of three"),
        pytest.param({"strategy": "parameter_server", "workers": 3, "ps": 2}, 3, 2, id="the chief is beside three"),
    ],
)
def test_a_local_cluster_has_the_jobs_size(values: dict[str, object], workers: int, ps: int) -> None:
    """On loopback, each on a port of its own."""
    cluster = local_cluster(job(**values))

    assert (len(cluster.workers), len(cluster.ps)) == (workers, ps)
    assert all(address.startswith("127.0.0.1:") for address in (cluster.chief, *cluster.workers, *cluster.ps))


def test_replicas_run_the_same_job_without_the_receipt() -> None:
    """The command line gives the job back; only the launcher writes the receipt."""
    asked = job(receipt="receipts/a.json", steps=7)
    command = replica_command(asked)

    assert command[1:4] == ["-m", "eyewall.cli", "train"]
    assert not any("receipt" in part for part in command)
    assert "--steps=7" in command


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("{", "TF_CONFIG is not a cluster and a task", id="not json"),
        pytest.param('{"cluster": {"chief": ["a:1"]}}', "TF_CONFIG is not a cluster and a task", id="no task"),
        pytest.param(
            '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
            "TF_CONFIG has .*'worker': 0.* and the job wants .*'worker': 1",
            id="another size",
        ),
    ],
)
def test_a_bad_tf_config_is_refused(text: str, sentence: str) -> None:
    """A container with the wrong environment must not train alone on half of each batch."""
    with pytest.raises(ContractError, match=sentence):
        replica_of(job(), {"TF_CONFIG": text})


def test_tf_config_names_the_replica_only_where_there_are_replicas() -> None:
    """A pod's TF_CONFIG does not turn a single training into a cluster's."""
    asked = job()
    config = {"TF_CONFIG": local_cluster(asked).tf_config(Replica(role="worker", index=0))}

    assert replica_of(asked, config) == Replica(role="worker", index=0)
    assert replica_of(asked, {}) is None
    assert replica_of(job(strategy="single", workers=1), config) is None
