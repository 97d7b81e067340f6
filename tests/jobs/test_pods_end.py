"""How a pod ended, from what the API server says of it: shapes as Kubernetes 1.20 to 1.34 give them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eyewall.jobs.pods.end import gone, hopeless, keeps, over, seen_of, waits_for
from eyewall.jobs.pods.options import PodOptions

MADE = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
OPTIONS = PodOptions(start_timeout_s=100)


def _stamp(seconds: float) -> str:
    return (MADE + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _pod(state: dict[str, Any] | None = None, phase: str = "Running", **status: Any) -> dict[str, Any]:
    containers = [{"name": "job", "state": state}] if state is not None else []
    return {
        "metadata": {"name": "eyewall-job-17-2", "creationTimestamp": _stamp(0)},
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "job", "image": "r/x@sha256:1", "resources": {"limits": {"memory": "2Gi"}}}],
        },
        "status": {"phase": phase, "containerStatuses": containers, **status},
    }


def _done(code: int, reason: str = "Error", message: str = "", at: float = 60) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": _stamp(at)}}


def _deleted(pod: dict[str, Any], at: float, grace: int = 30) -> dict[str, Any]:
    """``pod`` after somebody has deleted it; the API server writes when the grace will be over."""
    pod["metadata"] |= {"deletionTimestamp": _stamp(at + grace), "deletionGracePeriodSeconds": grace}
    return pod


@pytest.mark.parametrize(
    ("pod", "code", "words"),
    [
        pytest.param(_pod(_done(0, "Completed"), "Succeeded"), 0, "", id="success"),
        pytest.param(_pod(_done(0, "Completed"), "Running"), 0, "", id="success, while another container goes on"),
        pytest.param(_pod(_done(3, message="one\ntwo\n\n"), "Failed"), 3, "two", id="the last line it printed"),
        pytest.param(_pod(_done(139), "Failed"), 139, "ended by SIGSEGV", id="a signal"),
        pytest.param(
            _pod(_done(137, "OOMKilled"), "Failed"),
            137,
            "used more memory than its limit of 2Gi (OOMKilled)",
            id="out of memory",
        ),
        pytest.param(
            _pod(_done(128, "ContainerCannotRun", "exec: no such file"), "Failed"),
            128,
            "its command cannot be run: exec: no such file",
            id="no such program",
        ),
        pytest.param(
            _pod(phase="Failed", reason="DeadlineExceeded", message="Pod was active too long."),
            124,
            "ran longer than it may (DeadlineExceeded): Pod was active too long",
            id="over its time",
        ),
        pytest.param(
            _pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            None,
            "was evicted from node node-1 (Evicted): The node was low on resource: memory",
            id="the node's trouble",
        ),
        pytest.param(
            _pod(_done(0, "Completed"), "Failed", reason="Terminated", message="Pod was terminated by shutdown."),
            None,
            "was ended by node node-1 (Terminated): Pod was terminated by shutdown",
            id="the node shut down, and the job complied",
        ),
        pytest.param(
            _pod(phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit "10Gi".'),
            1,
            'was evicted from node node-1 (Evicted): Usage of EmptyDir volume "tmp" exceeds the limit "10Gi"',
            id="its own limit of disk",
        ),
        pytest.param(
            _pod(
                _done(0, "Completed"),
                "Succeeded",
                conditions=[
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "why."}
                ],
            ),
            None,
            "was taken away (PreemptionByScheduler): why",
            id="preempted, and the job complied",
        ),
        pytest.param(
            _pod({"waiting": {"reason": "ContainerCreating"}}, "Failed"),
            None,
            "node node-1 does not know how it ended",
            id="removed before it was looked at",
        ),
        pytest.param(
            _pod(_done(137, "ContainerStatusUnknown"), "Failed"),
            None,
            "node node-1 does not know how it ended",
            id="lost sight of",
        ),
    ],
)
def test_each_end_has_its_exit_code_and_its_sentence(pod: dict[str, Any], code: int | None, words: str) -> None:
    assert seen_of(pod) == ("ended", code, words)


def test_a_job_that_ends_well_after_its_pod_was_deleted_was_told_to_and_is_lost() -> None:
    """Deleted at 50 s, ended at 60 s with 0, as a job does that is told to go."""
    pod = _deleted(_pod(_done(0, "Completed", at=60), "Succeeded"), at=50)

    assert seen_of(pod)[:2] == ("ended", None)
    assert "deleted by somebody else" in seen_of(pod).reason
    assert seen_of(pod, stopped=True) == ("ended", 0, "")  # by its own dispatcher


def test_a_job_that_had_ended_before_its_pod_was_deleted_is_what_it_was() -> None:
    pod = _deleted(_pod(_done(0, "Completed", at=60), "Succeeded"), at=90)

    assert seen_of(pod) == ("ended", 0, "")


@pytest.mark.parametrize(
    ("placed", "code", "words"),
    [
        pytest.param(
            {"exitCode": 1, "reason": "Error", "message": "Traceback\nOSError: [Errno 28] No space left on device"},
            1,
            "the code could not be put in its place: OSError: [Errno 28] No space left on device",
            id="no room",
        ),
        pytest.param(
            {"exitCode": 128, "reason": "ContainerCannotRun", "message": 'exec: "python3": not found'},
            65,
            'image r/x@sha256:1 cannot run python3, which puts the code in its place: exec: "python3": not found',
            id="no Python",
        ),
    ],
)
def test_code_that_gets_nowhere_is_said(placed: dict[str, Any], code: int, words: str) -> None:
    pod = _pod({"waiting": {"reason": "PodInitializing"}}, "Failed")
    pod["status"]["initContainerStatuses"] = [{"name": "code", "state": {"terminated": placed}}]

    assert seen_of(pod) == ("ended", code, words)


# Before the start


def _unschedulable() -> dict[str, Any]:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    pod = _pod(None, "Pending", conditions=[scheduled | {"lastTransitionTime": _stamp(0)}])
    del pod["spec"]["nodeName"]
    return pod


def _waiting(reason: str, message: str = "", placed_at: float = 5) -> dict[str, Any]:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _stamp(placed_at)}
    return _pod({"waiting": {"reason": reason, "message": message}}, "Pending", conditions=[scheduled])


def test_a_pod_without_a_place_says_why_in_the_schedulers_words() -> None:
    expected = "waits (Unschedulable): 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"

    assert seen_of(_unschedulable()) == ("running", None, expected)


def test_what_it_waits_for_is_the_latest_warning_where_its_kubelet_says_no_more() -> None:
    events = [
        {"type": "Warning", "reason": "FailedMount", "message": "second", "lastTimestamp": _stamp(9)},
        {"type": "Warning", "reason": "FailedMount", "message": "first", "lastTimestamp": _stamp(3)},
        {"type": "Normal", "reason": "Pulling", "message": "third", "lastTimestamp": _stamp(12)},
    ]

    assert waits_for(_waiting("ContainerCreating"), events) == ("ContainerCreating", "second")


@pytest.mark.parametrize(
    ("pod", "at", "code"),
    [
        pytest.param(_unschedulable(), 99, None, id="no place yet"),
        pytest.param(_unschedulable(), 101, 75, id="no place in time"),
        pytest.param(
            _waiting("ContainerCreating", placed_at=90), 189, None, id="placed late, its time counts from then"
        ),
        pytest.param(_waiting("ContainerCreating", placed_at=90), 191, 75, id="an image that takes too long"),
        pytest.param(_waiting("ErrImageNeverPull", "not on the node"), 6, 65, id="an image that is not there"),
        pytest.param(_waiting("ImagePullBackOff", "manifest unknown"), 6, 65, id="an image that no registry has"),
        pytest.param(_waiting("ImagePullBackOff", "connection refused"), 6, None, id="a registry that is away"),
        pytest.param(_waiting("CreateContainerConfigError", "no permit"), 64, None, id="a piece is missing"),
        pytest.param(_waiting("CreateContainerConfigError", "no permit"), 66, 75, id="a piece is missing for a minute"),
        pytest.param(_pod({"running": {}}), 10_000, None, id="it runs"),
        pytest.param(_deleted(_unschedulable(), 1), 10_000, None, id="it is being deleted"),
    ],
)
def test_waiting_for_a_start_is_over_in_time_or_at_once_where_it_cannot_help(
    pod: dict[str, Any], at: float, code: int | None
) -> None:
    found = hopeless(pod, [], MADE + timedelta(seconds=at), OPTIONS)

    assert (found.exit_code if found else None) == code


def test_a_kubelet_that_says_only_back_off_is_asked_by_its_events() -> None:
    pod = _waiting("ImagePullBackOff", 'Back-off pulling image "r/x"')
    event = {"reason": "Failed", "message": 'Failed to pull image "r/x": manifest unknown', "lastTimestamp": _stamp(6)}

    found = hopeless(pod, [event], MADE, OPTIONS)

    assert found is not None
    assert found.reason.endswith('(ImagePullBackOff): Failed to pull image "r/x": manifest unknown')


def test_a_queue_of_kueues_may_hold_a_pod_back_as_long_as_it_likes() -> None:
    options = PodOptions(start_timeout_s=100, queue="eyewall")

    assert hopeless(_unschedulable(), [], MADE + timedelta(days=3), options) is None


# After the end


def test_a_job_has_ended_once_its_output_was_handed_over_or_a_minute_has_passed() -> None:
    pod = _pod(_done(0, "Completed", at=60))
    pod["status"]["containerStatuses"].append({"name": "out", "state": {"running": {}}})

    assert keeps(pod, MADE + timedelta(seconds=119))
    assert not keeps(pod, MADE + timedelta(seconds=121))
    pod["status"]["containerStatuses"][1]["state"] = _done(0, "Completed")
    assert not keeps(pod, MADE + timedelta(seconds=61))


def test_nothing_runs_where_every_container_has_ended() -> None:
    both = _pod(_done(0))
    both["status"]["containerStatuses"].append({"name": "out", "state": {"running": {}}})

    assert not over(both)
    assert not over(_waiting("ContainerCreating"))
    assert over(_pod(_done(143)))
    assert over(_pod(phase="Failed"))


def test_who_took_a_pod_is_told_by_its_events() -> None:
    events = [{"reason": "Killing", "message": "Stopping"}, {"reason": "Preempted", "message": "by default/other."}]

    assert gone("p", events) == "pod p was taken away (Preempted): by default/other"
    assert "by somebody else" in gone("p", events[:1])
