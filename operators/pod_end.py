"""How a pod ended: what Kubernetes says about it → an Outcome with one sentence, and whether it may be tried again.

A step's own last word counts first: exit code 0, 65 or 99 is its verdict, whatever happens to its pod afterwards. Its
termination message (`eyewall.cli.last_words`) holds the summary or the sentence, so neither its log nor a sidecar is
needed. Where the step could not say anything, Kubernetes' reason does:

    final (65)   the image does not exist or is not on the node, its command cannot be started, a Secret is missing
    again        OOMKilled, Evicted, Preempted, Deleted, DeadlineExceeded, NodeLost, Unschedulable, a registry that is
                 away, and every other exit code: all of them may go better on another node or at another time

Pure: pods and events as the API server gives them, as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyewall.contracts.errors import EXIT_INPUT, EXIT_SKIP, EXIT_TEMPORARY
from eyewall.jobs.pods.events import last_event, last_warning, one_line
from operators.outcome import Outcome, OutputReader

Object = Mapping[str, Any]

#: Exit codes by which a step itself says that it is done, and that nothing would change on another try.
VERDICTS = frozenset({0, EXIT_INPUT, EXIT_SKIP})
BASE = "base"  #: the container of the step; the provider's own name for it
_SIGNALS = {130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
#: Waiting reasons → words of their message that make them final; none: always final.
_IMAGE_REASONS = {
    "ErrImageNeverPull": (),
    "InvalidImageName": (),
    "ErrImagePull": (
        "not found", "manifest unknown", "does not exist", "access denied", "unauthorized", "no basic auth",
    ),
}  # fmt: skip
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
_CANNOT_RUN = frozenset({"ContainerCannotRun", "StartError", "RunContainerError"})
#: Events that tell why a pod is gone, the most telling first.
_TAKEN_AWAY = ("Preempted", "Evicted", "TaintManagerEviction", "NodeNotReady", "NodeShutdown", "Killing")


@dataclass(frozen=True)
class PodEnd:
    """The end of one pod; ``reason`` is one word, such as Completed, Error, OOMKilled or ImagePullBackOff."""

    reason: str
    outcome: Outcome

    @property
    def is_verdict(self) -> bool:
        """Whether another try would end the same: success, unusable input, nothing to do."""
        return self.outcome.code in VERDICTS


def end_of(pod: Object, events: Sequence[Object] = (), container: str = BASE) -> PodEnd | None:
    """The end of ``pod``; None while it waits for its place or runs.

    A container that has ended counts even if the pod goes on: a service mesh adds containers that never end.
    """
    status = pod.get("status") or {}
    done = _state(status, container).get("terminated")
    if done is None and status.get("phase") not in ("Succeeded", "Failed"):
        return cannot_start(pod, events, container)
    code = 0 if done is None and status["phase"] == "Succeeded" else (done or {}).get("exitCode", EXIT_TEMPORARY)
    if code in VERDICTS:
        return PodEnd("Completed" if code == 0 else "Error", _said(done or {}, code))
    return _taken(pod, events, code) or _broken(pod, done or {}, code, container)


def cannot_start(pod: Object, events: Sequence[Object] = (), container: str = BASE) -> PodEnd | None:
    """The end of a pod whose container can never be started as it is written; None if waiting may help."""
    waiting = _state(pod.get("status") or {}, container).get("waiting") or {}
    reason, message = waiting.get("reason", ""), one_line(waiting.get("message", ""))
    if reason in _PULLING:
        # Kubelets before 1.32 say only "Back-off pulling image" here; why is in the event.
        message = last_event(events, "Failed", "pull image") or message
    final = _IMAGE_REASONS.get("ErrImagePull" if reason in _PULLING else reason)
    if final is None or (final and not any(word in message.lower() for word in final)):
        return None
    image = _container(pod, container).get("image")
    return PodEnd(
        reason,
        Outcome(
            EXIT_INPUT, {}, f"image {image} cannot be had ({reason}): {message}; build or load it, or name another"
        ),
    )


def never_started(pod: Object, waited_s: float, events: Sequence[Object] = (), container: str = BASE) -> PodEnd:
    """The end of a pod that was given ``waited_s`` to start; why, in the words of who holds it up."""
    reason, why = waits_for(pod, events, container)
    name = pod["metadata"]["name"]
    final = reason == "CreateContainerConfigError"
    return PodEnd(
        reason,
        Outcome(
            EXIT_INPUT if final else EXIT_TEMPORARY,
            {},
            f"pod {name} had not started after {waited_s:g} s ({reason}): {why}",
        ),
    )


def waits_for(pod: Object, events: Sequence[Object] = (), container: str = BASE) -> tuple[str, str]:
    """What a pod that has not started waits for: one word, and the sentence of the scheduler or the kubelet."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            words = condition.get("message") or last_event(events, "FailedScheduling")
            return condition.get("reason") or "Unschedulable", one_line(words or "the scheduler has not said why")
    waiting = _state(status, container).get("waiting") or {}
    reason, message = waiting.get("reason") or "Pending", one_line(waiting.get("message") or "")
    warning = last_event(events, "Failed", "pull image") if reason in _PULLING else last_warning(events)
    return reason, warning or message or "nothing more is known"


def gone(name: str, last: Object | None, events: Sequence[Object] = ()) -> PodEnd:
    """The end of a pod that is not there any more; ``last`` is how it was seen last, if it was."""
    reason, why = _who_took_it(events)
    return PodEnd(reason, Outcome(EXIT_TEMPORARY, {}, f"pod {name} was taken away {_when(last)}{why}"))


def node_lost(pod: Object, waited_s: float) -> PodEnd:
    """The end of a pod that is to be deleted while no kubelet says that it has done so."""
    name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName", "unknown")
    return PodEnd(
        "NodeLost",
        Outcome(
            EXIT_TEMPORARY,
            {},
            f"node {node} has not ended pod {name} for {waited_s:g} s after it was told to: "
            f"bring the node back, or, once it is surely off, kubectl delete pod {name} --force",
        ),
    )


def _said(done: Object, code: int) -> Outcome:
    """The termination message: what the step left, or the end of its log where it could not (FallbackToLogsOnError)."""
    reader = OutputReader(lambda _: None)
    for line in (done.get("message") or "").splitlines():
        reader.take(line)
    return reader.outcome(code)


def _taken(pod: Object, events: Sequence[Object], code: int) -> PodEnd | None:
    """The end of a pod that somebody else has ended, if somebody has."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if reason := status.get("reason"):  # the pod's own, such as Evicted, DeadlineExceeded, NodeLost, OutOfcpu
        words = {
            "Evicted": f"pod {name} was evicted from node {_node(pod)}",
            "DeadlineExceeded": f"pod {name} ran longer than it may",
            "NodeLost": f"node {_node(pod)} of pod {name} is lost",
        }.get(reason, f"pod {name} was ended by {_node(pod)} ({reason})")
        message = one_line(status.get("message") or "")
        return PodEnd(reason, Outcome(code, {}, f"{words}: {message}" if message else words))
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            word = condition.get("reason") or "DisruptionTarget"
            return PodEnd(
                word,
                Outcome(code, {}, f"pod {name} was taken away ({word}): {one_line(condition.get('message') or '')}"),
            )
    if pod["metadata"].get("deletionTimestamp"):
        reason, why = _who_took_it(events)
        return PodEnd(reason, Outcome(code, {}, f"pod {name} was taken away {_when(pod)}{why}"))
    return None


def _broken(pod: Object, done: Object, code: int, container: str) -> PodEnd:
    """The end of a container that failed by itself."""
    reason = done.get("reason") or "Error"
    if reason == "OOMKilled":
        limit = ((_container(pod, container).get("resources") or {}).get("limits") or {}).get("memory", "its node")
        verb = ((pod["metadata"].get("labels") or {}).get("eyewall.io/verb")) or "<step>"
        sentence = (
            f"used more memory than its limit of {limit} (OOMKilled): raise memory of kubernetes.resources.{verb}"
        )
        return PodEnd(reason, Outcome(code, {}, sentence))
    if reason in _CANNOT_RUN:
        image = _container(pod, container).get("image")
        return PodEnd(
            reason, Outcome(EXIT_INPUT, {}, f"image {image} cannot be run: {one_line(done.get('message') or '')}")
        )
    said = _said(done, code)
    if not done.get("message") and code in _SIGNALS:
        said = said._replace(sentence=f"ended by {_SIGNALS[code]} (exit code {code}) without a word")
    return PodEnd(reason, said)


def _who_took_it(events: Iterable[Object]) -> tuple[str, str]:
    told = {event.get("reason"): event for event in events}
    for reason in _TAKEN_AWAY[:-1]:
        if reason in told:
            return reason, f" ({reason}): {one_line(told[reason].get('message') or '')}"
    return "Deleted", " (Deleted): by hand, by a drained node or by a pod of higher priority"


def _when(last: Object | None) -> str:
    if last is None:
        return "before it was seen"
    status = last.get("status") or {}
    return "before it started" if status.get("phase", "Pending") == "Pending" else f"while it ran on node {_node(last)}"


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "(none)")


def _container(pod: Object, name: str) -> Object:
    found: Object = next((c for c in (pod.get("spec") or {}).get("containers") or () if c["name"] == name), {})
    return found


def _state(status: Object, container: str) -> Object:
    for entry in status.get("containerStatuses") or ():
        if entry["name"] == container:
            state: Object = entry.get("state") or {}
            return state
    return {}
