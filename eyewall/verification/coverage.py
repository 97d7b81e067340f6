"""Whether the candidate's circles hold what they say, 68 and 95 % of the outcomes, on seasons they were not fitted on.

A share of all cases may be right by luck where hard cases have too small circles and easy ones too large; so the cases
of a lead are also sorted into fifths by their radius, and in each the radius is compared with the quantile that it
claims to be (a reliability diagram; Wilks 2011, Statistical Methods in the Atmospheric Sciences, 3rd ed., 8.4.4).
"""

from collections import Counter

import numpy as np

from eyewall.contracts.features import OUT_RADIUS_68_KM, OUT_RADIUS_95_KM, SOURCES
from eyewall.verification.bootstrap import MIN_STORMS, interval, resampled_means, storm_weights
from eyewall.verification.forecasts import ModelAnswer
from eyewall.verification.metrics import Bools, Floats
from eyewall.verification.report import DECIMALS, Coverage, CoverageBin, Errors, Interval

BINS = 5
#: Cases in a fifth, below which a quantile of 68 % means nothing.
_MIN_IN_BIN = 10


def coverage_scores(errors: Errors, answer: ModelAnswer | None, resamples: int, seed: int) -> dict[str, Coverage]:
    """Coverage by lead; none at a lead without cases, and none at all for a model that gives no radii."""
    if answer is None or len(answer.radii_km) < 2:
        return {}
    km = errors.methods["model"].km
    found = {}
    for lead, hours in enumerate(errors.leads_h):
        r68, r95 = (answer.radii_km[name][:, lead] for name in (OUT_RADIUS_68_KM, OUT_RADIUS_95_KM))
        counted = errors.counted[:, lead] & np.isfinite(km[:, lead]) & np.isfinite(r68) & np.isfinite(r95)
        if counted.any():
            storm = errors.storm_id[counted].astype(str)
            found[str(hours)] = _coverage(km[counted, lead], r68[counted], r95[counted], storm, resamples, seed)
    return found


def _coverage(km: Floats, r68: Floats, r95: Floats, storm: np.ndarray, resamples: int, seed: int) -> Coverage:
    """Of errors, radii and storms [n] at one lead."""
    in_68, in_95 = km <= r68, km <= r95
    return Coverage(
        n=len(km),
        within_68_pct=_round(100.0 * in_68.mean()),
        within_68_ci95_pct=_interval_pct(in_68, storm, resamples, seed),
        within_95_pct=_round(100.0 * in_95.mean()),
        within_95_ci95_pct=_interval_pct(in_95, storm, resamples, seed),
        radius_68_km=_round(r68.mean()),
        radius_95_km=_round(r95.mean()),
        bins=tuple(
            CoverageBin(
                n=len(part), radius_68_km=_round(r68[part].mean()), error_68_km=_round(np.quantile(km[part], 0.68))
            )
            for part in np.array_split(np.argsort(r68, kind="stable"), BINS)
            if len(part) >= _MIN_IN_BIN
        ),
    )


def _interval_pct(inside: Bools, storm: np.ndarray, resamples: int, seed: int) -> Interval | None:
    """95 % interval of a share, resampling storms; None with one storm."""
    storms, row = np.unique(storm, return_inverse=True)
    if len(storms) < MIN_STORMS:
        return None
    total = np.bincount(row, weights=inside.astype(np.float64), minlength=len(storms)).astype(np.float64)
    count = np.bincount(row, minlength=len(storms)).astype(np.float64)
    found = interval(100.0 * resampled_means(storm_weights(len(storms), resamples, seed), total, count))
    return None if found is None else (_round(found[0]), _round(found[1]))


def answers_by_source(answer: ModelAnswer | None) -> dict[str, int] | None:
    """Cases by what the candidate's answers rest on; None where it does not say."""
    if answer is None or answer.source is None:
        return None
    counts = Counter(SOURCES[index] for index in answer.source.tolist())
    return {source: counts[source] for source in SOURCES if counts[source]}


def _round(value: float) -> float:
    return round(float(value), DECIMALS)
