"""What has become of a gang, by its pods, and why, in one sentence.

    placing    some replicas are not scheduled yet, and their time is not up
    unplaced   their time is up: take everything back and wait for room
    unstarted  a replica is scheduled but cannot be started: no image, no volume
    running    all are scheduled, none has ended badly
    lost       a replica died, was deleted, evicted or silent: the others cannot go on without it
    failed     a replica ended in a way that a new start would repeat
    done       the chief ended well; workers and servers of an asynchronous cluster never end by themselves

When one replica dies its peers fail because of it, so the cause has to be found among several ends: an exit code that
is final comes first, then what the cluster did to a pod, then silence, then a signal, then the end of one that only
waited (its kubelet ends it), and a plain failure last.
What each pod says for itself is `operators.pod_end`'s.

Pure: it takes pods and events as the API server gives them, as JSON.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from eyewall.contracts.errors import EXIT_INPUT, EXIT_IO, EXIT_SKIP, EXIT_SOFTWARE
from operators.gang_members import Gang
from operators.pod_end import BASE, end_of, gone, never_started, waits_for

Object = Mapping[str, Any]
Events = Mapping[str, Sequence[Object]]  #: by pod name
State = Literal["placing", "unplaced", "unstarted", "running", "lost", "failed", "done"]
#: Exit codes after which a new start would end the same way.
FINAL = frozenset({EXIT_INPUT, EXIT_IO, EXIT_SKIP})
_FINAL_CODE, _BY_CLUSTER, _SILENT, _BY_SIGNAL, _WAITED, _PLAIN = range(6)
#: The kubelet's "Container base failed liveness probe, will be restarted" (it says that of pods that never are; of
#: some it says no more than "Stopping container base").
_KILLED_BY_PROBE = re.compile(r"failed (liveness|startup) probe")
#: What eyewall.training.heartbeat says of a replica, in the event on its failed probe.
_NO_FURTHER = re.compile(r"not got any further|not done its first step|no heartbeat can be read")
#: A replica whose whole container is frozen cannot even be asked. One that is only starting may fail to answer for
#: other reasons, such as a busy node.
_CANNOT_BE_ASKED = re.compile(r"(?:Liveness probe errored: |Startup probe errored: (?=.*paused))(.*)", re.DOTALL)


@dataclass(frozen=True)
class Verdict:
    """``pod`` and ``replica`` name the one that decides; ``code`` is as in eyewall.contracts.errors."""

    state: State
    sentence: str
    pod: str = ""
    replica: str = ""
    code: int = 0
    sure: bool = True  #: False: an end whose cause may yet come to light in another replica
    asks: bool = False  #: whether the events on ``pod`` may say more


@dataclass(frozen=True)
class _End:
    """One replica's bad end; ``at`` as the API server writes times, which sort."""

    rank: int
    at: str
    pod: str
    replica: str
    sentence: str
    code: int = EXIT_SOFTWARE


def judge(gang: Gang, pods: Sequence[Object], now: datetime, events: Events | None = None) -> Verdict:
    """The state of the gang whose pods are ``pods``, at the API server's time ``now``.

    It may be asked twice: a verdict that ``asks`` is worth another one with the events on its pod.
    """
    known = events or {}
    found = {pod["metadata"]["name"]: pod for pod in pods}
    chief = found.get(gang.chief)
    if chief is not None and _exit_code(chief) == 0:
        return Verdict("done", "chief-0 has ended well", gang.chief, "chief-0")
    for name, replica in gang.members().items():
        status = found.get(name, {}).get("status") or {}
        if status.get("phase") == "Failed" and str(status.get("reason", "")).startswith("OutOf"):
            # The kubelet found less room than the scheduler: somebody else's pod was faster.
            return Verdict("unplaced", f"{replica}: {status['reason']} ({status.get('message')})", name, replica)
    known = {name: _of_this_life(found.get(name), told) for name, told in known.items()}
    ends = [e for name, r in gang.members().items() if (e := _end(gang, name, r, found.get(name), known.get(name, ())))]
    if ends:
        end = min(ends, key=lambda e: (e.rank, e.at))
        state: State = "failed" if end.rank == _FINAL_CODE else "lost"
        lost = state == "lost"
        return Verdict(state, end.sentence, end.pod, end.replica, end.code, end.rank < _WAITED, lost)
    if any(not pod["spec"].get("nodeName") for pod in found.values()):
        return _on_placing(gang, found, now)
    return _on_starting(gang, found, now, known)


def _of_this_life(pod: Object | None, events: Sequence[Object]) -> Sequence[Object]:
    """The events on this very pod: one of the same name, of an earlier life, may have left some too."""
    uids = [event.get("involvedObject", {}).get("uid") for event in events]
    uid = pod["metadata"].get("uid") if pod is not None else (uids[-1] if uids else None)
    return [event for event, of in zip(events, uids, strict=True) if of == uid]


def _exit_code(pod: Object) -> int | None:
    ended = terminated(pod)
    if ended is not None:
        return int(ended["exitCode"])
    return 0 if pod.get("status", {}).get("phase") == "Succeeded" else None


def terminated(pod: Object) -> Object | None:
    """The end of the pod's container, if it has ended."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == BASE:
            ended: Object | None = (status.get("state") or {}).get("terminated")
            return ended
    return None


def _end(gang: Gang, name: str, replica: str, pod: Object | None, events: Sequence[Object]) -> _End | None:
    """How the replica ended, or None while it goes on (or has ended well)."""
    if pod is None:
        return _End(_BY_CLUSTER, "", name, replica, f"{replica} is lost: {gone(name, None, events).outcome.sentence}")
    code = _exit_code(pod)
    deleted_at = pod["metadata"].get("deletionTimestamp")
    going_on = code is None and not deleted_at and pod.get("status", {}).get("phase") != "Failed"
    at = str((terminated(pod) or {}).get("finishedAt") or deleted_at or "")
    if code != 0 and (silent := _silence(gang, name, replica, events, at, going_on)):
        return silent if not going_on or silent.rank == _SILENT else None
    if code == 0 or going_on:
        return None
    end = end_of(pod, events)
    if end is None:  # being deleted, and not ended yet
        return _End(_BY_CLUSTER, at, name, replica, f"{replica} is lost: {gone(name, pod, events).outcome.sentence}")
    sentence = f"{replica}: {end.outcome.sentence}"
    if code in FINAL:
        return _End(_FINAL_CODE, at, name, replica, sentence, code)
    rank = _BY_CLUSTER if end.reason not in ("Error", "Completed") else _PLAIN
    if rank == _PLAIN and code is not None and code > 128:
        # Nobody deletes it, so the SIGTERM is the kubelet's after a failed probe, and its event is there or on its way.
        rank = _WAITED if code - 128 == signal.SIGTERM and not deleted_at else _BY_SIGNAL
        if rank == _WAITED and (said := _no_further(events, "Liveness probe")):
            return _ended_by_probe(name, replica, at, said)
        if code - 128 in {one.value for one in signal.Signals}:  # its message is but the end of its log
            sentence = f"{replica} was killed by {signal.Signals(code - 128).name}; {end.outcome.sentence}"
    return _End(rank, at, name, replica, sentence)


def _silence(gang: Gang, name: str, replica: str, events: Sequence[Object], at: str, going_on: bool) -> _End | None:
    """What the probe has found: this replica silent, or waiting for one that is."""
    for message in _told(events, "Unhealthy"):
        # Of one that has just ended it says so too; only of one that goes on is it news.
        if going_on and (found := _CANNOT_BE_ASKED.match(message)) and "not running" not in message:
            return _End(_SILENT, at, name, replica, f"{replica} is frozen: its probe cannot be run ({found[1][:200]})")
        if "has been silent" in message:
            return _End(_SILENT, at, name, replica, f"{replica} has been silent for {gang.heartbeat_timeout_s:g} s")
    if any(_KILLED_BY_PROBE.search(message) for message in _told(events, "Killing")):
        return _ended_by_probe(name, replica, at, _no_further(events) or "its heartbeat was not heard")
    return None


def _no_further(events: Sequence[Object], probe: str = "") -> str:
    """What ``probe`` (or any) has said last of a replica that gets no further; empty where it has not.

    The start-up probe says so of every replica that has just begun.
    """
    unwell = [message for message in _told(events, "Unhealthy") if message.startswith(probe)]
    waits = [message for message in unwell if _NO_FURTHER.search(message)]
    return waits[-1].partition("eyewall: ")[2].strip() if waits else ""


def _told(events: Sequence[Object], reason: str) -> list[str]:
    return [event.get("message") or "" for event in events if event.get("reason") == reason]


def _ended_by_probe(name: str, replica: str, at: str, said: str) -> _End:
    return _End(_WAITED, at, name, replica, f"{replica} was ended by its probe: {said}")


def _on_placing(gang: Gang, found: Mapping[str, Object], now: datetime) -> Verdict:
    members = gang.members()
    unplaced = [name for name in members if not found[name]["spec"].get("nodeName")]
    pod = found[unplaced[0]]
    reason, why = waits_for(pod)
    placed = len(members) - len(unplaced)
    sentence = f"{placed} of {len(members)} replicas are placed; {members[unplaced[0]]}: {reason} ({why})"
    # From the youngest on: whoever created them may have been held up in between.
    since = max(_time(pod["metadata"]["creationTimestamp"]) for pod in found.values())
    # With Kueue a pod may be gated for hours, and the quota is its business.
    late = gang.queue is None and (now - since).total_seconds() > gang.place_timeout_s
    return Verdict("unplaced" if late else "placing", sentence, unplaced[0], members[unplaced[0]])


def _on_starting(gang: Gang, found: Mapping[str, Object], now: datetime, known: Events) -> Verdict:
    members = gang.members()
    waiting = [name for name in members if found[name].get("status", {}).get("phase") == "Pending"]
    for name in waiting:
        pod, replica, events = found[name], members[name], known.get(name, ())
        never = end_of(pod, events)  # an image that does not exist, for one
        if never is not None:
            return Verdict("unstarted", f"{replica}: {never.outcome.sentence}", name, replica, never.outcome.code)
        waited_s = (now - _scheduled_at(pod)).total_seconds()
        if waited_s > gang.start_timeout_s:
            late = never_started(pod, round(waited_s), events).outcome
            return Verdict("unstarted", f"{replica}: {late.sentence}", name, replica, late.code, asks=True)
    if waiting:
        pod = found[waiting[0]]
        reason, _ = waits_for(pod)
        started = f"{len(members) - len(waiting)} of {len(members)} replicas have started; "
        # The kubelet's own words for an image that cannot be pulled are in the events only.
        asks = reason in ("ErrImagePull", "ImagePullBackOff")
        return Verdict(
            "running", f"{started}{members[waiting[0]]}: {reason}", waiting[0], members[waiting[0]], asks=asks
        )
    nodes = sorted({str(pod["spec"]["nodeName"]) for pod in found.values()})
    return Verdict("running", f"all {len(members)} replicas run, on {', '.join(nodes)}")


def _scheduled_at(pod: Object) -> datetime:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("lastTransitionTime"):
            return _time(condition["lastTransitionTime"])
    return _time(pod["metadata"]["creationTimestamp"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
