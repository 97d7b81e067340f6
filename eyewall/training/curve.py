"""The curve of a training: ``history.csv`` beside its model, and what the job platform hears of it.

A trial of a search that finds its model trained already says the same as the one that trained it, step by step.
"""

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import LEADS_H
from eyewall.models.card import HISTORY_NAME
from eyewall.report import report

#: Set in every job of the platform.
_ATTEMPT = "EYEWALL_ATTEMPT"


def history_csv(state: Any) -> str:
    """One row a step: its loss, and where the model was validated, the score and the errors by lead in km."""
    validated = {int(row[0]): row[1:] for row in state.validations}
    out = io.StringIO()
    out.write("step,loss,val_score," + ",".join(f"val_{lead}h_km" for lead in LEADS_H) + "\n")
    for step, loss in enumerate(state.losses, start=1):
        values = validated.get(step, [float("nan")] * (1 + len(LEADS_H)))
        out.write(",".join([str(step), f"{loss:.9g}", *("" if np.isnan(v) else f"{v:.6g}" for v in values)]) + "\n")
    return out.getvalue()


def report_checkpoint(step: int, score: float, loss: float) -> None:
    """Tell the job platform, where this process is a job of it: perhaps the trial of a search."""
    if _ATTEMPT in os.environ:
        report(step, val_score=score, loss=loss)


def report_again(model: Path) -> None:
    """Report, in a job of the platform, every checkpoint of the finished training whose model is in ``model``.

    Raises ContractError where its history cannot be read.
    """
    if _ATTEMPT not in os.environ:
        return
    path = model / HISTORY_NAME
    try:
        with path.open(newline="") as stream:
            validated = [row for row in csv.DictReader(stream) if row["val_score"]]
        for row in validated:
            report_checkpoint(int(row["step"]), float(row["val_score"]), float(row["loss"]))
    except (OSError, KeyError, ValueError) as error:
        raise ContractError(f"no history of a training in {str(path)!r}: {error!r}; train the model again") from error
