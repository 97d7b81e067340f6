"""``card.md``: what a model is, for people: data, seasons, scores by lead and slice, calibration, known failures.

Made from the model's own card (``model.json``) and a verification report, so that nothing in it is typed by hand. It
lies beside the report, and publishing takes it along.
"""

from typing import Final

from eyewall.contracts.features import LEADS_H
from eyewall.models.card import ModelCard
from eyewall.verification.report import Coverage, LeadScores, Report, Verified

CARD_MD: Final = "card.md"
CALIBRATION_PLOT: Final = "calibration.png"
#: A slice is named as a failure where it has at least so many cases.
_MIN_SLICE: Final = 30
#: Percentage points by which a coverage may be off before it is named.
_COVERAGE_OFF_PCT: Final = 5.0


def card_text(report: Report, card: ModelCard, *, plots: bool) -> str:
    """The model card as Markdown; equal reports give equal text."""
    assert report.candidate is not None
    parts = [
        f"# Model `{report.candidate.uri}`",
        _what(card),
        "## Data\n\n" + _data(card),
        "## Training\n\n" + _training(card),
        f"## Scores, seasons {_span(report.sample.seasons)}\n\n" + _scores(report, plots),
        f"## Slices\n\nSkill over CLIPER, and cases, where there are at least {_MIN_SLICE}.\n\n" + _slices(report),
        "## Uncertainty\n\n" + _uncertainty(report.coverage, plots),
        "## Known failures\n\n" + _list(failures(report)),
    ]
    return "\n\n".join(parts) + "\n"


def failures(report: Report) -> list[str]:
    """Where the candidate is worse than CLIPER, or its circles are wrong, in sentences."""
    found = _worse_slices(report)
    for hours, scores in report.leads.items():
        if scores.model is not None and scores.model.missing:
            found.append(f"{hours} h: no position for {scores.model.missing} of {scores.n} cases")
    for hours, coverage in report.coverage.items():
        for level, got in ((68, coverage.within_68_pct), (95, coverage.within_95_pct)):
            if abs(got - level) > _COVERAGE_OFF_PCT:
                found.append(f"{hours} h: the circles of {level} % hold {got:.1f} % of the outcomes")
    fell_back = (report.answers or {}).get("cliper", 0)
    if fell_back:
        found.append(
            f"{fell_back} of {report.sample.cases} answers were CLIPER's: inputs missing, or unlike the training"
        )
    return found or ["none was seen in this verification"]


def _worse_slices(report: Report) -> list[str]:
    found = []
    for slicing, classes in report.slices.items():
        for label, leads in classes.items():
            for hours, scores in leads.items():
                skill = _skill(scores)
                if skill is not None and skill < 0 and scores.n >= _MIN_SLICE:
                    found.append(
                        f"{slicing} *{label}* at {hours} h: {-skill:.1f} % worse than CLIPER"
                        f" ({scores.n} cases of {scores.storms} storms)"
                    )
    return found


def _what(card: ModelCard) -> str:
    takes = f"{card.images.frames} images of {card.images.px} px" if card.images.frames else "no images"
    return (
        f"A typhoon-track model of kind *{card.kind}*: positions {_hours(card.leads_h)} h ahead from fixes of the last"
        f" {max(card.fix_ages_h)} h and {takes}. It corrects CLIPER, and is CLIPER where inputs are missing or unlike"
        f" all that it was fitted on. {card.parameters} trained weights."
    )


def _data(card: ModelCard) -> str:
    rows = [
        f"| {split} | {_span((min(seasons), max(seasons))) if seasons else '–'} | {card.samples.get(split, 0)} |"
        for split, seasons in card.seasons.items()
    ]
    judged = f", and judged on those of at least {card.min_wind_kt:g} kt" if card.min_wind_kt else ""
    source = f"Records `{card.records_sha256[:16]}`{judged}."
    return "\n".join(["| split | seasons | samples |", "| --- | --- | --- |", *rows, "", source])


def _training(card: ModelCard) -> str:
    shrinkage = ", ".join(f"{card.shrinkage[str(h)]:g} at {h} h" for h in LEADS_H if str(h) in card.shrinkage)
    return (
        f"{card.steps} steps of {card.batch} samples, strategy {card.strategy}, learning rate {card.learning_rate:g},"
        f" seed {card.seed}; the weights are those of step {card.best_step}. Share of the correction that validation"
        f" left: {shrinkage or 'not known'}."
    )


def _scores(report: Report, plots: bool) -> str:
    rows = []
    for hours, scores in report.leads.items():
        difference = scores.model_minus_cliper
        between = difference.ci95_km if difference is not None else None
        interval = f"{between[0]:+.1f} … {between[1]:+.1f}" if between else "–"
        skill = _skill(scores)
        rows.append(
            f"| {hours} h | {scores.n} / {scores.storms} | {_km(scores, 'model')} | {_km(scores, 'cliper')} |"
            f" {_km(scores, 'persistence_6h')} | {'–' if skill is None else f'{skill:+.1f} %'} | {interval} |"
        )
    head = [
        "Mean great-circle error, km; every method on the same cases. The last column is the 95 % interval of model"
        " minus CLIPER, resampling storms.",
        "",
        "| lead | cases / storms | model | CLIPER | persistence | skill | model − CLIPER, km |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    note = report.candidate.note if isinstance(report.candidate, Verified) else None
    return "\n".join([*head, *rows, *(["", "![skill](skill.png)"] if plots else []), *(["", note] if note else [])])


def _slices(report: Report) -> str:
    leads = list(report.leads)
    lines = ["| slice | " + " | ".join(f"{h} h" for h in leads) + " |", "| --- |" + " --- |" * len(leads)]
    for slicing, classes in report.slices.items():
        for label, scores in classes.items():
            cells = []
            for hours in leads:
                at = scores.get(hours)
                skill = _skill(at) if at is not None and at.n >= _MIN_SLICE else None
                cells.append("–" if at is None or skill is None else f"{skill:+.1f} % ({at.n})")
            if any(cell != "–" for cell in cells):
                lines.append(f"| {slicing} {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _uncertainty(coverage: dict[str, Coverage], plots: bool) -> str:
    if not coverage:
        return "The model draws no circles."
    lines = [
        "Outcomes that the circles hold, with the 95 % interval by resampling storms, and their mean radii.",
        "",
        "| lead | circle of 68 % | circle of 95 % | radii, km |",
        "| --- | --- | --- | --- |",
    ]
    for hours, at in coverage.items():
        first = f"{at.within_68_pct:.1f} %{_between(at.within_68_ci95_pct)}"
        second = f"{at.within_95_pct:.1f} %{_between(at.within_95_ci95_pct)}"
        lines.append(f"| {hours} h | {first} | {second} | {at.radius_68_km:.0f}, {at.radius_95_km:.0f} |")
    return "\n".join([*lines, *(["", f"![calibration]({CALIBRATION_PLOT})"] if plots else [])])


def _between(interval: tuple[float, float] | None) -> str:
    return f" ({interval[0]:.0f}–{interval[1]:.0f})" if interval else ""


def _skill(scores: LeadScores) -> float | None:
    return scores.model.skill_pct if scores.model is not None else None


def _km(scores: LeadScores, method: str) -> str:
    score = scores.score(method)
    return "–" if score is None or score.mean_km is None else f"{score.mean_km:.1f}"


def _hours(leads: tuple[int, ...]) -> str:
    return ", ".join(map(str, leads[:-1])) + f" and {leads[-1]}"


def _span(seasons: tuple[int, int]) -> str:
    return f"{seasons[0]}–{seasons[1]}" if seasons[0] != seasons[1] else str(seasons[0])


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
