"""Pictures of how far positions are from best tracks: their distribution, and by intensity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from eyewall.centre.cases import Case
from eyewall.centre.scores import INTENSITIES
from eyewall.centre.search import Position

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#a0aec0"
_SHOWN_KM: Final = 400.0


def draw(
    folder: Path, positions: Sequence[Position], places: Sequence[Position], cases: Sequence[Case], threshold: float
) -> None:
    """Write ``errors.png`` and ``intensity.png`` into ``folder``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    known = [p for p in positions if p.truth is not None]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    _share(axes, [p.guess_error_km for p in known], _GREY, "first guess")
    _share(axes, [p.error_km for p in known], _BLUE, "found about the first guess")
    if places:
        surest = {(p.path, p.truth.storm_id): p.error_km for p in places if p.truth and p.found.expected >= threshold}
        basin = [surest.get((case.path, case.storm_id), np.inf) for case in cases]
        _share(axes, basin, _ORANGE, "found basin-wide, without a guess")
    axes.set(xlim=(0, _SHOWN_KM), ylim=(0, 100), xlabel="distance to the best track, km", ylabel="of the cases, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    _save(figure, folder / "errors.png")
    _by_intensity(plt, folder / "intensity.png", known)


def _share(axes: Any, distances_km: Sequence[float], colour: str, label: str) -> None:
    """How many of the distances are at most x, with the median marked."""
    values = np.sort(np.asarray(distances_km, dtype=np.float64))
    share = 100 * np.arange(1, len(values) + 1) / len(values)
    median = float(np.median(values))
    shown = f"median {median:.0f} km" if np.isfinite(median) else "median: missed"
    axes.step(values, share, where="post", color=colour, label=f"{label}: {shown}")
    if median < _SHOWN_KM:
        axes.plot([median], [50], "o", color=colour)


def _by_intensity(plt: Any, file: Path, positions: Sequence[Position]) -> None:
    winds = np.array([np.nan if p.truth is None else p.truth.wind_kt for p in positions])
    errors = np.array([p.error_km for p in positions])
    groups = {name: (winds >= low) & (winds < high) for name, (low, high) in INTENSITIES.items()}
    groups["wind unknown"] = np.isnan(winds)
    groups = {name: chosen for name, chosen in groups.items() if chosen.any()}
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(groups) + 1.4), layout="constrained")
    rows = range(len(groups))
    axes.boxplot([errors[c] for c in groups.values()], orientation="horizontal", positions=list(rows), widths=0.55,
                 whis=(5, 95), showfliers=False, medianprops={"color": _BLUE, "linewidth": 2})  # fmt: skip
    axes.set_yticks(list(rows), [f"{name}\n{int(c.sum())} cases" for name, c in groups.items()])
    axes.invert_yaxis()
    axes.set(xlabel="distance to the best track, km: median, quartiles, 5 and 95 %", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    import matplotlib.pyplot as plt

    # No date and no version inside: equal pictures are equal bytes.
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
