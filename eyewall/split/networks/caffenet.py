"""CaffeNet's layers with random weights: the ImageNet-sized network of the study, for timing only.

Caffe's bvlc_reference_caffenet (AlexNet of Krizhevsky et al. 2012 with pooling before normalisation): conv1 11×11×96
stride 4 – pool1 – norm1 – conv2 5×5×256 in two groups – pool2 – norm2 – conv3 3×3×384 – conv4 3×3×384 and conv5
3×3×256 in two groups – pool5 – fc6 4096 – fc7 4096 – fc8 1000. Cuts: after pool1 (27×27×96) and pool2 (13×13×256).

Nothing was trained, so no accuracy can be had from it; time and bytes do not depend on what the weights are.
"""

from typing import Any, Final

import tensorflow as tf
import tf_keras

NAME: Final = "caffenet"
IMAGE_SHAPE: Final = (227, 227, 3)
CUTS: Final = ("pool1", "pool2")
_MEAN: Final = (122.7, 116.7, 104.0)  # grey levels of ImageNet's training images by colour, R G B


@tf_keras.saving.register_keras_serializable("eyewall")
class AcrossChannelNorm(tf_keras.layers.Layer):  # type: ignore[misc]
    """Local response normalisation over 5 neighbouring channels: x · (1 + α/5 · Σ x²)^-0.75, α = 1e-4 (Caffe)."""

    def call(self, values: Any) -> Any:
        """[b, y, x, c] → the same shape."""
        return tf.nn.local_response_normalization(values, depth_radius=2, bias=1.0, alpha=1e-4 / 5, beta=0.75)


def build(classes: int = 1000, seed: int = 0) -> Any:
    """A tf_keras functional model, uint8 [b, 227, 227, 3] → logits float32 [b, classes]; 61 million random weights."""
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    image = values = tf_keras.Input(IMAGE_SHAPE, dtype="uint8", name="image")
    for layer in (
        layers.Rescaling(1.0, [-m for m in _MEAN], name="centred"),
        _convolution(96, 11, "conv1", strides=4, padding="valid"),
        layers.MaxPooling2D(3, 2, name="pool1"),
        AcrossChannelNorm(name="norm1"),
        _convolution(256, 5, "conv2", groups=2),
        layers.MaxPooling2D(3, 2, name="pool2"),
        AcrossChannelNorm(name="norm2"),
        _convolution(384, 3, "conv3"),
        _convolution(384, 3, "conv4", groups=2),
        _convolution(256, 3, "conv5", groups=2),
        layers.MaxPooling2D(3, 2, name="pool5"),
        layers.Flatten(name="flat"),
        layers.Dense(4096, activation="relu", name="fc6"),
        layers.Dense(4096, activation="relu", name="fc7"),
        layers.Dense(classes, name="fc8"),
    ):
        values = layer(values)
    return tf_keras.Model(image, values, name=NAME)


def _convolution(
    filters: int, size: int, name: str, *, strides: int = 1, groups: int = 1, padding: str = "same"
) -> Any:
    return tf_keras.layers.Conv2D(
        filters, size, strides=strides, groups=groups, padding=padding, activation="relu", name=name
    )
