"""What needs no image and no network: no motion, persistence, mean displacement, and CLIPER-like regressions.

CLIPER (climatology and persistence; Neumann 1972, NOAA TM NWS SR-62; Aberson 1998, Wea. Forecasting 13) regresses the
displacement at each lead on position, past motion, intensity and season. A forecast that does not beat it has no skill.

All methods work in *flat kilometres* about the base position (lat0, lon0), where steady increments of latitude and
longitude are straight lines, and hand over `eyewall.besttrack.sphere` displacements:

    north = K·(lat − lat0)      east = K·c·(lon − lon0)      c = max(cos(lat0), 0.01)      K = π·6371/180 km per degree

with longitude differences taken the short way round (−180 … 180). Great-circle continuation would be as sensible, but
this one gives persistence, the mean displacement and both fits of our check table to the printed digit.

The predictors [n, 9], from the features at the base time (age 0) and 6, 12 and 24 h before it:

    0 lat0 − 20    1 lon0 − lon_origin (degrees, the short way round: −180 … 180)
    2 east, 3 north motion over 12 h     4 east, 5 north motion over 24 h (km/h)
    6 wind0 − 60 (kt; 0 where the wind is unknown)
    7 sin, 8 cos of 2π·day_of_year/365.25

Motion over h hours is flat: (K·c·(lon0 − lon_h)/h, K·(lat0 − lat_h)/h). Where the fix at age 24 is missing the motion
over 12 h stands in, where that at 12 is missing the one over 6 h, and where that is missing too, no motion. (Sampled
cases always have them; a live forecast of a young storm may not.)

The origin of longitude is 135° E where all fitted cases are within 90° of it, as in our check table, else the middle of
the shortest arc that holds them: so the predictor jumps on the far side of the globe, not at Greenwich in the middle of
a basin. In the south latitudes and northward motions are negative, and nothing else changes.

A forecast is asked for storms unlike any in the fit too, where a parabola runs away. So each predictor is clipped to
the range that it has among all cases of the fit; a lead that fell back on persistence is not clipped. (The range of a
lead's own cases alone would change the check table: 746.2 instead of 746.3 km at 72 h.)

The terms of a regression are, with s = predictors / PREDICTOR_SCALES, clipped:

    mean        1                                                                   1 term
    linear      1, s0 … s8                                                         10 terms
    quadratic   1, s0 … s8, then si·sj for i = 0 … 8, j = i … 8 (upper triangle)   55 terms

and the flat forecast [n, l, 2] is the sum over terms t of terms[n, l, t]·coefficients[l, t, 2]. It is plain
arithmetic on [n] arrays, so a TensorFlow graph repeats it; `Cliper.to_json` carries all the numbers it needs.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.cases import Cases
from eyewall.besttrack.sphere import EARTH_RADIUS_KM, displacement_km, shortest_arc_deg
from eyewall.contracts import features as f
from eyewall.contracts.errors import ContractError, InputError

Array = npt.NDArray[Any]
Form = Literal["mean", "linear", "quadratic"]

KM_PER_DEG: Final = float(np.pi * EARTH_RADIUS_KM / 180.0)
MIN_COS_LAT: Final = 0.01  # no storm is within a degree of a pole; this only keeps nonsense finite
YEAR_DAYS: Final = 365.25
LON_ORIGIN_DEG: Final = 135.0
PREDICTORS: Final = (
    "lat_minus_20_deg",
    "lon_minus_origin_deg",
    "east_motion_12h_kmh",
    "north_motion_12h_kmh",
    "east_motion_24h_kmh",
    "north_motion_24h_kmh",
    "wind_minus_60_kt",
    "sin_day_of_year",
    "cos_day_of_year",
)
#: About the spread of each predictor, so that the terms are all of order one and the fit is well-conditioned.
PREDICTOR_SCALES: Final = (10.0, 15.0, 15.0, 15.0, 15.0, 15.0, 25.0, 1.0, 1.0)
_TERMS: Final[dict[str, int]] = {"mean": 1, "linear": 10, "quadratic": 55}
# Cases of one storm are alike: with three per term a quadratic fit on a dozen storms did worse than persistence.
_CASES_PER_TERM: Final = 10
_FORMAT: Final = 2
#: Format 1 knew one origin of longitude and no ranges.
_PREDICTORS_1: Final = (PREDICTORS[0], "lon_minus_135_deg", *PREDICTORS[2:])


def no_motion_km(features: dict[str, Array]) -> Array:
    """The storm stays where it is: zeros [n, l, 2]."""
    return np.zeros((len(features[f.PAST_LAT_DEG]), len(f.LEADS_H), 2))


def persistence_km(features: dict[str, Array], hours: Literal[6, 12] = 6) -> Array:
    """Displacement [n, l, 2] km east, north when the motion of the last ``hours`` (6 or 12) goes on unchanged."""
    motion = _motion_kmh(features, hours)
    leads = np.asarray(f.LEADS_H, dtype=np.float64)
    return flat_to_displacement_km(features, motion[:, None, :] * leads[None, :, None])


def predictors(features: dict[str, Array], lon_origin_deg: float = LON_ORIGIN_DEG) -> Array:
    """The predictors [n, 9] float64 of the module docstring, in the order of PREDICTORS, unscaled, not clipped."""
    lat, lon = _base(features)
    east_of_origin = np.mod(lon - lon_origin_deg + 180.0, 360.0) - 180.0
    m12, m24 = _motion_kmh(features, 12), _motion_kmh(features, 24)
    knows_wind = np.asarray(features[f.PAST_WIND_VALID], dtype=np.float64)[:, -1]
    wind = np.asarray(features[f.PAST_WIND_KT], dtype=np.float64)[:, -1]
    angle = 2.0 * np.pi * np.asarray(features[f.DAY_OF_YEAR], dtype=np.float64) / YEAR_DAYS
    columns = [lat - 20.0, east_of_origin, m12[:, 0], m12[:, 1], m24[:, 0], m24[:, 1]]
    return np.stack([*columns, (wind - 60.0) * knows_wind, np.sin(angle), np.cos(angle)], axis=1)


def predictor_terms(values: Array, form: Form) -> Array:
    """Predictors [..., 9] → terms of the regression [..., 1 | 10 | 55], in the order of the module docstring."""
    scaled = np.asarray(values, dtype=np.float64) / np.asarray(PREDICTOR_SCALES)
    parts = [np.ones((*scaled.shape[:-1], 1))]
    if form != "mean":
        parts.append(scaled)
    if form == "quadratic":
        i, j = np.triu_indices(len(PREDICTORS))
        parts.append(scaled[..., i] * scaled[..., j])
    return np.concatenate(parts, axis=-1)


def flat_to_displacement_km(features: dict[str, Array], flat_km: Array) -> Array:
    """Flat kilometres [n, l, 2] about the base position → displacement on the sphere [n, l, 2], both (east, north)."""
    lat, lon = (v[:, None] for v in _base(features))
    ahead_lat = lat + flat_km[:, :, 1] / KM_PER_DEG
    ahead_lon = lon + flat_km[:, :, 0] / (KM_PER_DEG * _cos_lat(lat))
    return displacement_km(lat, lon, ahead_lat, ahead_lon)


@dataclass(frozen=True)
class Cliper:
    """A regression for each lead. ``coefficients`` [l, t, 2] give flat km (east, north) from the terms of ``form``."""

    form: Form
    coefficients: Array
    lead_forms: tuple[str, ...]  #: [l] what each lead was really fitted as: ``form``, a simpler one, or persistence_12h
    cases: tuple[int, ...]  #: [l] training cases of each lead
    #: [2, l, 9] range of each predictor in the fit, unscaled; minus and plus infinity where a lead is not clipped
    ranges: Array
    lon_origin_deg: float = LON_ORIGIN_DEG

    @classmethod
    def fit(cls, cases: Cases, form: Form = "quadratic") -> Self:
        """Least squares for each lead on the cases that have a target there.

        A lead with fewer than ten cases per term takes the next simpler form (quadratic → linear), and with too few
        for a linear one it takes persistence over 12 h, which is one of the linear form's members; form "mean" wants
        one case. `lead_forms` says what became of each lead. Raises InputError when there is no case at all.
        """
        if form not in get_args(Form):
            raise ContractError(f"no CLIPER form {form!r}: forms are {', '.join(get_args(Form))}")
        if not len(cases):
            raise InputError(
                "no training storm: 0 cases satisfy the sample rules in the training seasons; take earlier or more "
                "seasons, another best-track file, or a lower minimum wind"
            )
        lon_origin_deg = _lon_origin_deg(cases)
        values = predictors(cases.features, lon_origin_deg)
        flat = _flat_targets_km(cases)
        valid = np.asarray(cases.targets[f.TARGET_VALID]) > 0
        coefficients = np.zeros((len(f.LEADS_H), _TERMS[form], 2))
        ranges = _no_ranges()
        lead_forms = []
        for lead, hours in enumerate(f.LEADS_H):
            has = valid[:, lead]
            fitted = _affordable(form, int(has.sum()))
            lead_forms.append(fitted or "persistence_12h")
            if fitted:
                # sin² + cos² = 1 makes one quadratic term redundant; lstsq then gives the smallest coefficients.
                terms = predictor_terms(values[has], fitted)
                coefficients[lead, : terms.shape[1]] = np.linalg.lstsq(terms, flat[has, lead], rcond=1e-10)[0]
                ranges[:, lead] = values.min(axis=0), values.max(axis=0)
            elif form != "mean":
                east, north = (PREDICTORS.index(f"{way}_motion_12h_kmh") for way in ("east", "north"))
                coefficients[lead, 1 + east, 0] = hours * PREDICTOR_SCALES[east]
                coefficients[lead, 1 + north, 1] = hours * PREDICTOR_SCALES[north]
        counts = tuple(int(n) for n in valid.sum(axis=0))
        return cls(form, coefficients, tuple(lead_forms), counts, ranges, lon_origin_deg)

    def predict_km(self, features: dict[str, Array]) -> Array:
        """Displacement [n, l, 2], km east and north of the base position on the sphere."""
        values = predictors(features, self.lon_origin_deg)[:, None, :]  # [n, 1, 9] against [l, 9]
        terms = predictor_terms(np.clip(values, self.ranges[0], self.ranges[1]), self.form)
        return flat_to_displacement_km(features, np.einsum("nlt,ltc->nlc", terms, self.coefficients))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists, enough to repeat `predict_km` elsewhere; `from_json` takes it back exactly."""
        return {
            "format": _FORMAT,
            "form": self.form,
            "leads_h": list(f.LEADS_H),
            "predictors": list(PREDICTORS),
            "predictor_scales": list(PREDICTOR_SCALES),
            "predictor_ranges": [_plain_range(lo, hi) for lo, hi in zip(*self.ranges, strict=True)],
            "lon_origin_deg": self.lon_origin_deg,
            "predictor_terms": "s = predictors / predictor_scales, each predictor clipped to the range of the lead "
            "before (null: not clipped); terms = 1, s0..s8, then s_i*s_j for i <= j, "
            "row by row (mean has only the 1, linear has no products)",
            "coefficients_meaning": "[lead][term][east, north]; flat_km = terms @ coefficients[lead]; "
            "lat = lat0 + north / km_per_deg; lon = lon0 + east / (km_per_deg * max(cos(lat0), min_cos_lat))",
            "km_per_deg": KM_PER_DEG,
            "min_cos_lat": MIN_COS_LAT,
            "year_days": YEAR_DAYS,
            "lead_forms": list(self.lead_forms),
            "cases": list(self.cases),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`; format 1, without ranges, is taken as not clipped.

        Raises ContractError when it is another format, or its numbers do not fit.
        """
        old = values.get("format") == 1
        expected = {
            "format": 1 if old else _FORMAT,
            "leads_h": list(f.LEADS_H),
            "predictors": list(_PREDICTORS_1 if old else PREDICTORS),
            "predictor_scales": list(PREDICTOR_SCALES),
        }
        for key, value in expected.items():
            if values.get(key) != value:
                raise ContractError(
                    f"CLIPER {key} is {values.get(key)!r}, not {value!r}: fit it again with this version"
                )
        try:
            form: Form = values["form"]
            coefficients = np.asarray(values["coefficients"], dtype=np.float64)
            ranges = _no_ranges()
            for lead, pair in enumerate([] if old else values["predictor_ranges"]):
                if pair is not None:
                    ranges[:, lead] = pair
            origin = LON_ORIGIN_DEG if old else float(values["lon_origin_deg"])
            made = cls(form, coefficients, tuple(values["lead_forms"]), tuple(values["cases"]), ranges, origin)
            fits = coefficients.shape == (len(f.LEADS_H), _TERMS[form], 2)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ContractError(f"CLIPER numbers are incomplete ({error}): fit it again") from None
        if not fits or not np.isfinite(coefficients).all():
            raise ContractError(f"CLIPER coefficients of form {form!r} have shape {coefficients.shape}: fit it again")
        if not (ranges[0] <= ranges[1]).all() or not np.isfinite(origin):
            raise ContractError("CLIPER predictor_ranges do not go from the least to the greatest: fit it again")
        return made


def _no_ranges() -> Array:
    """[2, l, 9]: nothing is clipped."""
    return np.broadcast_to([[[-np.inf]], [[np.inf]]], (2, len(f.LEADS_H), len(PREDICTORS))).copy()


def _plain_range(least: Array, greatest: Array) -> list[list[float]] | None:
    """One lead's range as JSON has it: infinity is no JSON number."""
    return [least.tolist(), greatest.tolist()] if np.isfinite(least).all() else None


def _lon_origin_deg(cases: Cases) -> float:
    """Where the longitudes of a fit are counted from; see the module docstring."""
    lon = _base(cases.features)[1]
    if (np.abs(lon - LON_ORIGIN_DEG) <= 90.0).all():
        return LON_ORIGIN_DEG
    west, width = shortest_arc_deg(lon)
    return float(round(west + width / 2) % 360)


def _affordable(form: Form, cases: int) -> Form | None:
    """The richest form up to ``form`` that ``cases`` training cases can carry; None when not even the simplest."""
    if form == "mean":
        return "mean" if cases else None
    wishes: tuple[Form, ...] = ("quadratic", "linear") if form == "quadratic" else ("linear",)
    return next((wish for wish in wishes if cases >= _CASES_PER_TERM * _TERMS[wish]), None)


def _base(features: dict[str, Array]) -> tuple[Array, Array]:
    """Latitude and longitude [n] of the base fixes, float64."""
    lat, lon = (np.asarray(features[name], dtype=np.float64) for name in (f.PAST_LAT_DEG, f.PAST_LON_DEG))
    return lat[:, -1], lon[:, -1]


def _cos_lat(lat_deg: Array) -> Array:
    return np.maximum(np.cos(np.radians(lat_deg)), MIN_COS_LAT)


def _flat_km(lat0: Array, lon0: Array, lat: Array, lon: Array) -> Array:
    """Flat (east, north) km [..., 2] of (lat, lon) from (lat0, lon0); inputs broadcast."""
    turn = np.mod(lon - lon0 + 180.0, 360.0) - 180.0
    return np.stack([KM_PER_DEG * _cos_lat(lat0) * turn, KM_PER_DEG * (lat - lat0)], axis=-1)


def _motion_kmh(features: dict[str, Array], hours: int) -> Array:
    """Flat motion [n, 2] km/h over the last ``hours`` (6, 12 or 24); over fewer where that fix is missing."""
    lat, lon, valid = (
        np.asarray(features[name], dtype=np.float64) for name in (f.PAST_LAT_DEG, f.PAST_LON_DEG, f.PAST_FIX_VALID)
    )
    lat0, lon0 = _base(features)
    motion = np.zeros((len(lat0), 2))
    for age in (6, 12, 24):
        if age <= hours:
            at = f.FIX_AGES_H.index(age)
            since = -_flat_km(lat0, lon0, lat[:, at], lon[:, at]) / age
            motion = np.where(valid[:, at, None] > 0, since, motion)
    return motion


def _flat_targets_km(cases: Cases) -> Array:
    """Where each case went, flat km [n, l, 2]; meaningless where TARGET_VALID is 0."""
    lat0, lon0 = (v[:, None] for v in _base(cases.features))
    targets = (np.asarray(cases.targets[name], dtype=np.float64) for name in (f.TARGET_LAT_DEG, f.TARGET_LON_DEG))
    return _flat_km(lat0, lon0, *targets)
