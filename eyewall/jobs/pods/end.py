"""What has become of an attempt's pod, in one sentence: JSON of the API server → Seen.

    0, any other code     the program's own end; the reason is the last line that it printed
    137                   OOMKilled, with the limit
    124                   DeadlineExceeded: longer than max_hours, and no dispatcher was there to end it
    none (lost)           somebody else ended it: Evicted, Preempted, deleted, drained, its node shut down
    75 (once more)        it found no place, or no image, in time
    65                    the image cannot be had, or has no Python to put the code in its place

A program that is told to go may end with 0 (a trial that is pruned does): that is a success only if nobody but its
own dispatcher told it. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from eyewall.contracts.errors import EXIT_FAILED, EXIT_INPUT, EXIT_TEMPORARY
from eyewall.jobs.pods.events import last_event, last_warning, one_line
from eyewall.jobs.pods.manifest import JOB, KEEPER, PLACE
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.runner import Seen

Object = Mapping[str, Any]
EXIT_DEADLINE = 124  # as `timeout` has it
_SIGNALS = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
_CANNOT_RUN = frozenset({"ContainerCannotRun", "StartError", "RunContainerError"})
#: A kubelet that has lost sight of a container says this, and 137. Those before 1.22 also do so of a pod that was
#: deleted, now and then: they remove its containers before they have looked at them.
_UNKNOWN = "ContainerStatusUnknown"
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_NEVER = frozenset({"ErrImageNeverPull", "InvalidImageName"})
#: Words by which a registry says that waiting does not help.
_NO_SUCH_IMAGE = ("not found", "manifest unknown", "does not exist", "access denied", "unauthorized", "no basic auth")
#: Events that tell why a pod is gone, the most telling first.
_TAKEN_AWAY = ("Preempted", "Evicted", "TaintManagerEviction", "NodeNotReady", "NodeShutdown", "DeletingNode")
#: Missing pieces, such as a permit that was deleted, do not appear by themselves.
_CONFIG_PATIENCE_S = 60.0
#: A container that a service mesh has added never ends, so the keeper would wait for ever.
_KEEPER_PATIENCE_S = 60.0


class Hopeless(NamedTuple):
    """A pod that is to be taken back before it has started, and what to say of it."""

    exit_code: int
    reason: str


def seen_of(pod: Object, *, stopped: bool = False, events: Sequence[Object] = ()) -> Seen:
    """The state of a pod that is there. ``stopped``: its own dispatcher has told it to go."""
    status = pod.get("status") or {}
    done = _state(status, JOB).get("terminated")
    if done is not None or status.get("phase") in ("Succeeded", "Failed"):
        return _ended(pod, done or {}, stopped, events)
    if pod["metadata"].get("deletionTimestamp"):
        return Seen("running", None, f"is being taken from node {_node(pod)}")
    if _state(status, JOB).get("running") is not None:
        return Seen("running")
    why, words = waits_for(pod, events)
    return Seen("running", None, f"waits ({why}): {words}")


def over(pod: Object) -> bool:
    """Whether nothing of a pod that was told to go runs any more, as its kubelet says."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    states = [entry.get("state") or {} for entry in status.get("containerStatuses") or ()]
    return bool(states) and all("terminated" in state for state in states)


def keeps(pod: Object, now: datetime) -> bool:
    """Whether the container beside an ended job is still handing its output over, and has not had a minute for it."""
    status = pod.get("status") or {}
    finished = (_state(status, JOB).get("terminated") or {}).get("finishedAt")
    if finished is None or _state(status, KEEPER).get("running") is None:
        return False
    return now - _time(finished) < timedelta(seconds=_KEEPER_PATIENCE_S)


def hopeless(pod: Object, events: Sequence[Object], now: datetime, options: PodOptions) -> Hopeless | None:
    """Whether waiting for the start of a pod is over. ``now`` by the API server's clock, as all times of a pod are."""
    status = pod.get("status") or {}
    if status.get("phase", "Pending") != "Pending" or pod["metadata"].get("deletionTimestamp"):
        return None
    waiting = _waiting(status)
    reason, message = waiting.get("reason", ""), one_line(waiting.get("message", ""))
    image = _container(pod, JOB).get("image")
    if reason in _PULLING:
        # Kubelets before 1.32 say only "Back-off pulling image" here; why is in the event.
        message = last_event(events, "Failed", "pull image") or message
    if reason in _NEVER or (reason in _PULLING and any(word in message.lower() for word in _NO_SUCH_IMAGE)):
        return Hopeless(EXIT_INPUT, f"image {image} cannot be had ({reason}): {message}")
    scheduled = _condition(status, "PodScheduled")
    placed = scheduled.get("status") == "True"
    if not placed and options.queue is not None:
        return None  # Kueue holds it back as long as its quota is used
    since = scheduled.get("lastTransitionTime") if placed else None
    waited = now - _time(since or pod["metadata"]["creationTimestamp"])
    missing = reason == "CreateContainerConfigError"
    patience_s = min(_CONFIG_PATIENCE_S, options.start_timeout_s) if missing else options.start_timeout_s
    if waited < timedelta(seconds=patience_s):
        return None
    why, words = waits_for(pod, events)
    return Hopeless(EXIT_TEMPORARY, f"had not started after {waited.total_seconds():.0f} s ({why}): {words}")


def waits_for(pod: Object, events: Sequence[Object] = ()) -> tuple[str, str]:
    """What a pod that has not started waits for: one word, and the sentence of the scheduler or the kubelet."""
    status = pod.get("status") or {}
    scheduled = _condition(status, "PodScheduled")
    if scheduled and scheduled.get("status") != "True":
        words = scheduled.get("message") or last_event(events, "FailedScheduling")
        return scheduled.get("reason") or "Unschedulable", one_line(words or "the scheduler has not said why")
    waiting = _waiting(status)
    reason, message = waiting.get("reason") or "Pending", one_line(waiting.get("message") or "")
    warning = last_event(events, "Failed", "pull image") if reason in _PULLING else last_warning(events)
    return reason, warning or message or "its node is getting it ready"


def gone(name: str, events: Iterable[Object]) -> str:
    """Why a pod that had been started is not there any more."""
    told = {event.get("reason"): event for event in events}
    for reason in _TAKEN_AWAY:
        if reason in told:
            return f"pod {name} was taken away ({reason}): {one_line(told[reason].get('message') or '')}"
    return f"pod {name} was deleted by somebody else: by hand, by a drained node, or by a pod of higher priority"


def _ended(pod: Object, done: Object, stopped: bool, events: Sequence[Object]) -> Seen:
    status = pod.get("status") or {}
    if status.get("reason"):  # the pod's own, such as Evicted or NodeShutdown; a container's own end comes second
        return _by_the_node(pod, status["reason"], one_line(status.get("message") or ""))
    if not stopped:
        disrupted = _condition(status, "DisruptionTarget")
        if disrupted.get("status") == "True":
            why, words = disrupted.get("reason") or "DisruptionTarget", one_line(disrupted.get("message") or "")
            return Seen("ended", None, f"was taken away ({why}): {words}")
        if _told_to_go(pod, done):
            return Seen("ended", None, gone(pod["metadata"]["name"], events))
    if (placed := _state(status, PLACE, "initContainerStatuses").get("terminated")) and placed.get("exitCode"):
        return _not_placed(pod, placed)
    return _by_itself(pod, done)


def _by_the_node(pod: Object, reason: str, message: str) -> Seen:
    node = _node(pod)
    if reason == "DeadlineExceeded":
        return Seen("ended", EXIT_DEADLINE, f"ran longer than it may (DeadlineExceeded): {message}")
    if reason == "Evicted" and "exceeds the" in message.lower():  # its own limit, not its node's trouble
        return Seen("ended", EXIT_FAILED, f"was evicted from node {node} (Evicted): {message}")
    words = {"Evicted": f"was evicted from node {node}", "Preempting": f"was preempted on node {node}"}
    said = f"{words.get(reason, f'was ended by node {node}')} ({reason})"
    return Seen("ended", None, f"{said}: {message}" if message else said)


def _told_to_go(pod: Object, done: Object) -> bool:
    """Whether the container ended after somebody had deleted its pod."""
    metadata = pod["metadata"]
    if not metadata.get("deletionTimestamp"):
        return False
    asked = _time(metadata["deletionTimestamp"]) - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    finished = done.get("finishedAt")
    return finished is None or _time(finished) >= asked


def _not_placed(pod: Object, placed: Object) -> Seen:
    image, said = _container(pod, JOB).get("image"), _last_line(placed.get("message") or "")
    if placed.get("reason") in _CANNOT_RUN:
        return Seen("ended", EXIT_INPUT, f"image {image} cannot run python3, which puts the code in its place: {said}")
    return Seen("ended", EXIT_FAILED, f"the code could not be put in its place: {said}")


def _by_itself(pod: Object, done: Object) -> Seen:
    """The end of a container that nobody took away."""
    succeeded = (pod.get("status") or {}).get("phase") == "Succeeded"
    if (not done and not succeeded) or done.get("reason") == _UNKNOWN:
        return Seen("ended", None, f"node {_node(pod)} does not know how it ended")
    code = int(done.get("exitCode", 0))
    reason, said = done.get("reason") or "", _last_line(done.get("message") or "")
    if code == 0:
        return Seen("ended", 0)
    if reason == "OOMKilled":
        limit = ((_container(pod, JOB).get("resources") or {}).get("limits") or {}).get("memory", "its node")
        return Seen("ended", code, f"used more memory than its limit of {limit} (OOMKilled)")
    if reason in _CANNOT_RUN:
        return Seen("ended", code, f"its command cannot be run: {said}")
    if said:
        return Seen("ended", code, said)
    return Seen("ended", code, f"ended by {_SIGNALS[code]}" if code in _SIGNALS else "")


def _waiting(status: Object) -> Object:
    """What the job's container waits for, or the init container before it."""
    for name, where in ((PLACE, "initContainerStatuses"), (JOB, "containerStatuses")):
        waiting: Object = _state(status, name, where).get("waiting") or {}
        if waiting and waiting.get("reason") != "PodInitializing":
            return waiting
    return {}


def _state(status: Object, container: str, where: str = "containerStatuses") -> Object:
    for entry in status.get(where) or ():
        if entry["name"] == container:
            state: Object = entry.get("state") or {}
            return state
    return {}


def _condition(status: Object, kind: str) -> Object:
    found: Object = next((c for c in status.get("conditions") or () if c.get("type") == kind), {})
    return found


def _container(pod: Object, name: str) -> Object:
    found: Object = next((c for c in (pod.get("spec") or {}).get("containers") or () if c["name"] == name), {})
    return found


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "(none)")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(lines[-1]) if lines else ""
