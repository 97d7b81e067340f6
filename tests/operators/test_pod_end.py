"""How a pod's end becomes an outcome: its own last word first, then Kubernetes' reason in one sentence."""

import pytest

from operators.pod_end import end_of, gone, never_started, node_lost, waits_for
from operators.pod_watch import NODE_PATIENCE_S, PodWatch


def pod(phase="Running", state=None, reason=None, message=None, conditions=(), **metadata):
    """A pod as the API server gives it."""
    status = {"phase": phase, "conditions": list(conditions)}
    if state is not None:
        status["containerStatuses"] = [{"name": "mesh", "state": {"running": {}}}, {"name": "base", "state": state}]
    if reason is not None:
        status |= {"reason": reason, "message": message}
    return {
        "metadata": {"name": "p-1", "namespace": "n", "labels": {"eyewall.io/verb": "train"}, **metadata},
        "spec": {
            "nodeName": "n-7",
            "containers": [
                {"name": "mesh", "image": "mesh:2"},
                {"name": "base", "image": "eyewall-train:0.1.0", "resources": {"limits": {"memory": "3Gi"}}},
            ],
        },
        "status": status,
    }


def ended(code, message="", reason="Error", phase="Failed", **more):
    """A pod whose container has ended."""
    return pod(phase, {"terminated": {"exitCode": code, "reason": reason, "message": message}}, **more)


def waiting(reason, message=""):
    """A pod whose container does not start."""
    return pod("Pending", {"waiting": {"reason": reason, "message": message}})


def event(reason, message, kind="Warning"):
    """One event of the pod."""
    return {"reason": reason, "message": message, "type": kind}


def test_success_brings_the_summary_of_the_termination_message():
    end = end_of(ended(0, '{"steps": 40, "loss": 0.25}\n', "Completed", "Succeeded"))

    assert (end.reason, end.outcome.code, end.outcome.summary) == ("Completed", 0, {"steps": 40, "loss": 0.25})
    assert end.is_verdict


def test_a_summary_too_long_for_the_termination_message_leaves_a_success_without_one():
    assert end_of(ended(0, "", "Completed", "Succeeded")).outcome[:2] == (0, {})
    assert end_of(pod("Succeeded")).outcome[:2] == (0, {})


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        pytest.param(65, True, id="unusable input"),
        pytest.param(99, True, id="nothing to do"),
        pytest.param(1, False, id="failed"),
        pytest.param(70, False, id="a replica was lost"),
        pytest.param(75, False, id="still coming"),
    ],
)
def test_an_exit_code_comes_with_the_steps_own_sentence(code, verdict):
    end = end_of(ended(code, "eyewall: season 1850 is not in the file"))

    assert end.outcome == (code, {}, "season 1850 is not in the file")
    assert end.is_verdict is verdict


def test_where_the_message_is_the_logs_end_its_last_line_is_the_sentence():
    end = end_of(ended(1, "Traceback (most recent call last):\n  …\nValueError: 7 is not even\n\n"))

    assert end.outcome.sentence == "ValueError: 7 is not even"


def test_a_signal_without_a_word_is_named():
    assert end_of(ended(143)).outcome == (143, {}, "ended by SIGTERM (exit code 143) without a word")
    assert end_of(ended(3)).outcome == (3, {}, "ended with exit code 3")


def test_a_mesh_container_that_never_ends_does_not_keep_the_step_from_its_end():
    assert end_of(ended(0, '{"n": 2}', "Completed", phase="Running")).outcome.summary == {"n": 2}


@pytest.mark.parametrize(
    "alive",
    [
        pytest.param(pod(), id="running"),
        pytest.param(pod("Pending"), id="not scheduled"),
        pytest.param(pod("Unknown"), id="a node that is silent for now"),
        pytest.param(waiting("ContainerCreating"), id="being made"),
        pytest.param(waiting("ErrImagePull", "dial tcp: i/o timeout"), id="a registry that is away"),
        pytest.param(pod(deletionTimestamp="2026-11-21T07:00:00Z"), id="told to go, still there"),
        pytest.param({"metadata": {"name": "p-1"}}, id="without a status"),
    ],
)
def test_what_goes_on_or_may_yet_is_no_end(alive):
    assert end_of(alive) is None


OOM = "used more memory than its limit of 3Gi (OOMKilled): raise memory of kubernetes.resources.train"
DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}


@pytest.mark.parametrize(
    ("given", "events", "reason", "code", "sentence"),
    [
        pytest.param(ended(137, reason="OOMKilled"), [], "OOMKilled", 137, OOM, id="out of memory"),
        pytest.param(
            pod("Failed", reason="Evicted", message="The node was low on resource: memory. "),
            [],
            "Evicted",
            75,
            "pod p-1 was evicted from node n-7: The node was low on resource: memory",
            id="evicted before its container had a state",
        ),
        pytest.param(
            ended(143, **{"reason": "Error"}) | {"status": {"phase": "Failed", "reason": "DeadlineExceeded"}},
            [],
            "DeadlineExceeded",
            75,
            "pod p-1 ran longer than it may",
            id="deadline",
        ),
        pytest.param(
            pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
            [],
            "OutOfcpu",
            75,
            "pod p-1 was ended by n-7 (OutOfcpu): Node didn't have enough resource: cpu",
            id="the kubelet refused it",
        ),
        pytest.param(
            ended(143, conditions=[DISRUPTED]),
            [],
            "PreemptionByScheduler",
            143,
            "pod p-1 was taken away (PreemptionByScheduler): default-scheduler: preempting to accommodate a higher"
            " priority pod",
            id="preempted, as newer schedulers say it",
        ),
        pytest.param(
            ended(143, deletionTimestamp="2026-11-21T07:00:00Z"),
            [event("Preempted", "Preempted by n/big on node n-7", "Normal"), event("Killing", "Stopping", "Normal")],
            "Preempted",
            143,
            "pod p-1 was taken away while it ran on node n-7 (Preempted): Preempted by n/big on node n-7",
            id="preempted, as 1.20 says it",
        ),
        pytest.param(
            ended(143, deletionTimestamp="2026-11-21T07:00:00Z"),
            [],
            "Deleted",
            143,
            "pod p-1 was taken away while it ran on node n-7 (Deleted): by hand, by a drained node or by a pod of"
            " higher priority",
            id="deleted",
        ),
    ],
)
def test_what_was_done_to_a_pod_is_one_sentence_and_tried_again(given, events, reason, code, sentence):
    end = end_of(given, events)

    assert (end.reason, end.outcome) == (reason, (code, {}, sentence))
    assert not end.is_verdict


def test_a_steps_own_verdict_counts_even_if_its_pod_was_deleted_afterwards():
    assert end_of(ended(0, '{"n": 2}', deletionTimestamp="2026-11-21T07:00:00Z")).outcome == (
        0,
        {"n": 2},
        "ended with exit code 0",
    )


@pytest.mark.parametrize(
    ("given", "events", "message"),
    [
        pytest.param(
            waiting("ErrImageNeverPull", 'Container image "x:1" is not present with pull policy of Never'),
            [],
            "not present with pull policy of Never",
            id="not on the node, and not to be pulled",
        ),
        pytest.param(waiting("InvalidImageName", "couldn't parse"), [], "couldn't parse", id="not a name"),
        pytest.param(
            waiting("ErrImagePull", "manifest for x:1 not found: manifest unknown"), [], "manifest unknown", id="no tag"
        ),
        pytest.param(
            waiting("ImagePullBackOff", 'Back-off pulling image "x:1"'),
            [event("Failed", 'Failed to pull image "x:1": pull access denied'), event("Failed", "Error: ErrImagePull")],
            "pull access denied",
            id="no right, said by the event",
        ),
    ],
)
def test_an_image_that_cannot_be_had_is_final(given, events, message):
    end = end_of(given, events)

    assert end.outcome.code == 65
    assert end.outcome.sentence.startswith("image eyewall-train:0.1.0 cannot be had (")
    assert message in end.outcome.sentence


def test_a_command_that_cannot_be_started_is_final():
    end = end_of(ended(127, 'exec: "eyewall": executable file not found', "ContainerCannotRun"))

    assert end.outcome == (
        65,
        {},
        'image eyewall-train:0.1.0 cannot be run: exec: "eyewall": executable file not found',
    )


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}


@pytest.mark.parametrize(
    ("given", "events", "expected"),
    [
        pytest.param(
            pod("Pending", conditions=[UNSCHEDULABLE]),
            [],
            ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu"),
            id="no node",
        ),
        pytest.param(
            waiting("ContainerCreating"),
            [event("Pulled", "Pulled", "Normal"), event("FailedMount", 'claim "store" not found')],
            ("ContainerCreating", 'claim "store" not found'),
            id="no volume",
        ),
        pytest.param(
            waiting("ImagePullBackOff", "Back-off"),
            [event("Failed", "Failed to pull image: i/o timeout"), event("Failed", "Error: ImagePullBackOff")],
            ("ImagePullBackOff", "Failed to pull image: i/o timeout"),
            id="no registry",
        ),
        pytest.param(pod("Pending"), [], ("Pending", "nothing more is known"), id="nothing at all"),
    ],
)
def test_a_pod_that_does_not_start_says_what_it_waits_for(given, events, expected):
    assert waits_for(given, events) == expected
    end = never_started(given, 600, events)

    assert end.outcome == (75, {}, f"pod p-1 had not started after 600 s ({expected[0]}): {expected[1]}")


def test_of_several_warnings_the_latest_counts_however_they_are_ordered():
    events = [
        event("FailedMount", "now") | {"lastTimestamp": "2026-11-21T07:02:00Z"},
        event("FailedMount", "a minute ago") | {"lastTimestamp": "2026-11-21T07:01:00Z"},
    ]

    assert waits_for(waiting("ContainerCreating"), events) == ("ContainerCreating", "now")


def test_a_pod_that_is_gone_says_when_and_by_whom():
    started, pending = pod(), pod("Pending")

    assert gone("p-1", pending).outcome.sentence.startswith("pod p-1 was taken away before it started (Deleted)")
    assert gone("p-1", started, [event("TaintManagerEviction", "Marking for deletion Pod n/p-1")]).outcome == (
        75,
        {},
        "pod p-1 was taken away while it ran on node n-7 (TaintManagerEviction): Marking for deletion Pod n/p-1",
    )
    assert "before it was seen" in gone("p-1", None).outcome.sentence


def test_a_lost_node_is_named_with_what_to_do():
    end = node_lost(pod(), 150)

    assert end.outcome.code == 75
    assert end.outcome.sentence == (
        "node n-7 has not ended pod p-1 for 150 s after it was told to: bring the node back, or, once it is surely "
        "off, kubectl delete pod p-1 --force"
    )


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        """As time.monotonic."""
        return self.now


@pytest.fixture
def clock():
    return Clock()


def watch(clock, **kwargs):
    return PodWatch("p-1", kwargs.pop("start_timeout_s", 60), clock=clock, wall=clock, **kwargs)


def test_a_watcher_gives_a_pod_its_time_to_start(clock):
    seen, unplaced = watch(clock), pod("Pending", conditions=[UNSCHEDULABLE])

    assert seen.look(unplaced) is None
    clock.now += 59
    assert seen.look(unplaced) is None
    clock.now += 1  # 60 s since the first look
    assert seen.look(unplaced).outcome.sentence.startswith("pod p-1 had not started after 60 s (Unschedulable): 0/3")


def test_a_queue_that_holds_a_pod_back_does_not_use_up_its_time(clock):
    seen, held = watch(clock), pod("Pending")
    held["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]

    assert seen.look(held) is None
    clock.now += 10_000
    assert seen.look(held) is None
    assert seen.look(pod("Pending")) is None  # let go: its time begins
    clock.now += 60
    assert seen.look(pod("Pending")) is not None


def test_a_missing_secret_is_final_but_a_kubelet_that_only_does_not_know_it_yet_is_not(clock):
    seen, stuck = watch(clock), waiting("CreateContainerConfigError", 'secret "s3" not found')

    assert seen.look(stuck) is None
    clock.now += 29
    assert seen.look(stuck) is None
    clock.now += 1
    end = seen.look(stuck)
    assert end.outcome.code == 65
    assert end.outcome.sentence.endswith('(CreateContainerConfigError): secret "s3" not found')


def test_a_pod_that_is_told_to_go_and_stays_is_on_a_lost_node(clock):
    seen = watch(clock)
    going = pod(deletionTimestamp="2026-11-21T07:00:00Z", deletionGracePeriodSeconds=30)

    assert seen.look(going) is None
    clock.now += 30 + NODE_PATIENCE_S
    assert seen.look(going) is None
    clock.now += 1
    assert seen.look(going).reason == "NodeLost"


def test_a_pod_that_is_gone_is_remembered_as_it_was(clock):
    seen = watch(clock)
    seen.look(pod())

    assert "while it ran on node n-7" in seen.look(None).outcome.sentence


def test_the_tasks_own_timeout_ends_the_wait_whether_or_not_the_api_server_answers(clock):
    seen = watch(clock, deadline=clock.now + 5)

    assert seen.look(pod()) is None
    clock.now += 5
    assert seen.overdue().outcome.sentence == "pod p-1 had not ended by the task's execution_timeout"
    assert seen.look(pod()).reason == "Timeout"
    assert seen.look(ended(0, "{}")).reason == "Completed"


def test_a_log_is_due_every_so_often_once_there_is_one(clock):
    seen = watch(clock)
    seen.look(pod("Pending"))
    clock.now += 11
    assert not seen.log_is_due(10)

    seen.look(pod())
    assert seen.log_is_due(10)
    assert not seen.log_is_due(10)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        pytest.param(None, True, id="gone"),
        pytest.param(pod("Pending"), True, id="not started"),
        pytest.param(pod(deletionTimestamp="2026-11-21T07:00:00Z"), True, id="going"),
        pytest.param(pod(), False, id="running: the API server is spared"),
    ],
)
def test_events_are_asked_for_only_where_they_may_say_more(clock, given, wanted):
    assert watch(clock).wants_events(given) is wanted
