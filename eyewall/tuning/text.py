"""A search on a terminal: the best, the leaderboard, and the curves as rows of small blocks."""

import math
from collections.abc import Sequence

from eyewall.tuning.results import Results, Trial
from eyewall.tuning.template import text_of

_BLOCKS = "▁▂▃▄▅▆▇█"
_COLUMNS = 24


def report(results: Results, rows: int = 20) -> str:
    """The search in lines; at most ``rows`` trials."""
    sweep, spent = results.sweep, results.spent
    objective = sweep.spec["objective"]
    states = [trial.state for trial in results.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states), key=states.index))
    lines = [
        f"{sweep.name}  {sweep.state}{f': {sweep.reason}' if sweep.reason else ''}",
        f"{objective['direction']} {objective['metric']} ({objective['value']} of each trial)  "
        f"{len(states)} trials{f': {counts}' if counts else ''}  {spent.hours:.2f} h, {spent.gpu_hours:.2f} GPU-h",
    ]
    if results.best is not None:
        lines.append(f"best: trial {results.best.number}, {results.best.value:.6g}, {_params(results.best)}")
    lines.append("")
    low, high = _range(results)
    for trial in results.trials[:rows]:
        values = [value for _, value in results.curves.get(trial.number, [])]
        shown = trial.value if trial.value is not None else trial.last_value
        value, step = "" if shown is None else f"{shown:.6g}", "" if trial.step is None else str(trial.step)
        curve = f"{sparkline(values, low, high):<{_COLUMNS}}"
        lines.append(f"{trial.number:>5}  {trial.state:<10} {value:>12}  {step:>7}  {curve}  {_params(trial)}")
    if len(results.trials) > rows:
        lines.append(f"… and {len(results.trials) - rows} more: --rows, or --json for all")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def sparkline(values: Sequence[float], low: float, high: float, columns: int = _COLUMNS) -> str:
    """A curve in ``columns`` characters at most, from ``low`` to ``high``; what is no number is a question mark."""
    step = max(1, math.ceil(len(values) / columns))
    return "".join(_block(value, low, high) for value in values[step - 1 :: step])


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "?"
    part = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[round(max(0.0, min(1.0, part)) * (len(_BLOCKS) - 1))]


def _range(results: Results) -> tuple[float, float]:
    """What the blocks span: all curves but the outer tenths, so that one divergence does not flatten the rest."""
    values = sorted(v for curve in results.curves.values() for _, v in curve if math.isfinite(v))
    if not values:
        return 0.0, 1.0
    edge = len(values) // 10
    return values[edge], values[-1 - edge]


def _params(trial: Trial) -> str:
    return " ".join(
        f"{name}={value:.5g}" if isinstance(value, float) else f"{name}={text_of(value)}"
        for name, value in trial.params.items()
    )
