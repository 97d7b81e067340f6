"""A graph of steps traced into TensorFlow operations: their work, the true shapes, and a digest of what it computes.

The digest is of operations, constants and weights, not of names or Python: two models that compute the same by the
same operations have the same digest, in whichever process they were made.
"""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from eyewall.split.flops import flops_of
from eyewall.split.graph import Graph, run_step


@dataclass(frozen=True)
class Trace:
    """One pass through the graph at a fixed batch."""

    function: Any  #: TensorFlow's concrete function
    step_flops: tuple[int, ...]  #: of the whole batch, in the order of the steps
    shapes: dict[int, tuple[int | None, ...]]  #: of every tensor, with the batch axis


@functools.lru_cache(maxsize=4)  # a grid of cuts and wires asks for the same two again and again
def trace(graph: Graph, batch: int) -> Trace:
    """Trace ``graph`` in inference mode at ``batch`` frames; nothing is computed, and no weight is read."""
    import tensorflow as tf

    step_flops: list[int] = []
    shapes: dict[int, tuple[int | None, ...]] = {}
    specs = {
        name: tf.TensorSpec((batch, *graph.tensors[i].shape[1:]), graph.tensors[i].dtype, name=f"input_{k}")
        for k, (name, i) in enumerate(sorted(graph.inputs.items()))
    }

    @tf.function(input_signature=[specs], autograph=False)
    def whole(features):  # type: ignore[no-untyped-def]
        step_flops.clear()  # TensorFlow may trace twice
        env = {graph.inputs[name]: value for name, value in features.items()}
        here = tf.compat.v1.get_default_graph()
        for step in graph.steps:
            before = len(here.get_operations())
            run_step(step, env)
            step_flops.append(flops_of(here.get_operations()[before:]))
        shapes.update({i: tuple(value.shape.as_list()) for i, value in env.items() if value.shape.rank is not None})
        return {name: env[i] for name, i in graph.outputs.items()}

    return Trace(whole.get_concrete_function(), tuple(step_flops), shapes)


def digest(graph: Graph) -> str:
    """sha256 of what the graph computes: its operations, their order and constants, and its weights."""
    function = trace(graph, 1).function
    sha = hashlib.sha256(repr((sorted(graph.inputs), sorted(graph.outputs))).encode())
    _add_operations(sha, function.graph.as_graph_def(), function)
    return sha.hexdigest()


def _add_operations(sha: Any, definition: Any, function: Any) -> None:
    captured = _captured(function)
    library = {item.signature.name: item for item in definition.library.function}
    number = {node.name: i for i, node in enumerate(definition.node)}
    for node in definition.node:
        sha.update(repr((node.op, [_numbered(i, number) for i in node.input])).encode())
        _add_attributes(sha, node.attr, library)
        if node.name in captured:
            value = captured[node.name]
            sha.update(repr((str(value.dtype), value.shape)).encode())
            sha.update(np.ascontiguousarray(value).tobytes())
    sha.update(repr([number[t.op.name] for t in function.outputs]).encode())


def _numbered(text: str, number: dict[str, int]) -> str:
    """``^name`` or ``name:output`` with the number of the node instead of its name."""
    control, name = ("^", text[1:]) if text.startswith("^") else ("", text)
    name, _, output = name.partition(":")
    return f"{control}{number.get(name, name)}:{output}"


def _add_attributes(sha: Any, attributes: Any, library: dict[str, Any]) -> None:
    for key in sorted(attributes):
        if key.startswith("_") or key in ("shared_name", "container"):
            continue
        value = attributes[key]
        sha.update(key.encode())
        if value.WhichOneof("value") == "func":
            _add_function(sha, library.get(value.func.name), library)
        else:
            sha.update(value.SerializeToString(deterministic=True))


def _add_function(sha: Any, definition: Any, library: dict[str, Any]) -> None:
    """A called function: its body, with nodes by number; its own name is numbered by the process and left out."""
    if definition is None:
        return
    names = [arg.name for arg in definition.signature.input_arg] + [node.name for node in definition.node_def]
    number = {name: i for i, name in enumerate(names)}
    for node in definition.node_def:
        sha.update(repr((node.op, [_numbered(i, number) for i in node.input])).encode())
        _add_attributes(sha, node.attr, library)


def used_variables(function: Any) -> list[Any]:
    """The variables that a concrete function reads, in the order in which it met them: the same in every process."""
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    return [handles[id(outside)] for outside, _ in function.graph.captures if id(outside) in handles]


def _captured(function: Any) -> dict[str, Any]:
    """Name of the placeholder → the value that the function took from outside: weights and eager constants."""
    handles = {id(variable.handle): variable for variable in used_variables(function)}
    values = {}
    for outside, inside in function.graph.captures:
        variable = handles.get(id(outside))
        values[inside.op.name] = np.asarray(outside if variable is None else variable.numpy())
    return values
