"""The validation split: which checkpoint is the best, and how much of its correction to believe at each lead.

What is corrected is CLIPER, or a trained track model under a fusion; where this file says CLIPER it means either.

A network can do harm on seasons that it has not seen, more so the fewer it was trained on. So the learned correction
is multiplied by a factor between 0 (CLIPER) and 1 (as learned), per lead, chosen on the validation split: shrinkage
of an estimate towards a trusted one (James and Stein 1961), by cross-validation. The test split is never looked at.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.cases import Cases
from eyewall.besttrack.sphere import destination, distance_km
from eyewall.contracts.features import LEADS_H, PAST_LAT_DEG, PAST_LON_DEG, TARGET_LAT_DEG, TARGET_LON_DEG, TARGET_VALID

_FACTORS = np.round(np.linspace(0.0, 1.0, 21), 2)
_DOUBT = 1.0  # standard errors that a gain has to stand out by; with few storms this asks for a lot

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Skill:
    """Mean great-circle errors on the validation split by lead [l], km; NaN at a lead without any case."""

    shrinkage: Floats
    model_km: Floats
    cliper_km: Floats
    n: npt.NDArray[np.int64]

    @classmethod
    def unknown(cls) -> "Skill":
        """Without any case: CLIPER at every lead, for want of evidence."""
        nothing = np.full(len(LEADS_H), np.nan)
        return cls(np.zeros(len(LEADS_H)), nothing, nothing, np.zeros(len(LEADS_H), np.int64))

    @property
    def score(self) -> float:
        """Mean over leads of model over CLIPER: 1 is CLIPER, less is better; 1 without any case."""
        known = self.n > 0
        return float(np.mean(self.model_km[known] / self.cliper_km[known])) if known.any() else 1.0


class Validation:
    """The validation cases and what CLIPER makes of them."""

    def __init__(self, cases: Cases | None, cliper_displacement_km: Floats, doubt: float = _DOUBT) -> None:
        """``cases`` None: the split is empty. CLIPER's displacements are [n, l, 2]. ``doubt`` in standard errors."""
        self._cases = cases
        self._doubt = doubt
        self._cliper = cliper_displacement_km
        if cases is not None:
            _, self._storm = np.unique(cases.storm_id.astype(str), return_inverse=True)

    def __len__(self) -> int:
        return 0 if self._cases is None else len(self._cases)

    def _errors_km(self, displacement_km: Floats) -> Floats:
        """[n, l, 2] → great-circle errors [n, l]; NaN where there is no target."""
        assert self._cases is not None
        features, targets = self._cases.features, self._cases.targets
        lat, lon = destination(
            features[PAST_LAT_DEG][:, -1:],
            features[PAST_LON_DEG][:, -1:],
            displacement_km[..., 0],
            displacement_km[..., 1],
        )
        error = distance_km(lat, lon, targets[TARGET_LAT_DEG], targets[TARGET_LON_DEG])
        return np.where(targets[TARGET_VALID] > 0, error, np.nan)

    def mean_km(self, displacement_km: Floats) -> Floats:
        """Mean great-circle errors [l] of displacements [n, l, 2]; NaN at a lead without any case."""
        if self._cases is None:
            return np.full(len(LEADS_H), np.nan)
        errors = self._errors_km(displacement_km)
        return np.array([np.nanmean(column) if np.isfinite(column).any() else np.nan for column in errors.T])

    @property
    def cases(self) -> Cases | None:
        """The cases; None where there are none."""
        return self._cases

    def judge(self, displacement_km: Floats) -> Skill:
        """Choose the shrinkage for a model's unshrunken displacements [n, l, 2], and say what it reaches with it."""
        leads = len(LEADS_H)
        if self._cases is None:
            return Skill.unknown()
        correction = displacement_km.astype(np.float64) - self._cliper
        errors = np.stack([self._errors_km(self._cliper + factor * correction) for factor in _FACTORS])  # [c, n, l]
        n = np.isfinite(errors[0]).sum(axis=0)
        chosen = np.array([self._shrink(errors[:, :, lead]) for lead in range(leads)])
        means = np.array(
            [
                [np.nanmean(errors[c, :, lead]) if n[lead] else np.nan for c in (chosen[lead], 0)]
                for lead in range(leads)
            ]
        )
        return Skill(_FACTORS[chosen], means[:, 0], means[:, 1], n)

    def cliper(self) -> Skill:
        """What CLIPER reaches: the untrained model."""
        return self.judge(self._cliper)

    def _shrink(self, errors_km: Floats) -> int:
        """Errors [c, n] of one lead by factor → index of the factor to use.

        It maximises the gain over CLIPER less ``doubt`` standard errors of that gain. The standard error is taken over
        storms, as the cases of one storm are far from independent: two storms' luck is no skill.
        """
        known = np.isfinite(errors_km[0])
        if not known.any():
            return 0
        gain = errors_km[:1, known] - errors_km[:, known]  # [c, n]
        storms, index = np.unique(self._storm[known], return_inverse=True)
        if len(storms) < 2:
            return 0
        mean = gain.mean(axis=1)
        # Ratio estimator: a storm's summed deviation from the mean gain, in units of the number of cases.
        deviation = np.stack(
            [np.bincount(index, row - m, minlength=len(storms)) for row, m in zip(gain, mean, strict=True)]
        )
        error = np.sqrt(len(storms) / (len(storms) - 1) * np.square(deviation).sum(axis=1)) / known.sum()
        return int(np.argmax(mean - self._doubt * error))
