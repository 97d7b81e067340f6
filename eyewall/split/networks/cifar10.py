"""Caffe's cifar10_full network with a chosen number of filters at the cut, as Ichinose et al. (HPDC '16) split it.

conv1 5×5×32 – pool1 (max) – relu – norm1 – conv2 5×5×*channels* – relu – pool2 (average) – norm2 – conv3 5×5×64 –
relu – pool3 (average) – dense 10. All pools are 3×3 with stride 2; SAME pads at the lower right only, which is what
Caffe's rounding up does. The cut is after pool2: 8×8×*channels* values where the image has 32×32×3.

With a *bottleneck* all 32 filters of conv2 stay, and a linear map (``squeeze``) turns each block of 4×4 places, 512
values, into fewer before the link; its counterpart with a relu (``expand``) makes 4×4×32 of them again behind it. The
cut is then after ``squeeze``: 2×2×*bottleneck* values. Blocks, because neighbouring means of overlapping windows tell
much the same: of the answers, the best linear map of blocks keeps 97 % at 704 values, that of single places 82 %.

The network takes the raw image, uint8, and gives logits: what all-cloud sends is then what the sensor has.
"""

from typing import Any, Final

import tf_keras

from eyewall.contracts.errors import InputError
from eyewall.split.networks.layers import WithinChannelNorm

NAME: Final = "cifar10"
IMAGE_SHAPE: Final = (32, 32, 3)
CLASSES: Final = 10
FULL_CHANNELS: Final = 32
#: Rows and columns of a block that a bottleneck squeezes.
BLOCK: Final = 4
#: Grey levels of CIFAR-10's training images by colour: mean and standard deviation.
_MEAN, _STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
#: Caffe's α is 5e-5 for images of grey levels; ours have a standard deviation of 1, so α grows by 64².
_ALPHA: Final = 0.2


def cut_of(bottleneck: int | None) -> str:
    """The layer after which the network is cut."""
    return "pool2" if bottleneck is None else "squeeze"


def build(channels: int = FULL_CHANNELS, bottleneck: int | None = None) -> Any:
    """A tf_keras functional model, uint8 [b, 32, 32, 3] → logits float32 [b, 10], one chain of named layers.

    Raises InputError for filter counts that make no network.
    """
    for name, value in (("channels", channels), ("bottleneck", bottleneck)):
        if value is not None and not 1 <= value <= 1024:
            raise InputError(f"{name} = {value}: give 1 to 1024 filters")
    layers = tf_keras.layers
    image = values = tf_keras.Input(IMAGE_SHAPE, dtype="uint8", name="image")
    for layer in (
        layers.Rescaling([1 / s for s in _STD], [-m / s for m, s in zip(_MEAN, _STD, strict=True)], name="standard"),
        _convolution(32, "conv1"),
        layers.MaxPooling2D(3, 2, padding="same", name="pool1"),
        layers.ReLU(name="relu1"),
        WithinChannelNorm(alpha=_ALPHA, name="norm1"),
        _convolution(channels, "conv2"),
        layers.ReLU(name="relu2"),
        layers.AveragePooling2D(3, 2, padding="same", name="pool2"),
        *_bottleneck(channels, bottleneck),
        WithinChannelNorm(alpha=_ALPHA, name="norm2"),
        _convolution(64, "conv3"),
        layers.ReLU(name="relu3"),
        layers.AveragePooling2D(3, 2, padding="same", name="pool3"),
        layers.Flatten(name="flat"),
        layers.Dense(CLASSES, kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.01), name="logits"),
    ):
        values = layer(values)
    return tf_keras.Model(image, values, name=NAME)


def _convolution(filters: int, name: str) -> Any:
    return tf_keras.layers.Conv2D(filters, 5, padding="same", kernel_initializer="he_normal", name=name)


def _bottleneck(channels: int, bottleneck: int | None) -> list[Any]:
    if bottleneck is None:
        return []
    return [
        tf_keras.layers.Conv2D(bottleneck, BLOCK, BLOCK, name="squeeze"),
        tf_keras.layers.Conv2DTranspose(channels, BLOCK, BLOCK, name="expand"),
        tf_keras.layers.ReLU(name="relu_expand"),
    ]
