"""The wire between head and tail, in numpy alone: features to their wire type and back, and every check of a message.

The arithmetic is the graphs' (`eyewall.split.coding`) to the last bit, so that an edge without TensorFlow may code
what a head computed, and a test may decode what a head sent. int8: q = clip(round(x · (1 / scale)) + zero_point),
halves to even, with 1 / scale rounded to float32 first: TensorFlow may turn a quotient by a constant into that product.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import CONTRACT_NAME, WireContract

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

#: Largest batch of features, bytes as float32, that is coded at once: the model servers take 64 MiB a message.
MAX_BYTES = 64 * 2**20
LARGEST_FLOAT16 = 65504.0
LEAST_INT8, LARGEST_INT8 = -128.0, 127.0


def read_contract(folder: Path) -> WireContract:
    """The contract of a head or tail in ``folder``: in its ``assets.extra/``, or in the folder itself (TFLite).

    Raises ContractError when there is none.
    """
    for path in (folder / "assets.extra" / CONTRACT_NAME, folder / CONTRACT_NAME):
        if path.is_file():
            return WireContract.parse(path.read_bytes(), str(path))
    raise ContractError(f"no {CONTRACT_NAME} in {str(folder)!r}: give a head or tail that eyewall split make wrote")


def numpy_dtype(contract: WireContract) -> np.dtype[Any]:
    """Numpy's type of the features on the wire."""
    return np.dtype(contract.wire)


def encode(features: npt.ArrayLike, contract: WireContract) -> Array:
    """Features [b, *shape] float32 → the same in the wire type.

    What is beyond the range of float16 or of the calibration becomes its end. Raises InputError for another shape or
    type, for values that are not finite, and for a batch above `MAX_BYTES`.
    """
    values = _checked(np.asarray(features), contract, np.dtype(np.float32))
    if contract.wire == "float32":
        return values
    if contract.wire == "float16":
        return np.asarray(np.clip(values, -LARGEST_FLOAT16, LARGEST_FLOAT16), np.float16)
    scale, zero_point = int8_parameters(contract)
    with np.errstate(over="ignore"):  # an infinite product becomes the end of the range
        steps = np.rint(values * (np.float32(1) / scale)) + zero_point
    return np.asarray(np.clip(steps, LEAST_INT8, LARGEST_INT8).astype(np.int8))


def decode(message: npt.ArrayLike, contract: WireContract) -> Float32:
    """What `encode` gave → features [b, *shape] float32, as the tail sees them. Raises InputError as it does."""
    values = _checked(np.asarray(message), contract, numpy_dtype(contract))
    if contract.wire != "int8":
        return values.astype(np.float32)
    scale, zero_point = int8_parameters(contract)
    return (values.astype(np.float32) - zero_point) * scale


def int8_parameters(contract: WireContract) -> tuple[Float32, Float32]:
    """Scale and zero point as float32 arrays, of one value or one for each channel of the last axis."""
    return np.asarray(contract.scale, np.float32), np.asarray(contract.zero_point, np.float32)


def to_bytes(message: Array) -> bytes:
    """A coded batch as bytes, little-endian, in C order: what is spooled and what a tensor's content is."""
    return message.astype(message.dtype.newbyteorder("<"), copy=False).tobytes()


def from_bytes(data: bytes, contract: WireContract, frames: int = 1) -> Array:
    """The inverse of `to_bytes` for ``frames`` frames. Raises InputError when the length is another."""
    expected = frames * contract.bytes_per_frame
    if frames < 0 or len(data) != expected:
        raise InputError(
            f"a message of {len(data)} bytes is not {frames} frames of {contract.bytes_per_frame} bytes"
            f" ({contract.wire} {list(contract.shape)}): it was cut short or belongs to another contract"
        )
    little = np.frombuffer(data, numpy_dtype(contract).newbyteorder("<")).reshape(frames, *contract.shape)
    return _checked(little.astype(numpy_dtype(contract)), contract, numpy_dtype(contract))


def check_same(head: WireContract, tail: WireContract) -> None:
    """Raises ContractError, naming both digests, unless head and tail were cut from one model in one way."""
    if head.model != tail.model:
        raise ContractError(
            f"the head is of model {head.model[:16]}… ({head.cut}, {head.wire}) and the tail of {tail.model[:16]}…"
            f" ({tail.cut}, {tail.wire}): deploy both from one eyewall split make"
        )
    if head != tail:
        raise ContractError(f"head and tail of model {head.model[:16]}… differ in their wire contracts: split again")


def _checked(values: Array, contract: WireContract, dtype: np.dtype[Any]) -> Array:
    if values.dtype != dtype:
        raise InputError(f"features are {values.dtype.name}: cut {contract.cut!r} takes {dtype.name}")
    if values.ndim != len(contract.shape) + 1 or values.shape[1:] != contract.shape:
        raise InputError(
            f"features have shape {_text(values.shape)}: cut {contract.cut!r} takes {_text(('b', *contract.shape))}"
        )
    if values.size * 4 > MAX_BYTES:
        raise InputError(
            f"features {_text(values.shape)} are {values.size * 4} bytes as float32, above {MAX_BYTES}: send fewer"
            " frames at once"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise InputError(f"{bad} of {values.size} features of cut {contract.cut!r} are not finite: look at the frame")
    return values


def _text(shape: Sequence[object]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
