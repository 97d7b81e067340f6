"""What a measurement writes and a report reads: the ways, what each link made of them, and how they were measured."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.errors import ContractError
from eyewall.contracts.split import BYTES_A_VALUE, Place, Wire, WireContract
from eyewall.split.study.link import Kind, LinkSpec

Part = Literal["cifar10", "caffenet", "typhoon"]
MEASUREMENT_NAME = "measurement.json"


class Candidate(BaseModel):
    """One way of running a model, and the bytes of its message alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="client, cloud, or cut/channels/wire")
    place: Place
    cut: str | None = None
    channels: int | None = Field(None, description="at the cut")
    wire: Wire | None = None
    values: int = Field(0, description="numbers that are sent: features, or those of the raw frame")
    payload_bytes: int = Field(0, description="bytes of these, without any message around them")

    @classmethod
    def of_split(cls, contract: WireContract) -> Self:
        """The way that a split's wire contract describes."""
        channels = contract.shape[-1] if contract.shape else 1
        return cls(
            name=f"{contract.cut}/{channels}/{contract.wire}", place="split", cut=contract.cut, channels=channels,
            wire=contract.wire, values=contract.values, payload_bytes=contract.values * BYTES_A_VALUE[contract.wire],
        )  # fmt: skip

    @property
    def key(self) -> str:
        """The name as a folder or a served model can have it."""
        return self.name.replace("/", "-")


class Times(BaseModel):
    """Quartiles of some requests, seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    median: float
    high: float


class Cell(BaseModel):
    """One way on one link; times and bytes are of one request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    link: LinkSpec
    way: str
    requests: int
    total_s: Times
    head_s: Times
    rest_s: float = Field(description="median of link, server and what talking to it takes")
    message_up: int = Field(description="bytes of the request")
    message_down: int = Field(description="bytes of the answer")
    link_up: float = Field(description="bytes a request that crossed the link, with all headers")
    link_down: float


class Measurement(BaseModel):
    """One part of the study, measured side by side in one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    part: Part
    model: str
    frame: str = Field(description="what one frame is, in words")
    link_kind: Kind
    set_up: tuple[str, ...] = Field(description="sentences on how it was measured")
    client_cpu: float | None = Field(description="share of one core; none: not limited")
    batch: int = Field(1, description="frames in one request")
    candidates: tuple[Candidate, ...]
    scored: tuple[Candidate, ...] = Field((), description="further ways whose quality is known, not timed")
    unshaped: tuple[Cell, ...] = Field(description="the same machine's link as it is: what the planner is told")
    cells: tuple[Cell, ...]
    jpeg_bytes: float | None = Field(None, description="mean bytes of a raw frame as a JPEG, where that is known")
    losses: dict[str, float] = Field(default_factory=dict, description="way → loss, where the part measures it itself")
    loss_unit: str = ""
    quality: dict[str, dict[str, float]] = Field(default_factory=dict, description="way → figures, such as km by lead")

    @classmethod
    def parse(cls, values: Any, where: str) -> Self:
        """Content of measurement.json → measurement. Raises ContractError that names ``where``."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(
                f"{where} is not a measurement: {'.'.join(map(str, first['loc']))}: {first['msg']}; measure again"
            ) from None

    def candidate(self, name: str) -> Candidate:
        """The way of that name."""
        return next(candidate for candidate in self.candidates if candidate.name == name)

    def links(self) -> list[LinkSpec]:
        """Every link, in the order in which they were measured."""
        return list(dict.fromkeys(cell.link for cell in self.cells))

    def cell(self, link: LinkSpec, way: str) -> Cell:
        """One way on one link."""
        return next(cell for cell in self.cells if cell.link == link and cell.way == way)


def leads_of(measured: Measurement) -> list[str]:
    """Leads of the track errors, hours as text, rising; JSON keeps them in the order of their letters."""
    return sorted(measured.quality["cloud"], key=int)
