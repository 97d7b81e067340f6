"""The project's own forecasters as functional models, so that they can be cut: the same layers, weights and answers.

The networks are subclassed, and convolve the frames that exist and no others, which has no fixed graph. Here every
slot of a sample is encoded on its own axis and an absent frame's result is dropped, which gives the same numbers
(`ImageEncoder.every_slot`). The images are the sensor's; track, ages and masks are known in the cloud.
"""

from typing import Any

import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import (
    IMAGE_AGE_H,
    IMAGE_VALID,
    IMAGES,
    ImageSpec,
    input_shapes,
)
from eyewall.models.forecaster import Forecaster
from eyewall.models.image import ImageEncoder, availability
from eyewall.models.inputs import image_planes


class _Part(tf_keras.layers.Layer):  # type: ignore[misc]
    """A function of tensors as one layer; ``uses`` are the layers whose weights it reads."""

    def __init__(self, function: Any, *uses: Any, name: str) -> None:
        super().__init__(name=name)
        self._function, self._uses = function, list(uses)

    def call(self, values: Any) -> Any:
        return self._function(values)


def functional_view(model: Forecaster, images: ImageSpec) -> Any:
    """A functional tf_keras model of an image or fusion forecaster, with its inputs, outputs, layers and weights.

    Raises InputError for a model that takes no images: there is nothing on the sensor's side to compute.
    """
    if model.kind == "track" or not images.frames:
        raise InputError(f"model {model.kind!r} takes no images: there is nothing to split")
    network = getattr(model.network, "image", model.network)
    if not isinstance(getattr(network, "encoder", None), ImageEncoder):
        raise InputError(f"model {model.kind!r} has no convolutions that are run frame by frame: split one of"
                         " --encoder cnn")  # fmt: skip
    inputs = {name: tf_keras.Input(shape, name=name) for name, shape in input_shapes(images).items()}
    track_inputs = {name: value for name, value in inputs.items() if name != IMAGES}

    def track_part(features: Any) -> Any:
        # The planes are made elsewhere: without pixels, that the sensor has, nothing else of the inputs is missing.
        start_km, made = model.prepare(features | {IMAGES: tf.zeros((1, *input_shapes(images)[IMAGES]))})
        of_track = model.network.track(*made[:-4]) if model.network is not network else None
        log_difficulty = of_track.log_difficulty if of_track is not None else None
        correction = of_track.correction if of_track is not None else tf.zeros_like(start_km)
        ones = tf.zeros_like(start_km[..., 0])
        return start_km, made[-4], correction, ones if log_difficulty is None else log_difficulty

    def planes_part(pixels: Any) -> Any:
        return image_planes({IMAGES: pixels}, model._normalisation)

    uses = () if model.network is network else (model.network.track,)
    start_km, around, of_track, log_difficulty = _Part(track_part, *uses, name="track")(track_inputs)
    encoder = network.encoder
    frames = _encoded(encoder, _Part(planes_part, name="planes")(inputs[IMAGES]))
    age_h, valid = inputs[IMAGE_AGE_H], inputs[IMAGE_VALID]
    present = _Part(lambda v: tf.reshape(v[0] * v[1][..., None], (-1, v[0].shape[1] * v[0].shape[2])), name="present")
    seen = _Part(lambda v: encoder._join(*v), encoder._sequence, name="sequence")(
        [present([frames, valid]), age_h, valid]
    )
    joint = _Part(lambda v: network.joint(tf.concat(v, axis=-1)), network.joint, name="joint")([around, seen])
    of_images = _Part(_gated(network.head), network.head, name="images_correction")([joint, valid])
    correction = tf_keras.layers.Add(name="correction")([of_track, of_images])

    def answer(values: Any) -> Any:
        features, start, learned, difficulty = values
        return model.answer(features, start, learned, difficulty if uses else None)

    outputs = _Part(answer, name="answer")([track_inputs, start_km, correction, log_difficulty])
    return tf_keras.Model(inputs, outputs, name=f"{model.kind}_view")


def _gated(head: Any) -> Any:
    """The correction that ``head`` makes of ``values``; none where there is no image."""
    return lambda values: head(values[0]) * availability(values[1])[..., None]


def _encoded(encoder: ImageEncoder, planes: Any) -> Any:
    """Planes [b, k, y, x, 2] → [b, k, width]: `ImageEncoder._encode`, layer by layer, so that it can be cut between."""
    values = _each_frame(encoder._pool, planes)
    for convolve, norm in zip(encoder._convolutions, encoder._norms, strict=True):
        values = _each_frame(norm, _each_frame(convolve, values))
    return _each_frame(encoder._frame, _each_frame(encoder._flat, values))


def _each_frame(layer: Any, values: Any) -> Any:
    return tf_keras.layers.TimeDistributed(layer, name=layer.name)(values)
