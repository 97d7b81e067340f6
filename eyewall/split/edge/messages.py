"""The messages of TensorFlow Serving's PredictionService that the edge needs, without TensorFlow and its stubs.

Their descriptors are made here in a pool of their own, so that a small device needs grpcio and protobuf only, and a
process that has the stubs as well sees no clash. Field numbers are those of tensorflow_serving/apis/{predict,model}
.proto and tensorflow/core/framework/{tensor,tensor_shape}.proto; a test compares both with the stubs byte by byte.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from eyewall.contracts.errors import ServingError
from eyewall.split.edge.packet import Array

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

#: numpy's name → DataType number of tensorflow/core/framework/types.proto
_NUMBERS: Final = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "int64": 9, "bool": 10,
    "uint16": 17, "float16": 19,
}  # fmt: skip
_STRING: Final = 7
_NAMES: Final = {number: name for name, number in _NUMBERS.items()}
#: DataType → the typed field that holds its values when they are not packed
_FIELDS: Final = {
    "float32": "float_val", "float64": "double_val", "int32": "int_val", "uint8": "int_val", "int16": "int_val",
    "int8": "int_val", "uint16": "int_val", "int64": "int64_val", "bool": "bool_val", "float16": "half_val",
}  # fmt: skip
#: Largest tensor that an answer may claim, bytes.
_LARGEST_TENSOR = 64 * 2**20


@functools.cache
def _classes() -> dict[str, Any]:
    """Message classes by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    text, raw, flag, i32, i64 = kinds.TYPE_STRING, kinds.TYPE_BYTES, kinds.TYPE_BOOL, kinds.TYPE_INT32, kinds.TYPE_INT64
    f32, f64 = kinds.TYPE_FLOAT, kinds.TYPE_DOUBLE
    # name → (field, number, label, type or the name of a message)
    schema: dict[str, list[tuple[str, int, Any, Any]]] = {
        "Dim": [("size", 1, one, i64)],
        "Shape": [("dim", 2, many, "Dim"), ("unknown_rank", 3, one, flag)],
        "Tensor": [
            ("dtype", 1, one, i32), ("tensor_shape", 2, one, "Shape"), ("tensor_content", 4, one, raw),
            ("half_val", 13, many, i32), ("float_val", 5, many, f32), ("double_val", 6, many, f64),
            ("int_val", 7, many, i32), ("string_val", 8, many, raw), ("int64_val", 10, many, i64),
            ("bool_val", 11, many, flag),
        ],
        "Number": [("value", 1, one, i64)],
        "ModelSpec": [
            ("name", 1, one, text), ("version", 2, one, "Number"), ("signature_name", 3, one, text),
            ("version_label", 4, one, text),
        ],
        "TensorEntry": [("key", 1, one, text), ("value", 2, one, "Tensor")],
        "PredictRequest": [("model_spec", 1, one, "ModelSpec"), ("inputs", 2, many, "TensorEntry")],
        "PredictResponse": [("outputs", 1, many, "TensorEntry"), ("model_spec", 2, one, "ModelSpec")],
        "StatusRequest": [("model_spec", 1, one, "ModelSpec")],
    }  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name="eyewall_edge.proto", package="eyewall.edge", syntax="proto3")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind in fields:
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".eyewall.edge.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"eyewall.edge.{name}")) for name in schema
    }


def predict_request(model: str, tensors: Mapping[str, Array], texts: Mapping[str, str] | None = None) -> bytes:
    """A PredictRequest for the default signature of ``model`` (``name``, ``name:label`` or ``name:version``).

    ``tensors`` have a batch axis; ``texts`` are inputs of one string each, [1].
    """
    request = _classes()["PredictRequest"]()
    _choose(request.model_spec, model)
    for name, array in tensors.items():
        tensor = request.inputs.add(key=name).value
        tensor.dtype = _NUMBERS[array.dtype.name]
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    for name, text in (texts or {}).items():
        tensor = request.inputs.add(key=name).value
        tensor.dtype = _STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.string_val.append(text.encode())
    return bytes(request.SerializeToString())


def status_request(model: str) -> bytes:
    """A GetModelStatusRequest: the smallest question there is, to measure the round trip with."""
    request = _classes()["StatusRequest"]()
    request.model_spec.name = model.partition(":")[0]
    return bytes(request.SerializeToString())


def _choose(spec: Any, model: str) -> None:
    spec.name, _, choice = model.partition(":")
    if choice.isdigit():
        spec.version.value = int(choice)
    elif choice:
        spec.version_label = choice


def predict_response(data: bytes, frames: int) -> tuple[dict[str, Array], int]:
    """Outputs of a PredictResponse, each with a batch axis of ``frames``, and the version that answered.

    Raises ServingError when it is not one, claims more than it brings, or is of another number of frames.
    """
    from google.protobuf.message import DecodeError

    try:
        response = _classes()["PredictResponse"].FromString(data)
        outputs = {entry.key: _array(entry.value) for entry in response.outputs}
    except (DecodeError, ValueError, KeyError) as error:
        raise ServingError(f"an answer of {len(data)} bytes cannot be read: {error}") from None
    for name, array in outputs.items():
        if array.shape[:1] != (frames,):
            raise ServingError(f"output {name!r} has shape {list(array.shape)}: {frames} frames were asked for")
    if not outputs:
        raise ServingError(f"an answer of {len(data)} bytes has no outputs")
    return outputs, int(response.model_spec.version.value)


def _array(tensor: Any) -> Array:
    shape = tuple(int(dim.size) for dim in tensor.tensor_shape.dim)
    count = math.prod(shape)
    if tensor.tensor_shape.unknown_rank or any(n < 0 for n in shape):
        raise ValueError("the shape of an output is not known")
    if tensor.dtype == _STRING:
        if len(tensor.string_val) != count:
            raise ValueError(f"{len(tensor.string_val)} texts for shape {list(shape)}")
        return np.array(list(tensor.string_val), dtype=object).reshape(shape)
    if tensor.dtype not in _NAMES:
        raise ValueError(f"tensor type {tensor.dtype} is not known")
    dtype = np.dtype(_NAMES[tensor.dtype])
    if count * dtype.itemsize > _LARGEST_TENSOR:
        raise ValueError(f"an output claims {count} values")
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    values = list(getattr(tensor, _FIELDS[dtype.name]))
    if not values and count:
        raise ValueError(f"no values for shape {list(shape)}")
    values += values[-1:] * (count - len(values))  # a tensor may leave out repetitions of its last value
    array = np.array(values, np.uint16 if dtype.name == "float16" else dtype)
    return (array.view(np.float16) if dtype.name == "float16" else array).reshape(shape)
