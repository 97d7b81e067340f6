"""Workers as the settings name them: the tables ``[workers.<name>]``.

    [workers.desk]
    kind = "process"             # jobs are processes of the machine whose dispatcher has these settings
    devices = 2                  # declared devices, where there is no GPU; without it: the GPUs that NVML finds
    generation = "any"           # what jobs may ask for of declared devices
    memory_mb = 0

    [workers.hall]
    kind = "docker"
    url = "ssh://jobs@hall.example"

Every key but ``kind`` and ``url`` is an option of that kind of worker, as `eyewall worker add` takes them too.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class WorkerSettings(BaseModel):
    """One worker; what its options mean is its kind's to say."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: Literal["process", "docker", "kubernetes"]
    url: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Everything else that was given."""
        return dict(self.model_extra or {})
