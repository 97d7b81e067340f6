"""``skill.png``: mean error with its 95 % interval by lead for the methods, and skill over CLIPER below it.

``calibration.png``: whether the candidate's circles hold what they say.
"""

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


def draw_calibration(report: Report, path: Path) -> None:
    """Draw the circles' coverage by lead, and their radii against what they claim to be, into the PNG ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    hours = [int(lead) for lead in report.coverage]
    for level, colour, shift in ((68, "#D55E00", -_DODGE_H), (95, "#0072B2", _DODGE_H)):
        held = [getattr(at, f"within_{level}_pct") for at in report.coverage.values()]
        ranges = [getattr(at, f"within_{level}_ci95_pct") for at in report.coverage.values()]
        spans = [(v - r[0], r[1] - v) if r else (0.0, 0.0) for v, r in zip(held, ranges, strict=True)]
        bars = [[max(span[side], 0.0) for span in spans] for side in (0, 1)]
        left.errorbar([h + shift for h in hours], held, yerr=bars, fmt="o", color=colour, label=f"circle of {level} %")
        left.axhline(level, color=colour, linewidth=1, linestyle="--")
    left.set(ylim=(40, 100), xlabel="lead (hours)", ylabel="outcomes inside (%)", title="coverage")
    left.set_xticks(hours)
    left.legend(frameon=False, loc="lower right")
    for (lead, at), colour in zip(report.coverage.items(), _LEAD_COLOURS, strict=False):
        radii, errors = [b.radius_68_km for b in at.bins], [b.error_68_km for b in at.bins]
        right.loglog(radii, errors, "o-", color=colour, markersize=4, label=f"{lead} h")
    ends = [b.radius_68_km for at in report.coverage.values() for b in at.bins] or [1.0]
    right.loglog([min(ends), max(ends)], [min(ends), max(ends)], color="#333333", linewidth=1, linestyle="--")
    right.set(xlabel="mean radius of the 68 % circle (km)", ylabel="68 % of errors are below (km)", title="by fifths")
    right.legend(frameon=False)
    _clean(left, right)
    figure.savefig(path, format="png", metadata={"Software": None})


#: By lead, of Okabe and Ito.
_LEAD_COLOURS: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")


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
