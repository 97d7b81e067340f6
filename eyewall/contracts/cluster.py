"""One TensorFlow cluster, and the environment that tells each of its replicas its place.

Sources of the formats: TensorFlow's guide to multi-worker training (TF_CONFIG: ``cluster`` and ``task``), and its
``tf.experimental.dtensor.initialize_accelerator_system`` (DTENSOR_…).
"""

import json
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from eyewall.contracts.jobs import Strategy

Role = Literal["chief", "worker", "ps"]


class Replica(BaseModel):
    """One member of a cluster: its role and its index within the role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    index: int

    def __str__(self) -> str:
        return f"{self.role}-{self.index}"


class Cluster(BaseModel):
    """Addresses (``host:port``) of every replica; one chief, any number of workers and parameter servers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chief: str
    workers: tuple[str, ...] = ()
    ps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _addresses_differ(self) -> "Cluster":
        addresses = [self.chief, *self.workers, *self.ps]
        if len(set(addresses)) != len(addresses):
            raise ValueError(f"two replicas share an address in {addresses}: give each its own host:port")
        return self

    def replicas(self) -> Iterator[Replica]:
        """Every replica, the chief first, then workers, then parameter servers."""
        yield Replica(role="chief", index=0)
        yield from (Replica(role="worker", index=i) for i in range(len(self.workers)))
        yield from (Replica(role="ps", index=i) for i in range(len(self.ps)))

    def tf_config(self, replica: Replica) -> str:
        """The TF_CONFIG value for ``replica``: JSON with sorted keys, so that equal clusters give equal text."""
        if replica not in set(self.replicas()):
            raise ValueError(f"{replica} is not a replica of this cluster: it has {[str(r) for r in self.replicas()]}")
        members: dict[str, list[str]] = {"chief": [self.chief]}
        if self.workers:
            members["worker"] = list(self.workers)
        if self.ps:
            members["ps"] = list(self.ps)
        task = {"type": replica.role, "index": replica.index}
        return json.dumps({"cluster": members, "task": task}, sort_keys=True)

    def environment(self, replica: Replica, strategy: Strategy) -> dict[str, str]:
        """Everything that ``replica`` has to find in its environment, whoever starts it: a launcher or a pod.

        TF_CONFIG under every strategy: by it the train step knows its place. DTensor, under ``model_parallel``,
        reads variables of its own; its clients are the chief and then the workers.
        """
        variables = {"TF_CONFIG": self.tf_config(replica)}
        clients = (self.chief, *self.workers)
        if strategy == "model_parallel" and len(clients) > 1:
            variables |= {
                "DTENSOR_JOBS": ",".join(clients),
                "DTENSOR_CLIENT_ID": str(0 if replica.role == "chief" else 1 + replica.index),
                "DTENSOR_NUM_CLIENTS": str(len(clients)),
                "DTENSOR_JOB_NAME": "worker",
            }
        return variables
