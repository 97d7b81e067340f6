"""The whole model as a SavedModel for the server and as TFLite for the client, by the same graph that is cut."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from eyewall.split.graph import graph_of
from eyewall.split.tflite import convert
from eyewall.split.trace import used_variables


class Whole(tf.Module):  # type: ignore[misc]
    """Inputs by name → outputs by name."""

    def __init__(self, model: Any) -> None:
        """``model``: what `eyewall.split.cuts.cut_points` takes."""
        super().__init__(name="whole")
        self._graph = graph_of(model)
        self.input_specs = {
            name: tf.TensorSpec((None, *self._graph.tensors[i].shape[1:]), self._graph.tensors[i].dtype, name=name)
            for name, i in self._graph.inputs.items()
        }
        self._function = tf.function(self._serve, input_signature=[self.input_specs], autograph=False)
        self._concrete = self._function.get_concrete_function()
        self.weights = used_variables(self._concrete)

    def _serve(self, features: Mapping[str, Any]) -> dict[str, Any]:
        env = self._graph.run({i: features[name] for name, i in self._graph.inputs.items()}, self._graph.steps)
        return {name: tf.identity(env[i]) for name, i in self._graph.outputs.items()}

    def save(self, folder: Path) -> None:
        """Write a SavedModel to ``folder``."""
        plain = tf.Module()
        plain.weights, plain.serve = self.weights, self._function
        tf.saved_model.save(plain, str(folder), signatures={"serving_default": self._concrete})

    def tflite(self) -> bytes:
        """The same as a TFLite file, for one frame at a time. Raises InputError as `eyewall.split.tflite.convert`."""
        return convert(self)
