"""A narrow cut that loses less: a linear bottleneck begun at the principal components, trained for its wire.

What is sent is squeezed to fewer channels by a convolution. It begins as the best linear one (the leading principal
components of the features at the cut), so that the network starts near the one it was made from; then it and what
follows are trained to give the wide network's logits (distillation, Hinton et al. 2015), while the features pass
through the rounding that the int8 wire will do, with gradients straight through it (Bengio et al. 2013). The layers
before it stay as they were: a pretrained head gets a narrow link, and is not spoilt by large gradients of the start.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eyewall.contracts.errors import InputError

Array = npt.NDArray[np.float32]
TEMPERATURE: Final = 4.0  #: softens both sets of logits, so that the small ones count as well
_LEVELS: Final = 255.0


def fake_quantise(features: Any) -> Any:
    """Features [b, …, c] as they come out of an int8 wire with one scale per channel; the gradient is the identity's.

    The range is this batch's, of each channel; a channel without any range passes as it is.
    """
    axes = list(range(len(features.shape) - 1))
    low = tf.reduce_min(features, axes, keepdims=True)
    step = (tf.reduce_max(features, axes, keepdims=True) - low) / _LEVELS
    rounded = low + tf.round(tf.math.divide_no_nan(features - low, step)) * step
    return features + tf.stop_gradient(rounded - features)


def distillation_loss(logits: Any, teacher_logits: Any) -> Any:
    """Divergence of the softened classes [b, k] from the teacher's, the mean over the batch, []; 0 where they agree.

    Kullback–Leibler, times the temperature squared, so that its gradients have the size of the labels' own loss.
    """
    wanted = tf.nn.log_softmax(teacher_logits / TEMPERATURE)
    given = tf.nn.log_softmax(logits / TEMPERATURE)
    return TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - given), axis=-1))


def principal_axes(features: npt.NDArray[Any], channels: int) -> tuple[Array, Array]:
    """Features [n, …, c] → their mean [c], and the ``channels`` leading principal axes as columns, [c, channels].

    An axis's sign is that its largest component is positive, so that the same features give the same axes.
    Raises InputError when more axes than channels are asked for.
    """
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    if not 1 <= channels <= flat.shape[1]:
        raise InputError(f"bottleneck = {channels}: there are {flat.shape[1]} channels to squeeze; give 1 to that many")
    mean = flat.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(flat - mean, rowvar=False).reshape(flat.shape[1], flat.shape[1]))
    leading = axes[:, ::-1][:, :channels]
    largest = np.abs(leading).argmax(axis=0)
    leading = leading * np.sign(leading[largest, np.arange(channels)])
    return mean.astype(np.float32), leading.astype(np.float32)


def begin_from(model: Any, teacher: Any, images: npt.NDArray[np.uint8], cut: str = "pool2") -> None:
    """Give ``model`` the weights of ``teacher``, layer by layer of the same name.

    Where the model alone has ``squeeze`` and ``expand`` after the layer ``cut``, these two begin at the principal
    components of the teacher's features there, from ``images`` uint8 [n, y, x, 3]. Raises InputError when the teacher
    has a layer of another shape, or lacks one.
    """
    import tf_keras

    given = {layer.name: layer.get_weights() for layer in teacher.layers}
    bottleneck = {layer.name: layer for layer in model.layers if layer.name in ("squeeze", "expand")}
    if bottleneck and "squeeze" not in given:
        head = tf_keras.Model(teacher.input, teacher.get_layer(cut).output)
        features = head.predict(images, batch_size=500, verbose=0)
        mean, axes = principal_axes(features, bottleneck["squeeze"].filters)
        given["squeeze"] = [_central(axes, bottleneck["squeeze"].kernel_size), -mean @ axes]
        given["expand"] = [_central(axes.T, bottleneck["expand"].kernel_size), mean]
    for layer in model.layers:
        weights = given.get(layer.name, [])
        if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
            raise InputError(f"the teacher's layer {layer.name!r} does not fit: train it as the same network")
        layer.set_weights(weights)


def freeze_head(model: Any) -> None:
    """The layers before ``squeeze`` are no longer trained."""
    names = [layer.name for layer in model.layers]
    for layer in model.layers[: names.index("squeeze")]:
        layer.trainable = False


def _central(matrix: Array, size: tuple[int, int]) -> Array:
    """A kernel [y, x, c_in, c_out] that looks at its own place alone, with ``matrix`` [c_in, c_out] there."""
    kernel = np.zeros((*size, *matrix.shape), np.float32)
    kernel[size[0] // 2, size[1] // 2] = matrix
    return kernel
