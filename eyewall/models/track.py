"""The track-only network: a small multilayer perceptron on the derived track features.

With CLIPER subtracted out, little signal and some 10^4 dependent cases are left: the network is narrow, normalised by
layer (batch statistics would make two workers differ from one) and regularised by weight decay.
"""

from typing import Any

import tf_keras

from eyewall.contracts.features import LEADS_H


class Perceptron(tf_keras.layers.Layer):  # type: ignore[misc]
    """Dense layers with GELU and layer normalisation: [b, n] → [b, widths[-1]]."""

    def __init__(self, widths: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Names of their own: Keras would number them by what the process made before, and the numbers are saved.
        self._dense = [tf_keras.layers.Dense(w, activation="gelu", name=f"dense_{i}") for i, w in enumerate(widths)]
        self._norm = [tf_keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(len(widths))]

    def call(self, values: Any) -> Any:
        """[b, n] → [b, widths[-1]]."""
        for dense, norm in zip(self._dense, self._norm, strict=True):
            values = norm(dense(values))
        return values


class CorrectionHead(tf_keras.layers.Layer):  # type: ignore[misc]
    """The last layer, all zeros at first: an untrained network corrects nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dense = tf_keras.layers.Dense(
            2 * len(LEADS_H), kernel_initializer="zeros", bias_initializer="zeros", name="dense"
        )
        self._shape = tf_keras.layers.Reshape((len(LEADS_H), 2), name="by_lead")

    def call(self, values: Any) -> Any:
        """[b, n] → correction [b, l, 2] (east, north) in units of the lead's scale."""
        return self._shape(self._dense(values))


class TrackNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Correction from the track alone."""

    def __init__(self, widths: tuple[int, ...] = (64, 64), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._body = Perceptron(widths, name="body")
        self._head = CorrectionHead(name="head")

    def call(self, track: Any) -> Any:
        """Track vector [b, n] → correction [b, l, 2], in units of the lead's scale."""
        return self._head(self._body(track))
