"""The sample: the cases that are verified, those that the baselines are fitted on, and proof that they are apart.

Sample rules are those of `eyewall.besttrack.cases.SampleRules`; where records are given, their box is meant unless the
job names another. The baselines are fitted on other seasons than the verified ones (with records: on those that they
train on), and on no storm of them. They take *every* case of these seasons, also where the records hold only cases with
a frame: skill is measured against the best CLIPER that can be had, not against the one inside a model.

Agencies number the storms of New Year differently (one season's last is the next one's first), so that a storm may
stand in both sets although their seasons are apart: it is left out of the fit.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eyewall.besttrack.cases import Cases, SampleRules, build_cases, what_there_is
from eyewall.besttrack.read import read_tracks
from eyewall.besttrack.sphere import distance_km
from eyewall.besttrack.table import LAT_DEG, LON_DEG, STORM_ID, TIME_UTC
from eyewall.contracts.errors import InputError, LeakError
from eyewall.contracts.features import LEADS_H, PAST_LAT_DEG, PAST_LON_DEG
from eyewall.contracts.fields import DEFAULT_BOX
from eyewall.contracts.jobs import VerifyJob
from eyewall.records.schema import RecordsSchema
from eyewall.records.split import SAME_STORM_KM
from eyewall.verification.metrics import MOTION_H, Bools, Floats, arrival_bearing_rad


@dataclass(frozen=True)
class VerificationSample:
    """What is verified, what the baselines are fitted on, and the truth's direction of motion [n, l]."""

    cases: Cases
    fit_cases: Cases
    truth: pd.DataFrame
    motion_rad: Floats
    fit_seasons: tuple[int, int]
    fit_left_out: tuple[str, ...]  #: storms of the fit file that are verified, as another season's or under another id
    rules: SampleRules

    def select(self, mask: Bools) -> "VerificationSample":
        """The sample with the verified cases of ``mask`` [n] alone."""
        return replace(self, cases=self.cases.select(mask), motion_rad=self.motion_rad[mask])


def rules_of(job: VerifyJob, records: RecordsSchema | None) -> SampleRules:
    """The job's sample rules, in its box, else in that of the records, else in the western North Pacific."""
    return SampleRules.within(job.box or (records.box if records is not None else DEFAULT_BOX), job.min_wind_kt)


def fit_seasons(job: VerifyJob, first_season: int, records: RecordsSchema | None = None) -> tuple[int, int]:
    """Seasons of the fit, inclusive, as the job says; else those that ``records`` train on.

    Without records: all of the fit file (from ``first_season``) that are strictly before the verified ones. Raises
    LeakError when they overlap the verified seasons, InputError when there are none.
    """
    trained = records.seasons["train"] if records is not None else None
    usual = trained or (first_season, job.season_from - 1)
    first = job.fit_from if job.fit_from is not None else usual[0]
    last = job.fit_to if job.fit_to is not None else usual[1]
    if first > last:
        raise InputError(
            f"no season to fit on: the fit would go from {first} to {last};"
            " give --fit a file with seasons before --from, or mend --fit-from and --fit-to"
        )
    if first <= job.season_to and job.season_from <= last:
        raise LeakError(
            f"fit seasons {first}-{last} overlap the verified seasons {job.season_from}-{job.season_to}:"
            f" give --fit-to {job.season_from - 1} or earlier"
        )
    return first, last


def build_sample(job: VerifyJob, records: RecordsSchema | None = None) -> VerificationSample:
    """Read the best tracks and make both sets of cases; ``records`` (their schema) fill in what the job leaves open.

    Raises InputError when no case is left on either side, LeakError when their seasons overlap, TrackError for an
    unusable file.
    """
    if job.season_from > job.season_to:
        raise InputError(f"seasons {job.season_from}-{job.season_to} are none: give --from no later than --to")
    rules = rules_of(job, records)
    truth = read_tracks(job.truth, job.tracks_format)
    fit_table = truth if job.fit in (None, job.truth) else read_tracks(str(job.fit), job.tracks_format)
    seasons = fit_seasons(job, int(fit_table["season"].min()), records)
    cases = build_cases(truth, rules, job.season_from, job.season_to)
    if not len(cases):
        raise InputError(
            f"no storm to verify in seasons {job.season_from}-{job.season_to} of {job.truth!r} ({rules.in_words()});"
            f" the file has {what_there_is(truth, rules, job.season_from, job.season_to)}:"
            " change --from, --to, --min-wind-kt or --box"
        )
    fitted = build_cases(fit_table, rules, *seasons)
    left_out = _storms_in_both(cases, fitted)
    fitted = fitted.select(~np.isin(fitted.storm_id.astype(str), left_out))
    if not len(fitted):
        raise InputError(
            f"no storm to fit CLIPER on in seasons {seasons[0]}-{seasons[1]} of {job.fit or job.truth!r}"
            f" ({rules.in_words()}); it has {what_there_is(fit_table, rules, *seasons)}: give --fit another file or"
            " widen --fit-from and --fit-to"
        )
    return VerificationSample(cases, fitted, truth, truth_motion_rad(cases, truth), seasons, tuple(left_out), rules)


def _storms_in_both(cases: Cases, fitted: Cases) -> list[str]:
    """Ids in ``fitted`` of storms that are in ``cases`` too: by the id, or by being at one place at one time."""
    verified, fit = (
        pd.DataFrame(
            {
                "storm": c.storm_id,
                "time": c.base_time,
                "lat": c.features[PAST_LAT_DEG][:, -1],
                "lon": c.features[PAST_LON_DEG][:, -1],
            }
        )
        for c in (cases, fitted)
    )
    pairs = verified.merge(fit, on="time", suffixes=("", "_fit"))
    apart_km = distance_km(pairs["lat"], pairs["lon"], pairs["lat_fit"], pairs["lon_fit"])
    return sorted({*pairs["storm_fit"][apart_km < SAME_STORM_KM], *(set(verified["storm"]) & set(fit["storm"]))})


def truth_motion_rad(cases: Cases, truth: pd.DataFrame) -> Floats:
    """Direction in which each storm arrives at its position at each lead, [n, l] radians from north; NaN if unknown."""
    fixes = truth.set_index([STORM_ID, TIME_UTC])[[LAT_DEG, LON_DEG]]

    def at(hours: int) -> tuple[Floats, Floats]:
        times = pd.DatetimeIndex(cases.base_time) + pd.Timedelta(hours=hours)
        found = fixes.reindex(pd.MultiIndex.from_arrays([cases.storm_id, times]))
        return found[LAT_DEG].to_numpy(dtype=np.float64), found[LON_DEG].to_numpy(dtype=np.float64)

    return np.stack([arrival_bearing_rad(*at(lead - MOTION_H), *at(lead)) for lead in LEADS_H], axis=1)
