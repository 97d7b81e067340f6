"""A search as one picture: its learning curves, and its trials on parallel coordinates."""

import math
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import InputError
from eyewall.tuning.results import Results, Trial


def draw(results: Results, path: Path) -> None:
    """Write the picture to ``path`` (.png, .pdf or .svg). Raises InputError for another ending, or nothing to draw."""
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InputError(f"picture {str(path)!r} ends neither in .png nor in .pdf nor in .svg")
    shown = [trial for trial in results.trials if _value(trial) is not None]
    if not shown:
        raise InputError(f"search {results.sweep.name!r} has reported nothing yet: there is nothing to draw")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), width_ratios=(1, 1.3), layout="constrained")
    colours = _colours(shown)
    _draw_curves(left, results, colours)
    _draw_coordinates(right, results, shown, colours)
    figure.suptitle(f"{results.sweep.name}: {len(results.trials)} trials")
    beside = path.with_name(f".{path.name}.tmp{path.suffix}")
    try:
        figure.savefig(beside, dpi=110)
        beside.replace(path)
    finally:
        plt.close(figure)
        beside.unlink(missing_ok=True)


def _value(trial: Trial) -> float | None:
    value = trial.value if trial.value is not None else trial.last_value
    return value if value is not None and math.isfinite(value) else None


def _colours(shown: list[Trial]) -> dict[int, Any]:
    """From the best (dark) to the worst (pale), by rank: values may differ by orders of magnitude."""
    from matplotlib import colormaps

    scale = colormaps["viridis"]
    return {trial.number: scale(0.95 * i / max(len(shown) - 1, 1)) for i, trial in enumerate(shown)}


def _draw_curves(axes: Any, results: Results, colours: dict[int, Any]) -> None:
    for number, curve in results.curves.items():
        if number in colours:
            steps, values = zip(*curve, strict=True)
            axes.plot(steps, values, color=colours[number], linewidth=1, marker="." if len(curve) == 1 else None)
    finite = sorted(v for curve in results.curves.values() for _, v in curve if math.isfinite(v))
    low, high = finite[0], finite[int(0.95 * (len(finite) - 1))]
    if high > low:  # the worst twentieth would flatten the rest
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set_xlabel("step")
    axes.set_ylabel(results.sweep.spec["objective"]["metric"])


def _draw_coordinates(axes: Any, results: Results, shown: list[Trial], colours: dict[int, Any]) -> None:
    """One upright axis a parameter, the objective last; one line a trial."""
    parameters = results.sweep.spec["parameters"]
    values = {trial.number: _value(trial) for trial in shown}
    low, high = min(v for v in values.values() if v is not None), max(v for v in values.values() if v is not None)
    for trial in reversed(shown):  # the best on top
        heights = [_height(parameter, trial.params[name]) for name, parameter in parameters.items()]
        value = values[trial.number]
        assert value is not None
        heights.append((value - low) / (high - low) if high > low else 0.5)
        axes.plot(range(len(heights)), heights, color=colours[trial.number], linewidth=1)
    names = [*parameters, results.sweep.spec["objective"]["metric"]]
    ends = [_ends(parameter) for parameter in parameters.values()] + [(f"{low:.4g}", f"{high:.4g}")]
    for position, (bottom, top) in enumerate(ends):
        axes.axvline(position, color="0.7", linewidth=0.8, zorder=0)
        axes.text(position, -0.03, bottom, ha="center", va="top", fontsize=8)
        axes.text(position, 1.03, top, ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0, pad=14)
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _height(parameter: dict[str, Any], value: Any) -> float:
    """Where a value stands on its axis, 0 to 1."""
    if parameter["type"] == "categorical":
        place = [repr(choice) for choice in parameter["choices"]].index(repr(value))
        return place / max(len(parameter["choices"]) - 1, 1)
    low, high = parameter["low"], parameter["high"]
    if parameter["log"]:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def _ends(parameter: dict[str, Any]) -> tuple[str, str]:
    if parameter["type"] == "categorical":
        return str(parameter["choices"][0]), str(parameter["choices"][-1])
    return f"{parameter['low']:g}", f"{parameter['high']:g}"
