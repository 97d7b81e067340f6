"""What `eyewall edge run` is told, checked in one place."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import Uri

_MODEL = r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,99}(:[A-Za-z0-9][A-Za-z0-9_.=-]{0,99})?"


class HeadOption(BaseModel):
    """A head's folder and the served model that is its tail."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    model: str = Field(pattern=f"^{_MODEL}$")


class EdgeOptions(BaseModel):
    """One edge: where frames come from, the ways they may go, and how patient it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: Uri = Field(description="folder of .npy or .npz files, watched; - reads .npy arrays from standard input")
    state: Uri = Field("var/edge", description="folder for answers, spool and quarantine; one edge at a time")
    server: str = Field("127.0.0.1:8500", pattern=r"^[^\s/]+:\d{1,5}$", description="host:port of the server's gRPC")
    head: tuple[HeadOption, ...] = Field(
        (), description="FOLDER=MODEL: a head, and the served model (NAME, NAME:LABEL, NAME:VERSION) that is its tail"
    )
    cloud: str | None = Field(None, pattern=f"^{_MODEL}$", description="served model that takes raw frames")
    client: Path | None = Field(None, description="folder of the whole model, to answer here")
    fallback: Path | None = Field(None, description="folder of a tail, to answer here while the link is away")
    profile: Path | None = Field(None, description="profile of eyewall split study: the plan follows the link")
    max_loss: float = Field(float("inf"), ge=0, description="accuracy that a plan may lose, in the profile's unit")
    batch: int = Field(1, ge=1, le=1024, description="frames in one request, at most")
    linger_s: float = Field(0.0, ge=0, description="how long a request waits for more frames")
    in_flight: int = Field(4, ge=1, le=64, description="requests that are out at once")
    queue: int = Field(8, ge=1, le=1024, description="frames, and packets, that wait in memory")
    overlap: bool = Field(True, description="compute, send and receive at once; off only to measure what that gives")
    threads: int = Field(1, ge=1, le=64, description="of the head's interpreter")
    spool_mb: float = Field(1024.0, gt=0, description="largest spool; beyond it frames stay at their source")
    reserve_mb: float = Field(32.0, ge=0, description="left free on the disk by the spool, for the answers")
    frame_mb: float = Field(64.0, gt=0, le=1024, description="largest frame, in its file and unpacked")
    timeout_s: float = Field(30.0, gt=0, description="of a request, besides its bytes at the measured bandwidth")
    grace_s: float = Field(5.0, ge=0, description="for requests that are out on SIGTERM; the rest is spooled")
    give_up_s: float = Field(60.0, gt=0, description="with --once: how long the server may be away")
    settle_s: float = Field(1.0, ge=0, description="a file is taken once unchanged for so long")
    poll_s: float = Field(0.5, gt=0, description="how often the folder is looked at")
    replan_s: float = Field(2.0, gt=0, description="how often the plan is considered")
    once: bool = Field(False, description="end when every frame that is there is answered")
    remove: bool = Field(False, description="delete answered frames; bad ones go to quarantine")
    port: int = Field(9464, ge=0, le=65535, description="of metrics and status; 0 picks a free one")
    metrics_host: str = Field("127.0.0.1", description="address for metrics and status, which ask for no token")
    ca: Path | None = Field(None, description="certificates to trust, PEM: switches TLS on; also EYEWALL_SERVER_CA")
    token_file: Path | None = Field(None, description="file with the bearer token; also EYEWALL_SERVER_TOKEN[_FILE]")

    @field_validator("head", mode="before")
    @classmethod
    def _split_heads(cls, value: Any) -> Any:
        def parsed(item: Any) -> Any:
            if not isinstance(item, str):
                return item
            folder, _, model = item.rpartition("=")
            if not folder:
                raise ValueError(f"{item!r} is not FOLDER=MODEL")
            return {"folder": folder, "model": model}

        return tuple(parsed(item) for item in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if not self.head and self.cloud is None and self.client is None:
            raise ValueError("no way for frames to go: give --head, --cloud or --client")
        return self

    @property
    def stream(self) -> bool:
        """Whether frames come from standard input."""
        return self.frames == "-"

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Options as text → checked. Raises ContractError that names the option and the value."""
        try:
            return cls.model_validate({key: value for key, value in values.items() if value not in (None, [])})
        except ValidationError as error:
            problems = "; ".join(
                f"--{str(p['loc'][0]).replace('_', '-') if p['loc'] else 'head'} = {p.get('input')!r}: {p['msg']}"
                if p["loc"]
                else str(p["msg"])
                for p in error.errors()
            )
            raise ContractError(f"{problems}; see eyewall edge run --help") from None
