"""One step as one pod: house defaults for the provider's operator, and a name that makes a second pod impossible.

The API server's own rule that no two pods have one name replaces every search by labels: a task that is tried again,
after its worker or the triggerer was killed at whatever moment, asks for the same name, is told that it is taken, and
goes on with the pod that is there. While the pod runs, the task waits in the triggerer (`operators.pod_trigger`) and
takes no slot.

Constructed when the task runs (`operators.kubernetes`), never in a DAG file: settings and job are the run's.
"""

import logging
import os
import re
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn, cast

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from kubernetes.client import models as k8s  # type: ignore[import-untyped]

from eyewall.contracts.errors import EXIT_INPUT, EXIT_TEMPORARY, EXIT_UNAVAILABLE
from eyewall.contracts.jobs import Job
from eyewall.contracts.settings import Settings
from operators.api_calls import PATIENCE_S, Answer, ApiAway, ApiRefused, Call, Calls, T, send_all, sender
from operators.object_names import JOB_ANNOTATION, slug_and_key, sum_of
from operators.outcome import Outcome, small
from operators.pod_claim import PodClaim, StillThere
from operators.pod_end import BASE, end_of, gone
from operators.pod_parts import (
    container_security,
    environment,
    labels,
    node_selector,
    pod_security,
    resources,
    tolerations,
    volumes,
)
from operators.pod_trigger import PodLog, StepPodTrigger, events_call, pod_path
from operators.step import raise_for

#: Between SIGTERM, which the command line turns into an orderly exit, and SIGKILL, which checkpoints make harmless.
GRACE_S = 30
_PLAIN_ENDS = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$")
_KILL_PATIENCE_S = 20.0  # a task that is being killed has a minute itself


def pod_name(store: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """A DNS label for any run id: readable, and distinct for distinct tasks of distinct installations (``store``)."""
    slug, key = slug_and_key(store, dag_id, run_id, task_id, map_index, width=45)
    return f"{slug or 'step'}-{key}"


class StepPod(KubernetesPodOperator):
    """Run one job in a pod of its own.

    :param settings: the installation's settings; the table ``[kubernetes]`` says where and with what
    :param job: the step, with the store as pods see it
    :param kwargs: as the provider's; they go before the house defaults below
    """

    def __init__(self, *, settings: Settings, job: Job, **kwargs: Any) -> None:
        own = settings.kubernetes
        needs = own.resources_of(job.verb)
        mounted = volumes(own, needs)
        kubeconfig = own.config_file or (None if own.conn_id else os.environ.get("KUBECONFIG") or None)
        defaults: dict[str, Any] = {
            "kubernetes_conn_id": own.conn_id,
            "config_file": kubeconfig,
            # Said, not guessed: the triggerer's hook, unlike the task's, does not try the cluster by itself.
            "in_cluster": True if own.conn_id is None and kubeconfig is None else None,
            "namespace": own.namespace,
            "image": own.image(job.verb),
            "arguments": [*job.to_args(), "--json"],  # the image's entry point is eyewall
            "base_container_name": BASE,
            # The name is made in build_pod_request_obj, from the run: it is what a retry finds the pod by.
            "random_name_suffix": False,
            # The provider's own memory of a pod's name is written after the pod was made, so a kill in between
            # would make a second one; here the name is known before.
            "durable": False,
            # The task waits in the triggerer: hours of training take no slot of the executor.
            "deferrable": True,
            # The provider's 120 s are too short for an image of gigabytes or a node that is being added.
            "startup_timeout_seconds": own.start_timeout_s,
            "schedule_timeout_seconds": own.start_timeout_s,
            # Never the sidecar, which is what most stuck pods hang on: the summary is the termination message.
            "do_xcom_push": False,
            # The end of the log, where a step died before it could leave a message.
            "termination_message_policy": "FallbackToLogsOnError",
            # A failed pod goes as well: its reason and log are in the task's log by then, and its name is needed.
            "on_finish_action": "delete_pod",
            "on_kill_action": "delete_pod",
            "termination_grace_period": GRACE_S,
            "image_pull_policy": own.pull_policy,  # said: a tag of latest would mean Always
            "service_account_name": own.service_account,
            # Steps read untrusted files and talk to no API server: there must be no token to steal.
            "automount_service_account_token": False,
            "security_context": pod_security(own),
            "container_security_context": container_security(),
            "container_resources": resources(own, needs),
            "volumes": [volume for volume, _ in mounted],
            "volume_mounts": [mount for _, mount in mounted],
            "env_vars": environment(needs),
            "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name)) for name in own.env_secrets],
            "node_selector": node_selector(own, needs),
            "tolerations": tolerations(own),
            "priority_class_name": own.priority_class,
            "labels": labels(own, job.verb),
        }
        super().__init__(**(defaults | kwargs))
        self.settings = settings
        self.job = job
        if self.execution_timeout is not None and self.active_deadline_seconds is None:
            # The kubelet keeps to it even if all of Airflow is away by then.
            self.active_deadline_seconds = int(self.execution_timeout.total_seconds())

    @cached_property
    def hook(self) -> KubernetesHook:
        """The provider's hook; without a named connection it asks Airflow for none."""
        return KubernetesHook(
            kubernetes_conn_id=self.kubernetes_conn_id, config_file=self.config_file, in_cluster=self.in_cluster
        )

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The provider's pod, with the task's own name and the sum of its job."""
        if context is not None:
            ti = context["ti"]
            map_index = -1 if ti.map_index is None else ti.map_index
            self.name = pod_name(self.settings.store, ti.dag_id, ti.run_id, ti.task_id, map_index)
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        # The provider's labels of a run id that begins with anything but a letter of ASCII or a digit are refused.
        pod.metadata.labels = {k: _PLAIN_ENDS.sub("", v) for k, v in pod.metadata.labels.items()}
        # Kubernetes would set variables after every Service of the namespace, and EYEWALL_… are settings.
        pod.spec.enable_service_links = False
        pod.metadata.annotations = {
            **(pod.metadata.annotations or {}),
            JOB_ANNOTATION: sum_of(self.image, self.arguments)[:16],
        }
        return pod

    # What Airflow calls

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job; the small part of its summary, or Airflow's exception for its exit code. Usually defers."""
        return self._result(self.run_pod(context, None))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on when the triggerer says that there is something to do."""
        return self._result(self.run_pod(context, event))

    def _result(self, outcome: Outcome) -> dict[str, Any]:
        raise_for(outcome, self.job.verb)
        return small(outcome.summary)

    def on_kill(self) -> None:
        """Delete the pod by its name, whether or not the answer that it was made has come."""
        self._killed = True
        if self.name is None or self.namespace is None:
            return
        try:
            self._delete(self.namespace, self.name, None, _KILL_PATIENCE_S)
        except Exception as error:  # the task ends in any case; what is left is found by its name
            self.log.warning("pod %s could not be deleted: %s", self.name, error)

    # What a backend calls

    def run_pod(self, context: Context, event: dict[str, Any] | None) -> Outcome:
        """The pod's end, or a deferral until it comes. ``event``: the trigger's; None at the start of a try."""
        try:
            return self._begin(context) if event is None else self._resumed(context, event)
        except ApiRefused as refusal:
            final = refusal.status in (400, 422)  # the pod as it is written
            return Outcome(EXIT_INPUT if final else EXIT_UNAVAILABLE, {}, f"pod {self.name}: {refusal}")
        except ApiAway as away:
            return Outcome(EXIT_UNAVAILABLE, {}, f"pod {self.name} is left to the next try: {away}")
        except StillThere as error:
            return Outcome(EXIT_TEMPORARY, {}, str(error))

    def _begin(self, context: Context) -> Outcome:
        self.pod_request_obj = self.build_pod_request_obj(context)
        claim = PodClaim(self.ask, self._delete, self.log, self.startup_timeout_seconds)
        there = claim.claim(self.as_json(self.pod_request_obj))
        if self._killed:  # while the request was under way
            self.on_kill()
        end = end_of(there)
        return self._wait(there, context, None) if end is None else self._tidy(there, end.outcome, None)

    def _resumed(self, context: Context, event: dict[str, Any]) -> Outcome:
        """The end, as the triggerer saw it; the rest of the log; then the pod is removed."""
        namespace, name, cursor = event["namespace"], event["name"], event.get("cursor")
        self.name = name  # for on_kill
        if event.get("outcome") is not None:  # kept in the event: the pod itself may have gone since
            outcome = Outcome(*event["outcome"])
            return self._tidy(self._find(event), outcome, cursor)
        pod = self._find(event)
        if pod is None:
            return gone(name, None, self._events(namespace, name, event.get("uid"))).outcome
        if (end := end_of(pod)) is not None:
            return self._tidy(pod, end.outcome, cursor)
        if event["status"] == "refused":
            # It runs, but the triggerer may not look at it. It is left: the next try finds it by its name.
            return Outcome(EXIT_UNAVAILABLE, {}, event["message"])
        return self._wait(pod, context, cursor)

    def _find(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The pod of the event, if it is still there; not another one that has its name by now."""
        answer = self.ask(Call("GET", pod_path(event["namespace"], event["name"])))
        pod = answer.json() if answer.ok else None
        return pod if pod is not None and event.get("uid") in (None, pod["metadata"]["uid"]) else None

    def trigger_connection(self) -> dict[str, Any]:
        """Arguments of the triggerer's hook: a kubeconfig's path, not its content, which stays out of the database."""
        extras: dict[str, Any] | None = None if self.kubernetes_conn_id else {}  # None: it asks for the connection
        if self.config_file is not None:
            extras = {"kube_config_path": self.config_file}
        return {"conn_id": self.kubernetes_conn_id, "connection_extras": extras, "in_cluster": self.in_cluster}

    def ask(self, call: Call, patience_s: float = PATIENCE_S) -> Answer:
        """One request to the API server, patiently: it may be away for minutes."""
        return self._send(_one(call), patience_s)

    def _send(self, calls: Calls[T], patience_s: float = PATIENCE_S) -> T:
        return send_all(calls, sender(self.hook.api_client), patience_s, cast("logging.Logger", self.log))

    def as_json(self, pod: k8s.V1Pod) -> dict[str, Any]:
        """A typed pod as the API server takes it."""
        plain: dict[str, Any] = self.hook.api_client.sanitize_for_serialization(pod)
        return plain

    def _wait(self, pod: dict[str, Any], context: Context, cursor: str | None) -> NoReturn:
        """Defer until the pod has ended."""
        metadata = pod["metadata"]
        deadline: float | None = None
        timeout: timedelta | None = None
        if self.execution_timeout is not None:
            began = context["ti"].start_date or datetime.now(UTC)  # kept by Airflow over deferrals
            deadline = began.timestamp() + self.execution_timeout.total_seconds()
            # Airflow's own timeout of a deferral skips our clean-up, so it comes a minute later than ours.
            timeout = timedelta(seconds=max(deadline - time.time(), 0) + 60)
        connection = self.trigger_connection()
        self.defer(
            trigger=StepPodTrigger(
                pod_name=metadata["name"],
                pod_namespace=metadata["namespace"],
                trigger_start_time=datetime.now(UTC),
                base_container_name=self.base_container_name,
                kubernetes_conn_id=connection["conn_id"],
                connection_extras=connection["connection_extras"],
                in_cluster=connection["in_cluster"],
                poll_interval=self.poll_interval,
                startup_timeout=self.startup_timeout_seconds,
                on_kill_action=self.on_kill_action.value,
                termination_grace_period=self.termination_grace_period,
                trigger_kwargs={"uid": metadata["uid"], "cursor": cursor, "deadline": deadline},
            ),
            method_name="trigger_reentry",
            timeout=timeout,
        )
        raise AssertionError("defer always raises")

    def _tidy(self, pod: dict[str, Any] | None, outcome: Outcome, cursor: str | None) -> Outcome:
        """The log's rest first, then the pod goes. Whatever fails here, the end that is known stays."""
        if pod is None:
            return outcome
        metadata = pod["metadata"]
        log = PodLog(metadata["namespace"], metadata["name"], self.base_container_name, cursor)
        try:
            while self._send(log.read(self.log.info)):
                pass
        except (ApiAway, ApiRefused) as error:  # a container that never ran has none
            self.log.info("no more of the log of pod %s: %s", metadata["name"], error)
        try:
            self._delete(metadata["namespace"], metadata["name"], metadata["uid"])
        except (ApiAway, ApiRefused) as error:
            self.log.warning("pod %s is left where it is: %s", metadata["name"], error)
        return outcome

    def _events(self, namespace: str, name: str, uid: str | None) -> list[dict[str, Any]]:
        answer = self.ask(events_call(namespace, name, uid))
        return list(answer.json().get("items") or ()) if answer.ok else []

    def _delete(self, namespace: str, name: str, uid: str | None, patience_s: float = PATIENCE_S) -> None:
        """Delete the pod with this uid; one of the same name that came after it stays."""
        grace_s = self.termination_grace_period
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace_s}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        self.ask(Call("DELETE", pod_path(namespace, name), body), patience_s)


def _one(call: Call) -> Calls[Answer]:
    return (yield call)
