"""Small networks to cut: one chain, and one with a residual, a model inside it and two branches."""

import functools
from typing import Any

import numpy as np

SHAPE = (12, 12, 3)


def frames(count: int, seed: int = 0) -> np.ndarray:
    """Frames [count, 12, 12, 3] float32 of order one, no two alike."""
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


@functools.cache
def chain(seed: int = 1) -> Any:
    """Conv, ReLU, pool, conv, pool, dense: every layer but the last is a cut, and has a bound on how it stretches."""
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(seed)
    return tf_keras.Sequential(
        [
            layers.Input(SHAPE, name="image"),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv1", bias_initializer="ones"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(6, 3, name="conv2"),
            layers.AveragePooling2D(2, name="pool2"),
            layers.Flatten(name="flat"),
            layers.Dense(9, activation="relu", name="hidden"),
            layers.Dense(4, name="score"),
        ],
        name="chain",
    )


@functools.cache
def branched(seed: int = 2) -> Any:
    """A residual around conv2, a model inside with a normalisation, and two branches that meet before the end."""
    import tensorflow as tf
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(seed)
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv1")(image)
    y = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    y = layers.BatchNormalization(name="norm", moving_variance_initializer="ones")(y)
    x = layers.ReLU(name="relu")(layers.Add(name="add")([x, y]))
    inside = tf_keras.Input((6, 6, 8))
    z = tf.nn.lrn(layers.Conv2D(4, 3, name="conv3")(inside), name="lrn")
    x = tf_keras.Model(inside, z, name="inner")(x)
    x = layers.Flatten(name="flat")(x)
    left = layers.Dense(7, activation="relu", name="left")(x)
    right = layers.Dense(5, activation="tanh", name="right")(x)
    x = layers.Concatenate(name="both")([left, right])
    return tf_keras.Model(image, layers.Dense(3, activation="softmax", name="class")(x), name="branched")
