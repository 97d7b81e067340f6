"""How good positions are: medians with intervals by resampling storms, by intensity, coverage of circles, misses."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.centre.cases import Case
from eyewall.centre.locate import LEVELS
from eyewall.centre.search import Position

Floats = npt.NDArray[np.float64]

#: Name → lowest and highest wind (kt, 10-minute), the second exclusive.
INTENSITIES: Final = {
    "depression, below 34 kt": (0.0, 34.0),
    "tropical storm, 34-63 kt": (34.0, 64.0),
    "typhoon, 64-84 kt": (64.0, 85.0),
    "typhoon, 85 kt and more": (85.0, np.inf),
}


def median_with_interval(errors_km: Floats, storms: Sequence[str], resamples: int) -> dict[str, Any]:
    """Median and mean of ``errors_km`` [n] (a miss is infinite) with 95 % intervals of the median, km.

    Storms, not frames, are drawn anew: frames of one storm err together (Efron and Tibshirani 1993, ch. 8).
    """
    by_storm = [errors_km[np.asarray(storms) == storm] for storm in sorted(set(storms))]
    rng = np.random.default_rng(0)
    drawn = [
        np.median(np.concatenate([by_storm[i] for i in rng.integers(len(by_storm), size=len(by_storm))]))
        for _ in range(resamples)
    ]
    low, high = np.sort(drawn)[[int(0.025 * resamples), int(0.975 * resamples)]]
    return {
        "n": len(errors_km),
        "storms": len(by_storm),
        "median_km": km(float(np.median(errors_km))),
        "interval_95_km": [km(float(low)), km(float(high))],
        "mean_km": km(float(np.mean(errors_km))),
    }


def km(value: float) -> float | None:
    """One decimal; None where more than half are misses."""
    return round(value, 1) if np.isfinite(value) else None


def guess_scores(positions: Sequence[Position], resamples: int) -> dict[str, Any]:
    """Positions about first guesses against the best tracks, beside the guesses' own errors."""
    known = [p for p in positions if p.truth is not None]
    if not known:
        return {"n": 0}
    errors = np.array([p.error_km for p in known])
    storms = [p.storm_id for p in known]
    scores = median_with_interval(errors, storms, resamples)
    scores["guess_median_km"] = km(float(np.median([p.guess_error_km for p in known])))
    scores["within_68_and_95_circle_pct"] = [
        round(100 * float(np.mean([e <= p.found.radii_km[i] for e, p in zip(errors, known, strict=True)])), 1)
        for i in range(len(LEVELS))
    ]
    scores["by_intensity"] = _by_intensity(errors, known, resamples)
    return scores


def _by_intensity(errors: Floats, positions: Sequence[Position], resamples: int) -> dict[str, Any]:
    winds = np.array([np.nan if p.truth is None else p.truth.wind_kt for p in positions])
    found = {}
    for name, (low, high) in INTENSITIES.items():
        chosen = [int(i) for i in np.flatnonzero((winds >= low) & (winds < high))]
        if chosen:
            storms = [positions[i].storm_id for i in chosen]
            found[name] = median_with_interval(errors[chosen], storms, resamples)
    if np.isnan(winds).any():
        chosen = [int(i) for i in np.flatnonzero(np.isnan(winds))]
        found["wind unknown"] = median_with_interval(errors[chosen], [positions[i].storm_id for i in chosen], resamples)
    return found


def basin_scores(
    positions: Sequence[Position], cases: Sequence[Case], frames: int, threshold: float, resamples: int
) -> dict[str, Any]:
    """Places found basin-wide with at least ``threshold``, against every case.

    The median over all cases counts a storm that is not found as infinitely far.
    """
    surest = [p for p in positions if p.found.expected >= threshold]
    errors = {(p.path, p.truth.storm_id): p.error_km for p in surest if p.truth is not None}
    scores: dict[str, Any] = {
        "threshold": threshold,
        "frames": frames,
        "places": len(surest),
        "false_places_a_frame": round(sum(p.truth is None for p in surest) / max(frames, 1), 3),
    }
    if not cases:
        return scores
    every = np.array([errors.get((c.path, c.storm_id), np.inf) for c in cases])
    scores["found_pct"] = round(100 * float(np.isfinite(every).mean()), 1)
    scores["all"] = median_with_interval(every, [c.storm_id for c in cases], resamples)
    if np.isfinite(every).any():
        kept = [int(i) for i in np.flatnonzero(np.isfinite(every))]
        scores["those_found"] = median_with_interval(every[kept], [cases[i].storm_id for i in kept], resamples)
    strong = [i for i, c in enumerate(cases) if c.wind_kt >= 34]
    if strong:
        scores["found_pct_34_kt_and_more"] = round(100 * float(np.isfinite(every[strong]).mean()), 1)
        scores["34_kt_and_more"] = median_with_interval(every[strong], [cases[i].storm_id for i in strong], resamples)
    return scores


def best_threshold(positions: Sequence[Position], cases: int) -> float:
    """The expected number above which places are storms, such that finds and misses are best balanced (F1)."""
    if not positions or not cases:
        return 0.5
    order = sorted(positions, key=lambda p: -p.found.expected)
    right = np.cumsum([p.truth is not None for p in order])
    best = int(np.argmax(2 * right / (np.arange(1, len(order) + 1) + cases)))
    return round(order[best].found.expected, 4)


def radius_factors(positions: Sequence[Position]) -> tuple[float, float]:
    """What the radii are to be multiplied by so that they hold LEVELS of the cases (split conformal prediction)."""
    known = [p for p in positions if p.truth is not None]
    if len(known) < 20:
        return 1.0, 1.0
    low, high = (
        round(float(np.quantile([p.error_km / p.found.radii_km[i] for p in known], level, method="higher")), 4)
        for i, level in enumerate(LEVELS)
    )
    return low, high
