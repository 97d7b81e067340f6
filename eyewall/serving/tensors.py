"""TensorProto to numpy and back, with as few copies as the messages allow, and no memory spent on a claim.

A TensorProto may claim any shape and bring a single value that stands for all: the claim is checked against the
signature and a size limit before an array is made.
"""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.serving.saved_model import Signature
from eyewall.serving.status import RESOURCE_EXHAUSTED, StatusError, invalid

#: Largest message either API takes, and the largest tensor it may unfold to, bytes.
MAX_MESSAGE_BYTES = 64 * 2**20
#: Fields of a TensorProto that say what it is; every other one is content.
_HEADER = frozenset({"dtype", "tensor_shape", "version_number"})


@functools.cache
def _numpy_dtype(number: int) -> np.dtype[Any]:
    """Numpy's type of TensorFlow's DataType ``number``; asked for every tensor of every request, hence kept."""
    import tensorflow as tf

    try:
        dtype = tf.dtypes.as_dtype(number)
        return np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)
    except (TypeError, KeyError):
        raise invalid(f"tensor type {number} is not known") from None


@functools.cache
def _number(dtype: np.dtype[Any]) -> int:
    """TensorFlow's DataType number of a numpy type."""
    import tensorflow as tf

    return int(tf.dtypes.as_dtype(dtype).as_datatype_enum)


def decode(name: str, proto: Any, signature: Signature) -> npt.NDArray[Any]:
    """The array of a request's tensor, checked against the signature; packed content is not copied.

    Raises StatusError: INVALID_ARGUMENT for a wrong type, shape or content, RESOURCE_EXHAUSTED for a huge claim.
    """
    dtype = _numpy_dtype(proto.dtype)
    shape = tuple([d.size for d in proto.tensor_shape.dim])
    if proto.tensor_shape.unknown_rank or any(n < 0 for n in shape):
        raise invalid(f"input {name!r} of signature {signature.name!r}: the shape of a request must be known")
    signature.check(name, dtype, shape)
    count = math.prod(shape)
    if count * dtype.itemsize > MAX_MESSAGE_BYTES:
        raise StatusError(
            RESOURCE_EXHAUSTED,
            f"input {name!r} claims {count} values: the limit is {MAX_MESSAGE_BYTES} bytes a tensor",
        )
    # TensorFlow itself takes a claim without any content as zeros; here it is a message that was cut short.
    if count and not any(field.name not in _HEADER for field, _ in proto.ListFields()):
        raise invalid(f"input {name!r} claims {count} values of {dtype.name} and brings none")
    try:
        if proto.tensor_content and dtype.kind != "O":
            return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
        return unpack(proto).reshape(shape)
    except (ValueError, TypeError):
        raise invalid(
            f"input {name!r}: {proto.ByteSize()} bytes of content are not {count} values of {dtype.name}"
        ) from None


#: dtype → the typed field of TensorProto in which TensorFlow Serving sends it
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
}


def encode(array: npt.NDArray[Any]) -> Any:
    """The TensorProto of a response, in typed fields (``float_val``) as TensorFlow Serving itself sends it."""
    field = _FIELDS.get(array.dtype.name)
    if field is None:
        return _by_tensorflow(array)
    proto = _header(array)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def pack(array: npt.NDArray[Any]) -> Any:
    """The TensorProto of a request: numbers packed in one piece, which is the fastest to write and to read."""
    if array.dtype.kind not in "biuf":
        return _by_tensorflow(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # the message is in the machine's order
    proto = _header(array)
    proto.tensor_content = array.tobytes()
    return proto


def _header(array: npt.NDArray[Any]) -> Any:
    from tensorflow.core.framework import tensor_pb2

    proto = tensor_pb2.TensorProto(dtype=_number(array.dtype))
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _by_tensorflow(array: npt.NDArray[Any]) -> Any:
    import tensorflow as tf

    return tf.make_tensor_proto(array)


def unpack(proto: Any) -> npt.NDArray[Any]:
    """The array of a tensor that comes from where one trusts: an answer, or a record of our own."""
    import tensorflow as tf

    return np.asarray(tf.make_ndarray(proto))
