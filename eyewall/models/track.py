"""The track-only networks: small multilayer perceptrons on the derived track features, alone or as an ensemble.

With CLIPER subtracted out, little signal and some 10^4 dependent cases are left: a network is narrow, normalised by
layer (batch statistics would make two workers differ from one) and regularised by weight decay. What one network of
this size learns beyond the signal is its own; the mean of eight forgets most of it (docs/architecture/10-models.md).
"""

from typing import Any, NamedTuple

import tensorflow as tf
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


class DifficultyNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """How large the error will be: the logarithm of its mean in units of the lead's scale; 0 (so 1) untrained."""

    def __init__(self, widths: tuple[int, ...] = (16, 16), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._body = Perceptron(widths, name="body")
        self._dense = tf_keras.layers.Dense(len(LEADS_H), kernel_initializer="zeros", name="dense")

    def call(self, track: Any) -> Any:
        """Track vector [b, n] → [b, l]."""
        return self._dense(self._body(track))


class Learned(NamedTuple):
    """What a network says: one correction [b, l, 2] or several to be averaged, and the log of its error [b, l]."""

    corrections: tuple[Any, ...]
    log_difficulty: Any | None = None

    @classmethod
    def of(cls, answer: Any) -> "Learned":
        """Of any network's answer: those without an ensemble or a spread answer with their correction."""
        return answer if isinstance(answer, cls) else cls((answer,))

    @property
    def correction(self) -> Any:
        """The mean of the corrections [b, l, 2], in units of the lead's scale."""
        return tf.add_n(list(self.corrections)) / float(len(self.corrections))


class TrackEnsemble(tf_keras.layers.Layer):  # type: ignore[misc]
    """Track networks that differ in their first weights alone, each trained by itself; and one for the spread."""

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 64),
        members: int = 8,
        difficulty: tuple[int, ...] = (16, 16),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.members = [TrackNetwork(widths, name=f"member_{i}") for i in range(members)]
        self._difficulty = DifficultyNetwork(difficulty, name="difficulty")

    def call(self, track: Any) -> Learned:
        """Track vector [b, n] → `Learned`, one correction a member."""
        return Learned(tuple(member(track) for member in self.members), self._difficulty(track))
