"""An API server that knows pods only: what a step's pod asks of it, in one process and in no time."""

import copy
import json
from datetime import UTC, datetime

from operators.api_calls import Answer, ApiAway, ApiRefused

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
"""


class FakePods:
    """Pods by name; `calls` is everything that was asked; `away` requests are not answered."""

    def __init__(self):
        self.pods, self.calls, self.log, self.events = {}, [], "", []
        self.away, self.refuse, self.lose_answer = 0, None, False
        self.no_namespace = False
        self.linger = 0  # looks at a pod that is being deleted until it has gone
        self._made = 0

    def __call__(self, call):
        """As operators.api_calls.sender's."""
        self.calls.append(call)
        if self.away > 0:
            self.away -= 1
            raise ApiAway("no answer from the API server")
        status, body = getattr(self, call.method.lower())(call)
        if self.lose_answer:
            self.lose_answer = False
            raise ApiAway("the connection broke before the answer")
        return Answer(status, body if isinstance(body, str) else json.dumps(body), datetime.now(UTC))

    def methods(self):
        """What was asked, in order, without looks."""
        return [call.method for call in self.calls if call.method != "GET"]

    def post(self, call):
        """A new pod, unless there is one of its name."""
        if self.refuse is not None:
            raise ApiRefused(*self.refuse)
        if self.no_namespace:
            return 404, {}
        name = call.body["metadata"]["name"]
        if name in self.pods:
            return 409, {}
        return 201, self.add(call.body)

    def add(self, body, **status):
        """A pod that is there."""
        self._made += 1
        pod = copy.deepcopy(body)
        pod["metadata"]["uid"] = f"uid-{self._made}"
        pod["status"] = {"phase": "Pending", **status}
        self.pods[pod["metadata"]["name"]] = pod
        return pod

    def get(self, call):
        """A pod, its log, or the events."""
        if call.path.endswith("/events"):
            return 200, {"items": self.events}
        if call.path.endswith("/log"):
            return 200, self.log
        name = call.path.rpartition("/")[2]
        if name not in self.pods:
            return 404, {}
        if self.pods[name]["metadata"].get("deletionTimestamp"):
            self.linger -= 1
            if self.linger < 0:
                del self.pods[name]
                return 404, {}
        return 200, self.pods[name]

    def delete(self, call):
        """Gone at once, or after `linger` looks; another pod's uid is a conflict."""
        name = call.path.rpartition("/")[2]
        if name not in self.pods:
            return 404, {}
        uid = (call.body or {}).get("preconditions", {}).get("uid")
        if uid not in (None, self.pods[name]["metadata"]["uid"]):
            return 409, {}
        if self.linger:
            self.pods[name]["metadata"]["deletionTimestamp"] = "2026-11-21T07:00:00Z"
        else:
            del self.pods[name]
        return 200, {}


def ended(code, message=""):
    """The status of a pod whose container has ended."""
    state = {"terminated": {"exitCode": code, "message": message, "reason": "Error"}}
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "containerStatuses": [{"name": "base", "state": state}],
    }
