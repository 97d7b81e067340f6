"""How wide the circles are that hold 68 and 95 % of the outcomes, fitted on seasons that no network learned from.

A network knows which cases are hard, but on its own training cases all are too easy. So its expected error of a case
gives the proportion alone, and one factor for each lead and level is what it takes on the validation split: a quantile
of the errors divided by what was expected (split conformal prediction: Papadopoulos et al. 2002). `eyewall verify`
counts on other seasons how many outcomes the circles hold.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eyewall.besttrack.sphere import distance_km
from eyewall.contracts.features import (
    LEADS_H,
    OUT_LAT_DEG,
    OUT_LON_DEG,
    OUT_RADIUS_68_KM,
    OUT_SOURCE,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
    input_shapes,
)
from eyewall.models.card import Spread
from eyewall.models.forecaster import Forecaster
from eyewall.training.plan import Plan, batches, judged

#: Shares of the outcomes that the circles hold.
LEVELS: Final = (0.68, 0.95)
#: With fewer cases than this at a lead a quantile of 95 % is a guess: CLIPER's radii on the train split stand in.
MIN_CASES: Final = 100
_ONES: Final = (1.0,) * len(LEADS_H)
Floats = npt.NDArray[np.float64]


def fit_spread(plan: Plan, model: Forecaster) -> Spread | None:
    """The spread of a finished model; its ``spread`` is overwritten while this goes on. None: the base has none."""
    if model.base is not None:
        return _fit_seen(plan, model, model.base)
    scale_km = np.array(plan.scale_km)
    cliper_km = np.array(
        [_quantiles(errors, scale) for errors, scale in zip(plan.cliper_error_km.T, scale_km, strict=True)]
    )
    if plan.inputs.track is not None and plan.inputs.track.card.spread is not None:  # whose CLIPER it is
        theirs = plan.inputs.track.card.spread
        cliper_km = np.stack([theirs.cliper_68_km, theirs.cliper_95_km], axis=1)
    model.spread = Spread(factor_68=_ONES, factor_95=_ONES, cliper_68_km=_ONES, cliper_95_km=_ONES)
    ratios = _ratios(plan, model)
    factors = cliper_km / scale_km[:, None]
    for lead in range(len(LEADS_H)):
        known = ratios[np.isfinite(ratios[:, lead]), lead]
        if len(known) >= MIN_CASES:
            factors[lead] = np.quantile(known, LEVELS)
    f68, f95 = (tuple(float(round(v, 4)) for v in column) for column in factors.T)
    c68, c95 = (tuple(float(round(v, 2)) for v in column) for column in cliper_km.T)
    return Spread(factor_68=f68, factor_95=f95, cliper_68_km=c68, cliper_95_km=c95)


def _fit_seen(plan: Plan, model: Forecaster, base: Forecaster) -> Spread | None:
    """Of the answers of a corrected track model that saw an image; its own where validation has too few of them."""
    if base.spread is None:
        return None
    known = base.spread
    model.spread = known.model_copy(update={"factor_68": _ONES, "factor_95": _ONES})
    ratios = _ratios(plan, model)
    factors = np.array([known.factor_68, known.factor_95])
    for lead in range(len(LEADS_H)):
        seen = ratios[np.isfinite(ratios[:, lead]), lead]
        if len(seen) >= MIN_CASES:
            factors[:, lead] = np.quantile(seen, LEVELS)
    f68, f95 = (tuple(float(round(v, 4)) for v in row) for row in factors)
    return known.model_copy(update={"factor_68": f68, "factor_95": f95})


def _quantiles(errors_km: Floats, scale_km: float) -> Floats:
    """Of the finite ones of errors [n]; of an exponential distribution with mean ``scale_km`` where there is none."""
    known = errors_km[np.isfinite(errors_km)]
    return np.quantile(known, LEVELS) if len(known) else -scale_km * np.log1p(-np.array(LEVELS))


def _ratios(plan: Plan, model: Forecaster) -> Floats:
    """Errors over expected ones [n, l] on the validation split; NaN without a target, or where CLIPER answers."""
    names = input_shapes(plan.images)
    specs = {name: tf.TensorSpec((None, *shape), tf.float32) for name, shape in names.items()}
    answer: Any = tf.function(model.forecast, input_signature=[specs], autograph=False)
    parts = [np.zeros((0, len(LEADS_H)))]
    if not plan.schema.counts["val"]:
        return parts[0]
    for features, targets, _ in batches(plan.folder, "val"):
        rows = judged(plan, features)
        out = {name: value.numpy() for name, value in answer({n: features[n][rows] for n in names}).items()}
        error = distance_km(
            out[OUT_LAT_DEG], out[OUT_LON_DEG], targets[TARGET_LAT_DEG][rows], targets[TARGET_LON_DEG][rows]
        )
        counts = (targets[TARGET_VALID][rows] > 0) & (out[OUT_SOURCE][:, None] > 0)
        parts.append(np.where(counts, error / out[OUT_RADIUS_68_KM], np.nan))
    return np.concatenate(parts)
