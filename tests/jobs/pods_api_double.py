"""A cluster in a dictionary, for the runner's requests: one node, whose kubelet starts what it may as soon as it may.

Adversarial where the real one is merely slow: its kubelet looks after every single request, its garbage collector
only when a test says so. What it does was compared with a real cluster (tests/integration/test_kubernetes_jobs.py).
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from eyewall.jobs.pods.api import Answer
from eyewall.jobs.pods.manifest import JOB
from eyewall.jobs.pods.permit import KEY, PLACE_SCRIPT

Object = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
STAMP = "2026-11-21T12:00:00Z"


class ApiDouble:
    """Stands in for `eyewall.jobs.pods.api.Api`; many runners may share one by `share`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.runs: list[str] = []  # uid of every pod whose container was started
        self.ended: dict[str, Object] = {}  # pods that have gone, by name
        self._uids = itertools.count(1)
        self.before: Callable[[], None] = lambda: None  # called before every request
        self.node_ends = True  # whether a kubelet ends pods that are deleted

    def share(self, before: Callable[[], None]) -> "ApiDouble":
        """The same cluster for another dispatcher, whose requests are preceded by ``before``."""
        other = copy.copy(self)
        other.before = before
        return other

    # ---- requests

    def get(self, kind: str, name: str) -> Answer:
        """An object, if there is one."""
        self.before()
        return Answer(copy.deepcopy(self.objects.get((kind, name))), NOW)

    def make(self, kind: str, body: Object) -> Object | None:
        """None where there is one of its name."""
        self.before()
        name = body["metadata"]["name"]
        if (kind, name) in self.objects:
            return None
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": f"uid-{next(self._uids):04d}", "namespace": "eyewall", "creationTimestamp": STAMP}
        if kind == "pods":
            made["status"] = {"phase": "Pending"}
        self.objects[kind, name] = made
        self.kubelet()
        return copy.deepcopy(made)

    def annotate(self, kind: str, name: str, body: Object) -> Object | None:
        """A merge patch of annotations and data."""
        self.before()
        found = self.objects.get((kind, name))
        if found is None or body["metadata"].get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            return None
        found["metadata"].setdefault("annotations", {}).update(body["metadata"].get("annotations", {}))
        for key, value in body.get("data", {}).items():
            assert value is None
            found["data"].pop(key, None)
        self.kubelet()
        return copy.deepcopy(found)

    def delete(self, kind: str, name: str, uid: str | None = None, grace_s: int | None = None) -> None:
        """At once, but for a pod whose node does not end it."""
        self.before()
        found = self.objects.get((kind, name))
        if found is None or uid not in (None, found["metadata"]["uid"]):
            return
        if kind == "pods" and self._state(found).get("running") is not None:
            found["metadata"] |= {"deletionTimestamp": STAMP, "deletionGracePeriodSeconds": grace_s or 30}
            if not self.node_ends:
                return
            self.end(name, 143)
            self.ended[name] = found
        del self.objects[kind, name]

    def watch(self, name: str, seconds: float) -> Iterator[Object | None]:
        """The pod as it is; of one that has gone, how it ended."""
        self.before()
        if ("pods", name) not in self.objects and name in self.ended:
            yield copy.deepcopy(self.ended[name])
        yield copy.deepcopy(self.objects.get(("pods", name)))

    def events(self, name: str) -> list[Object]:
        """None."""
        self.before()
        return []

    # ---- what a cluster does by itself

    def kubelet(self) -> None:
        """Start every pod whose permit is there, and not spent."""
        for (kind, _), pod in list(self.objects.items()):
            if kind != "pods" or pod["status"]["phase"] != "Pending":
                continue
            needed = pod["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]
            permit = self.objects.get(("configmaps", needed["name"]))
            if permit is not None and needed["key"] in permit["data"]:
                assert needed["key"] == KEY
                assert PLACE_SCRIPT in permit["data"]
                self.runs.append(pod["metadata"]["uid"])
                pod["status"] = {"phase": "Running", "containerStatuses": [{"name": JOB, "state": {"running": {}}}]}

    def end(self, name: str, code: int) -> None:
        """The program ends."""
        pod = self.objects["pods", name]
        done = {"exitCode": code, "finishedAt": STAMP, "reason": "Completed" if code == 0 else "Error"}
        state = {"name": JOB, "state": {"terminated": done}}
        pod["status"] = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [state]}

    def collect_garbage(self) -> None:
        """Remove what belongs to something that is not there."""
        uids = {found["metadata"]["uid"] for found in self.objects.values()}
        for key, found in list(self.objects.items()):
            owners = found["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners):
                del self.objects[key]

    @staticmethod
    def _state(pod: Object) -> Object:
        statuses = pod["status"].get("containerStatuses") or [{}]
        state: Object = statuses[0].get("state") or {}
        return state
