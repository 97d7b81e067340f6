"""The gate: by which rules a candidate model may replace the one that is served, and the written decision."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["yes", "no", "ask"]


class GatePolicy(BaseModel):
    """What a candidate must reach. Every limit is checked on one homogeneous sample of unseen seasons."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leads_h: tuple[int, ...] = Field((12, 24, 48), description="leads that count, hours")
    min_cases: int = Field(30, ge=1, description="fewest cases at a lead for it to be judged at all")
    min_storms: int = Field(3, ge=1, description="fewest storms at a lead for it to be judged at all")
    max_worse_than_cliper_pct: float = Field(
        2.0, description="per cent by which the mean error may exceed CLIPER's at any lead that counts"
    )
    max_worse_than_incumbent_pct: float = Field(
        0.0, description="per cent by which the mean error over the leads that count may exceed the incumbent's"
    )
    close_call_pct: float = Field(
        0.0, ge=0, description="a change smaller than this (per cent) asks a person; 0 never asks"
    )


class GateDecision(BaseModel):
    """The decision and every reason for it; written for yes and for no."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    candidate: str = Field(description="URI of the candidate model")
    candidate_sha256: str
    incumbent: str | None = Field(None, description="URI of the served model it was compared with")
    evaluation: str = Field(description="URI of the verification report that was judged")
    policy: GatePolicy

    @property
    def deploy(self) -> bool:
        """Whether the candidate may be published without a person's word."""
        return self.verdict == "yes"
