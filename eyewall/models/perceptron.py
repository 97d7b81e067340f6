"""The dense layers that all networks are made of."""

from typing import Any

import tf_keras


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
