"""One Lease per namespace: only its holder may look for room, create a gang and wait until all of it is scheduled.

Two gangs that each need all GPUs would otherwise both find them free, place half of their replicas each, and wait for
each other. The holder is a gang, not a process: whoever works for it (a task, its next try, the triggerer) renews it.
If all of them die it expires, and another gang takes it over. It belongs to the chief's pod once that is there, so it
goes with the gang at the latest. An update carries the version that it was read at, so that of two takers one wins.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from operators.api_calls import Call, Calls
from operators.gang_members import Gang

LEASE = "eyewall-gangs"
DURATION_S = 30  # a few polls of the triggerer, and a short absence of the API server
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def _path(gang: Gang, name: str = "") -> str:
    base = f"/apis/coordination.k8s.io/v1/namespaces/{gang.namespace}/leases"
    return f"{base}/{name}" if name else base


def _lease(gang: Gang, now: datetime, metadata: Mapping[str, Any], owner: Mapping[str, Any] | None) -> dict[str, Any]:
    time = now.strftime(_TIME)
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            **{key: metadata[key] for key in ("uid", "resourceVersion") if key in metadata},
            "name": LEASE,
            "namespace": gang.namespace,
            "labels": {"app.kubernetes.io/part-of": "eyewall"},
            "ownerReferences": [dict(owner)] if owner else [],
        },
        "spec": {
            "holderIdentity": gang.name,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": time,
            "renewTime": time,
        },
    }


def holder_of(lease: Mapping[str, Any], now: datetime) -> str | None:
    """Name of the gang that holds the lease; None when it has expired."""
    spec = lease.get("spec") or {}
    renewed = spec.get("renewTime")
    if not renewed or not spec.get("holderIdentity"):
        return None
    until = datetime.fromisoformat(renewed) + timedelta(seconds=spec.get("leaseDurationSeconds") or DURATION_S)
    holder: str = spec["holderIdentity"]
    return holder if now < until else None


def acquire(gang: Gang, owner: Mapping[str, Any] | None = None) -> Calls[str | None]:
    """Take or renew the lease, for ``owner`` (the chief's pod) if it is there. None, or the gang that holds it."""
    answer = yield Call("GET", _path(gang, LEASE))
    if answer.status == 404:
        made = yield Call("POST", _path(gang), _lease(gang, answer.now, {}, owner))
        return None if made.ok else "another gang"
    lease = answer.json()
    holder = holder_of(lease, answer.now)
    if holder not in (None, gang.name) or lease["metadata"].get("deletionTimestamp"):
        return holder or "another gang"
    taken = yield Call("PUT", _path(gang, LEASE), _lease(gang, answer.now, lease["metadata"], owner))
    return None if taken.ok else "another gang"


def release(gang: Gang) -> Calls[None]:
    """Delete the lease if it is this gang's, in the very version that was read."""
    answer = yield Call("GET", _path(gang, LEASE))
    if not answer.ok:
        return
    lease = answer.json()
    if lease["spec"].get("holderIdentity") == gang.name:
        precondition = {key: lease["metadata"][key] for key in ("uid", "resourceVersion")}
        yield Call("DELETE", _path(gang, LEASE), {"preconditions": precondition})
