"""What a search has found so far: its trials from the best to the worst, their curves, and the best as a receipt.

Read from the project's own tables alone, so that it needs neither Optuna nor a running controller.
"""

import math
from typing import Any, NamedTuple

from psycopg.rows import dict_row

from eyewall.contracts.errors import EyewallError
from eyewall.contracts.manifest import Receipt
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.tuning import sweeps
from eyewall.tuning.sweeps import Spent, Sweep

#: job's state → where its trial stands among those without a value; ends before what is on its way.
_RANK = {"succeeded": 0, "pruned": 1, "running": 2, "queued": 3, "blocked": 3, "failed": 4, "cancelled": 4}


class Trial(NamedTuple):
    """One trial: ``value`` is its objective once it succeeded, ``last_value`` what it reported last, at ``step``."""

    number: int
    job: int
    state: str
    reason: str
    params: dict[str, Any]
    value: float | None
    step: int | None
    last_value: float | None


class Results(NamedTuple):
    """A search as it stands; ``trials`` from the best to the worst."""

    sweep: Sweep
    spent: Spent
    trials: list[Trial]
    curves: dict[int, list[tuple[int, float]]]

    @property
    def best(self) -> Trial | None:
        """The best trial that succeeded."""
        return self.trials[0] if self.trials and self.trials[0].value is not None else None

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs; a value that is no number is null."""
        sweep = self.sweep
        return {
            **summary(self),
            "owner": sweep.owner,
            "objective": sweep.spec["objective"],
            "budget": sweep.spec["budget"],
            "spent": {"trials": len(self.trials), **self.spent._asdict()},
            "trials": [trial._asdict() | {"last_value": _number(trial.last_value)} for trial in self.trials],
            "curves": {str(number): [[step, _number(v)] for step, v in curve] for number, curve in self.curves.items()},
        }


def read(connection: Connection, name: str) -> Results:
    """The search of that name. Raises InputError where there is none."""
    sweep = sweeps.find(connection, name)
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("sweeps/leaderboard"), {"sweep": sweep.id}).fetchall()
        points = cursor.execute(statement("sweeps/curves"), {"sweep": sweep.id}).fetchall()
    curves: dict[int, list[tuple[int, float]]] = {}
    for point in points:
        curves.setdefault(point["number"], []).append((point["step"], point["value"]))
    sign = -1.0 if sweep.spec["objective"]["direction"] == "maximize" else 1.0
    trials = [Trial(**{field: row[field] for field in Trial._fields}) for row in rows]
    return Results(
        sweep, sweeps.spent(connection, sweep.id), sorted(trials, key=lambda trial: _order(trial, sign)), curves
    )


def _order(trial: Trial, sign: float) -> tuple[int, float, float, int]:
    """Values first; among those given up, who came furthest."""
    shown = trial.value if trial.value is not None else trial.last_value
    by_value = sign * shown if shown is not None and not math.isnan(shown) else math.inf
    if trial.value is not None:
        return (0, by_value, 0.0, trial.number)
    return (1 + _RANK[trial.state], -float(trial.step or 0), by_value, trial.number)


def summary(results: Results) -> dict[str, Any]:
    """The search in a few words, for the last line of ``--json``."""
    states = [trial.state for trial in results.trials]
    best = results.best
    return {
        "sweep": results.sweep.name,
        "state": results.sweep.state,
        "reason": results.sweep.reason,
        "trials": len(states),
        "succeeded": states.count("succeeded"),
        "pruned": states.count("pruned"),
        "failed": states.count("failed") + states.count("cancelled"),
        "best": None if best is None else {"trial": best.number, "job": best.job, "value": best.value, **best.params},
    }


def receipt(results: Results) -> Receipt:
    """What a search hands on: its summary is {"sweep", "trial", "job", "metric", "value", "params"} of the best trial.

    Raises EyewallError where no trial succeeded.
    """
    best = require_best(results)
    said = {
        "sweep": results.sweep.name,
        "trial": best.number,
        "job": best.job,
        "metric": results.sweep.spec["objective"]["metric"],
        "value": best.value,
        "params": best.params,
    }
    return Receipt(verb="sweep", summary=said)


def require_best(results: Results) -> Trial:
    """The best trial. Raises EyewallError where none succeeded."""
    if results.best is None:
        sweep = results.sweep
        reason = f" ({sweep.reason})" if sweep.reason else ""
        raise EyewallError(
            f"no trial of search {sweep.name!r} succeeded{reason}: see `eyewall sweep show {sweep.name}`"
        )
    return results.best


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
