"""Where steps run as containers and pods, and of what: the tables ``[docker]`` and ``[kubernetes]`` of the settings.

Airflow, the images and the manifests in deploy/ agree on these; nothing here talks to an engine or a cluster.

    [docker]
    store = "/store"                                  # the artifact store as a container sees it
    mounts = [{source = "/srv/eyewall/store", target = "/store", read_only = false},
              {source = "/data/besttrack", target = "/data/besttrack"}]

    [kubernetes]
    namespace = "eyewall"
    store = "/store"
    mounts = [{source = "claim:eyewall-store", target = "/store", read_only = false}]
    gpu_generation = "ampere"
    queue = "eyewall"                                 # a Kueue LocalQueue; none: Eyewall places gangs itself

    [kubernetes.resources.train]                      # by step; what is not named is as in `DEFAULT_RESOURCES`
    cpus = 4
    memory = "16Gi"
    gpus = 1
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from eyewall import __version__
from eyewall.contracts.fields import Uri

#: Which image runs a step: the one with the fewest packages that can.
IMAGE_OF = {
    "simulate": "ingest", "ingest": "ingest", "records": "ingest", "gate": "ingest",
    "train": "train", "verify": "train", "publish": "train", "forecast": "train",
    "train-network": "train", "score-network": "train", "measure-privacy": "train",
    "measure-split": "train", "split-study": "train",
    "pretrain": "train", "train-centre": "train", "find-centre": "train",
    "serve": "serve",
}  # fmt: skip

#: Label of a step's container: the store that it works on, as Airflow names it.
STORE_LABEL = "eyewall.store"

_MEMORY = re.compile(r"^[1-9][0-9]{0,5}(Mi|Gi)$")
_IMAGE = re.compile(r"^[a-z0-9]+([._/:-][A-Za-z0-9]+)*(@sha256:[0-9a-f]{64})?$")
_LABEL = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_VOLUME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
_OBJECT = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


def _memory(value: str) -> str:
    if not _MEMORY.match(value):
        raise ValueError(f"{value!r} is not an amount of memory: give mebibytes or gibibytes, such as 512Mi or 4Gi")
    return value


def _image(value: str) -> str:
    if not _IMAGE.match(value):
        raise ValueError(f"{value!r} is not an image: give registry/name:tag, or name@sha256:…")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or ":" in value or "," in value:
        raise ValueError(f"{value!r} is not a plain absolute path: begin with / and leave out .. : ,")
    return value


Memory = Annotated[str, AfterValidator(_memory)]
Image = Annotated[str, AfterValidator(_image)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
LabelValue = Annotated[str, Field(pattern=_LABEL)]
ObjectName = Annotated[str, Field(pattern=_OBJECT)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Frozen):
    """What one container may use at most, which is also what it is promised."""

    cpus: float = Field(1.0, gt=0, le=1024)
    memory: Memory = "2Gi"
    gpus: int = Field(0, ge=0, le=64)
    shm: Memory = Field("256Mi", description="shared memory: TensorFlow and NCCL pass data through it")

    def bytes_of(self, field: Literal["memory", "shm"]) -> int:
        """``memory`` or ``shm`` in bytes."""
        text: str = getattr(self, field)
        return int(text[:-2]) * (1 << (20 if text.endswith("Mi") else 30))


#: By step, where the settings say nothing.
DEFAULT_RESOURCES = {
    "ingest": Resources(cpus=1, memory="4Gi"),
    "records": Resources(cpus=1, memory="4Gi"),
    "train": Resources(cpus=1, memory="4Gi", shm="1Gi"),
    "verify": Resources(cpus=1, memory="4Gi"),
    "train-network": Resources(cpus=2, memory="4Gi"),
    "score-network": Resources(cpus=1, memory="4Gi"),
    "measure-privacy": Resources(cpus=1, memory="4Gi"),
    "measure-split": Resources(cpus=2, memory="4Gi"),
    "pretrain": Resources(cpus=2, memory="4Gi"),
    "train-centre": Resources(cpus=2, memory="4Gi"),
    "find-centre": Resources(cpus=1, memory="4Gi"),
    "serve": Resources(cpus=1, memory="4Gi"),
}


class Mount(_Frozen):
    """One folder of a container."""

    source: str = Field(
        description="a path on the host; on Docker also volume:<name>, on Kubernetes claim:<name> of a"
        " PersistentVolumeClaim"
    )
    target: AbsolutePath
    read_only: bool = True

    @model_validator(mode="after")
    def _source_is_plain(self) -> Self:
        if self.volume is not None:
            if not re.match(_VOLUME, self.volume):
                raise ValueError(f"{self.source!r} names no volume: give volume:<name>")
        elif self.claim is None:
            _absolute(self.source)
        elif not re.match(_OBJECT, self.claim):
            raise ValueError(f"{self.source!r} names no PersistentVolumeClaim: give claim:<name>")
        return self

    @property
    def claim(self) -> str | None:
        """Name of the PersistentVolumeClaim; None for a path on the host."""
        return self.source.removeprefix("claim:") if self.source.startswith("claim:") else None

    @property
    def volume(self) -> str | None:
        """Name of the Docker volume; None for anything else."""
        return self.source.removeprefix("volume:") if self.source.startswith("volume:") else None


class _Placement(_Frozen):
    """What containers on a Docker host and pods have in common."""

    images: dict[str, Image] = Field(default_factory=dict, description="ingest, train, serve → image")
    store: Uri | None = Field(None, description="the artifact store as a container sees it; default: as Airflow does")
    server: str | None = Field(None, description="host:port of the model server as a container sees it")
    mounts: tuple[Mount, ...] = ()
    resources: dict[str, Resources] = Field(default_factory=dict, description="by step")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_step(cls, values: Any) -> Any:
        """A table of a step changes its defaults field by field, instead of replacing them."""
        if isinstance(values, dict) and isinstance(values.get("resources"), dict):
            unknown = sorted(set(values["resources"]) - set(IMAGE_OF))
            if unknown:
                raise ValueError(f"resources of {unknown}: steps are {', '.join(IMAGE_OF)}")
            return values | {
                "resources": {
                    verb: DEFAULT_RESOURCES.get(verb, Resources()).model_dump() | given
                    if isinstance(given, dict)
                    else given
                    for verb, given in values["resources"].items()
                }
            }
        return values

    def image(self, verb: str) -> str:
        """Image of a step, such as ``eyewall-train:0.1.0``; never ``latest``, which no two machines agree on."""
        kind = IMAGE_OF[verb]
        return self.images.get(kind, f"eyewall-{kind}:{__version__}")

    def resources_of(self, verb: str) -> Resources:
        """What a container of the step may use."""
        return self.resources.get(verb) or DEFAULT_RESOURCES.get(verb) or Resources()


class DockerSettings(_Placement):
    """One Docker host."""

    conn_id: str | None = Field(
        None, max_length=200, description="Airflow connection with the registry's login; none: images need no login"
    )
    url: str = Field("unix:///var/run/docker.sock", pattern=r"^(unix://|tcp://)\S{1,200}$")
    network: str = Field("bridge", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")
    user: str | None = Field(None, pattern=r"^[0-9]+(:[0-9]+)?$", description="uid:gid; default: the image's own")


class Toleration(_Frozen):
    """A taint that pods may live with."""

    key: str = Field(max_length=317)
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class KubernetesSettings(_Placement):
    """One namespace of one cluster."""

    conn_id: str | None = Field(None, max_length=200, description="Airflow connection; none: config_file or in cluster")
    config_file: str | None = Field(None, description="kubeconfig as Airflow sees it; none: in cluster, or KUBECONFIG")
    namespace: ObjectName = "eyewall"
    service_account: ObjectName = "eyewall-step"
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    env_secrets: tuple[ObjectName, ...] = Field((), description="Secrets whose keys become environment variables")
    node_selector: dict[str, LabelValue] = Field(default_factory=dict)
    gpu_resource: str = Field("nvidia.com/gpu", max_length=100)
    gpu_generation: LabelValue | None = Field(None, description="value of gpu_label on the nodes to train on")
    gpu_label: str = Field("eyewall.io/gpu-generation", max_length=317)
    tolerations: tuple[Toleration, ...] = ()
    priority_class: ObjectName | None = None
    queue: ObjectName | None = Field(None, description="a Kueue LocalQueue of the namespace")
    queue_priority: ObjectName | None = Field(None, description="a Kueue WorkloadPriorityClass: who goes first")
    start_timeout_s: int = Field(600, ge=10, description="scheduled, image pulled and running by then, or taken back")
    gang_timeout_s: int = Field(120, ge=5, description="all replicas scheduled by then, or all taken back")
    fs_group: int = Field(10001, ge=1, description="group that owns mounted claims; the images' own user and group")
