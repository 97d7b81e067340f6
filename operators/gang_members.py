"""Who belongs to a gang: names, addresses and labels that follow from the task alone, and each replica's pod.

Names are deterministic, so the API server's own rule that no two pods have one name forbids a second cluster: a task
that is tried again finds what an earlier try has left, whenever that was killed.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eyewall.contracts.cluster import Cluster, Replica
from eyewall.contracts.jobs import TrainJob
from operators.object_names import slug_and_key

PORT = 2222  #: every replica has an address of its own, so they all may listen on the same port
GANG_LABEL, ROLE_LABEL, INDEX_LABEL = "eyewall.io/gang", "eyewall.io/role", "eyewall.io/index"
#: How many lives the gang has lost before this one; on the chief, for whoever takes over from a killed process.
RESTARTS_ANNOTATION = "eyewall.io/restarts"
HEARTBEAT_FILE = "/tmp/heartbeat"  # noqa: S108 - of the container, an emptyDir of its own
_GRACE_S = 5  # checkpoints make a hard end harmless
_SLUG = 30  # with the rest of the longest name, of worker 1023, still a DNS label of 63 characters


@dataclass(frozen=True)
class Gang:
    """The size of a gang and its place; small and plain, as the trigger carries it through Airflow's database."""

    name: str
    namespace: str
    workers: int  #: beside the chief
    ps: int = 0
    queue: str | None = None  #: a Kueue LocalQueue; None: this project's own placement
    place_timeout_s: float = 120.0
    start_timeout_s: float = 600.0
    heartbeat_timeout_s: float = 120.0

    def replicas(self) -> list[Replica]:
        """Every replica, the chief first."""
        return list(self.cluster().replicas())

    def pod(self, replica: Replica) -> str:
        """Name of the replica's pod, which is its host name as well."""
        return f"{self.name}-{replica}"

    @property
    def chief(self) -> str:
        """Name of the chief's pod."""
        return f"{self.name}-chief-0"

    def members(self) -> dict[str, str]:
        """Pod name → replica's name, the chief first."""
        return {self.pod(replica): str(replica) for replica in self.replicas()}

    def cluster(self) -> Cluster:
        """Addresses in DNS, below the headless Service that has the gang's name.

        The cluster's own domain is left out: it is not cluster.local everywhere, and every pod's resolver adds it.
        """

        def address(role: str, index: int) -> str:
            return f"{self.name}-{role}-{index}.{self.name}.{self.namespace}.svc:{PORT}"

        return Cluster(
            chief=address("chief", 0),
            workers=tuple(address("worker", i) for i in range(self.workers)),
            ps=tuple(address("ps", i) for i in range(self.ps)),
        )

    def to_dict(self) -> dict[str, Any]:
        """For the trigger: ``Gang(**gang.to_dict()) == gang``."""
        return asdict(self)


def gang_name(store: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """A DNS label: readable, and distinct for distinct tasks of distinct installations (``store``)."""
    slug, key = slug_and_key(store, dag_id, run_id, task_id, map_index, _SLUG)
    return f"gang-{slug}-{key}" if slug else f"gang-{key}"  # a Service's name begins with a letter


def is_gang(job: TrainJob) -> bool:
    """Whether the job's replicas are pods of their own; a mesh may also lie within one."""
    return job.strategy in ("multi_worker", "parameter_server") or (
        job.strategy == "model_parallel" and job.workers > 1
    )


def service(gang: Gang, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The headless Service. Without publishNotReadyAddresses a name resolves only once its pod is Ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": gang.name,
            "namespace": gang.namespace,
            "labels": {GANG_LABEL: gang.name, "app.kubernetes.io/part-of": "eyewall"},
            "ownerReferences": [dict(owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {GANG_LABEL: gang.name},
            "ports": [{"name": "tensorflow", "port": PORT, "targetPort": PORT}],
        },
    }


def owner_of(chief: Mapping[str, Any]) -> dict[str, Any]:
    """The reference by which the garbage collector takes everything away with the chief's pod."""
    metadata = chief["metadata"]
    return {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"], "controller": False}


def replica_pod(base: Mapping[str, Any], gang: Gang, replica: Replica, job: TrainJob, restarts: int) -> dict[str, Any]:
    """The replica's pod, from the pod ``base`` of a single training; its owner is added when the chief is there."""
    pod = copy.deepcopy(dict(base))
    metadata, spec = pod.setdefault("metadata", {}), pod["spec"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    metadata["labels"] = labels | _labels(gang, replica, restarts)
    metadata["annotations"] = annotations | _annotations(gang, restarts)
    metadata["name"], metadata["namespace"] = gang.pod(replica), gang.namespace
    metadata.pop("generateName", None)
    spec["hostname"], spec["subdomain"] = gang.pod(replica), gang.name
    spec["restartPolicy"] = "Never"  # a replica cannot come back alone: its peers have lost it
    spec["terminationGracePeriodSeconds"] = _GRACE_S
    container = spec["containers"][0]
    # The summary of the end, and the receipt, are the chief's.
    own = job if replica.role == "chief" else job.model_copy(update={"receipt": None})
    container["args"] = [*own.to_args(), "--json"]
    container["ports"] = [{"name": "tensorflow", "containerPort": PORT}]
    container["env"] = _environment(container.get("env") or [], gang, replica, job)
    container.update(probes(job.heartbeat_timeout_s))
    return pod


def probes(timeout_s: float) -> dict[str, Any]:
    """The kubelet ends a container whose heartbeat is older than ``timeout_s``: nobody else is as near to it.

    Two failures in a row, so that one slow start of Python in a busy container is not taken for a death. Until the
    first beat the start-up probe asks: importing takes as long as it takes, within two minutes.
    """
    ask = {
        "exec": {
            "command": [
                "python", "-m", "eyewall.training.heartbeat", "--file", HEARTBEAT_FILE, "--timeout-s", f"{timeout_s:g}",
            ]
        },
        "timeoutSeconds": 20,
    }  # fmt: skip
    period_s = max(int(min(timeout_s / 6, 10)), 2)
    return {
        "startupProbe": {**ask, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**ask, "periodSeconds": period_s, "failureThreshold": 2},
    }


def _labels(gang: Gang, replica: Replica, restarts: int) -> dict[str, str]:
    labels = {GANG_LABEL: gang.name, ROLE_LABEL: replica.role, INDEX_LABEL: str(replica.index)}
    if gang.queue is not None:  # Kueue takes plain pods as one group: all of them admitted, or none
        labels["kueue.x-k8s.io/queue-name"] = gang.queue
        # A new life is a new group: the old one counts its own, ended pods.
        labels["kueue.x-k8s.io/pod-group-name"] = f"{gang.name}-{restarts}"
    return labels


def _annotations(gang: Gang, restarts: int) -> dict[str, str]:
    annotations = {RESTARTS_ANNOTATION: str(restarts)}
    if gang.queue is not None:
        annotations["kueue.x-k8s.io/pod-group-total-count"] = str(1 + gang.workers + gang.ps)
    return annotations


def _environment(given: list[dict[str, Any]], gang: Gang, replica: Replica, job: TrainJob) -> list[dict[str, Any]]:
    own = {**gang.cluster().environment(replica, job.strategy), "EYEWALL_HEARTBEAT": HEARTBEAT_FILE}
    kept = [variable for variable in given if variable["name"] not in own]
    return [*kept, *({"name": name, "value": value} for name, value in sorted(own.items()))]
