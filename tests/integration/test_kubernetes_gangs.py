"""Gangs on a real cluster: all replicas or none, two that want everything, one that waits, Airflow's ends of a task."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
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
    quick,
    steps_done,
    tell,
    until,
)
from kubernetes_cluster import Cluster, context, serialised

from eyewall.contracts.settings import Settings

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
SLOW = {"FAKE_STEP_S": "0.5"}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """What happens to gangs and their tasks, each beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        yield from tell(STORIES, tmp_path_factory)


@contextmanager
def two_devices(cluster: Cluster) -> Iterator[str]:
    """Two devices on one node, of a kind of this story's own: the scheduler only counts them."""
    resource, node = f"eyewall.io/{cluster.namespace}", cluster.api.list_node().items[0].metadata.name
    pointer = "/status/capacity/" + resource.replace("/", "~1")
    cluster.api.patch_node_status(node, [{"op": "add", "path": pointer, "value": "2"}])
    try:
        until(lambda: resource in (cluster.api.read_node(node).status.allocatable or {}), 30)
        yield resource
    finally:
        for part in ("capacity", "allocatable"):
            cluster.api.patch_node_status(node, [{"op": "remove", "path": pointer.replace("capacity", part)}])


def with_devices(cluster: Cluster, store: Path, devices: str) -> Settings:
    """Each replica takes one of them."""
    resources = {"train": {"cpus": 0.1, "memory": "128Mi", "shm": "16Mi", "gpus": 1}}
    return gang_settings(cluster, store, gpu_resource=devices, resources=resources)


def races(cluster: Cluster, store: Path, times: int) -> list[Drive]:
    """Two gangs that each need both devices, started at the same moment, again and again."""
    finished = []
    with two_devices(cluster) as devices:
        settings = with_devices(cluster, store, devices)
        for turn in range(times):
            gangs = [Drive(settings, a_job(run=f"{turn}-{n}"), run_id=f"race-{turn}-{n}").start() for n in "ab"]
            for gang in gangs:
                gang.end()
                assert steps_done(store, gang.job.run) == 3
            finished += gangs
    return finished


def too_large(cluster: Cluster, store: Path) -> tuple[Drive, str, list[str]]:
    """A pod holds one of two devices, and lets it go after a while."""
    with two_devices(cluster) as devices:
        settings = with_devices(cluster, store, devices)
        container = {
            "name": "base", "image": settings.kubernetes.image("train"), "command": ["sleep", "600"],
            "resources": {"limits": {devices: "1"}},
        }  # fmt: skip
        holder = {"metadata": {"name": "holder"}, "spec": {"containers": [container]}}
        cluster.api.create_namespaced_pod(cluster.namespace, holder)
        cluster.wait_for(lambda pod: pod.spec.node_name)
        gang = Drive(settings, a_job(run="large"), run_id="large")
        assert gang.turn(None) is None
        there, state = left(cluster), gang.deferral.trigger.state
        cluster.api.delete_namespaced_pod("holder", cluster.namespace, grace_period_seconds=0)
        gang.to_the_end(fire(gang.deferral.trigger))
        return gang, state, there


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
    until(lambda: not gang_pods(cluster), 120)  # deleted; a busy kubelet takes its time to say that they are gone
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
    until(lambda: not gang_pods(cluster), 120)  # deleted; a busy kubelet takes its time to say that they are gone
    return gang_pods(cluster)


STORIES: dict[str, tuple[Any, ...]] = {
    "races": (races, 10),
    "more_races": (races, 10),
    "too_large": (too_large,),
    # Requests of a creation: look, lease, lease, nodes, pods, CHIEF (6), lease, lease, WORKER (9), Service (10).
    "killed_after_the_chief": (killed_task, 6),
    "killed_after_the_worker": (killed_task, 9),
    "killed_after_the_service": (killed_task, 10),
    "killed_triggerer": (killed_triggerer,),
    "ended_by_a_person": (ended_by_a_person,),
    "stopped_in_its_slot": (stopped_in_its_slot,),
}


def test_two_gangs_that_each_need_all_devices_both_finish_twenty_times(stories):
    """The loser waits: nobody ever holds half, and is taken back."""
    gangs = stories["races"].result(400) + stories["more_races"].result(400)

    assert [gang.outcome.code for gang in gangs] == [0] * 40
    assert {status for gang in gangs for status in gang.statuses()} <= {"room", "done"}


def test_a_gang_too_large_for_now_waits_without_a_pod_and_runs_when_room_is_made(stories):
    gang, state, there = stories["too_large"].result(200)

    assert (state, there) == ("waiting", ["pod/holder"])  # neither a replica nor the lease
    assert (gang.outcome.code, gang.outcome.summary) == (0, {"steps": 3, "first": 0})


@pytest.mark.parametrize("when", ["killed_after_the_chief", "killed_after_the_worker", "killed_after_the_service"])
def test_a_task_killed_while_it_creates_is_taken_over_by_its_next_try_without_a_second_cluster(stories, when):
    gang, made = stories[when].result(300)

    assert (gang.outcome.code, gang.outcome.summary["steps"]) == (0, 3)
    assert len(made) == (1 if when == "killed_after_the_chief" else 2)
    assert gang.statuses() == ["done"]


def test_a_killed_triggerer_is_replaced_and_the_gang_never_knows(stories):
    gang = stories["killed_triggerer"].result(300)

    assert (gang.outcome.code, gang.outcome.summary, gang.statuses()) == (0, {"steps": 8, "first": 0}, [])
    assert gang.lives == 1


@pytest.mark.parametrize("how", ["ended_by_a_person", "stopped_in_its_slot"])
def test_a_task_that_is_ended_takes_its_gang_along(stories, how):
    assert stories[how].result(300) == []
