"""The report as a table for people: mean errors by lead with their 95 % intervals."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from eyewall.verification.report import LeadScores, Report, Score

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
    table = Table(
        title=f"Mean track error, km, and its 95 % interval; seasons {first}-{last}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for lead in report.leads:
        table.add_column(f"{lead} h", justify="right", no_wrap=True)
    for method, title in TITLES.items():
        scores = [lead.score(method) for lead in report.leads.values()]
        if any(scores):
            table.add_row(title, *(_cell(score) for score in scores), style="bold" if method == "model" else None)
    if report.candidate is not None:
        table.add_row("model's skill", *(_skill(lead) for lead in report.leads.values()))
    table.add_row("cases", *(str(lead.n) for lead in report.leads.values()), style="dim")
    table.add_row("storms", *(str(lead.storms) for lead in report.leads.values()), style="dim")
    return table


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


def _skill(lead: LeadScores) -> str:
    return "-" if lead.model is None or lead.model.skill_pct is None else f"{lead.model.skill_pct:+.1f} %"
