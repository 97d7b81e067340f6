"""A functional Keras model as a flat list of steps over numbered tensors: what cutting, counting and running need.

Nested models are walked into, so that a cut may lie inside one; the model itself is not changed, and its layers (with
their weights) are shared. A step is one call of a layer, so a layer that is called twice is two steps.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eyewall import quiet
from eyewall.contracts.errors import InputError

_REMEDY = "give a functional or Sequential tf_keras model with known input shapes"


@dataclass(frozen=True)
class Ref:
    """The place of a tensor in the arguments of a layer's call."""

    index: int


@dataclass(frozen=True)
class Step:
    """One call of a layer: its arguments with `Ref` where tensors go, and the numbers of what comes and goes."""

    name: str
    layer: Any
    args: Any
    kwargs: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape with the batch axis (None: free) and TensorFlow's type of one tensor."""

    name: str
    shape: tuple[int | None, ...]
    dtype: Any


@dataclass(frozen=True, eq=False)
class Graph:
    """Steps in an order in which they can be run; inputs and outputs by the name that a request gives them."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    steps: tuple[Step, ...]
    tensors: tuple[TensorInfo, ...]

    def run(self, values: Mapping[int, Any], steps: Iterable[Step]) -> dict[int, Any]:
        """Every tensor after running ``steps`` on the tensors ``values``, in inference mode."""
        env = dict(values)
        for step in steps:
            run_step(step, env)
        return env

    def producers(self) -> dict[int, Step]:
        """Tensor → the step it comes from; inputs are not in it."""
        return {tensor: step for step in self.steps for tensor in step.outputs}

    def ancestors(self, wanted: Iterable[int], known: Iterable[int] = ()) -> tuple[tuple[Step, ...], set[int]]:
        """The steps, in order, that make the tensors ``wanted`` from ``known`` and inputs, and the inputs they take."""
        made_by, stop = self.producers(), set(known)
        needed, steps, inputs = [t for t in wanted if t not in stop], set(), set()
        while needed:
            tensor = needed.pop()
            step = made_by.get(tensor)
            if step is None:
                inputs.add(tensor)
            elif id(step) not in steps:
                steps.add(id(step))
                needed += [t for t in step.inputs if t not in stop]
        return tuple(step for step in self.steps if id(step) in steps), inputs


def run_step(step: Step, env: dict[int, Any]) -> None:
    """Call the step's layer on tensors of ``env`` and put what it gives there."""
    import tensorflow as tf

    args, kwargs = tf.nest.map_structure(
        lambda leaf: env[leaf.index] if isinstance(leaf, Ref) else leaf, (step.args, step.kwargs)
    )
    if step.layer._call_spec.expects_training_arg and kwargs.get("training") is None:
        kwargs = {**kwargs, "training": False}
    results = tf.nest.flatten(step.layer(*args, **kwargs))
    env.update(zip(step.outputs, results, strict=True))


def graph_of(model: Any) -> Graph:
    """The steps of a functional or Sequential tf_keras model; a graph is its own, so that one may serve many splits.

    Raises InputError for a subclassed model, and for input shapes that are not known but for the batch.
    """
    if isinstance(model, Graph):
        return model
    quiet.import_tensorflow()
    if not _is_functional(model):
        raise InputError(f"model {getattr(model, 'name', model)!r} has no graph of layers to cut: {_REMEDY}")
    flat = _Flattener()
    inputs = {}
    for name, tensor in _named(model.inputs, _keys(getattr(model, "_nested_inputs", None)), model.input_names):
        if any(n is None for n in tensor.shape[1:]):
            raise InputError(f"input {name!r} of model {model.name!r} has shape {tensor.shape}: {_REMEDY}")
        inputs[name] = flat.new(name, tensor)
    given = {id(tensor): inputs[name] for name, tensor in zip(inputs, model.inputs, strict=True)}
    scope = flat.walk(model, given, "")
    names = _named(model.outputs, _keys(getattr(model, "_nested_outputs", None)), model.output_names)
    return Graph(inputs, {name: scope[id(t)] for name, t in names}, tuple(flat.steps), tuple(flat.tensors))


def _is_functional(layer: Any) -> bool:
    return hasattr(layer, "_nodes_by_depth") and getattr(layer, "_is_graph_network", False)


def _keys(structure: Any) -> list[str] | None:
    """Names of a model's inputs or outputs where it takes or gives a dict; tf.nest goes by sorted keys."""
    return sorted(structure) if isinstance(structure, Mapping) else None


def _named(tensors: Sequence[Any], keys: list[str] | None, names: Sequence[str]) -> list[tuple[str, Any]]:
    chosen = keys if keys is not None and len(keys) == len(tensors) else list(names)
    if len(set(chosen)) != len(chosen):  # one layer with two outputs
        chosen = [f"{name}_{i}" for i, name in enumerate(chosen)]
    return list(zip(chosen, tensors, strict=True))


@dataclass
class _Flattener:
    steps: list[Step] = field(default_factory=list)
    tensors: list[TensorInfo] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)

    def new(self, name: str, tensor: Any) -> int:
        self.tensors.append(TensorInfo(name, tuple(tensor.shape), tensor.dtype))
        return len(self.tensors) - 1

    def walk(self, model: Any, scope: dict[int, int], path: str) -> dict[int, int]:
        """Add the steps of ``model``; ``scope``: id of its Keras input tensor → number. Returns it with all others."""
        for node in _nodes_in_order(model):
            if all(id(t) in scope for t in node.keras_inputs):
                self._add(node, scope, path)
        return scope

    def _add(self, node: Any, scope: dict[int, int], path: str) -> None:
        import tensorflow as tf

        name, layer = path + node.layer.name, node.layer
        outer = tf.nest.flatten(node.outputs)
        if _is_functional(layer):
            given = {id(inner): scope[id(t)] for inner, t in zip(layer.inputs, node.keras_inputs, strict=True)}
            inside = self.walk(layer, given, name + "/")
            scope.update({id(t): inside[id(i)] for t, i in zip(outer, layer.outputs, strict=True)})
            return
        self.names[name] += 1
        if self.names[name] > 1:
            name += f"#{self.names[name]}"
        outputs = [self.new(name if len(outer) == 1 else f"{name}:{i}", t) for i, t in enumerate(outer)]
        scope.update({id(t): n for t, n in zip(outer, outputs, strict=True)})
        known = {id(t): Ref(scope[id(t)]) for t in node.keras_inputs}
        args, kwargs = tf.nest.map_structure(lambda leaf: known.get(id(leaf), leaf), (node.call_args, node.call_kwargs))
        inputs = tuple(scope[id(t)] for t in node.keras_inputs)
        self.steps.append(Step(name, layer, args, kwargs, inputs, tuple(outputs)))


def _nodes_in_order(model: Any) -> list[Any]:
    """The model's calls, each after those it depends on; its inputs are left out."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
