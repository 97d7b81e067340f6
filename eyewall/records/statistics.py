"""Statistics of every feature, gathered sample by sample, and the comparison of two sets of them (skew).

Sums are float64 and additive, so that nothing but a few numbers per feature is kept however many samples there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.contracts.features import (
    DAY_OF_YEAR,
    IMAGE_AGE_H,
    IMAGE_VALID,
    IMAGES,
    LEADS_H,
    PAST_FIX_VALID,
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_PRESSURE_HPA,
    PAST_PRESSURE_VALID,
    PAST_WIND_KT,
    PAST_WIND_VALID,
    TARGET_DISPLACEMENT_KM,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
)
from eyewall.records.schema import FeatureStatistics, SplitStatistics

#: The mask that says which values of a feature exist.
MASK_OF: Final = {
    PAST_LAT_DEG: PAST_FIX_VALID,
    PAST_LON_DEG: PAST_FIX_VALID,
    PAST_WIND_KT: PAST_WIND_VALID,
    PAST_PRESSURE_HPA: PAST_PRESSURE_VALID,
    IMAGE_AGE_H: IMAGE_VALID,
    TARGET_LAT_DEG: TARGET_VALID,
    TARGET_LON_DEG: TARGET_VALID,
}
_SMALL: Final = (*MASK_OF, *sorted(set(MASK_OF.values())), DAY_OF_YEAR, TARGET_DISPLACEMENT_KM)
_SAMPLES_AT_ONCE: Final = 256


@dataclass
class _Sums:
    """Additive numbers of one feature; moments about the first valid value, which keeps their digits."""

    seen: int = 0
    count: int = 0
    origin: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    least: float = np.inf
    most: float = -np.inf

    def add(self, values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> None:
        self.seen += values.size
        kept = values[valid].astype(np.float64)
        if not kept.size:
            return
        if not self.count:
            self.origin = float(kept[0])
        self.count += kept.size
        shifted = kept - self.origin
        self.total += float(shifted.sum())
        self.squares += float(np.square(shifted).sum())
        self.least = min(self.least, float(kept.min()))
        self.most = max(self.most, float(kept.max()))

    def result(self) -> FeatureStatistics:
        if not self.count:
            return FeatureStatistics(count=0, missing_fraction=float(self.seen > 0), mean=0, std=0, min=0, max=0)
        offset = self.total / self.count
        return FeatureStatistics(
            count=self.count,
            missing_fraction=1 - self.count / self.seen,
            mean=self.origin + offset,
            std=float(np.sqrt(max(self.squares / self.count - offset**2, 0.0))),
            min=self.least,
            max=self.most,
        )


class Gatherer:
    """Takes samples, gives `FeatureStatistics` by name; displacement targets by lead and component.

    The small features of some samples are gathered before they are summed, which saves most of the work; images are
    summed one by one.
    """

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}
        self._waiting: list[dict[str, Any]] = []

    def add(self, sample: Mapping[str, Any]) -> None:
        """Count one sample (values shaped by `eyewall.contracts.features`)."""
        self._waiting.append({name: sample[name] for name in _SMALL if name in sample})
        if len(self._waiting) == _SAMPLES_AT_ONCE:
            self._flush()
        if IMAGES in sample:
            # Pixels of frames that do not exist are not missing pixels: IMAGE_AGE_H counts missing frames.
            present = np.asarray(sample[IMAGES])[np.asarray(sample[IMAGE_VALID]) > 0]
            self._add(IMAGES, present, present)

    def result(self) -> SplitStatistics:
        """Statistics so far, by sorted name."""
        self._flush()
        return {name: self._sums[name].result() for name in sorted(self._sums)}

    def _add(self, name: str, values: Any, valid: Any) -> None:
        array = np.asarray(values, dtype=np.float32)
        self._sums.setdefault(name, _Sums()).add(array, np.asarray(valid) > 0)

    def _flush(self) -> None:
        if not self._waiting:
            return
        names = self._waiting[0].keys()
        rows = {name: np.stack([np.asarray(sample[name]) for sample in self._waiting]) for name in names}
        self._waiting.clear()
        for name, mask in MASK_OF.items():
            if name in rows:
                self._add(name, rows[name], rows[mask])
        self._add(DAY_OF_YEAR, rows[DAY_OF_YEAR], np.ones_like(rows[DAY_OF_YEAR]))
        for i, lead in enumerate(LEADS_H):
            for j, component in enumerate(("east", "north")):
                values = rows[TARGET_DISPLACEMENT_KM][:, i, j]
                self._add(f"{TARGET_DISPLACEMENT_KM}.{lead}h.{component}", values, rows[TARGET_VALID][:, i])


def skew(reference: SplitStatistics, other: SplitStatistics, *, tolerance_std: float = 0.5) -> list[str]:
    """One sentence for every feature of ``other`` that differs much from ``reference``.

    Reported are: means that differ by more than ``tolerance_std`` standard deviations of the reference (of the larger
    of both where the reference has none), missing fractions that differ by more than 0.2, and features that only one
    side has. Empty when both agree.
    """
    sentences = [
        f"{name} is only in {'the reference' if name in reference else 'the other'}: the two were made differently"
        for name in sorted(set(reference) ^ set(other))
    ]
    for name in sorted(set(reference) & set(other)):
        a, b = reference[name], other[name]
        if a.count and b.count:
            spread = a.std or b.std
            difference = abs(b.mean - a.mean)
            if difference > tolerance_std * spread:
                ratio = f"{difference / spread:.2f} standard deviations" if spread else "two constants"
                sentences.append(f"{name}: mean {b.mean:.6g} against {a.mean:.6g} in the reference ({ratio} apart)")
        if a.count + b.count and abs(b.missing_fraction - a.missing_fraction) > 0.2:
            sentences.append(
                f"{name}: {b.missing_fraction:.0%} missing against {a.missing_fraction:.0%} in the reference"
            )
    return sentences
