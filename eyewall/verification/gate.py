"""The gate's judgement: a pure function from a verification report and a policy to a decision with its reasons.

In this order, and each with a sentence whatever it comes to:

1. the candidate is a model artifact of the store (what is not there cannot be published);
2. at every lead that counts there are enough cases and storms, and the candidate answered every case;
3. at no lead that counts is its mean error above CLIPER's by more than ``max_worse_than_cliper_pct``;
4. the mean over those leads of its mean errors is not above the incumbent's by more than
   ``max_worse_than_incumbent_pct``. With ``close_call_pct`` > 0 a person is asked, instead of yes or no, about every
   change that is less than this, and about one for the worse that the limit allows: so that a better candidate never
   gets a worse answer.

Anything that fails is a no.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from eyewall.contracts.errors import InputError
from eyewall.contracts.gate import GateDecision, GatePolicy, Verdict
from eyewall.verification.report import LeadScores, Report, Verified

NO_CANDIDATE = "none"


@dataclass(frozen=True)
class _Finding:
    """One rule's outcome and the sentence that gives its numbers."""

    outcome: Literal["pass", "fail", "ask"]
    sentence: str


def judge(report: Report, policy: GatePolicy, evaluation: str = "") -> GateDecision:
    """The decision on the report's candidate; ``evaluation`` is the URI of the report, copied into the decision.

    Raises InputError when a lead that counts is not among the report's leads, or none counts.
    """
    leads = _leads_that_count(report, policy)
    findings = [
        *_candidate(report.candidate),
        *(_lead(lead_h, scores, policy) for lead_h, scores in leads.items()),
        _incumbent(report, leads, policy),
    ]
    outcomes = {finding.outcome for finding in findings}
    verdict: Verdict = "no" if "fail" in outcomes else "ask" if "ask" in outcomes else "yes"
    return GateDecision(
        verdict=verdict,
        reasons=tuple(finding.sentence for finding in findings),
        candidate=report.candidate.uri if report.candidate else NO_CANDIDATE,
        candidate_sha256=report.candidate.sha256 if report.candidate else "",
        incumbent=report.incumbent.uri if report.incumbent else None,
        evaluation=evaluation,
        policy=policy,
    )


def _leads_that_count(report: Report, policy: GatePolicy) -> dict[int, LeadScores]:
    if not policy.leads_h:
        raise InputError("no lead counts: give the gate at least one lead in hours")
    unknown = [lead for lead in policy.leads_h if str(lead) not in report.leads]
    if unknown:
        raise InputError(f"lead {unknown[0]} h is not in the report: choose among {', '.join(report.leads)} h")
    return {lead: report.leads[str(lead)] for lead in sorted(set(policy.leads_h))}


def _candidate(candidate: Verified | None) -> Iterator[_Finding]:
    if candidate is None:
        yield _Finding("fail", "no candidate was verified: there is nothing to publish")
    elif not candidate.publishable:
        yield _Finding(
            "fail",
            f"the candidate {candidate.uri!r} is not a model artifact of this store, so that it cannot be published",
        )


def _change_pct(value: float, reference: float) -> float:
    """Per cent by which ``value`` exceeds ``reference``; a reference without error can only be met or missed.

    Rounded far below what is shown, so that 204 km against 200 km is 2 % and not 2 % and a bit of binary.
    """
    if reference > 0:
        return round(100.0 * (value / reference - 1.0), 9)
    return 0.0 if value == 0 else float("inf")


def _lead(lead_h: int, scores: LeadScores, policy: GatePolicy) -> _Finding:
    sample = f"n = {scores.n}, {scores.storms} storms"
    if scores.n < policy.min_cases or scores.storms < policy.min_storms:
        return _Finding(
            "fail",
            f"{lead_h} h: too few to judge by ({sample}; at least {policy.min_cases} cases and"
            f" {policy.min_storms} storms are wanted)",
        )
    if scores.model is None or scores.model.mean_km is None:
        gaps = f"gave no finite position for {scores.model.missing} cases" if scores.model else "was not scored"
        return _Finding("fail", f"{lead_h} h: the candidate {gaps} ({sample})")
    if scores.cliper is None or scores.cliper.mean_km is None:
        return _Finding(
            "fail", f"{lead_h} h: CLIPER was not scored, so that there is nothing to compare with ({sample})"
        )
    model_km, cliper_km = scores.model.mean_km, scores.cliper.mean_km
    change = _change_pct(model_km, cliper_km)
    passed = change <= policy.max_worse_than_cliper_pct
    verdict = "within" if passed else "beyond"
    return _Finding(
        "pass" if passed else "fail",
        f"{lead_h} h: {model_km:.1f} km against CLIPER {cliper_km:.1f} km ({_pct(change)}, {sample}),"
        f" {verdict} the limit of {_pct(policy.max_worse_than_cliper_pct)}",
    )


def _incumbent(report: Report, leads: dict[int, LeadScores], policy: GatePolicy) -> _Finding:
    if report.incumbent is None:
        return _Finding("pass", "no incumbent: nothing is served that the candidate would replace")
    if report.candidate is not None and report.incumbent.copy_of == report.candidate.sha256:
        return _Finding("pass", f"the candidate is what {report.incumbent.uri} serves already: nothing would change")
    pairs = [(s.model and s.model.mean_km, s.incumbent and s.incumbent.mean_km) for s in leads.values()]
    scored = [(a, b) for a, b in pairs if a is not None and b is not None]
    hours = ", ".join(map(str, leads))
    if len(scored) < len(pairs):
        if all(b is not None for _, b in pairs):
            return _Finding("fail", f"mean over {hours} h: the candidate was not scored at every lead")
        return _Finding("pass", f"mean over {hours} h: the incumbent was not scored at every lead, so nothing is lost")
    model_km, incumbent_km = (sum(values) / len(scored) for values in zip(*scored, strict=True))
    change = _change_pct(model_km, incumbent_km)
    numbers = f"mean over {hours} h: {model_km:.1f} km against the incumbent's {incumbent_km:.1f} km ({_pct(change)})"
    limit, close = policy.max_worse_than_incumbent_pct, policy.close_call_pct
    note = f"; {report.incumbent.note}" if report.incumbent.note else ""
    asks = close > 0 and limit >= -close  # a limit that demands more than a close call leaves nothing to ask
    if change > limit and not (asks and change < close):
        return _Finding("fail", f"{numbers}, beyond the limit of {_pct(limit)}{note}")
    if asks and change > -close:
        return _Finding("ask", f"{numbers}, a close call: it wants a change of {_pct(-close)} to need no person{note}")
    return _Finding("pass", f"{numbers}, within the limit of {_pct(limit)}{note}")


def _pct(value: float) -> str:
    """``−7.5 %``, ``+2.0 %``: with its sign, and a real minus."""
    return f"{value:+.1f} %".replace("-", "−")
