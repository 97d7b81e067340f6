"""What is done to a gang, as requests: look, make room for it, create, remove.

Order is what makes it safe to be killed between any two requests:

- the chief comes first, since everything else is owned by it (ownerReferences), and goes first: once its pod is being
  deleted the garbage collector takes the rest, whoever is left to ask for it;
- the Service comes last: it marks a gang that is complete. Replicas without a Service, all of them healthy, are a
  creation that was broken off, and it is completed; with a Service, a missing replica is a loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eyewall.contracts.cluster import Replica
from operators import gang_lease
from operators.api_calls import ApiRefused, Call, Calls
from operators.gang_members import GANG_LABEL, RESTARTS_ANNOTATION, Gang, owner_of, service
from operators.gang_placement import Need, Placement, place
from operators.gang_verdict import terminated

Object = Mapping[str, Any]
#: (replica, lives lost before) → its pod, without an owner.
PodMaker = Callable[[Replica, int], dict[str, Any]]
GRACE_S = 2  # from SIGTERM to SIGKILL when a gang is removed: its checkpoints are in the store


@dataclass(frozen=True)
class Seen:
    """What there is of a gang, and the API server's time."""

    pods: tuple[Object, ...]
    now: datetime

    def pod(self, name: str) -> Object | None:
        """The pod of that name, if there is one."""
        return next((pod for pod in self.pods if pod["metadata"]["name"] == name), None)

    def chief(self, gang: Gang) -> Object | None:
        """The chief's pod, if there is one."""
        return self.pod(gang.chief)

    def going(self, gang: Gang) -> bool:
        """Whether the gang is being removed, or is a remainder: nothing of it may be built upon."""
        chief = self.chief(gang)
        return bool(self.pods) and (chief is None or bool(chief["metadata"].get("deletionTimestamp")))


def _core(gang: Gang, kind: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{gang.namespace}/{kind}" + (f"/{name}" if name else "")


def look(gang: Gang) -> Calls[Seen]:
    """Every pod of the gang."""
    answer = yield Call("GET", _core(gang, "pods"), query=(("labelSelector", f"{GANG_LABEL}={gang.name}"),))
    return Seen(tuple(answer.json().get("items") or ()) if answer.ok else (), answer.now)


def events_of(gang: Gang, pod: str | None = None) -> Calls[dict[str, list[Object]]]:
    """The cluster's events by pod, of one or of all, oldest first; it keeps them for an hour."""
    selector = "involvedObject.kind=Pod" + (f",involvedObject.name={pod}" if pod else "")
    answer = yield Call("GET", _core(gang, "events"), query=(("fieldSelector", selector),))
    events: list[Object] = answer.json().get("items") or [] if answer.ok else []
    found: dict[str, list[Object]] = {name: [] for name in gang.members()}
    for event in sorted(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or ""):
        name = event["involvedObject"].get("name")
        if name in found:
            found[name].append(event)
    return found


def log_of(gang: Gang, pod: str, lines: int) -> Calls[str]:
    """The last lines that the pod's container wrote; empty when the pod, or its log, is gone."""
    answer = yield Call("GET", _core(gang, f"pods/{pod}/log"), query=(("tailLines", str(lines)),))
    return answer.text if answer.ok else ""


def find_room(gang: Gang, need: Need) -> Calls[Placement | None]:
    """Where the whole gang could be placed now; None where nodes may not be seen, so that only trying tells."""
    try:
        nodes = yield Call("GET", "/api/v1/nodes")
        pods = yield Call(
            "GET", "/api/v1/pods", query=(("fieldSelector", "status.phase!=Succeeded,status.phase!=Failed"),)
        )
    except ApiRefused as refusal:
        if refusal.status != 403:
            raise
        return None
    others = pods.json().get("items") or ()
    # Another gang's pods that are still to be placed were there first.
    ahead = [
        Need.of(pod["spec"])
        for pod in others
        if not pod["spec"].get("nodeName")
        and (pod["metadata"].get("labels") or {}).get(GANG_LABEL, gang.name) != gang.name
    ]
    return place([need] * len(gang.replicas()), nodes.json().get("items") or (), others, ahead)


def create(gang: Gang, make: PodMaker, restarts: int) -> Calls[bool]:
    """Create what is not there yet. False when something of a former life is still there: look again later."""
    chief = yield from _create_pod(gang, make(gang.replicas()[0], restarts))
    if chief is None:
        return False
    lives = int((chief["metadata"].get("annotations") or {}).get(RESTARTS_ANNOTATION, restarts))
    owner = owner_of(chief)
    if gang.queue is None:
        yield from gang_lease.acquire(gang, owner)  # now it goes with the chief at the latest
    for replica in gang.replicas()[1:]:
        pod = make(replica, lives)
        pod["metadata"]["ownerReferences"] = [owner]
        if (yield from _create_pod(gang, pod, owner)) is None:
            return False
    answer = yield Call("POST", _core(gang, "services"), service(gang, owner))
    return answer.ok or (yield from _service_is_owned_by(gang, owner))


def _create_pod(gang: Gang, pod: dict[str, Any], owner: Object | None = None) -> Calls[Object | None]:
    """The pod, new or as it is there; None when the one that is there is going, has ended, or is not the owner's."""
    name = pod["metadata"]["name"]
    answer = yield Call("POST", _core(gang, "pods"), pod)
    if answer.ok:
        return answer.json()
    answer = yield Call("GET", _core(gang, "pods", name))
    if not answer.ok:
        return None
    there = answer.json()
    owners = [reference.get("uid") for reference in there["metadata"].get("ownerReferences") or ()]
    usable = not there["metadata"].get("deletionTimestamp") and terminated(there) is None
    return there if usable and (owner is None or owner["uid"] in owners) else None


def _service_is_owned_by(gang: Gang, owner: Object) -> Calls[bool]:
    answer = yield Call("GET", _core(gang, "services", gang.name))
    if not answer.ok:
        return False
    owners = [reference.get("uid") for reference in answer.json()["metadata"].get("ownerReferences") or ()]
    return owner["uid"] in owners


def is_complete(gang: Gang, seen: Seen) -> Calls[bool]:
    """Whether the gang was created to the end: its Service is there, and this chief's."""
    chief = seen.chief(gang)
    return chief is not None and (yield from _service_is_owned_by(gang, owner_of(chief)))


def remove(gang: Gang) -> Calls[bool]:
    """Delete everything, the chief first. True when no pod is left; otherwise the kubelet is still ending some."""
    seen = yield from look(gang)
    for pod in sorted(seen.pods, key=lambda pod: pod["metadata"]["name"] != gang.chief):
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp") and (metadata.get("deletionGracePeriodSeconds") or 0) <= GRACE_S:
            continue
        # Never 0: a pod that is forgotten before the kubelet has ended it could go on beside its successor.
        body = {"gracePeriodSeconds": GRACE_S, "propagationPolicy": "Background"}
        yield Call("DELETE", _core(gang, "pods", metadata["name"]), body | {"preconditions": {"uid": metadata["uid"]}})
    yield Call("DELETE", _core(gang, "services", gang.name), {"propagationPolicy": "Background"})
    if gang.queue is None:
        yield from gang_lease.release(gang)
    return not seen.pods
