"""Gangs on a real cluster, without a whole Airflow: the task's process and the triggerer are played by the test."""

import asyncio
import json
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.sdk.exceptions import TaskDeferred
from kubernetes_cluster import Cluster, context, namespace_of_its_own, serialised

from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.settings import Settings
from operators import gang_trigger
from operators.distributed_training import DistributedTrainingOperator
from operators.gang_members import GANG_LABEL
from operators.gang_run import backoff_s
from operators.outcome import Outcome

SOURCE = (Path(__file__).parent / "fake_replica.py").read_text()
STORE = "/store"


class FakeGang(DistributedTrainingOperator):
    """The real operator; only what runs in its pods is played."""

    #: Environment of every replica.
    told: ClassVar[dict[str, str]] = {}

    def adapt(self, pod):
        """Put the fake in the place of the command line, and keep its arguments."""
        container = pod["spec"]["containers"][0]
        container["command"] = ["python", "-c", SOURCE]
        container["env"] += [{"name": name, "value": value} for name, value in self.told.items()]
        return pod


def gang_settings(cluster: Cluster, store: Path, **kubernetes: Any) -> Settings:
    """Small pods that see ``store``, on the test's cluster."""
    table: dict[str, Any] = {
        "store": STORE,
        "mounts": [{"source": str(store), "target": STORE, "read_only": False}],
        "resources": {"train": {"cpus": 0.1, "memory": "128Mi", "shm": "16Mi"}},
        "gang_timeout_s": 20,
    }
    return cluster.settings(**{**table, **kubernetes})


def a_job(**values: Any) -> TrainJob:
    """Chief and one worker, three short steps."""
    fields = {"store": STORE, "records_ref": "records/none", "run": "r", "strategy": "multi_worker", "workers": 2}
    return TrainJob.model_validate({**fields, "batch": 4, "steps": 3, **values})


class Drive:
    """One task from its start to its end, with everything made anew at each turn, as Airflow does.

    ``events`` are the trigger's; ``on`` are calls by event status (or ``deferred``), made before the task goes on.
    """

    def __init__(
        self,
        settings: Settings,
        job: TrainJob,
        told: dict[str, str] | None = None,
        run_id: str = "r1",
        operator: type[DistributedTrainingOperator] = FakeGang,
    ) -> None:
        self.settings, self.job, self.told, self.run_id, self.kind = settings, job, told or {}, run_id, operator
        self.events: list[dict[str, Any]] = []
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.deferral: TaskDeferred | None = None
        self._thread: threading.Thread | None = None

    def operator(self) -> DistributedTrainingOperator:
        """Made anew, as in another process."""
        made = self.kind(settings=self.settings, job=self.job, task_id="train")
        made.told = self.told  # type: ignore[attr-defined]
        return made

    def turn(self, event: dict[str, Any] | None) -> Outcome | None:
        """One turn of the task; None when it deferred."""
        try:
            return self.operator().run_gang(context(self.run_id), event)
        except TaskDeferred as deferral:
            self.deferral = deferral
            return None

    def to_the_end(self, event: dict[str, Any] | None = None) -> Outcome:
        """All turns."""
        while (outcome := self.turn(event)) is None:
            assert self.deferral is not None
            event = fire(self.deferral.trigger)
            self.events.append(event)
        self.outcome = outcome
        return outcome

    def start(self) -> "Drive":
        """In a thread, so that the test can disturb it."""

        def run() -> None:
            try:
                self.to_the_end()
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def end(self, seconds: float = 240.0) -> Outcome:
        """Wait for the end of the thread; on two cores a kubelet with every story at once takes minutes."""
        assert self._thread is not None
        self._thread.join(seconds)
        if self.error is not None:
            raise self.error
        assert self.outcome is not None, f"not ended after {seconds} s: {self.statuses()}"
        return self.outcome

    def statuses(self) -> list[str]:
        """What the trigger has fired so far."""
        return [event["status"] for event in self.events]


def fire(trigger: Any) -> dict[str, Any]:
    """Run a trigger in a triggerer of its own, to its one event; event loops of threads do not meet."""

    async def first() -> Any:
        async for event in serialised(trigger).run():
            return json.loads(json.dumps(event.payload))  # as through Airflow's database
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def steps_done(store: Path, run: str = "r") -> int:
    """The fake's checkpoint."""
    path = store / f"{run}.steps"
    return int(path.read_text()) if path.exists() else 0


def lives(store: Path, run: str = "r") -> int:
    """How many chiefs have begun."""
    path = store / f"{run}.lives"
    return len(path.read_text().splitlines()) if path.exists() else 0


def until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def left(cluster: Cluster) -> list[str]:
    """What there is in the namespace of pods, Services and leases."""
    from kubernetes.client import CoordinationV1Api

    names = [f"pod/{pod.metadata.name}" for pod in cluster.pods()]
    names += [f"svc/{s.metadata.name}" for s in cluster.api.list_namespaced_service(cluster.namespace).items]
    leases = CoordinationV1Api(cluster.api.api_client).list_namespaced_lease(cluster.namespace).items
    return names + [f"lease/{lease.metadata.name}" for lease in leases]


def nothing_left(cluster: Cluster) -> bool:
    """Whether everything is gone, also what the garbage collector takes a second for."""
    try:
        until(lambda: not left(cluster), 60)
    except AssertionError:
        pytest.fail(f"left behind: {left(cluster)}")
    return True


def pod_of(cluster: Cluster, replica: str) -> str:
    """Name of the replica's pod, once it is said to run: a busy kubelet says so seconds after the first steps."""
    return str(until(lambda: _running(cluster, replica)))


def _running(cluster: Cluster, replica: str) -> str | None:
    for pod in cluster.pods():
        if (
            pod.metadata.labels.get(GANG_LABEL)
            and pod.metadata.name.endswith(replica)
            and pod.status.phase == "Running"
        ):
            return str(pod.metadata.name)
    return None


def container_of(cluster: Cluster, replica: str) -> str:
    """The Docker container of a replica that runs; skips where the node is not this machine."""
    labels = {
        "io.kubernetes.pod.name": pod_of(cluster, replica),
        "io.kubernetes.pod.namespace": cluster.namespace,
        "io.kubernetes.container.name": "base",
    }
    filters = [word for name, value in labels.items() for word in ("--filter", f"label={name}={value}")]
    listed = subprocess.run(["docker", "ps", "-q", *filters], capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout.strip():
        pytest.skip("the pods' containers are not on this machine's Docker engine")
    return listed.stdout.split()[0]


def tell(
    stories: dict[str, tuple[Any, ...]], factory: pytest.TempPathFactory, at_once: int = 6
) -> Iterator[dict[str, Future[Any]]]:
    """All stories begun, ``(function, *arguments)`` each: they mostly wait for kubelets, so they happen at once.

    Each has a namespace and a store of its own, and must leave nothing behind.
    """
    for folder in (factory.getbasetemp(), factory.getbasetemp().parent):
        folder.chmod(0o777)  # the pods' user is another one than the test's

    def told(folder: Path, function: Callable[..., Any], *arguments: Any) -> Any:
        with namespace_of_its_own() as cluster:
            result = function(cluster, folder, *arguments)
            nothing_left(cluster)
            return result

    with ThreadPoolExecutor(at_once) as pool:
        begun = {}
        for name, story in stories.items():
            folder = factory.mktemp(name)
            folder.chmod(0o777)
            begun[name] = pool.submit(told, folder, *story)
        yield begun
        for one in begun.values():
            one.cancel()


def gang_pods(cluster: Cluster) -> list[str]:
    """Names of the replicas' pods."""
    return [pod.metadata.name for pod in cluster.pods() if GANG_LABEL in (pod.metadata.labels or {})]


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A triggerer that looks more often, so that a test of seconds need not wait for its polls."""
    monkeypatch.setattr(gang_trigger, "POLL_S", 0.4)
    monkeypatch.setattr(gang_trigger, "backoff_s", lambda gang, tries: backoff_s(gang, tries) / 4)
    logging.getLogger("kubernetes").setLevel(logging.WARNING)
