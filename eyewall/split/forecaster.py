"""The project's own forecasters as functional models, so that they can be cut: the same layers, weights and answers.

The networks are subclassed, and convolve the frames that exist and no others, which has no fixed graph. Here every
slot of a sample is encoded on its own axis and an absent frame's result is dropped, which gives the same numbers
(`ImageEncoder.every_slot`). The images are the sensor's; track, ages and masks are known in the cloud.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.features import (
    IMAGE_AGE_H,
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    ImageSpec,
    input_shapes,
)
from eyewall.models.card import SAVED_MODEL_DIR, ModelCard
from eyewall.models.forecaster import Forecaster
from eyewall.models.image import ImageEncoder, availability
from eyewall.models.inputs import image_planes, track_vector
from eyewall.models.registry import build


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
    inputs = {name: tf_keras.Input(shape, name=name) for name, shape in input_shapes(images).items()}
    track_inputs = {name: value for name, value in inputs.items() if name != IMAGES}

    def track_part(features: Any) -> Any:
        cliper_km = model._cliper(features)
        return cliper_km, track_vector(features, cliper_km / model._scale_km, model._normalisation)

    def planes_part(pixels: Any) -> Any:
        return image_planes({IMAGES: pixels}, model._normalisation)

    cliper_km, track = _Part(track_part, name="track")(track_inputs)
    network = model.network
    encoder: ImageEncoder = network._encoder
    frames = _encoded(encoder, _Part(planes_part, name="planes")(inputs[IMAGES]))
    age_h, valid = inputs[IMAGE_AGE_H], inputs[IMAGE_VALID]
    present = _Part(lambda v: tf.reshape(v[0] * v[1][..., None], (-1, v[0].shape[1] * v[0].shape[2])), name="present")
    seen = _Part(lambda v: encoder._join(*v), encoder._sequence, name="sequence")(
        [present([frames, valid]), age_h, valid]
    )
    if model.kind == "fusion":
        joint = _Part(lambda v: network._joint(tf.concat(v, axis=-1)), network._joint, name="joint")([track, seen])
        of_images = _Part(_gated(network._head), network._head, name="images_correction")([joint, valid])
        of_track = _Part(network._track, network._track, name="track_correction")(track)
        correction = tf_keras.layers.Add(name="correction")([of_track, of_images])
    else:
        correction = _Part(_gated(network._head), network._head, name="correction")([seen, valid])

    def answer(values: Any) -> Any:
        features, cliper, learned = values
        return model.answer(features, cliper, learned)

    outputs = _Part(answer, name="answer")([track_inputs, cliper_km, correction])
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


def restore(folder: Path) -> tuple[Forecaster, ImageSpec]:
    """The forecaster of a model artifact's folder, made again from its card and its SavedModel's weights.

    Raises ContractError when the folder holds none, or weights that no such network has.
    """
    card = ModelCard.read(folder)
    try:
        weights = tf.saved_model.load(str(folder / SAVED_MODEL_DIR)).weights
    except (OSError, AttributeError, ValueError) as error:
        raise ContractError(f"no weights in {folder.name!r}: {error}; give a model that eyewall train made") from None
    shapes = [tuple(int(n) for n in w.shape) for w in weights]
    names = [w.name for w in weights]
    try:
        model = build(
            card.kind, card.images, sizes=_sizes(card.kind, names, shapes), cliper=card.cliper, scale_km=card.scale_km,
            normalisation=card.normalisation, spread=card.spread,
            shrinkage=[card.shrinkage[str(lead)] for lead in LEADS_H],
        )  # fmt: skip
        model.set_weights([w.numpy() for w in weights])
    except (ValueError, KeyError, IndexError) as error:
        raise ContractError(f"the weights in {folder.name!r} fit no {card.kind!r} network: {error}") from None
    return model, card.images


def _sizes(kind: str, names: list[str], shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    """The network's sizes, read from its weights: a card does not tell them."""
    kernels = {name: shape for name, shape in zip(names, shapes, strict=True) if name.endswith("kernel:0")}

    def last_axes(part: str) -> tuple[int, ...]:
        found = {name: shape[-1] for name, shape in kernels.items() if part in name}
        return tuple(found[name] for name in sorted(found))

    sizes: dict[str, Any] = {}
    if kind != "image":
        sizes["widths"] = last_axes("body/dense_")
    if kind != "track":
        sizes |= {"channels": last_axes("conv_"), "width": last_axes("frame/")[0]}
    return sizes
