"""`eyewall.split.wire`'s arithmetic inside a TensorFlow graph: the same results to the last bit, in head and tail."""

from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.contracts.split import WireContract
from eyewall.split.wire import LARGEST_FLOAT16, LARGEST_INT8, LEAST_INT8, int8_parameters


def encode(features: Any, contract: WireContract) -> Any:
    """Features [b, *shape] float32 → the same in the wire type."""
    if contract.wire == "float32":
        return tf.identity(features)
    if contract.wire == "float16":
        return tf.cast(tf.clip_by_value(features, -LARGEST_FLOAT16, LARGEST_FLOAT16), tf.float16)
    scale, zero_point = int8_parameters(contract)
    steps = tf.round(features * (np.float32(1) / scale)) + zero_point
    return tf.cast(tf.clip_by_value(steps, LEAST_INT8, LARGEST_INT8), tf.int8)


def decode(message: Any, contract: WireContract) -> Any:
    """What `encode` gave → features [b, *shape] float32."""
    values = tf.cast(message, tf.float32)
    if contract.wire != "int8":
        return values
    scale, zero_point = int8_parameters(contract)
    return (values - zero_point) * scale
