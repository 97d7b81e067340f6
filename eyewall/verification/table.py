"""The report for people: mean errors by lead with their 95 % intervals as a table, and what to know besides."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from eyewall.verification.report import Coverage, LeadScores, Report, Score

#: Rows of the table: method → what people call it.
TITLES = {
    "model": "model",
    "incumbent": "incumbent",
    "cliper": "CLIPER",
    "persistence_6h": "persistence",
}


def report_table(report: Report) -> Table:
    """Methods down, leads across: mean great-circle error in km and its 95 % interval, then cases and storms."""
    first, last = report.sample.seasons
    title = f"Mean track error, km, and its 95 % interval; seasons {first}-{last}"
    table = Table(title=title, title_justify="left", min_width=len(title), box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for lead in report.leads:
        table.add_column(f"{lead} h", justify="right", no_wrap=True)
    for method, title in TITLES.items():
        scores = [lead.score(method) for lead in report.leads.values()]
        if any(scores):
            table.add_row(title, *(_cell(score) for score in scores), style="bold" if method == "model" else None)
    if report.candidate is not None:
        table.add_row("model's skill", *(_skill(lead) for lead in report.leads.values()))
    if report.coverage:
        table.add_row("in 68/95 % circle", *(_held(report.coverage.get(lead)) for lead in report.leads))
    table.add_row("cases", *(str(lead.n) for lead in report.leads.values()), style="dim")
    table.add_row("storms", *(str(lead.storms) for lead in report.leads.values()), style="dim")
    return table


def fits_in_words(report: Report) -> str:
    """On how many cases each CLIPER was fitted: the one in the table, and the one inside each model."""
    sample = report.sample
    first, last = sample.fit_seasons
    here = f"{sample.fit_cases} cases of {sample.fit_storms} storms, seasons {first}-{last}"
    inside = [
        f"; inside {model.uri}: on {max(model.cliper_cases.values())} training samples"
        for model in (report.candidate, report.incumbent)
        if model is not None and model.cliper_cases
    ]
    simpler = [f"{lead} h" for lead in report.leads if sample.cliper_forms.get(lead, "quadratic") != "quadratic"]
    form = f" (too few for its quadratic form at {', '.join(simpler)})" if simpler else ""
    return f"CLIPER of this table was fitted on {here}{form}{''.join(inside)}"


def notes(report: Report) -> list[str]:
    """What a reader of the table has to know besides: storms left out, skew, and what is said of the models."""
    said = []
    if report.sample.fit_left_out:
        said.append(f"note: left out of the fit, because it is verified: {', '.join(report.sample.fit_left_out)}")
    if report.sample.skew:
        said.append(
            "warning: the test split of the records is unlike their training split (the reference), on which a model"
            " learned:\n" + "\n".join(f"  {sentence}" for sentence in report.sample.skew)
        )
    models = (model for model in (report.candidate, report.incumbent) if model is not None and model.note)
    return said + [f"note on {model.uri}: {model.note}" for model in models]


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    if score.mean_km is None:
        return f"{score.missing} missing"
    if score.ci95_km is None:
        return f"{score.mean_km:.1f}"
    low, high = score.ci95_km
    digits = 1 if high < 100 else 0
    return f"{score.mean_km:.1f}\n{low:.{digits}f}-{high:.{digits}f}"  # two lines: five leads fit into 80 columns


def _held(coverage: Coverage | None) -> str:
    return "-" if coverage is None else f"{coverage.within_68_pct:.0f}/{coverage.within_95_pct:.0f} %"


def _skill(lead: LeadScores) -> str:
    return "-" if lead.model is None or lead.model.skill_pct is None else f"{lead.model.skill_pct:+.1f} %"
