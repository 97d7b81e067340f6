"""What the study was to show, each as a sentence with its figures: shown, not shown, or not measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eyewall.contracts.split import Option
from eyewall.split.study.analysis import (
    PAPER,
    TOLERANCE,
    Score,
    best_split,
    kind_of,
    losses_of,
    profile_of,
    share_right,
    trials,
    way_of_score,
)
from eyewall.split.study.results import Measurement

#: Accuracy in per cent, and epochs.
_Trained = tuple[float, int]
#: The set of options without all-client.
SMALL_CLIENT = "where the client cannot hold the whole model"


@dataclass(frozen=True)
class Claim:
    """One sentence of what was to be shown, whether it was, and the figures; None: not measured."""

    sentence: str
    holds: bool | None
    figures: str


def all_claims(measured: Mapping[str, Measurement], scores: Sequence[Score]) -> list[Claim]:
    """Every sentence of the issue that figures can decide, in the report's order."""
    claims = accuracy_claims(scores)
    for found in measured.values():
        claims += [
            Claim(f"{found.part}: {claim.sentence}", claim.holds, claim.figures)
            for claim in (*link_claims(found), *planner_claims(found, scores))
        ]
    return claims


def accuracy_claims(scores: Sequence[Score]) -> list[Claim]:
    """What the paper's network was to reach, and how it was to be beaten."""
    found = {
        (s["channels"], kind_of(s)): (float(s["wires"]["float32"]["accuracy_percent"]), int(s["epochs"]))
        for s in scores
    }
    full, eight, one = found.get((32, "plain")), found.get((8, "plain")), found.get((1, "plain"))
    taught = found.get((8, "taught"))
    return [
        Claim(
            "32 filters are within 2 points of the paper's 78.1 %",
            None if full is None else full[0] >= PAPER[32] - 2,
            "not scored" if full is None else f"{full[0]:.2f} %, {full[0] - PAPER[32]:+.2f}",
        ),
        _below_full("8 filters are within 2.5 points of 32", eight, full, lambda below: below <= 2.5),
        _below_full(
            "8 filters that 32 taught are within 2.5 points of them",
            taught,
            full,
            lambda below: below <= 2.5,
            any_epochs=True,
        ),
        _below_full("1 filter is at least 12 points below 32", one, full, lambda below: below >= 12),
        _fewer_bytes_claim(scores, None if full is None else full[0]),
    ]


def _below_full(
    sentence: str,
    fewer: _Trained | None,
    full: _Trained | None,
    holds: Callable[[float], bool],
    any_epochs: bool = False,
) -> Claim:
    """A sentence on how far fewer filters are below 32: both trained as long, or else nothing is said.

    With ``any_epochs`` the question is what a better training makes of them, a longer one too.
    """
    if fewer is None or full is None:
        return Claim(sentence, None, "not scored")
    figures = f"{fewer[0]:.2f} %, {fewer[0] - full[0]:+.2f}"
    if fewer[1] != full[1]:
        figures += f"; trained for {fewer[1]} and {full[1]} epochs"
        if not any_epochs:
            return Claim(sentence, None, figures)
    return Claim(sentence, holds(full[0] - fewer[0]), figures)


def _fewer_bytes_claim(scores: Sequence[Score], full: float | None) -> Claim:
    sentence = "at most 0.6 points are lost at 77 % fewer bytes than the raw image"
    found = [
        (float(result["accuracy_percent"]), result["bytes"], way_of_score(score, wire))
        for score in scores
        for wire, result in score["wires"].items()
        if result["bytes"] <= 0.23 * score["raw_image_bytes"]
    ]
    if full is None or not found:
        return Claim(sentence, None, "not scored")
    accuracy, size, way = max(found)
    return Claim(sentence, full - accuracy <= 0.6, f"{way}: {accuracy:.2f} %, {accuracy - full:+.2f}, {size} bytes")


def link_claims(measured: Measurement) -> list[Claim]:
    """At 10 Mbps a split beats all-cloud, at 1 Gbps all-cloud the split; on the shortest of the links measured."""
    claims = []
    for mbps, split_wins in ((10, True), (1000, False)):
        links = sorted(
            (link for link in measured.links() if link.bandwidth_bps == mbps * 1e6), key=lambda link: link.rtt_s
        )
        first, second = ("a split", "all-cloud") if split_wins else ("all-cloud", "every split")
        sentence = f"at {mbps / 1000:g} Gbps " if mbps >= 1000 else f"at {mbps} Mbps "
        sentence += f"{first} beats {second}"
        if not links:
            claims.append(Claim(sentence, None, "not measured"))
            continue
        split, cloud = best_split(measured, links[0]), measured.cell(links[0], "cloud")
        faster = split.total_s.median < cloud.total_s.median
        per = 1000 / measured.batch
        claims.append(
            Claim(
                sentence,
                faster == split_wins,
                f"{links[0].name}: {split.way} {split.total_s.median * per:.2f} ms a frame, cloud"
                f" {cloud.total_s.median * per:.2f}",
            )
        )
    return claims


def planner_claims(measured: Measurement, scores: Sequence[Score] = ()) -> list[Claim]:
    """The planner within `TOLERANCE` of the measured best on at least 90 % of the links, for some sets of options."""
    claims = []
    for name, options in option_sets(measured, scores).items():
        found = trials(measured, options)
        right = sum(trial.right for trial in found)
        sentence = f"the plan is within {100 * TOLERANCE:.0f} % of the measured best on 90 % of the links, {name}"
        worst = max(found, key=lambda trial: trial.ratio)
        figures = f"{right} of {len(found)}; the worst +{100 * (worst.ratio - 1):.0f} % at {worst.link.name}"
        claims.append(Claim(sentence, share_right(found) >= 90, figures))
    return claims


def option_sets(measured: Measurement, scores: Sequence[Score]) -> dict[str, list[Option]]:
    """What the planner may choose from: everything; without all-client; and what loses little."""
    every = list(profile_of(measured).options)
    sets = {
        "all ways": every,
        SMALL_CLIENT: [option for option in every if option.place != "client"],
    }
    losses = dict(measured.losses) or losses_of(measured, scores)
    if losses:
        good = [o for o in profile_of(measured, losses).options if o.loss <= 1 and o.place != "client"]
        sets[f"of ways that lose at most 1 ({measured.loss_unit}), without all-client"] = good
    return sets
