"""The tail: the cloud's side of a cut model, from features to answers; its graph itself refuses what is not its head's.

The refusals are assertions of the graph, so that any server of TensorFlow models enforces them: INVALID_ARGUMENT with
the sentence. Type and shape are the signature's, which every server checks before it runs a graph.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from eyewall.contracts.split import CONTRACT, FEATURES, WireContract
from eyewall.split import coding
from eyewall.split.graph import Graph
from eyewall.split.trace import used_variables


class Tail(tf.Module):  # type: ignore[misc]
    """Features, the digest of their contract and the side inputs → the model's outputs by name."""

    def __init__(self, graph: Graph, cut: int, contract: WireContract, fill: np.ndarray[Any, Any] | None) -> None:
        """The part of ``graph`` behind the tensor ``cut``; ``fill`` [*shape of the cut] is for channels not sent."""
        super().__init__(name="tail")
        self.contract = contract
        self._graph, self._cut, self._fill = graph, cut, fill
        self._steps, _ = graph.ancestors(graph.outputs.values(), [cut])
        self.input_specs = {
            FEATURES: tf.TensorSpec((None, *contract.shape), tf.dtypes.as_dtype(contract.wire), name=FEATURES),
            CONTRACT: tf.TensorSpec((None,), tf.string, name=CONTRACT),
        } | {
            name: tf.TensorSpec((None, *graph.tensors[i].shape[1:]), graph.tensors[i].dtype, name=name)
            for name, i in graph.inputs.items()
            if name in contract.side_inputs
        }
        self.serve = tf.function(self._serve, input_signature=[self.input_specs], autograph=False)
        self.concrete = self.serve.get_concrete_function()
        self.weights = used_variables(self.concrete)

    def _serve(self, features: Mapping[str, Any]) -> dict[str, Any]:
        with tf.control_dependencies(self._refusals(features)):
            message = tf.identity(features[FEATURES])
        values = self._whole(coding.decode(message, self.contract))
        known = {self._cut: tf.cast(values, self._graph.tensors[self._cut].dtype)}
        known |= {self._graph.inputs[name]: features[name] for name in self.contract.side_inputs}
        env = self._graph.run(known, self._steps)
        return {name: tf.identity(env[i]) for name, i in self._graph.outputs.items()}

    def _refusals(self, features: Mapping[str, Any]) -> list[Any]:
        """Assertions on a request: whose features they are, how many, and that they are numbers."""
        message, digest = features[FEATURES], features[CONTRACT]
        frames, given = tf.shape(message)[0], tf.size(digest)
        mine = self.contract
        # No quotation marks: the operation escapes them.
        whose = (
            f"features of another split: this tail is cut at {mine.cut} under contract {mine.model}; deploy head and"
            " tail from one eyewall split make; the contract that was sent:"
        )
        checks = [
            tf.debugging.Assert(tf.reduce_all(tf.equal(digest, mine.model)), [whose, digest]),
            tf.debugging.Assert(
                tf.logical_and(given >= 1, tf.logical_or(tf.equal(given, 1), tf.equal(given, frames))),
                [
                    "the contract must be sent once, or once a frame: contracts and frames that were sent:",
                    given,
                    frames,
                ],
            ),
        ]
        if mine.wire != "int8":
            finite = tf.reduce_all(tf.math.is_finite(message))
            checks.append(tf.debugging.Assert(finite, ["features are not all finite: look at the head's frame"]))
        for name in mine.side_inputs:
            same = tf.equal(tf.shape(features[name])[0], frames)
            checks.append(tf.debugging.Assert(same, [f"input {name} and the features differ in their batch"]))
        return checks

    def _whole(self, values: Any) -> Any:
        """Features with the channels that are not sent put back: their mean over the calibration."""
        if self._fill is None:
            return values
        kept, channels = self.contract.kept, self._fill.shape[-1]
        missing = [c for c in range(channels) if c not in kept]
        means = tf.constant(self._fill[None, ..., missing])
        spread = tf.broadcast_to(means, tf.concat([tf.shape(values)[:1], tf.shape(means)[1:]], axis=0))
        return tf.gather(tf.concat([values, spread], axis=-1), np.argsort([*kept, *missing]), axis=-1)

    def __call__(
        self, features: Any, contract: str | None = None, side: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Coded features (numpy), the digest they claim (its own by default) and side inputs → outputs, as numpy.

        Raises tf.errors.InvalidArgumentError as the served graph does.
        """
        inputs = {FEATURES: features, CONTRACT: [contract or self.contract.model], **(side or {})}
        tensors = {name: tf.convert_to_tensor(inputs[name], spec.dtype) for name, spec in self.input_specs.items()}
        return {name: np.asarray(value) for name, value in self.serve(tensors).items()}
