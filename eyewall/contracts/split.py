"""Split inference: what head and tail must agree on, where a model can be cut, what was measured, what is planned.

A model is cut at one tensor: the *head* runs beside the sensor, the *tail* in the cloud, and only the features of the
cut cross the link, in the *wire* type. Source: Ichinose et al., HPDC '16.
"""

import math
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eyewall.contracts.errors import ContractError

Wire = Literal["float32", "float16", "int8"]
WIRES: Final[tuple[Wire, ...]] = ("float32", "float16", "int8")
BYTES_A_VALUE: Final[dict[Wire, int]] = {"float32": 4, "float16": 2, "int8": 1}
#: The wire contract's file: in ``assets.extra/`` of both SavedModels, and beside a TFLite head.
CONTRACT_NAME: Final = "eyewall_wire.json"
#: Inputs of a tail's signature: the features in the wire type, and the contract's digest, once or once a frame.
FEATURES: Final = "features"
CONTRACT: Final = "contract"
#: A scale below it would make int8 arithmetic meet subnormal numbers, which processors may flush to zero.
LEAST_SCALE: Final = 1e-30

_DIGEST = r"^[0-9a-f]{64}$"


class WireContract(BaseModel):
    """What a head sends and its tail takes. int8: value = (q - zero_point) · scale, per channel of the last axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    model: str = Field(
        pattern=_DIGEST,
        description="sha256 of the whole model, the cut, the channels, the wire type and its calibration",
    )
    cut: str = Field(min_length=1, description="name of the tensor that crosses")
    wire: Wire
    shape: tuple[int, ...] = Field(description="of one frame's features, without the batch axis")
    scale: tuple[float, ...] = Field((), description="int8 only: one, or one for each channel")
    zero_point: tuple[int, ...] = Field((), description="int8 only: as many as scales, -128–127")
    kept: tuple[int, ...] = Field((), description="channels of the cut that are sent; empty: all of them")
    head_inputs: tuple[str, ...] = Field((), description="inputs of the head")
    side_inputs: tuple[str, ...] = Field((), description="inputs that the tail takes besides the features")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not all(n > 0 for n in self.shape):
            raise ValueError(f"shape {self.shape} has an axis without values")
        if self.wire != "int8" and (self.scale or self.zero_point):
            raise ValueError(f"wire {self.wire!r} has no scale or zero point")
        if self.wire == "int8":
            channels = self.shape[-1] if self.shape else 1
            if len(self.scale) not in (1, channels) or len(self.scale) != len(self.zero_point):
                raise ValueError(
                    f"{len(self.scale)} scales and {len(self.zero_point)} zero points for {channels} channels"
                )
            if not all(LEAST_SCALE <= s < math.inf for s in self.scale):
                raise ValueError("a scale is not a positive number")
            if not all(-128 <= z <= 127 for z in self.zero_point):
                raise ValueError("a zero point is outside -128–127")
        return self

    @property
    def values(self) -> int:
        """Values of one frame."""
        return math.prod(self.shape)

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of one frame's features on the wire, without the message around them."""
        return self.values * BYTES_A_VALUE[self.wire]

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, two spaces, a final newline."""
        import json

        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, where: str = CONTRACT_NAME) -> Self:
        """Content of ``eyewall_wire.json`` → contract. Raises ContractError that names ``where``."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise ContractError(
                f"{where} is not a wire contract: {'.'.join(map(str, first['loc']))}: {first['msg']};"
                " split the model again with eyewall split make"
            ) from None


class CutPoint(BaseModel):
    """One place where the model can be cut, in the order of the data's way; FLOPs are of one frame, as 2 a MAC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shape: tuple[int, ...] = Field(description="without the batch axis")
    values: int
    bytes_float32: int
    bytes_float16: int
    bytes_int8: int
    head_flops: int
    tail_flops: int

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...], head_flops: int, tail_flops: int) -> Self:
        """The cut with its sizes reckoned from ``shape``."""
        values = math.prod(shape)
        sizes: dict[str, Any] = {f"bytes_{wire}": values * size for wire, size in BYTES_A_VALUE.items()}
        return cls(name=name, shape=shape, values=values, head_flops=head_flops, tail_flops=tail_flops, **sizes)


Place = Literal["client", "split", "cloud"]


class Option(BaseModel):
    """One way of running the model, and what was measured of it; times are medians per frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: Place = Field("split", description="client: nothing is sent but answers; cloud: raw frames are sent")
    cut: str | None = Field(None, description="split only")
    channels: int | None = Field(None, ge=1, description="split only: filters at the cut")
    wire: Wire | None = Field(None, description="split only")
    head_s: float = Field(ge=0, description="on the client; 0 for cloud")
    tail_s: float = Field(ge=0, description="on the server; 0 for client")
    bytes_up: int = Field(ge=0, description="request, with the message around it")
    bytes_down: int = Field(ge=0, description="answer")
    loss: float = Field(0.0, description="in the unit of the task, lower is better; 0: as good as the whole model")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.place == "split") != (self.cut is not None and self.wire is not None):
            raise ValueError(f"place {self.place!r} with cut {self.cut!r} and wire {self.wire!r}: a split has both")
        return self

    @property
    def name(self) -> str:
        """``client``, ``cloud``, or ``cut/channels/wire``."""
        return self.place if self.place != "split" else f"{self.cut}/{self.channels or 'all'}/{self.wire}"


class Profile(BaseModel):
    """Everything that was measured of one model on one client and one server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str = Field(description="name or digest of the whole model")
    loss_unit: str = Field("", description="such as % of accuracy, or km")
    options: tuple[Option, ...] = Field(min_length=1)


class BreakEven(BaseModel):
    """The bandwidth at which the best option changes: below it ``below`` is faster, above it ``above``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bandwidth_bps: float = Field(gt=0)
    below: str
    above: str


class Plan(BaseModel):
    """The option to take on a link, what it should cost, and where that would change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    option: Option
    bandwidth_bps: float = Field(gt=0)
    rtt_s: float = Field(ge=0)
    max_accuracy_loss: float
    expected_s: float = Field(description="from a frame to its answer, one frame at a time")
    interval_s: float = Field(description="between answers when compute, sending and receiving overlap")
    break_evens: tuple[BreakEven, ...] = Field((), description="by rising bandwidth, at this RTT and loss")
