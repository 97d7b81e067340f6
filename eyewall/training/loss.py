"""The training loss: the length of the displacement error, in units of the lead's scale, smooth near zero.

sqrt(|e|² + δ²) − δ (pseudo-Huber) is the verified measure, the distance, for errors above δ, and a square below.
In the azimuthal-equidistant plane of the targets it differs from the great-circle error by less than 1 % over the
displacements of 72 h (sin(c)/c at 1500 km is 0.991).
"""

from typing import Any

import tensorflow as tf

DELTA = 0.3  #: in units of the lead's scale


def loss_sum(predicted_km: Any, target_km: Any, valid: Any, scale_km: Any, lead_weight: Any) -> Any:
    """[b, l, 2], [b, l, 2], [b, l], [l], [l] → the sum over samples and leads, [].

    A sum, to be divided by the *global* batch: then shares of a batch add up to what the whole batch gives, however
    many targets are missing in each. ``lead_weight`` makes up for leads that fewer samples reach.
    """
    error = (predicted_km - target_km) / scale_km[:, None]
    # A missing target is 0, and multiplied away: the square root has a finite slope everywhere thanks to δ.
    distance = tf.sqrt(tf.reduce_sum(tf.square(error), axis=-1) + DELTA**2) - DELTA
    return tf.reduce_sum(distance * valid * lead_weight)


def difficulty_loss_sum(
    log_difficulty: Any, predicted_km: Any, target_km: Any, valid: Any, scale_km: Any, lead_weight: Any
) -> Any:
    """Loss of the expected error, [b, l] logarithm in units of the lead's scale; the rest as in `loss_sum`.

    log m + r / m, least where m is the mean of the errors r that such cases have: the log-likelihood of an
    exponential distribution, which large errors sway less than they would a Gaussian's. The error is taken as given,
    so that nobody learns to err predictably.
    """
    error = tf.stop_gradient(predicted_km - target_km) / scale_km[:, None]
    distance = tf.sqrt(tf.reduce_sum(tf.square(error), axis=-1))
    return tf.reduce_sum((log_difficulty + distance * tf.exp(-log_difficulty)) * valid * lead_weight)
