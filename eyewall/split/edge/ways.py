"""The ways a frame can be answered: here, cut in two, or in the cloud as it is; each makes packets of frames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import CONTRACT, FEATURES, Option, WireContract
from eyewall.split import wire
from eyewall.split.edge.local_model import LocalModel, TensorKind, open_model
from eyewall.split.edge.packet import Array, Frame, Packet

#: Largest request, bytes, below the 64 MiB that a model server takes.
LARGEST_REQUEST = 60 * 2**20


class Way(Protocol):
    """One way; used by one thread at a time."""

    name: str  #: as in a profile: ``client``, ``cloud`` or ``cut/channels/wire``

    def wants(self) -> Mapping[str, TensorKind]:
        """Inputs that a frame must have; empty where anything goes."""

    def most_frames(self) -> int:
        """Frames that fit into one request."""

    def pack(self, frames: Sequence[Frame]) -> Packet:
        """A request for these frames. Raises InputError when the model cannot take them."""

    def fits(self, option: Option) -> bool:
        """Whether a profile's row is about this way."""


@dataclass
class SplitWay:
    """The head here, the tail in the cloud."""

    model: str  #: of the server: ``name``, ``name:label`` or ``name:version``
    contract: WireContract
    head: LocalModel

    def __post_init__(self) -> None:
        self.name = f"{self.contract.cut}/{self.contract.shape[-1] if self.contract.shape else 1}/{self.contract.wire}"

    @classmethod
    def open(cls, folder: Path, model: str, threads: int = 1) -> "SplitWay":
        """The head in ``folder``, or in what `eyewall split make` made, there as TFLite where it is.

        Raises InputError or ContractError.
        """
        folder = next((folder / part for part in ("tflite", "head") if (folder / part).is_dir()), folder)
        return cls(model, wire.read_contract(folder), open_model(folder, threads))

    def wants(self) -> Mapping[str, TensorKind]:
        """What the head takes; a tail's further inputs are checked when they are packed."""
        return self.head.inputs

    def most_frames(self) -> int:
        """Bounded by the server's message and by `wire.MAX_BYTES`."""
        return max(
            1, min(LARGEST_REQUEST // self.contract.bytes_per_frame, wire.MAX_BYTES // 4 // self.contract.values)
        )

    def pack(self, frames: Sequence[Frame]) -> Packet:
        """Run the head and code what it gives."""
        outputs = self.head.run({name: _stack(frames, name) for name in self.head.inputs})
        features = outputs[FEATURES] if FEATURES in outputs else next(iter(outputs.values()))
        if len(outputs) > 1 and FEATURES not in outputs:
            raise ContractError(f"the head of {self.name} has outputs {sorted(outputs)} and none named {FEATURES!r}")
        if features.dtype == wire.numpy_dtype(self.contract):  # coded by its graph
            wire.decode(features, self.contract)  # refuses another shape, and values that are not finite
        else:
            features = wire.encode(features.astype(np.float32, copy=False), self.contract)
        tensors = {FEATURES: features} | {name: _stack(frames, name) for name in self.contract.side_inputs}
        return _packet(frames, self.name, self.model, self.contract.model, tensors)

    def fits(self, option: Option) -> bool:
        """Same cut and wire, and as many channels."""
        return (
            option.place == "split"
            and (option.cut, option.wire) == (self.contract.cut, self.contract.wire)
            and option.channels in (None, self.contract.shape[-1] if self.contract.shape else 1)
        )


@dataclass
class CloudWay:
    """Raw frames to a model that is whole."""

    model: str
    input: str = ""  #: what a lone array is called
    name: str = "cloud"

    def wants(self) -> Mapping[str, TensorKind]:
        """Whatever the source gives; the server checks it."""
        return {}

    def most_frames(self) -> int:
        """As many as the batch says; `pack` refuses what is too large."""
        return 2**31

    def pack(self, frames: Sequence[Frame]) -> Packet:
        """The frames as they are. Raises InputError when they are too large for one message."""
        tensors = {name or self.input: _stack(frames, name) for name in frames[0].inputs}
        if "" in tensors:
            raise ContractError("a frame of one array has no name for its input: give frames as .npz for --cloud alone")
        if sum(array.nbytes for array in tensors.values()) > LARGEST_REQUEST:
            raise InputError(f"{len(frames)} raw frames are more than {LARGEST_REQUEST} bytes: take a smaller --batch")
        return _packet(frames, self.name, self.model, "", tensors)

    def fits(self, option: Option) -> bool:
        """The row of all-cloud."""
        return option.place == "cloud"


@dataclass
class ClientWay:
    """All of it here: nothing is sent."""

    whole: LocalModel
    name: str = "client"

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> "ClientWay":
        """The whole model in ``folder``. Raises InputError."""
        return cls(open_model(folder, threads))

    def wants(self) -> Mapping[str, TensorKind]:
        """What the model takes."""
        return self.whole.inputs

    def most_frames(self) -> int:
        """Nothing is sent, so nothing is too large to be."""
        return 2**31

    def pack(self, frames: Sequence[Frame]) -> Packet:
        """A packet that is answered already: ``tensors`` are the model's outputs, and there is no model to ask."""
        outputs = self.whole.run({name: _stack(frames, name) for name in self.whole.inputs})
        return _packet(frames, self.name, "", "", outputs)

    def fits(self, option: Option) -> bool:
        """The row of all-client."""
        return option.place == "client"


@dataclass
class LocalTail:
    """A tail on this machine, which answers packets of its contract while the link is away."""

    contract: WireContract
    tail: LocalModel

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> "LocalTail":
        """The tail in ``folder``, or in what `eyewall split make` made. Raises InputError or ContractError."""
        folder = folder / "tail" if (folder / "tail").is_dir() else folder
        return cls(wire.read_contract(folder), open_model(folder, threads))

    def fits(self, packet: Packet) -> bool:
        """Whether the packet is of this tail's contract."""
        return packet.digest == self.contract.model

    def answer(self, packet: Packet) -> dict[str, Array]:
        """Outputs for the packet's frames. Raises InputError when the tail refuses them."""
        tensors = dict(packet.tensors)
        if self.tail.inputs[FEATURES].dtype != tensors[FEATURES].dtype:  # a TFLite tail takes them decoded
            tensors[FEATURES] = wire.decode(tensors[FEATURES], self.contract)
        return self.tail.run(tensors, {CONTRACT: self.contract.model})


def _packet(frames: Sequence[Frame], way: str, model: str, digest: str, tensors: dict[str, Array]) -> Packet:
    return Packet(
        tuple(frame.key for frame in frames), way, model, digest, tensors, tuple(frame.taken_at_s for frame in frames)
    )


def _stack(frames: Sequence[Frame], name: str) -> Array:
    try:
        return np.stack([frame.inputs[name] for frame in frames])
    except KeyError:
        missing = next(frame for frame in frames if name not in frame.inputs)
        raise InputError(f"frame {missing.key.id} has no input {name!r}, only {sorted(missing.inputs)}") from None
    except ValueError as error:
        raise InputError(f"frames of one request differ in input {name!r}: {error}") from None


def fit_frame(inputs: dict[str, Array], wanted: Mapping[str, TensorKind]) -> dict[str, Array]:
    """Inputs of a frame as a model wants them; widened where nothing is lost by it (uint8 to float32).

    A frame of one unnamed array (``""``) gets the name of the only input. Raises InputError for what does not fit.
    """
    if set(inputs) == {""} and wanted:
        if len(wanted) > 1:
            raise InputError(f"the model takes {sorted(wanted)}: give frames as .npz with these names")
        inputs = {next(iter(wanted)): inputs[""]}
    fitted = dict(inputs)
    for name, kind in wanted.items():
        if name not in inputs:
            raise InputError(f"the frame has no input {name!r}, only {sorted(inputs)}")
        array = inputs[name]
        if len(array.shape) != len(kind.shape) or any(
            want not in (None, got) for want, got in zip(kind.shape, array.shape, strict=True)
        ):
            raise InputError(f"input {name!r} is {array.dtype.name} {list(array.shape)}: the model takes {kind}")
        if array.dtype != kind.dtype and not np.can_cast(array.dtype, kind.dtype, "safe"):
            raise InputError(f"input {name!r} is {array.dtype.name}: the model takes {kind}")
        fitted[name] = array.astype(kind.dtype, copy=False)
    for name, array in fitted.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = math.prod(array.shape) - int(np.isfinite(array).sum())
            raise InputError(f"{bad} of {array.size} values of input {name!r} are not finite")
    return fitted
