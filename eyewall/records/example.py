"""One sample ↔ one serialised ``tf.train.Example``, written without TensorFlow.

The messages are three levels of length-delimited fields (tensorflow/core/example/{example,feature}.proto), so that the
bytes are made here directly, keys sorted: equal samples give equal bytes, the same that TensorFlow's own
``SerializeToString(deterministic=True)`` gives (a test compares them), and a records step need not spend seconds on
importing TensorFlow.

Numbers are float32 lists. An image is stored frame by frame as little-endian uint16 in hundredths (0.01 K or 0.01 grey
level; 0 stays "missing"), half the size of float32 and finer than any sensor's noise (about 0.1 K); a frame that does
not exist is an empty string, so that samples without images cost nothing. No compression: at 2 bytes a pixel the
shards are read faster than they could be unpacked.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import CorruptFile
from eyewall.contracts.features import (
    BASE_TIME_S,
    IMAGES,
    SEASON,
    STORM_ID,
    ImageSpec,
    input_shapes,
    target_shapes,
)

Sample = Mapping[str, Any]
#: Stored counts per kelvin or grey level.
COUNTS_PER_UNIT: Final = 100
_MASK64: Final = (1 << 64) - 1
_LENGTH_DELIMITED: Final = 2
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def quantise(images: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Images in kelvin or grey levels (0 or NaN: missing) → hundredths as uint16; a value above 0 never becomes 0."""
    values = np.nan_to_num(np.asarray(images, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    counts = np.clip(np.rint(values * COUNTS_PER_UNIT), 1, np.iinfo(np.uint16).max)
    return np.where(values > 0, counts, 0).astype("<u2")


def dequantise(counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The inverse of `quantise`, to 0.005 of a unit; float32 division, as the TensorFlow side does it."""
    return counts.astype(np.float32) / np.float32(COUNTS_PER_UNIT)


def _varint(value: int) -> bytes:
    value &= _MASK64  # negative numbers travel as two's complement
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return bytes((number << 3 | _LENGTH_DELIMITED,)) + _varint(len(payload)) + payload


def _bytes_feature(values: list[bytes]) -> bytes:
    return _field(_BYTES_LIST, b"".join(_field(1, value) for value in values))


def _float_feature(values: npt.NDArray[np.float32]) -> bytes:
    return _field(_FLOAT_LIST, _field(1, values.astype("<f4", copy=False).tobytes()))


def _int64_feature(value: int) -> bytes:
    return _field(_INT64_LIST, _field(1, _varint(value)))


def _images_feature(images: Any, spec: ImageSpec) -> bytes:
    counts = quantise(images).reshape(spec.frames, -1)
    return _bytes_feature([frame.tobytes() if frame.any() else b"" for frame in counts])


def encode(sample: Sample, spec: ImageSpec) -> bytes:
    """``sample`` → serialised Example.

    ``sample`` holds every input and target of `eyewall.contracts.features` in its shape, and the meta values STORM_ID
    (text), SEASON and BASE_TIME_S. Raises ValueError when a shape is wrong or a value is not finite: missing is 0 with
    its mask at 0, never NaN.
    """
    features: dict[str, bytes] = {
        STORM_ID: _bytes_feature([str(sample[STORM_ID]).encode()]),
        SEASON: _int64_feature(int(sample[SEASON])),
        BASE_TIME_S: _int64_feature(int(sample[BASE_TIME_S])),
    }
    for name, shape in (input_shapes(spec) | target_shapes()).items():
        values = np.asarray(sample[name], dtype=np.float32)
        if values.shape != shape:
            raise ValueError(f"{name} of {sample[STORM_ID]} has shape {values.shape}: expected {shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of {sample[STORM_ID]} is not finite: write 0 and its mask 0 for what is missing")
        features[name] = _images_feature(values, spec) if name == IMAGES else _float_feature(values)
    entries = (_field(1, _field(1, name.encode()) + _field(2, features[name])) for name in sorted(features))
    return _field(1, b"".join(entries))


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> list[tuple[int, memoryview]]:
    """Every length-delimited field of a message: (number, payload)."""
    found, at = [], 0
    while at < len(data):
        key, at = _read_varint(data, at)
        length, at = _read_varint(data, at)
        if key & 7 != _LENGTH_DELIMITED or at + length > len(data):
            raise CorruptFile("a record is not an Example of this project: make the records again")
        found.append((key >> 3, data[at : at + length]))
        at += length
    return found


def _value(feature: memoryview) -> Any:
    """Content of a Feature: float32 array, list of ints or list of bytes."""
    ((kind, payload),) = _fields(feature)
    values = [content for _, content in _fields(payload)]
    if kind == _FLOAT_LIST:
        return np.frombuffer(b"".join(values), dtype="<f4")
    if kind == _INT64_LIST:
        unsigned, _ = _read_varint(values[0], 0)
        return unsigned - (1 << 64) if unsigned >> 63 else unsigned
    return [bytes(content) for content in values]


def decode(record: bytes, spec: ImageSpec, only: Collection[str] | None = None) -> dict[str, Any]:
    """The inverse of `encode` without TensorFlow: arrays in their shapes, STORM_ID as text, SEASON and BASE_TIME_S.

    Images come back rounded to 0.01. ``only`` names the features to take, the others cost nothing. Raises CorruptFile
    when the bytes are not a record of this geometry.
    """
    shapes = input_shapes(spec) | target_shapes()
    sample: dict[str, Any] = {}
    try:
        ((_, features),) = _fields(memoryview(record))
        for _, entry in _fields(features):
            (_, key), (_, feature) = _fields(entry)
            name = bytes(key).decode()
            if only is not None and name not in only:
                continue
            value = _value(feature)
            if name == IMAGES:
                value = _decode_images(value, spec)
            if name == STORM_ID:
                value = value[0].decode()
            sample[name] = value.reshape(shapes[name]) if name in shapes else value
    except (ValueError, IndexError, KeyError) as error:
        raise CorruptFile(f"a record does not fit its schema: {error}; make the records again") from error
    return sample


def _decode_images(frames: list[bytes], spec: ImageSpec) -> npt.NDArray[np.float32]:
    empty = bytes(2 * spec.px * spec.px)
    counts = np.frombuffer(b"".join(frame or empty for frame in frames), dtype="<u2")
    return dequantise(counts)
