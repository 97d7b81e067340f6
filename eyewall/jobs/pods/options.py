"""What a worker of kind ``kubernetes`` is told: which cluster and namespace, and what one of its slots is worth.

[workers.cluster]
kind = "kubernetes"
kubeconfig = "/etc/eyewall/kubeconfig"            # none: KUBECONFIG, else the pod that the dispatcher runs in
namespace = "eyewall"
store = "claim:eyewall-store"                     # the artifact store as the cluster has it; none: see code.py
gpu_label = "eyewall.io/gpu-generation"
cpus = 4                                          # of each GPU, as is the memory
memory = "16Gi"
queue = "eyewall"                                 # a Kueue LocalQueue
priority_classes = { 0 = "eyewall-job-low", 5 = "eyewall-job", 8 = "eyewall-job-high" }  # by the job's priority
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.placement import LabelValue, Memory, Mount, ObjectName, Toleration

#: Where the store would be mounted whole; it never is, but a mount needs a target to be valid.
_STORE_TARGET = "/store"
#: A job's priority in the queue; a table of the settings has it as text.
Priority = Annotated[int, Field(ge=0, le=9)]
RelativePath = Annotated[str, Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/|$))*$", max_length=500)]


class PodOptions(BaseModel):
    """Options of one Kubernetes worker; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str | None = None
    context: str | None = None
    namespace: ObjectName = "eyewall"
    service_account: ObjectName = Field("eyewall-step", description="jobs run as this one; it needs no rights")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[ObjectName, ...] = Field((), description="Secrets with the registry's login")
    store: str | None = Field(None, description="claim:<name>, or a folder that every node has")
    store_path: RelativePath = Field("", description="where in the claim the store is")
    node_selector: dict[str, LabelValue] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    gpu_resource: str = Field("nvidia.com/gpu", max_length=100)
    gpu_label: str = Field("eyewall.io/gpu-generation", max_length=317, description="a node's label for its generation")
    gpu_memory_label: str = Field("nvidia.com/gpu.memory", max_length=317, description="MiB of one GPU of a node")
    devices: int | None = Field(None, ge=0, le=100_000, description="slots, declared; none: the GPUs of the nodes")
    generation: LabelValue | None = Field(None, description="of declared slots")
    memory_mb: int = Field(0, ge=0, description="of each declared slot")
    cpus: float = Field(1.0, gt=0, le=1024, description="for each slot of a job")
    memory: Memory = Field("2Gi", description="for each slot of a job")
    shm: Memory = Field("256Mi", description="shared memory of a job, part of its memory")
    disk: Memory = Field("10Gi", description="code, output, /tmp and printed lines of a job, on its node")
    queue: ObjectName | None = Field(None, description="a Kueue LocalQueue of the namespace")
    priority_class: ObjectName | None = Field(None, description="of pods that priority_classes has no class for")
    priority_classes: dict[Priority, ObjectName] = Field(
        default_factory=dict, description="PriorityClass of jobs of this priority and above, up to the next one named"
    )
    queue_priority: ObjectName | None = Field(None, description="a Kueue WorkloadPriorityClass")
    start_timeout_s: int = Field(600, ge=5, description="placed, image pulled and running by then, or taken back")
    user: int = Field(10001, ge=1, description="user and group of the job; also owns what it leaves in the store")

    @field_validator("store")
    @classmethod
    def _store_is_a_volume(cls, value: str | None) -> str | None:
        if value is not None:
            Mount(source=value, target=_STORE_TARGET)  # its words say what is wrong
        return value

    @classmethod
    def of(cls, worker: str, options: Mapping[str, Any]) -> Self:
        """Options as the table worker has them. Raises ContractError naming the worker, the option and the value."""
        try:
            return cls.model_validate({key: value for key, value in options.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ContractError(f"workers.{worker}.{where} = {first.get('input')!r}: {first['msg']}") from None

    def priority_class_of(self, priority: int) -> str | None:
        """The PriorityClass of a job's pod: that of the highest named priority up to the job's own."""
        named = [least for least in self.priority_classes if least <= priority]
        return self.priority_classes[max(named)] if named else self.priority_class

    @property
    def store_volume(self) -> dict[str, Any] | None:
        """The store as the source of a pod's volume."""
        if self.store is None:
            return None
        mount = Mount(source=self.store, target=_STORE_TARGET)
        if mount.claim is not None:
            return {"persistentVolumeClaim": {"claimName": mount.claim}}
        # "Directory": a folder that is not there is said, instead of being made, empty and owned by root.
        return {"hostPath": {"path": self.store, "type": "Directory"}}

    def in_the_store(self, path: str) -> str:
        """A path of the store as a path of its volume."""
        return "/".join(part for part in (self.store_path.strip("/"), path) if part)
