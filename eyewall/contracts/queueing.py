"""The rules of the job queue: the table ``[queue]`` of the settings; the dispatcher writes it into the database.

    [queue]
    ageing_s = 3600            # a step of priority is a head start of so long
    share_penalty_s = 300      # an owner's next job is put back so long for each GPU that the owner has now …
    share_cap_s = 21600        # … and by so much at most
    reserve_after_s = 1800     # a job of several GPUs that waited so long may have a host emptied for it …
    reserved_share = 0.01      # … of which there are, of all hosts, so many at once (at least one, unless 0)
    lease_s = 30               # a dispatcher that says nothing for so long may lose its jobs to another
    heartbeat_s = 5            # it speaks this often
    retry_s = 30               # a job that ends with exit code 75 is tried again after so long, then twice as long, …

Nobody waits for ever: a job of the lowest class is overtaken by none that is queued more than 9 × ageing_s +
share_cap_s after it.
"""

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_WEEK_S = 7 * 24 * 3600.0


class QueueSettings(BaseModel):
    """One queue's rules; seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ageing_s: float = Field(3600, ge=0, le=_WEEK_S, description="head start of one step of priority")
    share_penalty_s: float = Field(300, ge=0, le=_WEEK_S, description="put back for each GPU that the owner has now")
    share_cap_s: float = Field(6 * 3600, ge=0, le=_WEEK_S, description="put back by so much at most")
    reserve_after_s: float = Field(1800, ge=0, le=_WEEK_S, description="then a host may be emptied for a gang")
    reserved_share: float = Field(0.01, ge=0, le=1, description="of the hosts, at most, are being emptied at once")
    lease_s: float = Field(30, gt=0, le=3600, description="expiry of a lease without a heartbeat")
    heartbeat_s: float = Field(5, gt=0, le=600, description="between two heartbeats")
    retry_s: float = Field(30, ge=0, le=_WEEK_S, description="before a temporary failure is tried again")

    @model_validator(mode="after")
    def _beats_within_a_lease(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError(
                f"heartbeat_s = {self.heartbeat_s:g} does not fit twice into lease_s = {self.lease_s:g}: one late"
                " heartbeat would lose the lease"
            )
        return self

    @property
    def bound_s(self) -> float:
        """A job of the lowest class is overtaken by none that was queued more than this after it."""
        return 9 * self.ageing_s + self.share_cap_s

    def columns(self) -> dict[str, timedelta | float]:
        """As the table queue_policy has them."""
        return {
            field.removesuffix("_s"): value if field == "reserved_share" else timedelta(seconds=value)
            for field, value in self.model_dump().items()
        }
