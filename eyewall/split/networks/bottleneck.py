"""A narrow cut that loses less: a linear bottleneck begun at the principal components, trained for its wire.

What is sent is squeezed to fewer values, block by block. It begins as the best linear map (the leading principal
components of the blocks at the cut), so that the network starts near the one it was made from; then it and what
follows are trained to give the wide network's logits (distillation, Hinton et al. 2015), while the features pass
through the rounding that the int8 wire will do, with gradients straight through it (Bengio et al. 2013). The layers
before it stay as they were at first: a pretrained head gets a narrow link, and is not spoilt by large gradients of the
start.
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


def principal_axes(features: npt.NDArray[Any], channels: int) -> Array:
    """Features [n, …, c] → the axes that hold most of them, as columns [c, channels], which are at right angles.

    About zero, not about the mean: the layer that undoes them has one bias for all places of a block, and no place for
    a mean of each. An axis's sign is that its largest component is positive, so that equal features give equal axes.
    Raises InputError when more axes than values are asked for.
    """
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    if not 1 <= channels <= flat.shape[1]:
        raise InputError(f"bottleneck = {channels}: there are {flat.shape[1]} values to squeeze; give 1 to that many")
    _, axes = np.linalg.eigh(flat.T @ flat / len(flat))
    leading = axes[:, ::-1][:, :channels]
    largest = np.abs(leading).argmax(axis=0)
    signed: Array = (leading * np.sign(leading[largest, np.arange(channels)])).astype(np.float32)
    return signed


def blocks(features: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Features [n, y, x, c] → their blocks, [n, y / rows, x / columns, rows · columns · c]."""
    n, y, x, c = features.shape
    parted = features.reshape(n, y // rows, rows, x // columns, columns, c).transpose(0, 1, 3, 2, 4, 5)
    return parted.reshape(n, y // rows, x // columns, rows * columns * c)


def begin_from(model: Any, teacher: Any, images: npt.NDArray[np.uint8], cut: str = "pool2") -> None:
    """Give ``model`` the weights of ``teacher``, layer by layer of the same name.

    Where the model alone has ``squeeze`` and ``expand`` after the layer ``cut``, these two begin at the principal
    components of the teacher's features there, block by block, from ``images`` uint8 [n, y, x, 3]. Raises InputError
    when the teacher has a layer of another shape, or lacks one.
    """
    import tf_keras

    given = {layer.name: layer.get_weights() for layer in teacher.layers}
    bottleneck = {layer.name: layer for layer in model.layers if layer.name in ("squeeze", "expand")}
    if bottleneck and "squeeze" not in given:
        head = tf_keras.Model(teacher.input, teacher.get_layer(cut).output)
        features = head.predict(images, batch_size=500, verbose=0)
        size = bottleneck["squeeze"].kernel_size
        axes = principal_axes(blocks(features, *size), bottleneck["squeeze"].filters)
        # A convolution's kernel is [y, x, c_in, c_out], a transposed one's [y, x, c_out, c_in]: the same array.
        kernel = axes.reshape(*size, features.shape[-1], axes.shape[1])
        for name in bottleneck:
            given[name] = [kernel, np.zeros_like(bottleneck[name].bias)]
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
