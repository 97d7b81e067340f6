"""PodRunner against a cluster in a dictionary: what each state is, and that no late dispatcher makes a job run again.

Here every dispatcher can be frozen before every single request; on a real cluster: test_kubernetes_jobs.py.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pods_api_double import ApiDouble

from eyewall.jobs.pods import runner as pods
from eyewall.jobs.pods.runner import PodRunner
from eyewall.jobs.runner import Assignment, Gpu, Seen, Worker
from eyewall.storage import Store

WORKER = Worker("cluster", "kubernetes", "", {"devices": 1})
JOB = Assignment(
    attempt=70, job=17, number=2, token=1, worker=WORKER, gpus=(Gpu(0, "cluster-0", True),), command=("train", "$x"),
    owner="ada", environment="some", image="registry/some@sha256:" + "a" * 64, folder=None, code=None, data=(),
    variables={}, max_s=None,
)  # fmt: skip


class Frozen(Exception):
    """The dispatcher does no more."""


@pytest.fixture
def cluster() -> ApiDouble:
    """A cluster with nothing in it."""
    return ApiDouble()


@pytest.fixture
def dispatcher(cluster: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PodRunner]:
    """Makes a runner of that cluster; ``before`` is called before each of its requests."""

    def made(before: Callable[[], None] = lambda: None) -> PodRunner:
        monkeypatch.setattr(pods, "Api", lambda *_: cluster.share(before))
        return PodRunner(WORKER, Store(str(tmp_path)))

    return made


def _run(runner: PodRunner, job: Assignment = JOB) -> None:
    """What a dispatcher does with an attempt that it has claimed or taken over."""
    if runner.look(job).state == "absent":
        runner.create(job)
    runner.start(job)


# What each state is


def test_an_attempt_is_absent_created_running_ended_and_absent_again(cluster: ApiDouble, dispatcher: Any) -> None:
    runner = dispatcher()
    assert runner.look(JOB) == Seen("absent")
    runner.create(JOB)
    assert runner.look(JOB) == Seen("created")
    assert cluster.runs == []
    runner.start(JOB)
    assert runner.look(JOB) == Seen("running")
    cluster.end(JOB.name, 3)
    assert runner.look(JOB)[:2] == ("ended", 3)
    runner.remove(JOB)
    assert runner.look(JOB) == Seen("absent")
    assert cluster.objects == {}


def test_a_stopped_job_keeps_its_exit_code_though_its_pod_has_gone(cluster: ApiDouble, dispatcher: Any) -> None:
    runner = dispatcher()
    _run(runner)

    runner.stop(JOB, 5)

    assert ("pods", JOB.name) not in cluster.objects
    assert runner.look(JOB)[:2] == ("ended", 143)


def test_a_job_that_is_stopped_before_its_start_is_absent_and_cannot_be_started(
    cluster: ApiDouble, dispatcher: Any
) -> None:
    runner = dispatcher()
    runner.create(JOB)

    runner.stop(JOB, 5)
    runner.start(JOB)

    assert runner.look(JOB) == Seen("absent")
    assert cluster.runs == []


def test_a_pod_that_the_api_server_refuses_is_the_attempts_end_and_no_exception(
    cluster: ApiDouble, dispatcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyewall.contracts.errors import InputError

    runner = dispatcher()
    runner.create(JOB)

    def refuse(kind: str, body: dict[str, Any]) -> None:
        raise InputError("worker cluster: the API server refuses (422): spec.x is none")

    monkeypatch.setattr(runner._api, "make", refuse)
    runner.start(JOB)

    assert runner.look(JOB) == Seen("ended", 65, "worker cluster: the API server refuses (422): spec.x is none")


def test_another_databases_attempt_of_the_same_name_is_not_there(cluster: ApiDouble, dispatcher: Any) -> None:
    runner = dispatcher()
    _run(runner)
    other = dataclasses.replace(JOB, claimed_s=9.0)

    assert runner.look(other) == Seen("absent")
    runner.stop(other, 1)
    runner.remove(other)

    assert runner.look(JOB) == Seen("running")


def test_the_token_of_the_supervision_is_no_part_of_what_the_attempt_is(cluster: ApiDouble, dispatcher: Any) -> None:
    runner = dispatcher()
    _run(runner)

    assert runner.look(dataclasses.replace(JOB, token=4)) == Seen("running")


# A dispatcher that is killed


@pytest.mark.parametrize("last", range(8))
def test_whenever_a_dispatcher_is_killed_the_next_one_brings_the_job_to_run_once(
    cluster: ApiDouble, dispatcher: Any, last: int
) -> None:
    """Killed before its request number ``last``; a run takes 7."""
    left = last

    def die() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Frozen

    try:
        _run(dispatcher(die))
        finished = True
    except Frozen:
        finished = False
    assert finished == (last >= 7)

    _run(dispatcher())

    assert dispatcher().look(JOB) == Seen("running")
    assert len(cluster.runs) == 1
    cluster.collect_garbage()
    assert len(cluster.runs) == 1


@pytest.mark.parametrize("last", range(8))
def test_whenever_a_dispatcher_is_killed_while_it_removes_the_next_one_leaves_nothing(
    cluster: ApiDouble, dispatcher: Any, last: int
) -> None:
    _run(dispatcher())
    cluster.end(JOB.name, 0)
    left = last

    def die() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Frozen

    try:
        dispatcher(die).remove(JOB)
    except Frozen:
        dispatcher().remove(JOB)
    cluster.collect_garbage()

    assert cluster.objects == {}
    assert len(cluster.runs) == 1


# A dispatcher that is frozen, and wakes up when all is over


def _ends(cluster: ApiDouble, runner: PodRunner) -> None:
    cluster.end(JOB.name, 0)
    assert runner.look(JOB).state == "ended"
    runner.remove(JOB)


def _is_stopped(cluster: ApiDouble, runner: PodRunner) -> None:
    runner.stop(JOB, 1)
    assert runner.look(JOB).state == "ended"


def _is_stopped_and_removed(cluster: ApiDouble, runner: PodRunner) -> None:
    _is_stopped(cluster, runner)
    runner.remove(JOB)


def _is_deleted_by_somebody(cluster: ApiDouble, runner: PodRunner) -> None:
    del cluster.objects["pods", JOB.name]
    assert runner.look(JOB).state == "absent"  # the attempt is lost, and another one may run by now


@pytest.mark.parametrize("asleep", range(3))
@pytest.mark.parametrize(
    "what_happens",
    [
        pytest.param(_ends, id="it ended and was removed"),
        pytest.param(_is_stopped, id="it was stopped"),
        pytest.param(_is_stopped_and_removed, id="it was stopped and removed"),
        pytest.param(_is_deleted_by_somebody, id="its pod was deleted by somebody"),
    ],
)
@pytest.mark.parametrize("killed_after", [pytest.param(False, id="goes on"), pytest.param(True, id="then killed")])
def test_whenever_a_dispatcher_is_frozen_it_makes_nothing_run_again(
    cluster: ApiDouble, dispatcher: Any, asleep: int, what_happens: Any, killed_after: bool
) -> None:
    """Frozen in `start`, before its request number ``asleep``, while another one takes over to the end.

    Only `start`: it is what a dispatcher calls after it has asked the database whether the attempt is its own still.
    """
    dispatcher().create(JOB)
    left = asleep

    def sleep() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            other = dispatcher()
            _run(other)
            what_happens(cluster, other)
        elif left < -1 and killed_after:
            raise Frozen

    with contextlib.suppress(Frozen):
        dispatcher(sleep).start(JOB)
    assert left < 0, "start makes fewer requests by now"

    assert len(cluster.runs) == 1
    cluster.collect_garbage()
    dispatcher().look(JOB)
    dispatcher().remove(JOB)
    cluster.collect_garbage()
    assert cluster.objects == {}
    assert len(cluster.runs) == 1


def test_a_permit_makes_no_second_pod_once_the_first_was_there(cluster: ApiDouble, dispatcher: Any) -> None:
    """Its pod was deleted by somebody, and nobody has looked since: the attempt is lost, not to be started again."""
    runner = dispatcher()
    _run(runner)
    del cluster.objects["pods", JOB.name]

    runner.start(JOB)

    assert len(cluster.runs) == 1
    assert runner.look(JOB).state == "absent"
