"""Real replicas in processes of their own: two equal one, and no death or freeze changes the outcome."""

import json
import signal
from pathlib import Path

import psutil
import pytest
from job_maker import Alone, JobMaker
from training_runs import finish, losses, start, wait_for_checkpoint

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("strategy", ["multi_worker", "mirrored"])
def test_two_synchronous_workers_equal_one(make_job: JobMaker, alone: Alone, strategy: str) -> None:
    """The same global batch, in one process and in two shares: the loss of every step within 1e-4."""
    two = make_job(run="two", model="fusion", steps=15, strategy=strategy, workers=2, receipt="receipts/two.json")
    started = start(two)  # while this process trains its own
    by_step, summary = alone(model="fusion", steps=15)

    together, _ = finish(started)

    assert losses(two, together) == pytest.approx(by_step, abs=1e-4)
    assert together["val_km"] == {lead: pytest.approx(km, abs=0.01) for lead, km in summary["val_km"].items()}
    receipt = json.loads((Path(two.store) / "receipts" / "two.json").read_text())
    assert receipt["result"]["uri"] == together["model"]


def test_killed_with_9_and_started_again_it_ends_as_though_never_killed(make_job: JobMaker, tmp_path: Path) -> None:
    """Two kills in the middle of a run of 120 steps: 120 steps in the end, each once, with the same losses."""
    from eyewall.training.step import run

    job = make_job(run="killed", steps=120, checkpoint_every=20)
    for _ in range(2):
        process = start(job)
        wait_for_checkpoint(job, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (Path(job.store) / "models").exists()

    summary, err = finish(start(job))

    assert "eyewall train: resuming after step" in err
    assert summary["steps"] == 120
    killed = losses(job, summary)
    uninterrupted = make_job(run="whole", steps=120, checkpoint_every=20, store=str(tmp_path / "other"))
    Path(uninterrupted.store).mkdir()
    (Path(uninterrupted.store) / "records").symlink_to(Path(job.store).resolve() / "records")
    assert killed == pytest.approx(losses(uninterrupted, run(uninterrupted).summary), abs=1e-6)


def test_a_frozen_worker_is_noticed_and_the_training_still_ends(make_job: JobMaker) -> None:
    """SIGSTOP in the middle: the chief waits for it in a collective; both are ended and go on from a checkpoint."""
    job = make_job(
        run="frozen", steps=100, checkpoint_every=20, strategy="multi_worker", workers=2, heartbeat_timeout_s=15
    )
    process = start(job)
    wait_for_checkpoint(job, process)
    replicas = psutil.Process(process.pid).children()
    worker = next(r for r in replicas if '"type": "worker"' in r.environ()["TF_CONFIG"])
    worker.send_signal(signal.SIGSTOP)

    summary, err = finish(process)

    # By its silence, unless TensorFlow's own health check, which looks every half minute, happens to be there first.
    assert "starting again from the last checkpoint" in err
    assert "eyewall train: resuming after step" in err
    assert len(losses(job, summary)) == 100
    assert not any(r.is_running() and r.status() != psutil.STATUS_ZOMBIE for r in replicas)


def test_parameter_servers_end_with_the_asked_number_of_steps(make_job: JobMaker) -> None:
    """Chief, two workers and a server; nobody is left behind."""
    job = make_job(run="ps", steps=30, checkpoint_every=20, strategy="parameter_server", workers=2, ps=1)
    process = start(job)
    wait_for_checkpoint(job, process)
    replicas = psutil.Process(process.pid).children()

    summary, _ = finish(process)

    assert summary["steps"] == len(losses(job, summary)) == 30
    assert len(replicas) == 4
    assert not any(r.is_running() and r.status() != psutil.STATUS_ZOMBIE for r in replicas)
    # The toy's first batches are where CLIPER stands: an update must have been applied for the loss to differ.
    assert summary["loss_last"] != summary["loss_first"]
