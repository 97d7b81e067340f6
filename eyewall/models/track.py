"""The track-only networks: small multilayer perceptrons on the derived track features, alone or as an ensemble.

Beside the features a network may read the fixes themselves, one after the other (`eyewall.models.sequence`).

With CLIPER subtracted out, little signal and some 10^4 dependent cases are left: a network is narrow, normalised by
layer (batch statistics would make two workers differ from one) and regularised by weight decay. What one network of
this size learns beyond the signal is its own; the mean of eight forgets most of it (docs/architecture/10-models.md).
"""

from typing import Any, Literal, NamedTuple

import tensorflow as tf
import tf_keras

from eyewall.contracts.features import LEADS_H
from eyewall.models.perceptron import Perceptron
from eyewall.models.sequence import Attention, Recurrent


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

    def __init__(
        self, widths: tuple[int, ...] = (64, 64), sequence: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """``sequence``: kind and sizes of a network that reads the fixes as well, as in `TrackEnsemble`."""
        super().__init__(**kwargs)
        self._fixes = _sequence_network(**sequence) if sequence else None
        self._body = Perceptron(widths, name="body")
        self._head = CorrectionHead(name="head")

    def call(self, track: Any, fixes: Any = None, valid: Any = None) -> Any:
        """Track vector [b, n], fixes [b, f, c] and masks [b, f] → correction [b, l, 2], in units of a lead's scale."""
        if self._fixes is not None:
            read = self._fixes(fixes, valid)
            track = tf.concat([tf.cast(track, read.dtype), read], axis=-1)
        return tf.cast(self._head(self._body(track)), tf.float32)


def _sequence_network(kind: Literal["gru", "lstm", "attention"], width: int, layers: int) -> Any:
    if kind == "attention":
        return Attention(width, layers, name="fixes")
    return Recurrent(kind, width, layers, name="fixes")


class DifficultyNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """How large the error will be: the logarithm of its mean in units of the lead's scale; 0 (so 1) untrained."""

    def __init__(self, widths: tuple[int, ...] = (16, 16), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._body = Perceptron(widths, name="body")
        self._dense = tf_keras.layers.Dense(len(LEADS_H), kernel_initializer="zeros", name="dense")

    def call(self, track: Any) -> Any:
        """Track vector [b, n] → [b, l]."""
        return tf.cast(self._dense(self._body(track)), tf.float32)


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
        sequence: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """``sequence``: ``kind`` (gru, lstm, attention), ``width`` and ``layers`` of what reads the fixes, if any."""
        super().__init__(**kwargs)
        self.members = [TrackNetwork(widths, sequence, name=f"member_{i}") for i in range(members)]
        self._difficulty = DifficultyNetwork(difficulty, name="difficulty")
        self.reads_fixes = sequence is not None

    def call(self, track: Any, *fixes: Any) -> Learned:
        """Track vector [b, n], and fixes [b, f, c] with masks [b, f] if it reads them → `Learned`."""
        return Learned(tuple(member(track, *fixes) for member in self.members), self._difficulty(track))
