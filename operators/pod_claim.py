"""The one pod of a task: made, or found where an earlier try has left it.

The request to make it comes first: the API server's answer that there is one of its name is the only reliable look.
"""

import time
from collections.abc import Callable
from typing import Any

from operators.api_calls import Answer, ApiRefused, Call
from operators.object_names import JOB_ANNOTATION
from operators.pod_end import end_of
from operators.pod_trigger import pod_path, pods_path

#: A namespace that was made this moment refuses pods until its service account is known.
_NEW_NAMESPACE_S = 30.0


class StillThere(Exception):
    """A pod of an earlier try cannot be removed; the message is for people."""


class PodClaim:
    """Gets a task its pod.

    :param ask: sends a request, patiently
    :param delete: deletes the pod of this namespace, name and uid
    :param log: the task's
    :param patience_s: how long an old pod may take to go
    """

    def __init__(
        self, ask: Callable[[Call], Answer], delete: Callable[[str, str, str], None], log: Any, patience_s: float
    ) -> None:
        self._ask, self._delete, self._log, self._patience_s = ask, delete, log, patience_s

    def claim(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The pod that runs this job: a new one, or the one that an earlier try has left.

        Raises ApiAway, ApiRefused, and StillThere when an old one does not go.
        """
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        while True:
            answer = self._create(pods_path(namespace), wanted)
            if answer.ok:
                self._log.info("pod %s/%s is made", namespace, name)
                return answer.json()
            if answer.status == 404:
                raise ApiRefused(404, f'{{"message": "namespace {namespace} is not there: see kubernetes.namespace"}}')
            answer = self._ask(Call("GET", pod_path(namespace, name)))
            if not answer.ok:  # it went in between, or two requests have met at a quota
                time.sleep(0.2)
                continue
            there = answer.json()
            if self._goes_on_with(there, wanted):
                return there
            self._make_way(there)

    def _create(self, path: str, wanted: dict[str, Any]) -> Answer:
        """The answer to the request for a new pod; 409 if one has its name."""
        deadline = time.monotonic() + _NEW_NAMESPACE_S
        while True:
            try:
                return self._ask(Call("POST", path, wanted))
            except ApiRefused as refusal:
                if refusal.status != 403 or "service account" not in str(refusal) or time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _goes_on_with(self, there: dict[str, Any], wanted: dict[str, Any]) -> bool:
        """Whether a pod that an earlier try has left is this task's now: it runs this job, or ended with a verdict."""
        metadata = there["metadata"]
        asked = [(pod["metadata"].get("annotations") or {}).get(JOB_ANNOTATION) for pod in (there, wanted)]
        if asked[0] != asked[1]:
            self._log.info("pod %s of an earlier try runs another command or image: it is replaced", metadata["name"])
            return False
        if metadata.get("deletionTimestamp"):
            # Its end, if it has one, has been read, and perhaps mended since: an image that is there by now.
            self._log.info("pod %s of an earlier try is being deleted: waiting for its end", metadata["name"])
            return False
        end = end_of(there)
        if end is not None and end.is_verdict:
            self._log.info("pod %s of an earlier try has ended: its result is taken", metadata["name"])
            return True
        if end is not None:
            self._log.warning(
                "pod %s of an earlier try has ended: %s; here is the next", metadata["name"], end.outcome.sentence
            )
            return False
        self._log.info("pod %s of an earlier try runs on: going on with it", metadata["name"])
        return True

    def _make_way(self, pod: dict[str, Any]) -> None:
        """Delete a pod and wait until its name is free. Never by force: its container may still be writing."""
        metadata = pod["metadata"]
        path = pod_path(metadata["namespace"], metadata["name"])
        deadline = time.monotonic() + self._patience_s
        if not metadata.get("deletionTimestamp"):
            self._delete(metadata["namespace"], metadata["name"], metadata["uid"])
        while True:
            answer = self._ask(Call("GET", path))
            if not answer.ok or answer.json()["metadata"]["uid"] != metadata["uid"]:
                return
            if time.monotonic() > deadline:
                node = (pod.get("spec") or {}).get("nodeName", "(none)")
                raise StillThere(
                    f"pod {metadata['name']} of an earlier try is still on node {node}: bring the node back, or, once "
                    f"it is surely off, kubectl delete pod {metadata['name']} --force"
                )
            time.sleep(1.0)
