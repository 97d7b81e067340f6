"""Additive statistics: sums by storm and lead, from which every score follows and which merge without loss.

A score is a formula over means; a mean is a sum over a count; sums over cases add up. So cases can be verified in
pieces and merged, and a bootstrap over storms is a product of a weight matrix with the sums
(the idea of weatherbenchX's statistics and metrics).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eyewall.verification.metrics import Bools, Floats, TrackErrors

FIELDS = ("n", "km", "motion_n", "along_km", "cross_km", "along_abs_km", "cross_abs_km")


@dataclass(frozen=True)
class StormSums:
    """Counts and sums of one method by storm: every array has shape [s, l], in the order of ``storms``."""

    storms: tuple[str, ...]  #: sorted, each once
    n: Floats  #: cases
    km: Floats  #: sum of great-circle errors
    motion_n: Floats  #: cases with a direction of motion
    along_km: Floats  #: sums of signed errors over those
    cross_km: Floats
    along_abs_km: Floats  #: sums of their sizes
    cross_abs_km: Floats

    def merge(self, other: "StormSums") -> "StormSums":
        """The sums over the cases of both; a storm that stands in both is one storm."""
        storms = tuple(sorted({*self.storms, *other.storms}))
        rows = {storm: row for row, storm in enumerate(storms)}
        merged = {name: np.zeros((len(storms), self.n.shape[1])) for name in FIELDS}
        for part in (self, other):
            index = [rows[storm] for storm in part.storms]  # each storm once, so that += on an index is safe
            for name in FIELDS:
                merged[name][index] += getattr(part, name)
        return StormSums(storms, **merged)

    def at_lead(self, lead: int) -> "StormSums":
        """The sums at one lead (an index), of shape [s, 1], of those storms alone that have a case there."""
        there = self.n[:, lead] > 0
        storms = tuple(storm for storm, kept in zip(self.storms, there, strict=True) if kept)
        return StormSums(storms, **{name: getattr(self, name)[there, lead : lead + 1] for name in FIELDS})


def storm_sums(storm_id: npt.NDArray[np.object_], errors: TrackErrors, counted: Bools) -> StormSums:
    """Sums by storm over the ``counted`` [n, l] cases; ``storm_id`` [n].

    Raises ValueError where a counted case has no error: a score over what a method happened to answer is no score.
    """
    if bool((counted & ~errors.valid).any()):
        raise ValueError(f"{int((counted & ~errors.valid).sum())} counted cases have no forecast: leave them out first")
    storms, row = np.unique(storm_id.astype(str), return_inverse=True)
    with_motion = counted & errors.motion_valid

    def add(values: npt.NDArray[np.generic], mask: Bools) -> Floats:
        total = np.zeros((len(storms), values.shape[1]))
        np.add.at(total, row, np.where(mask, values, 0.0).astype(np.float64))
        return total

    return StormSums(
        tuple(str(storm) for storm in storms),
        n=add(counted, counted),
        km=add(errors.km, counted),
        motion_n=add(with_motion, with_motion),
        along_km=add(errors.along_km, with_motion),
        cross_km=add(errors.cross_km, with_motion),
        along_abs_km=add(np.abs(errors.along_km), with_motion),
        cross_abs_km=add(np.abs(errors.cross_km), with_motion),
    )
