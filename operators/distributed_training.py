"""One task, one TensorFlow cluster: chief, workers and parameter servers as pods that start, live and go together.

    execute         looks what an earlier try has left; else takes the lease, asks whether the whole gang finds room,
                    creates the chief, its peers and the headless Service at once, and defers
    GangTrigger     watches all of them, or waits for room, without a slot
    trigger_reentry goes on after its event:
                        done                the chief's summary; everything is removed
                        failed, unstarted   the replica's sentence and last lines; everything is removed
                        lost                everything is removed and created again, from the last checkpoint; 3 times
                        unplaced            everything is removed, and the gang queues again with backoff
                        room                another attempt to create it

The order of requests, and what happens when this process is killed between any two of them: `operators.gang_steps`.
"""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, cast

from airflow.sdk import Context

from eyewall.contracts.cluster import Replica
from eyewall.contracts.errors import EXIT_INPUT, EXIT_SOFTWARE, EXIT_TEMPORARY, EXIT_UNAVAILABLE, ContractError
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.settings import Settings
from operators import gang_steps
from operators.api_calls import PATIENCE_S, ApiAway, ApiRefused, Calls, Send, T, send_all, sender
from operators.gang_members import Gang, gang_name, is_gang, replica_pod
from operators.gang_placement import Need
from operators.gang_run import MAX_RESTARTS, Wait, again, begin, settle
from operators.gang_trigger import GangTrigger
from operators.outcome import Outcome
from operators.pod_end import end_of
from operators.step_pod import StepPod

_LOG_LINES = 50
_GONE_WITHIN_S = 60.0
_KILL_PATIENCE_S = 20.0  # a task that is being killed has a minute itself


class DistributedTrainingOperator(StepPod):
    """Train on a cluster of pods. The operator's own pod is the chief's.

    :param settings: of the installation; its table ``[kubernetes]`` says where and of what
    :param job: a training whose strategy has several replicas, its store as the pods see it

    ``pool_slots`` is the number of GPUs in total, unless given: a pool of the cluster's size then keeps tasks that
    cannot have their GPUs out of the workers' slots altogether.
    """

    #: Replaced in tests: the trigger that waits.
    trigger_class: type[GangTrigger] = GangTrigger

    def __init__(self, *, settings: Settings, job: TrainJob, **kwargs: Any) -> None:
        if not is_gang(job):
            raise ContractError(
                f"strategy {job.strategy!r} with {job.workers} workers is one process: run it as a single pod"
            )
        replicas = 1 + job.workers_beside_chief + job.ps
        gpus = replicas * settings.kubernetes.resources_of("train").gpus
        super().__init__(settings=settings, job=job, **{"pool_slots": max(gpus, 1), **kwargs})
        self.training = job
        self.gang: Gang | None = None

    def run_pod(self, context: Context, event: dict[str, Any] | None) -> Outcome:
        """What `execute` and `trigger_reentry` do."""
        return self.run_gang(context, event)

    def run_gang(self, context: Context, event: dict[str, Any] | None) -> Outcome:
        """Begin (no event) or go on after an event of the trigger: defer, or the Outcome when the gang has ended."""
        gang = self.gang = self._gang(context)
        base = self.as_json(self.build_pod_request_obj(context))
        try:
            after = self._next(gang, base, event)
        except ApiRefused as refusal:
            final = refusal.status in (400, 422)
            return Outcome(EXIT_INPUT if final else EXIT_UNAVAILABLE, {}, f"gang {gang.name}: {refusal}")
        if isinstance(after, Wait):
            self.log.info("gang %s is %s: %s", gang.name, after.state, after.sentence)
            self._defer(context, gang, base["spec"], after)
        return after

    def on_kill(self) -> None:
        """The task was stopped while it held a slot: remove the gang, if there may be one."""
        self._killed = True
        if self.gang is None:
            return
        try:
            self._remove(self.gang, _KILL_PATIENCE_S)
        except (ApiAway, ApiRefused) as error:
            self.log.error("gang %s could not be removed: %s", self.gang.name, error)

    def adapt(self, pod: dict[str, Any]) -> dict[str, Any]:
        """A replica's pod as it is created; a subclass may change it."""
        return pod

    def _next(self, gang: Gang, base: Mapping[str, Any], event: dict[str, Any] | None) -> Wait | Outcome:
        def make(replica: Replica, restarts: int) -> dict[str, Any]:
            return self.adapt(replica_pod(base, gang, replica, self.training, restarts))

        need = Need.of(base["spec"])
        if event is None:
            return self._do(begin(gang, make, need))
        if event["status"] == "room":
            before = Wait("waiting", int(event["tries"]), int(event["restarts"]))
            return self._do(settle(gang, make, need, before))
        return self._after(gang, event)

    def _gang(self, context: Context) -> Gang:
        kubernetes, ti = self.settings.kubernetes, context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        return Gang(
            name=gang_name(self.settings.store, ti.dag_id, ti.run_id, ti.task_id, map_index),
            namespace=kubernetes.namespace,
            workers=self.training.workers_beside_chief,
            ps=self.training.ps,
            queue=kubernetes.queue,
            place_timeout_s=kubernetes.gang_timeout_s,
            start_timeout_s=kubernetes.start_timeout_s,
            heartbeat_timeout_s=self.training.heartbeat_timeout_s,
        )

    def _after(self, gang: Gang, event: dict[str, Any]) -> Wait | Outcome:
        """The answer to an event of a gang that is there."""
        status, sentence = event["status"], event["sentence"]
        if status == "done":
            return self._done(gang)
        if status != "unplaced":
            self.log.error("gang %s: %s", gang.name, sentence)
            self._show_log(gang, event["pod"], event["replica"])
        if status in ("lost", "unplaced"):
            wait = self._do(again(gang, event))
            if wait is not None:
                return wait
            kept = f"run {self.training.run!r} keeps its last checkpoint"
            sentence = f"{sentence}; given up after {MAX_RESTARTS} restarts: {kept}"
        self._remove(gang)
        return Outcome(int(event["code"]) or EXIT_SOFTWARE, {}, sentence)

    def _done(self, gang: Gang) -> Outcome:
        """The chief's summary is its termination message: neither its log nor the store has to be read."""
        chief = self._do(gang_steps.look(gang)).chief(gang)
        end = end_of(chief) if chief is not None else None
        self._show_log(gang, gang.chief, "chief-0")
        self._remove(gang)
        if end is None:
            sentence = "the chief's pod was deleted before its summary was read; the next try finds the model"
            return Outcome(EXIT_TEMPORARY, {}, sentence)
        return end.outcome

    def _show_log(self, gang: Gang, pod: str, replica: str) -> None:
        if not pod:
            return
        try:
            lines = self._do(gang_steps.log_of(gang, pod, _LOG_LINES)).splitlines()
        except ApiRefused as refusal:  # a container that never ran has none
            self.log.info("no log of %s: %s", replica, refusal)
            return
        for line in lines:
            self.log.info("[%s] %s", replica, line)

    def _remove(self, gang: Gang, patience_s: float = PATIENCE_S) -> None:
        """Delete everything, and see it gone."""
        deadline = time.monotonic() + min(_GONE_WITHIN_S, patience_s)
        while not self._do(gang_steps.remove(gang), patience_s):
            if time.monotonic() > deadline:
                self.log.warning("gang %s: its pods are told to go, and are not gone yet", gang.name)
                return
            time.sleep(0.5)

    def _do(self, calls: Calls[T], patience_s: float = PATIENCE_S) -> T:
        return send_all(calls, self.sender(), patience_s, cast("logging.Logger", self.log))

    def sender(self) -> Send:
        """Sends requests by the hook's client; a test kills this process at one of them."""
        return sender(self.hook.api_client)

    def _defer(self, context: Context, gang: Gang, spec: Mapping[str, Any], wait: Wait) -> NoReturn:
        until: float | None = None
        timeout: timedelta | None = None
        if self.execution_timeout is not None:
            began = context["ti"].start_date or datetime.now(UTC)  # kept by Airflow over deferrals
            until = began.timestamp() + self.execution_timeout.total_seconds()
            # Airflow's own timeout of a deferral skips our clean-up, so it comes a minute later than ours.
            timeout = timedelta(seconds=max(until - time.time(), 0) + 60)
        self.defer(
            trigger=self.trigger_class(
                gang=gang.to_dict(),
                pod_spec=_placed_by(spec),
                state=wait.state,
                tries=wait.tries,
                restarts=wait.restarts,
                connection=self.trigger_connection(),
                until=until,
            ),
            method_name="trigger_reentry",
            timeout=timeout,
        )
        raise AssertionError("defer always raises")


def _placed_by(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a pod's spec that decides where it can be placed: nothing else goes through Airflow's database."""
    small = {key: spec[key] for key in ("nodeSelector", "tolerations", "overhead") if spec.get(key)}
    for key in ("containers", "initContainers"):
        if spec.get(key):
            small[key] = [{"resources": container.get("resources") or {}} for container in spec[key]]
    return small
