"""A forecaster → a SavedModel with the signature that servers and verification call."""

import contextlib
from pathlib import Path

import tensorflow as tf

from eyewall.contracts.features import ImageSpec, input_shapes
from eyewall.models.forecaster import Forecaster

SIGNATURE = "serving_default"


def export(model: Forecaster, images: ImageSpec, folder: Path) -> None:
    """Write ``model`` to ``folder``; inputs are those of ``input_shapes(images)`` with a batch axis, each by name."""
    specs = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in input_shapes(images).items()}

    @tf.function(input_signature=[specs], autograph=False)
    def serve(features):  # type: ignore[no-untyped-def]  # annotations would enter the SavedModel
        return model.forecast(features)

    # A module of its own: the Keras model would bring its training call, metadata and optimizer along.
    module = tf.Module()
    module.weights = [*model.weights, *(model.base.weights if model.base is not None else ())]
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: serve.get_concrete_function()})
    with contextlib.suppress(FileNotFoundError):
        (folder / "fingerprint.pb").unlink()  # holds a random id; TensorFlow and its server do without
