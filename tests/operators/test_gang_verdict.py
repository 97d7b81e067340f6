"""What has become of a gang, and which of several ends was the cause."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.gang_members import Gang
from operators.gang_verdict import judge

UNPLACED = "0/1 nodes are free"
BORN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GANG = Gang("g", "ns", workers=2, place_timeout_s=30, start_timeout_s=60, heartbeat_timeout_s=20)


def pod(replica, phase="Running", *, node="n1", ended=None, at=10, reason=None, going=False, waiting=None):
    metadata = {"name": f"g-{replica}", "uid": f"u-{replica}", "creationTimestamp": stamp(0)}
    if going:
        metadata["deletionTimestamp"] = stamp(at)
    status = {
        "phase": phase,
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(1)}],
    }
    if not node:
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNPLACED}
        ]
    if reason:
        status |= {"reason": reason, "message": "said so."}
    state = {}
    if ended is not None:
        state = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": stamp(at)} | ended}
    if waiting:
        state = {"waiting": {"reason": waiting, "message": "back-off"}}
    status["containerStatuses"] = [{"name": "base", "state": state}]
    container = {"name": "base", "image": "train:1", "resources": {"limits": {"memory": "1Gi"}}}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}, "status": status}


def stamp(seconds):
    return (BORN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(replica, reason, message, uid=None):
    of = {"name": f"g-{replica}", "uid": uid or f"u-{replica}"}
    return {"reason": reason, "message": message, "involvedObject": of}


def ends(code=1, message=None):
    return {"exitCode": code, **({"message": message} if message else {})}


def verdict(*changed, now=20, events=None, missing=()):
    pods = {f"g-{r}": pod(r) for r in ("chief-0", "worker-0", "worker-1")} | {p["metadata"]["name"]: p for p in changed}
    there = [p for name, p in pods.items() if name not in missing]
    return judge(GANG, there, BORN + timedelta(seconds=now), events)


DONE = pod("chief-0", "Succeeded", ended=ends(0))
WORKER_DONE = pod("worker-0", "Succeeded", ended=ends(0))
HOMELESS = pod("worker-1", "Pending", node=None)
OOM = pod("worker-1", "Failed", ended=ends(137) | {"reason": "OOMKilled"}, at=9)
LOST_PEER = pod("chief-0", "Failed", ended=ends(1, "eyewall: a peer is gone"), at=5)


@pytest.mark.parametrize(
    ("pods", "now", "state", "replica", "says"),
    [
        pytest.param([], 20, "running", "", "all 3 replicas run, on n1", id="all run"),
        pytest.param([DONE], 20, "done", "chief-0", "ended well", id="chief ended"),
        pytest.param([WORKER_DONE], 20, "running", "", "all 3", id="a worker ended well"),
        pytest.param([OOM], 20, "lost", "worker-1", "limit of 1Gi (OOMKilled)", id="out of memory"),
        pytest.param([LOST_PEER, OOM], 20, "lost", "worker-1", "OOMKilled", id="its peer's end is no cause"),
        pytest.param(
            [LOST_PEER, pod("worker-0", "Failed", ended=ends(137), at=8)], 20, "lost", "worker-0", "SIGKILL",
            id="a signal is rather the cause than a plain failure",
        ),
        pytest.param(
            [OOM, pod("worker-0", "Failed", ended=ends(65, "eyewall: no such model"))], 20, "failed", "worker-0",
            "no such model", id="a final code before all others",
        ),
        pytest.param([pod("ps-0"), LOST_PEER], 20, "lost", "chief-0", "a peer is gone", id="a plain failure alone"),
        pytest.param(
            [pod("worker-0", "Failed", reason="Evicted")], 20, "lost", "worker-0", "evicted from node n1: said so",
            id="evicted",
        ),
        pytest.param([pod("worker-0", going=True)], 20, "lost", "worker-0", "taken away while it ran", id="going"),
        pytest.param([HOMELESS], 20, "placing", "worker-1", UNPLACED, id="to be placed"),
        pytest.param([HOMELESS], 31, "unplaced", "worker-1", "2 of 3", id="not placed in time"),
        pytest.param(
            [pod("worker-0", "Failed", reason="OutOfcpu")], 20, "unplaced", "worker-0", "OutOfcpu",
            id="refused by its kubelet",
        ),
        pytest.param(
            [pod("worker-0", "Pending", waiting="ImagePullBackOff")], 20, "running", "worker-0", "ImagePullBackOff",
            id="its image may yet come",
        ),
        pytest.param(
            [pod("worker-0", "Pending", waiting="ImagePullBackOff")], 70, "unstarted", "worker-0", "ImagePullBackOff",
            id="its image has not come in time",
        ),
        pytest.param(
            [pod("worker-0", "Pending", waiting="ErrImageNeverPull")], 5, "unstarted", "worker-0", "train:1",
            id="its image never comes",
        ),
    ],
)  # fmt: skip
def test_the_state_the_culprit_and_the_sentence(pods, now, state, replica, says):
    found = verdict(*pods, now=now)

    assert (found.state, found.replica) == (state, replica)
    assert says in found.sentence


def test_a_plain_failure_is_not_sure_and_is_looked_at_again():
    assert not verdict(LOST_PEER).sure
    assert verdict(OOM).sure


def test_a_sigterm_that_no_event_explains_yet_is_not_sure_but_a_sigkill_is():
    assert not verdict(pod("chief-0", "Failed", ended=ends(143), at=5)).sure
    assert verdict(pod("chief-0", "Failed", ended=ends(137), at=5)).sure


def test_a_missing_pod_is_a_loss_whose_reason_an_event_tells():
    told = {"g-worker-0": [event("worker-0", "Preempted", "by ns/important on node n1")]}

    assert verdict(missing=["g-worker-0"]).state == "lost"
    assert "(Preempted): by ns/important" in verdict(missing=["g-worker-0"], events=told).sentence


def test_of_a_silent_replica_and_one_that_waited_for_it_the_silent_one_is_the_cause():
    """The frozen one takes no signal, so it ends last; the other one's probe has ended it first."""
    waited = pod("chief-0", "Failed", ended=ends(143), at=5)
    told = {
        "g-chief-0": [
            event(
                "chief-0", "Unhealthy", "Liveness probe failed: eyewall: the replica has not got any further for 21 s"
            ),
            event("chief-0", "Killing", "Container base failed liveness probe"),
        ],
        "g-worker-1": [
            event("worker-1", "Unhealthy", "Liveness probe failed: eyewall: the replica has been silent for")
        ],
    }

    alone = verdict(waited, events={"g-chief-0": told["g-chief-0"]})
    assert alone.sentence == "chief-0 was ended by its probe: the replica has not got any further for 21 s"
    assert not alone.sure  # why it got no further is another one's story
    both = verdict(waited, events=told)
    assert both.sure
    assert (both.replica, both.sentence) == ("worker-1", "worker-1 has been silent for 20 s")


def test_of_a_pod_that_its_kubelet_only_stopped_the_failed_probe_tells_why():
    """SIGTERM (143), nobody deletes the pod, and the kubelet's "Killing" does not mention the probe."""
    further = "Liveness probe failed: eyewall: the replica has not got any further for {} s: it waits for a lost peer\n"
    told = [event("chief-0", "Unhealthy", further.format(7)), event("chief-0", "Unhealthy", further.format(9))]
    told += [event("chief-0", "Killing", "Stopping container base")]

    found = verdict(pod("chief-0", "Failed", ended=ends(143), at=5), events={"g-chief-0": told})

    assert found.sentence == (
        "chief-0 was ended by its probe: the replica has not got any further for 9 s: it waits for a lost peer"
    )
    assert not found.sure


def test_what_the_probe_said_before_the_first_beat_is_no_reason_of_a_later_end():
    begun = event("chief-0", "Unhealthy", "Startup probe failed: eyewall: no heartbeat can be read from /tmp/heartbeat")

    found = verdict(pod("chief-0", "Failed", ended=ends(143), at=5), events={"g-chief-0": [begun]})

    assert found.sentence.startswith("chief-0 was killed by SIGTERM")


@pytest.mark.parametrize(
    ("message", "blamed"),
    [
        pytest.param(
            "Liveness probe errored: Error response from daemon: Container abc is paused", "worker-1",
            id="a frozen container",
        ),
        pytest.param(
            "Liveness probe errored: rpc error: container not running (abc)", "chief-0", id="one that ends just now"
        ),
        pytest.param(
            "Startup probe errored: rpc error:\nContainer abc is paused, unpause it", "worker-1",
            id="frozen before its kubelet first heard of its heartbeat",
        ),
        pytest.param(
            "Startup probe errored: context deadline exceeded", "chief-0", id="a node too busy to ask one that starts"
        ),
    ],
)  # fmt: skip
def test_a_replica_that_cannot_even_be_asked_is_the_cause_if_it_goes_on(message, blamed):
    told = {"g-worker-1": [event("worker-1", "Unhealthy", message)]}

    assert verdict(LOST_PEER, events=told).replica == blamed


def test_events_of_an_earlier_life_do_not_count():
    old = [event("worker-1", "Unhealthy", "Liveness probe failed: the replica has been silent for", uid="another")]

    assert verdict(OOM, events={"g-worker-1": old}).sentence.endswith("kubernetes.resources.<step>")


def test_with_kueue_a_gang_may_wait_for_its_place_as_long_as_it_takes():
    pods = [pod(r, "Pending", node=None) for r in ("chief-0", "worker-0", "worker-1")]

    assert judge(GANG.__class__(**GANG.to_dict() | {"queue": "q"}), pods, BORN + timedelta(days=2)).state == "placing"
