"""A cluster in a dictionary for tests of gangs: an API server, a scheduler, a kubelet and a garbage collector.

Requests go to `FakeCluster.send`; what the cluster does by itself happens in `tick`, one second of its clock each. Its
scheduler places pods one by one as they come, like the real one: half a gang can take what another one needs.
"""

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from operators.api_calls import Answer, Call, answer_of
from operators.gang_placement import Need, place

ZERO = datetime(2026, 11, 21, tzinfo=UTC)
_PATH = re.compile(r"/(?:api/v1|apis/coordination.k8s.io/v1)/(?:namespaces/([^/]+)/)?([a-z]+)(?:/([^/]+))?(?:/(log))?$")


def node(name: str = "n1", *, cpu: str = "4", memory: str = "8Gi", gpus: int = 0, **labels: str) -> dict:
    """A ready node, as the API server gives it."""
    amounts = {"cpu": cpu, "memory": memory, "pods": "110", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
    }


class FakeCluster:
    """Objects by (kind, name) in one namespace; ``created`` counts what was ever created."""

    def __init__(self, *nodes: dict) -> None:
        self.nodes = list(nodes)
        self.objects: dict[tuple[str, str], dict] = {}
        self.created: dict[str, int] = {}
        self.calls: list[Call] = []
        self.seconds = 0
        self.version = 0
        self.forbidden: set[str] = set()

    @property
    def now(self) -> datetime:
        """Time of the API server."""
        return ZERO + timedelta(seconds=self.seconds)

    def of(self, kind: str) -> list[dict]:
        """Objects of one kind."""
        return [thing for (k, _), thing in self.objects.items() if k == kind]

    def send(self, call: Call) -> Answer:
        """One request. Raises as `operators.api_calls` says."""
        self.calls.append(call)
        match = _PATH.match(call.path)
        assert match, call.path
        _, kind, name, log = match.groups()
        status, body = self._answer(call, kind, name, log)
        date = self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return answer_of(status, body if isinstance(body, str) else json.dumps(body), date)

    def _answer(self, call: Call, kind: str, name: str | None, log: str | None) -> tuple[int, object]:
        if kind in self.forbidden:
            return 403, {"message": f"{kind} is forbidden"}
        if log:
            return (200, f"log of {name}\n") if ("pods", name) in self.objects else (404, "")
        if call.method == "POST":
            return self._create(kind, copy.deepcopy(call.body))
        if name is None:
            return 200, {"items": self.nodes if kind == "nodes" else self._list(kind, dict(call.query))}
        thing = self.objects.get((kind, name))
        if thing is None:
            return 404, {"message": "not found"}
        if call.method == "GET":
            return 200, thing
        return (
            self._replace(kind, name, thing, call.body)
            if call.method == "PUT"
            else self._delete(kind, name, thing, call.body)
        )

    def _list(self, kind: str, query: dict[str, str]) -> list[dict]:
        wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        things = [t for t in self.of(kind) if wanted.items() <= t["metadata"].get("labels", {}).items()]
        if "phase" in query.get("fieldSelector", ""):
            things = [t for t in things if t["status"]["phase"] not in ("Succeeded", "Failed")]
        return things

    def _create(self, kind: str, thing: dict) -> tuple[int, object]:
        name = thing["metadata"]["name"]
        if (kind, name) in self.objects:
            return 409, {"message": "already exists"}
        self.version += 1
        thing["metadata"] |= {"uid": f"uid-{self.version}", "resourceVersion": str(self.version)}
        thing["metadata"]["creationTimestamp"] = self.now.isoformat()
        if kind == "pods":
            thing["status"] = {"phase": "Pending"}
        self.objects[kind, name] = thing
        self.created[name] = self.created.get(name, 0) + 1
        return 201, thing

    def _replace(self, kind: str, name: str, thing: dict, body: dict) -> tuple[int, object]:
        if body["metadata"].get("resourceVersion") != thing["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        self.version += 1
        self.objects[kind, name] = copy.deepcopy(body)
        self.objects[kind, name]["metadata"]["resourceVersion"] = str(self.version)
        return 200, self.objects[kind, name]

    def _delete(self, kind: str, name: str, thing: dict, body: dict | None) -> tuple[int, object]:
        wanted = (body or {}).get("preconditions", {})
        if any(thing["metadata"].get(key) != value for key, value in wanted.items()):
            return 409, {"message": "precondition failed"}
        if kind == "pods" and thing["spec"].get("nodeName") and thing["status"]["phase"] not in ("Succeeded", "Failed"):
            thing["metadata"].setdefault("deletionTimestamp", self.now.isoformat())  # gone when its kubelet says so
        else:
            del self.objects[kind, name]
        return 200, {}

    def tick(self, seconds: int = 1) -> None:
        """Let the cluster work: end, collect, schedule, start."""
        self.seconds += seconds
        for key in [k for k, t in self.objects.items() if t["metadata"].get("deletionTimestamp")]:
            del self.objects[key]
        uids = {thing["metadata"]["uid"] for thing in self.objects.values()}
        for key, thing in list(self.objects.items()):
            owners = thing["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in uids for owner in owners):
                del self.objects[key]
        for pod in self.of("pods"):
            if pod["spec"].get("nodeName"):
                if pod["status"]["phase"] == "Pending":
                    pod["status"]["phase"] = "Running"
                continue
            placed = place([Need.of(pod["spec"])], self.nodes, self.of("pods"))
            if placed.complete:
                pod["spec"]["nodeName"] = placed.nodes[0]

    def end(self, name: str, code: int = 0, **terminated: str) -> None:
        """Let a pod's container end."""
        state = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": self.now.isoformat()}
        self.objects["pods", name]["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "base", "state": {"terminated": state | terminated}}],
        }

    def left(self) -> list[tuple[str, str]]:
        """What there is."""
        return sorted(self.objects)


class Killed(BaseException):
    """The process is gone: no handler of it runs."""


def dying_after(send: Callable[[Call], Answer], calls: int) -> Callable[[Call], Answer]:
    """``send`` that kills the process when its ``calls``-th request has been done and its answer is on the way."""
    count = 0

    def send_one(call: Call) -> Answer:
        nonlocal count
        count += 1
        answer = send(call)
        if count >= calls:
            raise Killed
        return answer

    return send_one
