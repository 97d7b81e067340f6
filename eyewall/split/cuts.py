"""Where a model can be cut: the tensors through which everything from the sensor's inputs to the outputs must pass.

Those are the dominators of the outputs (seen as one sink) in the graph of steps and tensors; they lie on one chain
from input to output. Source of the algorithm: Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", 2001;
the graph has no cycles, so that one pass in topological order is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import IMAGES
from eyewall.contracts.split import CutPoint
from eyewall.split.graph import Graph, graph_of
from eyewall.split.trace import trace


@dataclass(frozen=True)
class Cut:
    """A cut with what partitioning needs besides: the number of its tensor."""

    point: CutPoint
    tensor: int


def cut_points(model: Any, sensor: Sequence[str] | None = None) -> list[CutPoint]:
    """Every cut of a functional or Sequential tf_keras model (or its `Graph`), in order, without its input and output.

    ``sensor`` names the inputs that the sensor has; the tail may be given the others. Without it those are the images
    of a model with the project's image input among others, and every input elsewhere. A cut's tensor has the batch as
    its first axis and holds floating-point numbers. Raises InputError for a model without a graph of layers.
    """
    return [cut.point for cut in find_cuts(graph_of(model), sensor)]


def sensor_inputs(graph: Graph, sensor: Sequence[str] | None) -> tuple[str, ...]:
    """The inputs that ``sensor`` names, or means. Raises InputError for one that the model does not have."""
    if sensor is None:
        sensor = (IMAGES,) if IMAGES in graph.inputs else tuple(graph.inputs)
    unknown = sorted(set(sensor) - set(graph.inputs))
    if unknown or not sensor:
        raise InputError(f"no inputs {unknown} to cut from: the model takes {sorted(graph.inputs)}")
    return tuple(sensor)


def find_cuts(graph: Graph, sensor: Sequence[str] | None = None) -> list[Cut]:
    """The cuts of a graph, in order. Raises InputError as `cut_points` does."""
    names = sensor_inputs(graph, sensor)
    chain = dominators(graph, [graph.inputs[name] for name in names])
    one, two = trace(graph, 1), trace(graph, 2)
    ends = {*graph.inputs.values(), *graph.outputs.values()}
    whole = sum(one.step_flops)
    cuts = []
    for tensor in chain:
        shape = two.shapes.get(tensor)
        if tensor in ends or not _crosses_by_frame(shape, one.shapes.get(tensor)):
            continue
        if not graph.tensors[tensor].dtype.is_floating:
            continue
        assert shape is not None
        head_steps = {id(step) for step in graph.ancestors([tensor])[0]}
        tail_steps = {id(step) for step in graph.ancestors(graph.outputs.values(), [tensor])[0]}
        by_step = list(zip(graph.steps, one.step_flops, strict=True))
        head = sum(flops for step, flops in by_step if id(step) in head_steps)
        # What both sides need (of inputs that both have) is done on both.
        tail = sum(flops for step, flops in by_step if id(step) in tail_steps)
        assert head <= whole
        sizes = tuple(int(n or 0) for n in shape[1:])
        cuts.append(Cut(CutPoint.of(graph.tensors[tensor].name, sizes, head, tail), tensor))
    return cuts


def _crosses_by_frame(two: tuple[int | None, ...] | None, one: tuple[int | None, ...] | None) -> bool:
    """Whether the first axis is the batch, and the only one that changes with it, and every size is known."""
    if not one or not two or None in one or None in two:
        return False
    return one[0] == 1 and two[0] == 2 and one[1:] == two[1:] and 0 not in two


def find_cut(graph: Graph, name: str, sensor: Sequence[str] | None = None) -> Cut:
    """The cut ``name``. Raises InputError, naming those there are, when there is no such cut."""
    cuts = find_cuts(graph, sensor)
    found = next((cut for cut in cuts if cut.point.name == name), None)
    if found is None:
        there = ", ".join(cut.point.name for cut in cuts) or "none"
        raise InputError(f"no cut {name!r} in this model: there is {there}")
    return found


def dominators(graph: Graph, sources: Sequence[int]) -> list[int]:
    """The tensors whose removal separates ``sources`` from every output that depends on them, in order.

    With one source it is among them itself, and so is an output that is the only one. Raises InputError when no output
    depends on a source.
    """
    live = _between(graph, sources)
    ends = [t for t in graph.outputs.values() if t in live]
    if not ends:
        raise InputError("no output of the model depends on the sensor's inputs: name others")
    tree = _Tree()
    first_step = len(graph.tensors)  # tensors are nodes by their numbers, steps by the numbers after these
    for tensor in live.intersection(sources):
        tree.add(tensor, [_SOURCE])
    for node, step in enumerate(graph.steps, start=first_step):
        parents = [t for t in step.inputs if t in live]
        if parents:
            tree.add(node, parents)
            for tensor in live.intersection(step.outputs):
                tree.add(tensor, [node])
    tree.add(_SINK, ends)
    return [node for node in tree.above(_SINK) if node < first_step]


_SOURCE, _SINK = -1, -2


class _Tree:
    """The dominator tree of a graph without cycles, whose nodes are added after their parents."""

    def __init__(self) -> None:
        self._dominator = {_SOURCE: _SOURCE}
        self._depth = {_SOURCE: 0}

    def add(self, node: int, parents: Sequence[int]) -> None:
        common = parents[0]
        for other in parents[1:]:
            while common != other:
                if self._depth[common] < self._depth[other]:
                    common, other = other, common
                common = self._dominator[common]
        self._dominator[node], self._depth[node] = common, self._depth[common] + 1

    def above(self, node: int) -> list[int]:
        """The dominators of ``node``, without the source and itself, from the source on."""
        chain = []
        while (node := self._dominator[node]) != _SOURCE:
            chain.append(node)
        return chain[::-1]


def _between(graph: Graph, sources: Sequence[int]) -> set[int]:
    """Tensors that depend on a source and on which an output depends."""
    after = set(sources)
    for step in graph.steps:
        if after.intersection(step.inputs):
            after.update(step.outputs)
    before = set(graph.outputs.values())
    for step in reversed(graph.steps):
        if before.intersection(step.outputs):
            before.update(step.inputs)
    return after & before
