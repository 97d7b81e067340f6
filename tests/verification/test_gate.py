"""The gate's judgement: each rule at its limit, the sentences, and that better is never judged worse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eyewall.contracts.errors import InputError
from eyewall.contracts.gate import GatePolicy
from eyewall.verification.gate import judge
from eyewall.verification.report import Report

ONE_LEAD = GatePolicy(leads_h=(24,))
RANK = {"no": 0, "ask": 1, "yes": 2}


def test_a_yes_gives_its_reasons_with_all_numbers(make_report, make_lead):
    report = make_report({"24": make_lead(412, 38, model=171.2, cliper=185.1)})

    decision = judge(report, ONE_LEAD, "evaluations/eeeeeeeeeeeeeeee")

    # 171.2 / 185.1 = 0.92491: 7.5 % less
    assert decision.verdict == "yes"
    assert decision.deploy
    assert decision.reasons == (
        "24 h: 171.2 km against CLIPER 185.1 km (−7.5 %, n = 412, 38 storms), within the limit of +2.0 %",
        "no incumbent: nothing is served that the candidate would replace",
    )
    assert (decision.candidate, decision.candidate_sha256) == ("models/aaaaaaaaaaaaaaaa", "1" * 64)
    assert (decision.evaluation, decision.incumbent) == ("evaluations/eeeeeeeeeeeeeeee", None)


@pytest.mark.parametrize(
    ("model_km", "verdict"),
    [
        pytest.param(150.0, "yes", id="better"),
        pytest.param(204.0, "yes", id="worse_by_the_2_per_cent_that_are_allowed"),  # 200 · 1.02 = 204
        pytest.param(204.1, "no", id="worse_by_more"),
        pytest.param(None, "no", id="missed_a_case"),
    ],
)
def test_no_lead_may_be_worse_than_cliper_by_more_than_the_limit(make_report, make_lead, model_km, verdict):
    report = make_report({"24": make_lead(100, 9, model=model_km, cliper=200.0)})

    assert judge(report, ONE_LEAD).verdict == verdict


def test_one_bad_lead_is_enough_for_a_no_and_other_leads_do_not_count(make_report, make_lead):
    leads = {
        "12": make_lead(100, 9, model=60.0, cliper=80.0),
        "24": make_lead(100, 9, model=230.0, cliper=200.0),  # 15 % worse
        "72": make_lead(100, 9, model=900.0, cliper=700.0),  # worse as well
    }

    assert judge(make_report(leads), GatePolicy(leads_h=(12,))).verdict == "yes"
    decision = judge(make_report(leads), GatePolicy(leads_h=(12, 24)))
    assert decision.verdict == "no"
    assert "24 h: 230.0 km against CLIPER 200.0 km (+15.0 %" in decision.reasons[1]
    assert "beyond the limit" in decision.reasons[1]
    assert not any("72 h" in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    ("n", "storms", "verdict"),
    [
        pytest.param(30, 3, "yes", id="just_enough"),
        pytest.param(29, 3, "no", id="a_case_too_few"),
        pytest.param(30, 2, "no", id="a_storm_too_few"),
        pytest.param(0, 0, "no", id="none_at_all"),
    ],
)
def test_too_small_a_sample_is_a_no(make_report, make_lead, n, storms, verdict):
    means = {"model": 150.0, "cliper": 200.0} if n else {}
    decision = judge(make_report({"24": make_lead(n, storms, **means)}), ONE_LEAD)

    assert decision.verdict == verdict
    assert f"n = {n}, {storms} storms" in decision.reasons[0]


@pytest.mark.parametrize(
    ("model_km", "policy", "verdict"),
    [
        # incumbent 150 km
        pytest.param(149.0, {}, "yes", id="better_than_the_incumbent"),
        pytest.param(150.0, {}, "yes", id="just_as_good"),
        pytest.param(150.1, {}, "no", id="worse"),
        pytest.param(153.0, {"max_worse_than_incumbent_pct": 2.0}, "yes", id="worse_within_the_limit"),
        pytest.param(149.0, {"close_call_pct": 1.0}, "ask", id="0.7_per_cent_better_is_a_close_call"),
        pytest.param(151.0, {"close_call_pct": 1.0}, "ask", id="0.7_per_cent_worse_is_a_close_call"),
        pytest.param(148.5, {"close_call_pct": 1.0}, "yes", id="1_per_cent_better_is_none"),  # 150 · 0.99
        pytest.param(151.6, {"close_call_pct": 1.0}, "no", id="1.1_per_cent_worse_is_none"),
        pytest.param(
            152.0, {"close_call_pct": 1.0, "max_worse_than_incumbent_pct": 2.0}, "ask", id="allowed_but_asked_about"
        ),
        pytest.param(
            147.0, {"close_call_pct": 1.0, "max_worse_than_incumbent_pct": -5.0}, "no", id="2_better_where_5_are_wanted"
        ),
    ],
)  # fmt: skip
def test_the_incumbent_is_replaced_by_nothing_worse(make_report, make_lead, model_km, policy, verdict):
    report = make_report({"24": make_lead(100, 9, model=model_km, cliper=200.0, incumbent=150.0)})

    assert judge(report, GatePolicy(leads_h=(24,), **policy)).verdict == verdict


def test_leads_are_averaged_for_the_incumbent(make_report, make_lead):
    leads = {
        "12": make_lead(100, 9, model=85.0, cliper=90.0, incumbent=70.0),  # worse here
        "24": make_lead(100, 9, model=155.0, cliper=200.0, incumbent=180.0),  # better there
    }

    decision = judge(make_report(leads), GatePolicy(leads_h=(12, 24)))

    # (85 + 155) / 2 = 120 against (70 + 180) / 2 = 125: 4 % less
    assert decision.verdict == "yes"
    assert "mean over 12, 24 h: 120.0 km against the incumbent's 125.0 km (−4.0 %)" in decision.reasons[-1]


def test_a_no_to_cliper_is_not_softened_by_a_close_call(make_report, make_lead):
    report = make_report({"24": make_lead(100, 9, model=230.0, cliper=200.0, incumbent=229.0)})

    assert judge(report, GatePolicy(leads_h=(24,), close_call_pct=5.0)).verdict == "no"


def test_a_candidate_that_is_served_already_needs_no_person(make_report, make_lead):
    """Trained again from the same records it is the same model: no close call, though nothing changes."""
    incumbent = {"uri": "serving/track/1", "sha256": "3" * 64, "publishable": False, "copy_of": "1" * 64}
    leads = {"24": make_lead(100, 9, model=150.0, cliper=200.0, incumbent=150.0)}

    decision = judge(make_report(leads, incumbent=incumbent), GatePolicy(leads_h=(24,), close_call_pct=1.0))

    assert decision.verdict == "yes"
    assert "serves already" in decision.reasons[-1]


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        pytest.param(None, "no candidate was verified", id="no_candidate"),
        pytest.param(
            {"uri": "mine", "sha256": "2" * 64, "publishable": False},
            "not a model artifact of this store",
            id="stranger",
        ),
    ],
)
def test_what_cannot_be_published_gets_a_no(make_report, make_lead, candidate, sentence):
    report = make_report({"24": make_lead(100, 9, model=150.0, cliper=200.0)}, candidate=candidate)

    decision = judge(report, ONE_LEAD)

    assert decision.verdict == "no"
    assert sentence in decision.reasons[0]


@pytest.mark.parametrize(
    "leads_h", [pytest.param((), id="none"), pytest.param((24, 36), id="one_that_the_report_does_not_have")]
)
def test_a_policy_must_name_leads_of_the_report(make_report, make_lead, leads_h):
    report = make_report({"24": make_lead(100, 9, model=150.0, cliper=200.0)})

    with pytest.raises(InputError, match="lead"):
        judge(report, GatePolicy(leads_h=leads_h))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"leads": {}}, id="empty"),
        pytest.param({"leads": {"24": {"n": 9, "storms": 3, "model": {"mean_km": float("nan")}}}}, id="nan"),
        pytest.param({"leads": {"24": {"n": 9, "storms": 3, "model": {"mean_km": float("inf")}}}}, id="infinite"),
        pytest.param({"leads": {"24": {"n": 9, "storms": 3, "model": {"mean_km": -4.0}}}}, id="negative"),
        pytest.param({"leads": {"tomorrow": {"n": 9, "storms": 3}}}, id="lead_that_is_no_hour"),
        pytest.param({"schema_version": 2}, id="other_version"),
        pytest.param({"kind": "horoscope"}, id="other_kind"),
        pytest.param({"surprise": 1}, id="unknown_field"),
    ],
)
def test_what_is_not_a_report_is_refused(report_values, make_lead, damage):
    values = report_values({"24": make_lead(100, 9, model=150.0, cliper=200.0)})
    Report.model_validate(values)

    with pytest.raises(ValidationError):
        Report.model_validate(values | damage)


errors_km = st.floats(1.0, 2000.0)
policies = st.builds(
    GatePolicy,
    leads_h=st.sampled_from([(12,), (24,), (12, 24)]),
    max_worse_than_cliper_pct=st.floats(-10, 10),
    max_worse_than_incumbent_pct=st.floats(-10, 10),
    close_call_pct=st.one_of(st.just(0.0), st.floats(0.01, 10)),
)


@given(
    model=st.tuples(errors_km, errors_km),
    cliper=st.tuples(errors_km, errors_km),
    incumbent=st.one_of(st.none(), st.tuples(errors_km, errors_km)),
    gain=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    near=st.booleans(),
    policy=policies,
)
def test_a_better_candidate_never_gets_a_worse_answer(
    make_report, make_lead, model, cliper, incumbent, gain, near, policy
):
    """Smaller errors at any lead, all else equal: no → ask → yes, never back. ``near``: errors about the others'."""
    if near:
        model = tuple(c * (0.9 + 0.2 * m / 2000) for c, m in zip(cliper, model, strict=True))
        incumbent = incumbent and tuple(c * (0.9 + 0.2 * i / 2000) for c, i in zip(cliper, incumbent, strict=True))

    def verdict(errors: tuple[float, ...]) -> str:
        leads = {}
        for index, hours in enumerate(("12", "24")):
            served = {"incumbent": incumbent[index]} if incumbent else {}
            leads[hours] = make_lead(100, 9, model=errors[index], cliper=cliper[index], **served)
        return judge(make_report(leads), policy).verdict

    better = tuple(m * (1 - (0.2 if near else 1) * g) for m, g in zip(model, gain, strict=True))

    assert RANK[verdict(better)] >= RANK[verdict(model)]
