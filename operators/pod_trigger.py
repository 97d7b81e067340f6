"""A task's wait for its pod, in the triggerer: the provider's trigger, with patience.

The provider's gives up 15 s after the API server has gone while a pod starts, 48 s while it runs, and ends on any
error with a text from which nobody can tell a lost pod from a lost connection (cncf.kubernetes 10.25). This one waits:
the step goes on without the API server. What it sees goes to `PodWatch`, which knows what an end is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent

from operators.api_calls import ApiAway, ApiRefused, AsyncSend, Call, Calls, asend_all, async_sender
from operators.outcome import Outcome
from operators.pod_end import Object, PodEnd
from operators.pod_watch import PodWatch

#: How long the API server may refuse (rights, an expired token) or the configuration may be broken.
REFUSAL_PATIENCE_S = 300.0
LOG_EVERY_S = 10.0
_LOG_BYTES = 4 * 2**20  # of one answer: a triggerer watches a thousand pods


def pods_path(namespace: str) -> str:
    """Where pods are made."""
    return f"/api/v1/namespaces/{namespace}/pods"


def pod_path(namespace: str, name: str) -> str:
    """One pod."""
    return f"{pods_path(namespace)}/{name}"


def events_call(namespace: str, name: str, uid: str | None) -> Call:
    """What was said about a pod; it is kept for an hour after the pod has gone, so earlier tries' is there as well."""
    selector = f"involvedObject.kind=Pod,involvedObject.name={name}"
    if uid is not None:
        selector += f",involvedObject.uid={uid}"
    return Call("GET", f"/api/v1/namespaces/{namespace}/events", query=(("fieldSelector", selector),))


class PodLog:
    """A container's log, read a piece at a time; no line twice, none left out.

    ``cursor`` is the time stamp of the last line read, as the kubelet gave it: to the nanosecond, so it names the line.
    """

    def __init__(self, namespace: str, name: str, container: str, cursor: str | None = None) -> None:
        self._path = f"{pod_path(namespace, name)}/log"
        self._container = container
        self.cursor = cursor

    def read(self, say: Callable[[str], None]) -> Calls[bool]:
        """Say what has been written since; whether there is more."""
        query = [("container", self._container), ("timestamps", "true"), ("limitBytes", str(_LOG_BYTES))]
        if self.cursor is not None:
            query.append(("sinceTime", self.cursor))  # the server looks at whole seconds only
        answer = yield Call("GET", self._path, query=tuple(query))
        if not answer.ok:
            return False
        full = len(answer.text.encode()) >= _LOG_BYTES
        lines = answer.text.splitlines(keepends=True)
        if full:
            lines = lines[:-1]  # cut in the middle
        before = self.cursor
        for line in lines:
            stamp, _, text = line.rstrip("\n").partition(" ")
            if self.cursor is None or _nanoseconds(stamp) > _nanoseconds(self.cursor):
                say(text)
                self.cursor = stamp
        return full and self.cursor != before


def _nanoseconds(stamp: str) -> str:
    """A time stamp that compares as a text: RFC 3339 leaves out the fraction's last zeros."""
    seconds, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


class StepPodTrigger(KubernetesPodTrigger):
    """Wait for the end of a step's pod; its log comes meanwhile. Deletes the pod if a person ends the task.

    Its one event: ``status`` ended, or refused with ``message``; ``outcome`` as a list; ``cursor`` of the log.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The provider's, under this class's name."""
        _, kwargs = super().serialize()
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the pod has ended or may not be looked at any more."""
        watch = PodWatch(self.pod_name, self.startup_timeout, self.trigger_kwargs.get("deadline"))
        log = PodLog(self.pod_namespace, self.pod_name, self.base_container_name, self.trigger_kwargs.get("cursor"))
        refused_since: float | None = None
        event: dict[str, Any] | None = None
        while event is None:
            try:
                async with self.hook.get_conn() as client:
                    send = async_sender(client)
                    while event is None:
                        end = await self._look(watch, log, send)
                        refused_since = None
                        if end is not None:
                            event = self._event("ended", log, outcome=end.outcome)
                        else:
                            await asyncio.sleep(self.poll_interval)
            except ApiAway as away:
                self.log.warning("%s; the step goes on, and so does the wait for it", away)
                event = self._overdue(watch, log)
            except Exception as error:  # rights, a token, a kubeconfig: somebody may be mending it
                refused_since = refused_since or time.monotonic()
                self.log.warning("pod %s cannot be looked at: %s", self.pod_name, error)
                if time.monotonic() - refused_since > REFUSAL_PATIENCE_S:
                    event = self._event("refused", log, message=f"pod {self.pod_name} cannot be looked at: {error}")
            if event is None:
                await asyncio.sleep(self.poll_interval)
        self._fired_event = True  # from here on the task itself removes the pod
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _look(self, watch: PodWatch, log: PodLog, send: AsyncSend) -> PodEnd | None:
        """One look at the pod, and at its log every LOG_EVERY_S."""
        answer = await asend_all(_get(Call("GET", pod_path(self.pod_namespace, self.pod_name))), send)
        pod = answer.json() if answer.ok else None
        uid = self.trigger_kwargs.get("uid")
        if pod is not None and uid not in (None, pod["metadata"]["uid"]):
            pod = None  # another one by now
        events: list[Object] = []
        if watch.wants_events(pod):
            told = await asend_all(_get(events_call(self.pod_namespace, self.pod_name, uid)), send)
            events = list(told.json().get("items") or ()) if told.ok else []
        end = watch.look(pod, events)
        if pod is not None and watch.log_is_due(LOG_EVERY_S):
            try:
                await asend_all(log.read(self.log.info), send)
            except ApiRefused as refusal:
                self.log.debug("no log of pod %s yet: %s", self.pod_name, refusal)
        return end

    def _overdue(self, watch: PodWatch, log: PodLog) -> dict[str, Any] | None:
        end = watch.overdue()
        return None if end is None else self._event("ended", log, outcome=end.outcome)

    def _event(self, status: str, log: PodLog, outcome: Outcome | None = None, message: str = "") -> dict[str, Any]:
        return {
            "name": self.pod_name,
            "namespace": self.pod_namespace,
            "uid": self.trigger_kwargs.get("uid"),
            "status": status,
            "message": message,
            "outcome": None if outcome is None else list(outcome),
            "cursor": log.cursor,
        }


def _get(call: Call) -> Calls[Any]:
    return (yield call)
