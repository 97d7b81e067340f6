"""``skill.png``: mean error with its 95 % interval by lead for the methods, and skill over CLIPER below it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eyewall.verification.report import Report, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Drawn methods, front to back: method → (label, colour, marker). Colours of Okabe and Ito, safe for colour-blind eyes.
STYLES: Final = {
    "model": ("model", "#D55E00", "o"),
    "incumbent": ("incumbent", "#0072B2", "s"),
    "cliper": ("CLIPER", "#333333", "D"),
    "persistence_6h": ("persistence (6 h)", "#009E73", "^"),
}
#: Hours by which the methods are set apart, so that their bars do not hide each other.
_DODGE_H: Final = 0.7
_SIZE_IN: Final = (7.5, 7.0)
_DPI: Final = 130


def draw_skill(report: Report, path: Path) -> None:
    """Draw ``report`` into the PNG ``path``; equal reports give equal bytes (no time stamp, no software version)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    drawn = [method for method in STYLES if any(lead.score(method) for lead in report.leads.values())]
    for place, method in enumerate(drawn):
        shift = (place - (len(drawn) - 1) / 2) * _DODGE_H
        _bars(above, report, method, shift, "mean_km", "ci95_km")
        if method != "cliper":
            _bars(below, report, method, shift, "skill_pct", "skill_ci95_pct")
    _dress(above, below, report)
    figure.savefig(path, format="png", metadata={"Software": None})


def _bars(axes: "Axes", report: Report, method: str, shift_h: float, value: str, interval: str) -> None:
    label, colour, marker = STYLES[method]
    hours, values, below, above = [], [], [], []
    for lead, scores in report.leads.items():
        score: Score | None = scores.score(method)
        centre = getattr(score, value, None)
        if centre is None:
            continue
        low, high = getattr(score, interval, None) or (centre, centre)
        hours.append(int(lead) + shift_h)
        values.append(centre)
        # The mean may lie a rounding outside the interval of its resamples.
        below.append(max(centre - low, 0.0))
        above.append(max(high - centre, 0.0))
    axes.errorbar(
        hours, values, yerr=[below, above], label=label, color=colour, marker=marker, markersize=5, linewidth=1.4,
        elinewidth=1.1, capsize=3, zorder=4 if method == "model" else 3,
    )  # fmt: skip


def _dress(above: "Axes", below: "Axes", report: Report) -> None:
    first, last = report.sample.seasons
    seasons = f"season {first}" if first == last else f"seasons {first}–{last}"
    above.set_title(
        f"Track forecasts, {seasons}: {report.sample.cases} cases of {report.sample.storms} storms", loc="left"
    )
    above.set_ylabel("mean great-circle error (km)")
    above.set_ylim(bottom=0)
    above.legend(frameon=False, loc="upper left")
    below.axhline(0, color=STYLES["cliper"][1], linewidth=1)
    below.annotate(
        "CLIPER", (1, 0), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
        va="center", fontsize=8, color=STYLES["cliper"][1],
    )  # fmt: skip
    below.set_ylabel("skill over CLIPER (%)")
    below.set_xlabel("lead (hours), cases, storms   ·   bars: 95 % interval, resampling storms")
    leads = [int(lead) for lead in report.leads]
    labels = [f"{lead}\n{scores.n}\n{scores.storms}" for lead, scores in report.leads.items()]
    below.set_xticks(leads, labels, fontsize=8)
    _clean(above, below)


def _clean(*all_axes: Any) -> None:
    for axes in all_axes:
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
