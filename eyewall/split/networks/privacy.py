"""How much of the image comes back from the features: a small decoder undoes the head, scored by PSNR and SSIM.

Whoever reads the link and can run the head on images of his own can train such a decoder (Dosovitskiy and Brox 2016):
"raw images stay on the site" is worth what it fails to give back. A stronger decoder may give more; the figure is a
lower bound of what leaks, the same for every cut. It is compared with two ends: the mean training image, which knows
nothing, and the image itself.

PSNR is 10·log10(255² / mean squared error) in dB, of all pixels of one image; SSIM is Wang et al. 2004 with its
11×11 Gaussian window; both are means over the images.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from eyewall.contracts.errors import InputError
from eyewall.progress import progress

Array = npt.NDArray[Any]
_WIDTH: Final = 32
_BATCH: Final = 64
_LEARNING_RATE: Final = 2e-3
_FLAT_GRID: Final = 8  # features without rows and columns begin on a grid of so many
_MOST_PSNR_DB: Final = 100.0  # of equal images, which would be infinite


@dataclass(frozen=True)
class Likeness:
    """How near reconstructions come to their originals, means over images."""

    psnr_db: float
    ssim: float


def likeness(originals: Array, reconstructions: Array) -> Likeness:
    """Two stacks of images [n, y, x, c] in grey levels 0–255. Raises InputError when they differ in shape."""
    if originals.shape != reconstructions.shape or originals.ndim != 4:
        raise InputError(f"images {originals.shape} and {reconstructions.shape} cannot be compared: give equal shapes")
    a, b = originals.astype(np.float32), reconstructions.astype(np.float32)
    square = np.mean((a - b) ** 2, axis=(1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        psnr_db = np.minimum(10 * np.log10(255.0**2 / square), _MOST_PSNR_DB)
    ssim = np.concatenate([tf.image.ssim(a[i : i + 500], b[i : i + 500], 255.0) for i in range(0, len(a), 500)])
    return Likeness(float(psnr_db.mean()), float(ssim.mean()))


def build_decoder(features: tuple[int, ...], image: tuple[int, int, int]) -> Any:
    """A decoder from features [b, *features] to images [b, *image], in units of 255 grey levels.

    Features are scaled by their own statistics first (``adapt`` of the layer ``standard``), spread out by transposed
    convolutions of stride 2, and cropped to the image. Raises InputError for features larger than the image.
    """
    layers = tf_keras.layers
    given = values = tf_keras.Input(features, name="features")
    values = layers.Normalization(axis=-1, name="standard")(values)
    if len(features) != 3:
        side = _FLAT_GRID * _FLAT_GRID * (_WIDTH // 2)
        values = layers.Reshape((_FLAT_GRID, _FLAT_GRID, _WIDTH // 2))(layers.Dense(side)(layers.Flatten()(values)))
    rows, columns = values.shape[1:3]
    if rows > image[0] or columns > image[1]:
        raise InputError(f"features {features} have more rows or columns than the image {image}: nothing to spread out")
    values = _convolution(_WIDTH * 2)(values)
    for _ in range(math.ceil(math.log2(max(image[0] / rows, image[1] / columns)))):
        values = layers.Conv2DTranspose(_WIDTH, 4, 2, padding="same", activation="relu")(values)
    values = _convolution(_WIDTH)(values)
    values = layers.Conv2D(image[2], 3, padding="same", bias_initializer=tf_keras.initializers.Constant(0.5))(values)
    return tf_keras.Model(given, values[:, : image[0], : image[1]], name="decoder")


def _convolution(filters: int) -> Any:
    return tf_keras.layers.Conv2D(filters, 3, padding="same", activation="relu")


def train_decoder(features: Array, images: Array, *, epochs: int, seed: int = 0) -> Any:
    """The decoder trained on features [n, …] float32 and their images uint8 [n, y, x, c]; mean squared error, Adam."""
    decoder = build_decoder(features.shape[1:], images.shape[1:])
    decoder.get_layer("standard").adapt(features)
    batch = min(_BATCH, len(images))
    steps = epochs * (len(images) // batch)
    optimizer = tf_keras.optimizers.Adam(tf_keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(given: Any, wanted: Any) -> Any:
        with tf.GradientTape() as tape:
            error = decoder(given, training=True) - tf.cast(wanted, tf.float32) / 255.0
            loss = tf.reduce_mean(error * error)
        gradients = tape.gradient(loss, decoder.trainable_variables)
        optimizer.apply_gradients(zip(gradients, decoder.trainable_variables, strict=True))
        return loss

    with progress("decoder", total=steps, unit="steps") as advance:
        for epoch in range(epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(images))
            for start in range(0, len(order) - batch + 1, batch):
                chosen = order[start : start + batch]
                step(tf.constant(features[chosen]), tf.constant(images[chosen]))
                advance()
    return decoder


def reconstruct(decoder: Any, features: Array) -> npt.NDArray[np.uint8]:
    """Features [n, …] → images uint8 [n, y, x, c]."""
    call = tf.function(lambda x: decoder(x, training=False), reduce_retracing=True)
    parts = [call(tf.constant(features[i : i + 500])).numpy() for i in range(0, len(features), 500)]
    return np.clip(np.rint(np.concatenate(parts) * 255.0), 0, 255).astype(np.uint8)


def sheet(rows: list[Array], enlarge: int = 2) -> npt.NDArray[np.uint8]:
    """Rows of images uint8 [n, y, x, c], one above the other with a white line between → one picture [y, x, c]."""
    drawn = []
    for images in rows:
        big = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
        framed = np.pad(big, ((0, 0), (0, 2), (0, 2), (0, 0)), constant_values=255)
        drawn.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(drawn, axis=0).astype(np.uint8)
