"""The head: the sensor's side of a cut model, from its inputs to features in the wire type."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.contracts.split import FEATURES, WireContract
from eyewall.split import coding
from eyewall.split.graph import Graph
from eyewall.split.trace import used_variables


class Head(tf.Module):  # type: ignore[misc]
    """Frames → features. Holds the weights that it needs, and no others."""

    def __init__(self, graph: Graph, cut: int, contract: WireContract) -> None:
        """The part of ``graph`` up to the tensor ``cut``."""
        super().__init__(name="head")
        self.contract = contract
        self._graph, self._cut = graph, cut
        self._steps, inputs = graph.ancestors([cut])
        self.input_specs = {
            name: tf.TensorSpec((None, *graph.tensors[i].shape[1:]), graph.tensors[i].dtype, name=name)
            for name, i in graph.inputs.items()
            if i in inputs
        }
        self.serve = tf.function(self._serve, input_signature=[self.input_specs], autograph=False)
        self.concrete = self.serve.get_concrete_function()
        self.weights = used_variables(self.concrete)

    def _serve(self, features: Mapping[str, Any]) -> dict[str, Any]:
        return {FEATURES: coding.encode(self.raw(features), self.contract)}

    def raw(self, features: Mapping[str, Any]) -> Any:
        """Frames by input name → the features that are sent, before they are coded: [b, *shape] float32."""
        env = self._graph.run({self._graph.inputs[name]: features[name] for name in self.input_specs}, self._steps)
        values = tf.cast(env[self._cut], tf.float32)
        return tf.gather(values, self.contract.kept, axis=-1) if self.contract.kept else values

    def __call__(self, frames: Any) -> np.ndarray[Any, Any]:
        """Frames by input name (or one array, where there is one input) → features in the wire type, as numpy."""
        given = frames if isinstance(frames, Mapping) else {next(iter(self.input_specs)): frames}
        inputs = {name: tf.convert_to_tensor(given[name], spec.dtype) for name, spec in self.input_specs.items()}
        return np.asarray(self.serve(inputs)[FEATURES])
