"""Gangs on a real cluster: all replicas or none, two that want everything, one that waits, Airflow's ends of a task."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from gang_driver import (
    Drive,
    a_job,
    fire,
    gang_pods,
    gang_settings,
    left,
    lives,
    nothing_left,
    quick,
    steps_done,
    tell,
    until,
)
from kubernetes_cluster import Cluster, context, namespace_of_its_own, serialised

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]
HERE = Path(__file__).parent
SLOW = {"FAKE_STEP_S": "0.5"}


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with namespace_of_its_own() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The pods' user is another one than the test's."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o777)
    return tmp_path


@pytest.fixture(scope="module")
def devices(cluster: Cluster) -> Iterator[str]:
    """Two devices of a kind of this test's own on one node: the scheduler only counts them."""
    resource = f"eyewall.io/test-{secrets.token_hex(4)}"
    node = cluster.api.list_node().items[0].metadata.name
    pointer = "/status/capacity/" + resource.replace("/", "~1")
    cluster.api.patch_node_status(node, [{"op": "add", "path": pointer, "value": "2"}])
    until(lambda: resource in (cluster.api.read_node(node).status.allocatable or {}), 30)
    yield resource
    cluster.api.patch_node_status(node, [{"op": "remove", "path": pointer}])
    cluster.api.patch_node_status(node, [{"op": "remove", "path": pointer.replace("capacity", "allocatable")}])


def with_devices(cluster: Cluster, store: Path, devices: str, each: int = 1) -> Any:
    resources = {"train": {"cpus": 0.1, "memory": "128Mi", "shm": "16Mi", "gpus": each}}
    return gang_settings(cluster, store, gpu_resource=devices, resources=resources)


def test_two_gangs_that_each_need_all_devices_both_finish_twenty_times_in_a_row(cluster, store, devices):
    settings = with_devices(cluster, store, devices)
    for turn in range(20):
        gangs = [Drive(settings, a_job(run=f"{turn}-{n}"), run_id=f"race-{turn}-{n}").start() for n in "ab"]

        assert [gang.end().code for gang in gangs] == [0, 0], turn
        assert [steps_done(store, f"{turn}-{n}") for n in "ab"] == [3, 3]
        # Nobody ever held half: the loser waited instead of being taken back.
        assert {status for gang in gangs for status in gang.statuses()} <= {"room", "done"}
    assert nothing_left(cluster)


def test_a_gang_too_large_for_now_waits_without_a_pod_and_runs_when_room_is_made(cluster, store, devices):
    resources = {"requests": {"cpu": "10m", devices: "1"}, "limits": {devices: "1"}}
    image = gang_settings(cluster, store).kubernetes.image("train")
    container = {"name": "base", "image": image, "command": ["sleep", "600"], "resources": resources}
    holder = {"metadata": {"name": "holder"}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    cluster.api.create_namespaced_pod(cluster.namespace, holder)
    cluster.wait_for(lambda pod: pod.spec.node_name)
    gang = Drive(with_devices(cluster, store, devices), a_job(run="large"), run_id="large")

    assert gang.turn(None) is None
    assert left(cluster) == ["pod/holder"]  # neither a replica nor the lease
    assert gang.deferral.trigger.state == "waiting"
    cluster.api.delete_namespaced_pod("holder", cluster.namespace, grace_period_seconds=0)
    gang.to_the_end(fire(gang.deferral.trigger))

    assert (gang.outcome.code, gang.outcome.summary) == (0, {"steps": 3, "first": 0})
    assert nothing_left(cluster)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """What happens to a gang's task, each beside the others."""
    yield from tell(STORIES, tmp_path_factory)


def killed_task(cluster: Cluster, store: Path, requests: int) -> tuple[Drive, list[str]]:
    """A task whose process is killed at its n-th request, and its next try."""
    name = f"killed-{requests}"
    gang = Drive(gang_settings(cluster, store), a_job(run=name), run_id=name)
    given = {
        "settings": gang.settings.model_dump(mode="json"), "job": gang.job.model_dump(mode="json"),
        "told": {}, "run_id": name, "event": None, "killed_at": requests,
    }  # fmt: skip
    path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])])
    ended = subprocess.run(
        [sys.executable, str(HERE / "gang_process.py"), json.dumps(given)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    made = gang_pods(cluster)
    gang.to_the_end()
    return gang, made


def killed_triggerer(cluster: Cluster, store: Path) -> Drive:
    """Its process is gone without a word; another one starts the same trigger from the database."""
    gang = Drive(gang_settings(cluster, store), a_job(run="t", steps=8), SLOW, run_id="triggerer")
    assert gang.turn(None) is None

    async def cut_off() -> None:
        stream = serialised(gang.deferral.trigger).run()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 2)

    asyncio.run(cut_off())
    gang.to_the_end(fire(gang.deferral.trigger))
    gang.lives = lives(store, "t")
    return gang


def ended_by_a_person(cluster: Cluster, store: Path) -> list[str]:
    """Marked as failed while it is deferred: the triggerer calls on_kill."""
    gang = Drive(gang_settings(cluster, store), a_job(run="p", steps=1000), SLOW, run_id="person")
    assert gang.turn(None) is None
    until(lambda: steps_done(store, "p") > 1)
    asyncio.run(serialised(gang.deferral.trigger).on_kill())
    return gang_pods(cluster)


def stopped_in_its_slot(cluster: Cluster, store: Path) -> list[str]:
    """Stopped between creating the gang and deferring: the task's own on_kill."""
    gang = Drive(gang_settings(cluster, store), a_job(run="s", steps=1000), SLOW, run_id="slot")
    operator = gang.operator()
    made: list[Any] = []
    operator.defer = lambda **_: made.append(1) or (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        operator.run_gang(context("slot"), None)
    operator.on_kill()
    return gang_pods(cluster)


STORIES: dict[str, tuple[Any, ...]] = {
    # Requests of a creation: look, lease, lease, nodes, pods, CHIEF (6), lease, lease, WORKER (9), Service (10).
    "killed_after_the_chief": (killed_task, 6),
    "killed_after_the_worker": (killed_task, 9),
    "killed_after_the_service": (killed_task, 10),
    "killed_triggerer": (killed_triggerer,),
    "ended_by_a_person": (ended_by_a_person,),
    "stopped_in_its_slot": (stopped_in_its_slot,),
}


@pytest.mark.parametrize("when", ["killed_after_the_chief", "killed_after_the_worker", "killed_after_the_service"])
def test_a_task_killed_while_it_creates_is_taken_over_by_its_next_try_without_a_second_cluster(stories, when):
    gang, made = stories[when].result(120)

    assert (gang.outcome.code, gang.outcome.summary["steps"]) == (0, 3)
    assert len(made) == (1 if when == "killed_after_the_chief" else 2)
    assert gang.statuses() == ["done"]


def test_a_killed_triggerer_is_replaced_and_the_gang_never_knows(stories):
    gang = stories["killed_triggerer"].result(120)

    assert (gang.outcome.code, gang.outcome.summary, gang.statuses()) == (0, {"steps": 8, "first": 0}, [])
    assert gang.lives == 1


@pytest.mark.parametrize("how", ["ended_by_a_person", "stopped_in_its_slot"])
def test_a_task_that_is_ended_takes_its_gang_along(stories, how):
    assert stories[how].result(120) == []
