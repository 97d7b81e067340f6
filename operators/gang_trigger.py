"""The triggerer's part: watch a gang, or wait for room for it, without a worker's slot.

It keeps nothing: what it knows is in its arguments (Airflow's database) and on the cluster, so a triggerer that is
killed is replaced by another one that starts the same trigger anew. An API server that is away is no event: the
replicas do not need it, and the training goes on.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from operators import gang_lease, gang_steps
from operators.api_calls import ApiAway, ApiRefused, Calls, T, asend_all, async_sender
from operators.gang_members import Gang, owner_of
from operators.gang_placement import Need
from operators.gang_run import backoff_s
from operators.gang_steps import Seen
from operators.gang_verdict import Verdict, judge

#: Seconds between two looks at a gang.
POLL_S = 2.0
#: Kubelets tell the end of a container a second or two late, and not in the order in which containers ended.
CAUSE_WITHIN_S = 4.0
#: Rights can be missing for a moment (a rotated token); after this long somebody has to look.
_REFUSED_FOR_S = 120.0
#: Pods that nobody is deleting, where there should be none: the task is asked to look.
_LEFTOVERS_S = 30.0


class GangTrigger(BaseTrigger):
    """Fires one event: ``done``, ``failed``, ``lost``, ``unplaced``, ``unstarted``, ``room``, ``timeout``, ``refused``.

    :param gang: fields of operators.gang_members.Gang
    :param pod_spec: the part of a replica's pod spec that decides where it may be placed
    :param state: ``watching`` a gang that is there, or ``waiting`` until none is left and there is room
    :param tries: how often the gang has looked for room, for the backoff
    :param restarts: lives that it has lost
    :param connection: keyword arguments of AsyncKubernetesHook
    :param until: end of the task's time, in seconds of the epoch; None: there is none
    """

    def __init__(
        self,
        gang: dict[str, Any],
        pod_spec: dict[str, Any],
        state: str,
        tries: int = 0,
        restarts: int = 0,
        connection: dict[str, Any] | None = None,
        until: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gang = Gang(**gang)
        self.pod_spec = pod_spec
        self.state = state
        self.tries = tries
        self.restarts = restarts
        self.connection = connection or {}
        self.until = until
        self._said = ""
        self._released = False
        self._began = time.monotonic()
        self._ready_at = self._began + backoff_s(self.gang.name, tries)
        self._hook = AsyncKubernetesHook(**{"conn_id": None, **self.connection})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """For Airflow's database."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "gang": self.gang.to_dict(),
                "pod_spec": self.pod_spec,
                "state": self.state,
                "tries": self.tries,
                "restarts": self.restarts,
                "connection": self.connection,
                "until": self.until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again, until there is something for the task to do."""
        refused_since: float | None = None
        look = self._watch if self.state == "watching" else self._wait
        while True:
            pause_s = POLL_S
            try:
                event, pause_s = await look()
                refused_since = None
            except ApiAway as away:
                self._say(f"{away}; the replicas go on without it, looking again", logging.WARNING)
                event = None
            except ApiRefused as refusal:
                refused_since = refused_since or time.monotonic()
                late = time.monotonic() - refused_since > _REFUSED_FOR_S
                event = self._event("refused", str(refusal), code=1) if late else None
                self._say(str(refusal), logging.WARNING)
            if event is None and self.until is not None and time.time() > self.until:
                event = self._event("timeout", "the task's execution_timeout is over", code=1)
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(pause_s)

    async def on_kill(self) -> None:
        """The task was marked or cleared while deferred: nobody will come back for the gang."""
        self.log.info("removing gang %s: its task was ended from outside", self.gang.name)
        for _ in range(10):
            try:
                if await self._ask(gang_steps.remove(self.gang)):
                    return
            except (ApiAway, ApiRefused) as error:
                self.log.warning("%s", error)
            await asyncio.sleep(1.0)

    async def _watch(self) -> tuple[dict[str, Any] | None, float]:
        """One look at a gang that is there."""
        verdict, seen = await self._judge()
        self._say(verdict.sentence)
        if verdict.state == "placing":
            if self.gang.queue is None:
                await self._ask(gang_lease.acquire(self.gang, _owner(self.gang, seen)))
            return None, POLL_S
        if verdict.state == "running":
            if self.gang.queue is None:
                await self._release()
            return None, POLL_S
        deadline = time.monotonic() + CAUSE_WITHIN_S
        while not verdict.sure and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            verdict, _ = await self._judge()
        return self._event_of(verdict), POLL_S

    async def _judge(self) -> tuple[Verdict, Seen]:
        seen: Seen = await self._ask(gang_steps.look(self.gang))
        verdict = judge(self.gang, seen.pods, seen.now)
        if verdict.asks:
            # The cause of a loss may be told of another replica than the one that went first.
            one = None if verdict.state == "lost" else verdict.pod
            verdict = judge(self.gang, seen.pods, seen.now, await self._ask(gang_steps.events_of(self.gang, one)))
        return verdict, seen

    async def _release(self) -> None:
        """All are scheduled: the next gang may look for room. Asked once in this trigger's life."""
        if not self._released:
            await self._ask(gang_lease.release(self.gang))
            self._released = True

    async def _wait(self) -> tuple[dict[str, Any] | None, float]:
        """One look for room, when nothing of a former life is left."""
        # Only looked at, never removed from here: of two triggerers, one of which is taken for dead, the slower one
        # would remove the new life.
        seen: Seen = await self._ask(gang_steps.look(self.gang))
        if seen.pods:
            left = ", ".join(f"{pod['metadata']['name']} on {pod['spec'].get('nodeName')}" for pod in seen.pods)
            self._say(f"waiting until {left} are gone (if a node is gone for good: kubectl delete node)")
            stuck = not any(pod["metadata"].get("deletionTimestamp") for pod in seen.pods)
            late = time.monotonic() - self._began > _LEFTOVERS_S
            return (self._event("room", "the task has to remove what is left") if stuck and late else None), POLL_S / 2
        sentence = "its backoff"
        if time.monotonic() >= self._ready_at:
            if self.gang.queue is not None:
                return self._event("room", "Kueue admits it"), 0.0
            placement = await self._ask(gang_steps.find_room(self.gang, Need.of(self.pod_spec)))
            if placement is None or placement.complete:
                return self._event("room", placement.sentence if placement else "nodes may not be seen"), 0.0
            sentence = placement.sentence
            self.tries += 1
            self._ready_at = time.monotonic() + backoff_s(self.gang.name, self.tries)
        self._say(f"waiting for room: {sentence}")
        return None, min(max(self._ready_at - time.monotonic(), 0.1), 10 * POLL_S)

    async def _ask(self, calls: Calls[T]) -> T:
        """Send with a connection of its own: a look is short, and a proxy in between may have dropped an older one."""
        try:
            async with self._hook.get_conn() as client:
                return await asend_all(calls, async_sender(client))
        except (ApiAway, ApiRefused):
            raise
        except Exception as error:  # a kubeconfig that is just being written, a token that cannot be had
            raise ApiAway(f"no connection to the API server: {type(error).__name__}: {str(error)[:200]}") from None

    def _event_of(self, verdict: Verdict) -> dict[str, Any]:
        return self._event(verdict.state, verdict.sentence, verdict.pod, verdict.replica, verdict.code)

    def _event(self, status: str, sentence: str, pod: str = "", replica: str = "", code: int = 0) -> dict[str, Any]:
        return {
            "status": status,
            "gang": self.gang.name,
            "sentence": sentence,
            "pod": pod,
            "replica": replica,
            "code": code,
            "tries": self.tries,
            "restarts": self.restarts,
        }

    def _say(self, sentence: str, level: int = logging.INFO) -> None:
        """Into the task's log, once for each change."""
        if sentence and sentence != self._said:
            self._said = sentence
            self.log.log(level, "gang %s: %s", self.gang.name, sentence)


def _owner(gang: Gang, seen: Seen) -> dict[str, Any] | None:
    chief = seen.chief(gang)
    return None if chief is None else owner_of(chief)
