"""What an installation says of a Docker host: the ``options`` of its row in the table worker.

[workers.node-a]
kind = "docker"
url = "tcp://node-a.example:2376"
tls = "/etc/eyewall/tls/node-a"     # a folder with ca.pem, cert.pem and key.pem, as Docker's own client has it
store = "/mnt/eyewall/store"        # the artifact store as a folder of that host: data is mounted, read-only
memory = "16Gi"                     # of the host, for each GPU that a job has
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.errors import ContractError
from eyewall.contracts.placement import AbsolutePath, Memory
from eyewall.jobs.runner import Worker

EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class DockerOptions(BaseModel):
    """One Docker host, as its jobs' containers are made there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tls: str | None = Field(None, description="folder with ca.pem, cert.pem, key.pem, as the dispatcher sees it")
    store: AbsolutePath | None = Field(None, description="the artifact store as a folder of the host")
    devices: int = Field(0, ge=0, le=4096, description="devices to declare; 0: look for GPUs")
    generation: str = Field("any", pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$", description="of declared devices")
    memory_mb: int = Field(0, ge=0, description="of each declared device, MiB")
    memory: Memory | None = Field(None, description="limit of a container for each GPU that it has; none: no limit")
    shm: Memory = Field("1Gi", description="shared memory, for each GPU: data loaders and NCCL pass data through it")
    cpus: float | None = Field(None, gt=0, le=1024, description="limit of a container for each GPU; none: no limit")
    output_gb: float = Field(20.0, gt=0, le=100_000, description="largest output of a job that is kept, GiB")
    user: str = Field("10001:10001", pattern=r"^[1-9][0-9]*:[1-9][0-9]*$", description="uid:gid, never root")
    read_only: bool = Field(True, description="the image's own files; only /work and /tmp can be written then")
    network: str = Field("bridge", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    prefix: str = Field("", pattern=r"^([a-z0-9][a-z0-9-]{0,39}-)?$", description="where platforms share a host")
    probe_image: str | None = Field(
        None, pattern=r"@sha256:[0-9a-f]{64}$", description="any image with python3; looks at the host's GPUs"
    )
    probe_s: float = Field(60.0, ge=0, le=86_400, description="between two looks at the GPUs, each a container; s")
    registry_user_env: EnvironmentVariable | None = Field(
        None, description="name of the dispatcher's variable with the registry's user; none: Docker's own config"
    )
    registry_password_env: EnvironmentVariable | None = Field(None, description="likewise, of the password")

    @classmethod
    def of(cls, worker: Worker) -> Self:
        """The options of ``worker``. Raises ContractError naming the worker, the option and the value."""
        try:
            return cls.model_validate(dict(worker.options))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ContractError(
                f"worker {worker.name}: option {where} = {first.get('input')!r}: {first['msg']}"
            ) from None


def bytes_of(memory: str) -> int:
    """``512Mi`` or ``4Gi`` in bytes."""
    return int(memory[:-2]) << (20 if memory.endswith("Mi") else 30)
