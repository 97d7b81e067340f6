"""Work in FLOPs, counted from TensorFlow's own operations: of one frame, step by step, with a multiply-add as 2.

The rules are those of TensorFlow's profiler where it has one (a test compares them); to these come the operations it
leaves out, by the same reckoning: one for each elementary function and output. Moving data counts nothing; a called
function counts what is in it, the body of a loop nothing, as nobody knows how often it runs.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

_ELEMENTWISE_NAMES: Final = """
    Abs Acos Add AddV2 Asin Atan2 BiasAdd Ceil Cos Div DivNoNan Elu Equal Erf Erfc Exp Expm1 Floor FloorDiv FloorMod
    Greater GreaterEqual LeakyRelu Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul Neg
    NotEqual Pow RealDiv Reciprocal Relu Relu6 Rint Round Rsqrt Select SelectV2 Selu Sigmoid Sign Sin Softplus Softsign
    Sqrt Square Sub Tanh
"""
_ELEMENTWISE: Final = frozenset(_ELEMENTWISE_NAMES.split())
_REDUCTIONS: Final = frozenset(("Sum", "Max", "Min", "Prod", "All", "Any", "ArgMax", "ArgMin"))


def flops_of(operations: Iterable[Any]) -> int:
    """FLOPs of TensorFlow operations whose shapes are known; those of an unknown kind count nothing."""
    return sum(_of(op) for op in operations)


def _of(op: Any) -> int:
    rule = _RULES.get(op.type)
    if rule is not None:
        return rule(op)
    if not op.inputs or not (op.inputs[0].dtype.is_floating or op.inputs[0].dtype.is_bool):
        return 0  # arithmetic on shapes and indices
    if op.type in _ELEMENTWISE:
        return _size(op.outputs[0])
    return _size(op.inputs[0]) - _size(op.outputs[0]) if op.type in _REDUCTIONS else 0


def _call(op: Any) -> int:
    """Keras calls grouped convolutions as functions that XLA compiles, for instance."""
    called = op.graph._get_function(op.get_attr("f").name)
    return flops_of(called.graph.get_operations()) if called is not None else 0


def _size(tensor: Any) -> int:
    """Values of a tensor; an axis of unknown size counts as one."""
    if tensor.shape.rank is None:
        return 0
    return math.prod(n or 1 for n in tensor.shape.as_list())


def _conv2d(op: Any) -> int:
    rows, columns, channels_in, _ = op.inputs[1].shape.as_list()  # of a group, where there are groups
    return 2 * int(_size(op.outputs[0]) * rows * columns * channels_in)


def _depthwise(op: Any) -> int:
    rows, columns, *_ = op.inputs[1].shape.as_list()
    return 2 * int(_size(op.outputs[0]) * rows * columns)


def _conv3d(op: Any) -> int:
    return 2 * int(_size(op.outputs[0]) * math.prod(op.inputs[1].shape.as_list()[:-1]))


def _transposed(op: Any) -> int:
    rows, columns, channels_out, _ = op.inputs[1].shape.as_list()
    return 2 * int(_size(op.inputs[2]) * rows * columns * channels_out)


def _matmul(op: Any) -> int:
    first = op.inputs[0].shape.as_list()
    transposed = any(_flag(op, name) for name in ("transpose_a", "adj_x"))
    return 2 * _size(op.outputs[0]) * int(first[-2 if transposed else -1] or 1)


def _flag(op: Any, name: str) -> bool:
    return name in op.node_def.attr and bool(op.get_attr(name))


def _einsum(op: Any) -> int:
    """The product of every size that a letter stands for: the loops of the sum written out."""
    terms = op.get_attr("equation").decode().split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, op.inputs, strict=True):
        letters = term.replace("...", "")
        shape = tensor.shape.as_list()
        rest = len(shape) - len(letters)
        sizes.update({f".{i}": n or 1 for i, n in enumerate(shape[:rest])})
        sizes.update({letter: n or 1 for letter, n in zip(letters, shape[rest:], strict=True)})
    return 2 * math.prod(sizes.values())


def _pool(op: Any) -> int:
    return _size(op.outputs[0]) * int(math.prod(op.get_attr("ksize")))


def _softmax(op: Any) -> int:
    return 5 * _size(op.inputs[0])  # the greatest, minus it, exp, the sum, the quotient: TensorFlow's own count


def _local_response_norm(op: Any) -> int:
    """Squares and their sum over the window of channels, then scale, bias, power and quotient."""
    window = 2 * int(op.get_attr("depth_radius")) + 1
    return _size(op.outputs[0]) * (2 * window + 4)


def _batch_norm(op: Any) -> int:
    return 2 * _size(op.inputs[0])  # at inference it is one factor and one summand


def _mean(op: Any) -> int:
    return _size(op.inputs[0])  # one sum less than values, and the quotient


def _squared_difference(op: Any) -> int:
    return 2 * _size(op.outputs[0])


def _add_n(op: Any) -> int:
    return _size(op.outputs[0]) * (len(op.inputs) - 1)


_RULES: Final[dict[str, Callable[[Any], int]]] = {
    "Conv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise,
    "Conv3D": _conv3d,
    "Conv2DBackpropInput": _transposed,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Einsum": _einsum,
    "AvgPool": _pool,
    "MaxPool": _pool,
    "Softmax": _softmax,
    "LRN": _local_response_norm,
    "FusedBatchNormV3": _batch_norm,
    "Mean": _mean,
    "SquaredDifference": _squared_difference,
    "AddN": _add_n,
    "PartitionedCall": _call,
    "StatefulPartitionedCall": _call,
}
