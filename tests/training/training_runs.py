"""Trainings as processes of their own: begun, waited for, and what they wrote down."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from eyewall.contracts.jobs import TrainJob

ROOT = Path(__file__).parents[2]


def size(shape: list[int]) -> int:
    """Elements."""
    product = 1
    for length in shape:
        product *= length
    return product


def start(asked: TrainJob, **environ: str) -> subprocess.Popen[str]:
    """The command, as a person or a pod runs it."""
    command = [sys.executable, "-m", "eyewall.cli", *asked.to_args(), "--json"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | environ
    )


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """Its summary, and what it said."""
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return json.loads(out), err


def losses(asked: TrainJob, summary: dict[str, Any]) -> list[float]:
    """By step, each once and in order."""
    with (Path(asked.store) / summary["model"] / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, asked.steps + 1))
    return [float(row["loss"]) for row in rows]


def wait_for_checkpoint(asked: TrainJob, process: subprocess.Popen[str]) -> None:
    """Until the run has one that it had not before."""
    folder = Path(asked.store) / "runs" / asked.run
    before = set(folder.glob("step-*.npz"))
    deadline = time.monotonic() + 300
    while set(folder.glob("step-*.npz")) <= before:
        assert process.poll() is None, "ended before its next checkpoint"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.01)
