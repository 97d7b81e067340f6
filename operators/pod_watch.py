"""What a watcher of a pod takes for its end, besides what the pod says itself.

It did not start in time, it is gone, it was told to go and does not, or the task's own time is over.

All waits are counted on the watcher's own clock from when it saw them begin: two machines' clocks need not agree, and
a watcher that was killed counts anew. Pure: pods and events come in as JSON.
"""

import time
from collections.abc import Callable, Sequence

from eyewall.contracts.errors import EXIT_TEMPORARY
from operators.outcome import Outcome
from operators.pod_end import Object, PodEnd, end_of, gone, never_started, node_lost, waits_for

#: A kubelet may be late by this with ending a pod; beyond it, its node is lost.
NODE_PATIENCE_S = 120.0
#: Waiting reasons that a kubelet mends by itself within seconds, or nobody does.
CONFIG_PATIENCE_S = 30.0


class PodWatch:
    """Remembers what it has seen of one pod."""

    def __init__(
        self,
        name: str,
        start_timeout_s: float,
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._start_timeout_s = start_timeout_s
        self._deadline = deadline  # POSIX seconds
        self._clock, self._wall = clock, wall
        self._last: Object | None = None
        self._began: dict[str, float] = {}
        self._logged = clock()

    def look(self, pod: Object | None, events: Sequence[Object] = ()) -> PodEnd | None:
        """The end of the pod, if this is one; ``pod`` is None when there is none of its name."""
        if pod is None:
            return gone(self._name, self._last, events)
        self._last = pod
        return end_of(pod, events) or self._too_slow(pod, events) or self.overdue()

    def overdue(self) -> PodEnd | None:
        """The end by the task's own timeout, if it is over."""
        if self._deadline is None or self._wall() < self._deadline:
            return None
        sentence = f"pod {self._name} had not ended by the task's execution_timeout"
        return PodEnd("Timeout", Outcome(EXIT_TEMPORARY, {}, sentence))

    def wants_events(self, pod: Object | None) -> bool:
        """Whether the events may say more than the pod: it is gone, going, or does not start."""
        return pod is None or bool(pod["metadata"].get("deletionTimestamp")) or _pending(pod)

    def log_is_due(self, every_s: float) -> bool:
        """Whether ``every_s`` have passed since it was due last, and there is a log."""
        if self._last is None or _pending(self._last) or self._clock() - self._logged < every_s:
            return False
        self._logged = self._clock()
        return True

    def _too_slow(self, pod: Object, events: Sequence[Object]) -> PodEnd | None:
        grace_s = pod["metadata"].get("deletionGracePeriodSeconds") or 0
        if (waited_s := self._for("going", bool(pod["metadata"].get("deletionTimestamp")))) > grace_s + NODE_PATIENCE_S:
            return node_lost(pod, waited_s)
        # A queue (Kueue) holds the pod back as long as its quota is used: that is no failure to start.
        held = bool((pod.get("spec") or {}).get("schedulingGates"))
        waited_s = self._for("pending", _pending(pod) and not held)
        stuck = _pending(pod) and waits_for(pod)[0] == "CreateContainerConfigError"
        patience_s = CONFIG_PATIENCE_S if stuck else self._start_timeout_s
        if (self._for("stuck", stuck) if stuck else waited_s) >= patience_s:
            return never_started(pod, round(waited_s), events)
        return None

    def _for(self, what: str, so: bool) -> float:
        """How long ``what`` has been so, without a break."""
        if not so:
            self._began.pop(what, None)
            return 0.0
        return self._clock() - self._began.setdefault(what, self._clock())


def _pending(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase", "Pending") == "Pending")
