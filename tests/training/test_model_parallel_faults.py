"""No death, freeze or late beginning of a process of a mesh changes a loss."""

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from job_maker import Alone, JobMaker
from training_runs import finish, losses, start, wait_for_checkpoint

#: A mesh adds up in another order. A step's difference of 1e-7 has grown to some 1e-3 after 60 steps of eight networks;
#: the losses of two batches differ by 1e-1, so that a step left out or done twice would show.
_GROWN = 1e-2


@pytest.mark.slow
def test_killed_with_9_on_two_devices_it_goes_on_on_four_with_the_losses_of_one(
    make_job: JobMaker, alone: Alone
) -> None:
    """Checkpoints hold whole arrays: two devices' weights and slots are at home on four."""
    values: dict[str, Any] = {"model": "fusion", "steps": 40, "checkpoint_every": 10}
    by_step, expected = alone(**values)
    two = make_job(run="mesh", strategy="model_parallel", devices=2, **values)
    process = start(two)
    wait_for_checkpoint(two, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    summary, err = finish(start(two.model_copy(update={"devices": 4})))

    assert losses(two, summary) == pytest.approx(by_step, abs=_GROWN)
    assert "eyewall train: resuming after step" in err
    # Grown as the losses are: 11 m of 272 km were seen.
    assert summary["val_km"] == {lead: pytest.approx(km, rel=1e-3, abs=0.01) for lead, km in expected["val_km"].items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "axis"), [pytest.param(signal.SIGKILL, 2, id="killed"), pytest.param(signal.SIGSTOP, 1, id="frozen")]
)
def test_a_lost_process_of_a_mesh_changes_no_loss(
    make_job: JobMaker, alone: Alone, number: signal.Signals, axis: int
) -> None:
    """Weights over two processes, and a batch over two with two devices each: started again, equal to one alone."""
    values: dict[str, Any] = {"model": "image", "steps": 40, "checkpoint_every": 10}
    by_step, _ = alone(**values)
    devices = {"workers": 2} if axis == 2 else {"workers": 2, "devices": 2}
    asked = make_job(run="two", strategy="model_parallel", heartbeat_timeout_s=30, **devices, **values)
    process = start(asked)
    wait_for_checkpoint(asked, process)
    replicas = psutil.Process(process.pid).children()
    next(r for r in replicas if r.environ()["DTENSOR_CLIENT_ID"] == "1").send_signal(number)

    summary, err = finish(process)

    assert "starting again from the last checkpoint" in err
    assert losses(asked, summary) == pytest.approx(by_step, abs=_GROWN)
    assert not any(r.is_running() and r.status() != psutil.STATUS_ZOMBIE for r in replicas)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["multi_worker", "parameter_server", "model_parallel"])
def test_replicas_wait_for_peers_that_start_later(make_job: JobMaker, strategy: str, tmp_path: Path) -> None:
    """As pods do, with nothing but their environment: the chief comes six seconds after the others."""
    from eyewall.training.launcher import local_cluster

    ps = 1 if strategy == "parameter_server" else 0
    asked = make_job(run="late", strategy=strategy, workers=1 + (not ps), ps=ps, steps=4, checkpoint_every=2)
    cluster = local_cluster(asked)
    chief, *others = cluster.replicas()
    peers = [start(asked, **cluster.environment(peer, asked.strategy), EYEWALL_THREADS="1") for peer in others]
    try:
        time.sleep(6)
        assert all(peer.poll() is None for peer in peers)
        summary, _ = finish(start(asked, **cluster.environment(chief, asked.strategy), EYEWALL_THREADS="1"))
        assert len(losses(asked, summary)) == 4
        if not ps:
            assert [finish(peer)[0]["model"] for peer in peers] == [summary["model"]]
    finally:
        for peer in peers:
            peer.kill()
            peer.communicate()


@pytest.mark.slow
def test_a_replica_without_dtensors_variables_does_not_train_alone(make_job: JobMaker) -> None:
    """TF_CONFIG says two, DTENSOR_JOBS says nothing: refused, with who makes both."""
    from eyewall.training.launcher import local_cluster

    asked = make_job(run="half", strategy="model_parallel", workers=2)
    cluster = local_cluster(asked)
    process = start(asked, TF_CONFIG=cluster.tf_config(next(cluster.replicas())))

    _, err = process.communicate(timeout=120)

    assert process.returncode == 65
    assert "number 0 of 1 in DTENSOR_JOBS, and TF_CONFIG number 0 of 2" in err
