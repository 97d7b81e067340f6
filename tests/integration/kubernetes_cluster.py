"""A namespace of a real cluster for one test, and a task that runs in it without a whole Airflow.

The cluster is the one of KUBECONFIG. A task's two processes are played by calls in this one: the worker's (`run` and
`resume` of the backend, each with everything made anew) and the triggerer's, whose trigger goes through its serialised
form, as through Airflow's database.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from eyewall.contracts.settings import Settings
from operators.outcome import Outcome
from operators.step_pod import StepPod

#: An image of the project with the command line in it; `make images` makes it.
IMAGE = os.environ.get("EYEWALL_TEST_IMAGE", "eyewall-ingest:0.1.0")


class Cluster:
    """One namespace, and what a test looks at in it."""

    def __init__(self, api: client.CoreV1Api, namespace: str, kubeconfig: str) -> None:
        self.api, self.namespace, self.kubeconfig = api, namespace, kubeconfig

    def settings(self, **kubernetes: Any) -> Settings:
        """Settings whose pods run in this namespace, with a store of their own in /tmp."""
        table = {
            "config_file": self.kubeconfig,
            "namespace": self.namespace,
            "pull_policy": "Never",
            "images": {"ingest": IMAGE, "train": IMAGE},
            "store": "file:///tmp/store",
            "start_timeout_s": 60,
            "resources": {"simulate": {"cpus": 0.2, "memory": "512Mi"}, "gate": {"cpus": 0.2, "memory": "256Mi"}},
        }
        return Settings.model_validate({"backend": "kubernetes", "kubernetes": {**table, **kubernetes}})

    def pods(self) -> list[Any]:
        """Every pod of the namespace."""
        return list(self.api.list_namespaced_pod(self.namespace).items)

    def wait_for(self, condition: Callable[[Any], bool], seconds: float = 60.0) -> Any:
        """The first pod that fulfils ``condition``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pod in self.pods():
                if condition(pod):
                    return pod
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s: {[(p.metadata.name, p.status.phase) for p in self.pods()]}")

    def running(self) -> Any:
        """The pod that runs."""
        return self.wait_for(lambda pod: pod.status.phase == "Running")

    def empty(self, seconds: float = 150.0) -> bool:
        """Whether every pod has gone; a kubelet of 1.20 takes a minute for one whose image it could not have."""
        deadline = time.monotonic() + seconds
        while self.pods() and time.monotonic() < deadline:
            time.sleep(0.2)
        return not self.pods()


@contextmanager
def namespace_of_its_own() -> Iterator[Cluster]:
    """A namespace with the service account that the manifests make; removed with all that is in it."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig or not Path(kubeconfig).exists():
        pytest.skip("needs a cluster: set KUBECONFIG")
    api = client.CoreV1Api(config.new_client_from_config(kubeconfig))
    try:
        nodes = api.list_node(_request_timeout=5).items
    except Exception as error:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {type(error).__name__}")
    if not any(IMAGE in (image.names or []) for node in nodes for image in node.status.images or []):
        pytest.skip(f"no node has the image {IMAGE}: run make images")
    name = f"eyewall-test-{secrets.token_hex(4)}"
    api.create_namespace({"metadata": {"name": name}})
    try:
        api.create_namespaced_service_account(name, {"metadata": {"name": "eyewall-step"}})
        yield Cluster(api, name, kubeconfig)
    finally:
        for pod in api.list_namespaced_pod(name).items:
            try:
                api.delete_namespaced_pod(pod.metadata.name, name, grace_period_seconds=0)
            except ApiException as error:
                if error.status != 404:
                    raise
        api.delete_namespace(name)


def context(run_id: str = "manual__2026-11-21T00:00:00+00:00", try_number: int = 1) -> Any:
    """What Airflow gives a task, as far as a backend looks at it."""
    ti = SimpleNamespace(
        dag_id="d", run_id=run_id, task_id="step", map_index=-1, try_number=try_number, start_date=datetime.now(UTC)
    )
    return {"ti": ti, "run_id": run_id, "dag": SimpleNamespace(dag_id="d")}


def serialised(trigger: Any) -> Any:
    """The trigger as the triggerer makes it."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**kwargs)


def fire(trigger: Any) -> dict[str, Any]:
    """Run a trigger in a triggerer of its own, to its one event."""

    async def first() -> Any:
        async for event in serialised(trigger).run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def deferred(go_on: Callable[[], Outcome]) -> TaskDeferred:
    """The deferral that a worker's call ends with."""
    with pytest.raises(TaskDeferred) as caught:
        go_on()
    return caught.value


def to_the_end(start: Callable[[], Outcome], resume: Callable[[dict[str, Any]], Outcome]) -> Outcome:
    """Worker, triggerer, worker … until the step has ended."""
    go_on = start
    while True:
        try:
            return go_on()
        except TaskDeferred as deferral:
            event = fire(deferral.trigger)
            go_on = lambda event=event: resume(event)  # noqa: E731


def pod_of(settings: Settings, job: Any, code: str | None = None, **kwargs: Any) -> StepPod:
    """A step's pod, made as the backend makes it; ``code`` is Python to run in place of the step."""
    own = {"cmds": ["python", "-c"], "arguments": [code]} if code is not None else {}
    return StepPod(settings=settings, job=job, task_id="step", **{**own, **kwargs})


def run_pod(settings: Settings, job: Any, code: str | None = None, **kwargs: Any) -> Outcome:
    """A whole task of one pod."""

    def again() -> StepPod:
        return pod_of(settings, job, code, **kwargs)

    return to_the_end(lambda: again().run_pod(context(), None), lambda event: again().run_pod(context(), event))


def task() -> BaseOperator:
    """The task that a backend works for."""
    return BaseOperator(task_id="step")
