"""The fusion of both, trained together: the track ensemble's correction, plus what images add where there are any.

The other way to it, which few frames ask for, is `eyewall train --track-model`: a trained track model stays as it is,
and an image network learns to correct *it* (`eyewall.models.forecaster.Forecaster` with a ``base``).
"""

from typing import Any

import tf_keras

from eyewall.models.track import Learned, TrackEnsemble


class FusionNetwork(tf_keras.layers.Layer):  # type: ignore[misc]
    """Corrections from track and images; without an image they are the track ensemble's, exactly."""

    def __init__(self, image: Any, track: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """``image``: a network of heading, planes, ages and masks; ``track``: sizes of the ensemble."""
        super().__init__(**kwargs)
        self.track = TrackEnsemble(**(track or {}), name="track")
        self.image = image

    def call(self, *inputs: Any) -> Learned:
        """Inputs of the track ensemble, then the four of the image network → `Learned`, one correction a member."""
        learned = self.track(*inputs[:-4])
        added = self.image(*inputs[-4:])  # 0 without a frame: then the sums are the ensemble's own numbers
        return Learned(tuple(correction + added for correction in learned.corrections), learned.log_difficulty)
