"""95 % intervals by resampling storms with replacement (percentile bootstrap, Efron and Tibshirani 1993, ch. 13).

Storms, not cases: forecasts of one storm six hours apart share their errors, so resampling cases would give intervals
that are far too narrow. One weight matrix serves every method at a lead: intervals of differences are paired.
"""

from typing import Final

import numpy as np

from eyewall.verification.metrics import Floats

LEVEL_PCT: Final = 95.0
#: With a single storm nothing can be resampled: there is no interval, rather than one of no width.
MIN_STORMS: Final = 2


def storm_weights(storms: int, resamples: int, seed: int) -> Floats:
    """How often each storm is drawn in each resample: [r, s] of counts, each row adding up to ``storms``."""
    rng = np.random.default_rng([seed, storms])
    return rng.multinomial(storms, np.full(storms, 1.0 / storms), size=resamples).astype(np.float64)


def resampled_means(weights: Floats, totals: Floats, counts: Floats) -> Floats:
    """Means [r, …] of each resample, from sums and counts by storm [s, …]; NaN where a resample has no case."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights @ totals) / (weights @ counts))


def interval(values: Floats) -> tuple[float, float] | None:
    """The central `LEVEL_PCT` of ``values`` [r], or None where no resample has one."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    tail = (100.0 - LEVEL_PCT) / 2
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return float(low), float(high)
