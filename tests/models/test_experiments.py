"""Every experiment is one file whose commands are jobs of this version, with its cost and its measured score."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from eyewall.contracts.features import LEADS_H
from eyewall.contracts.jobs import JOBS, Job

FOLDER = Path(__file__).parents[2] / "include" / "experiments"
FILES = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.yaml"))]


def job_of(command: str) -> Job:
    """The job of a command line ``eyewall <verb> --option value …``."""
    program, verb, *words = shlex.split(command.replace("{tracks}", "tracks.csv"))
    job = JOBS[verb]
    fields = {job.option_of(field): field for field in job.model_fields}
    assert program == "eyewall"
    return job.parse({fields[option]: value for option, value in zip(words[::2], words[1::2], strict=True)})


def test_there_are_experiments() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES)
def test_an_experiment_says_what_it_asks_costs_and_gave(path: Path) -> None:
    """No key beside; a score for every lead, which may be below 0 (worse than CLIPER) but is no joke."""
    values: dict[str, Any] = yaml.safe_load(path.read_text())

    assert sorted(values) == ["commands", "measured", "minutes", "question", "runlocal"]
    assert values["question"].endswith("?")
    assert 0 < values["minutes"] < 24 * 60
    assert sorted(values["measured"], key=int) == [str(lead) for lead in LEADS_H]
    assert all(-50 < score < 50 for score in values["measured"].values())


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("which", ["commands", "runlocal"])
def test_its_commands_are_jobs(path: Path, which: str) -> None:
    """And they hand over by receipts that an earlier one of them wrote."""
    written: set[str] = set()
    for command in yaml.safe_load(path.read_text())[which]:
        job = job_of(command)
        for field in ("records_ref", "model_ref"):
            reference = getattr(job, field, None)
            assert reference is None or reference in written, command
        if job.receipt:
            written.add(job.receipt)


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_trained_or_chosen_on_the_seasons_that_are_reported(path: Path) -> None:
    """To 2010, on 2011-2014, reported from 2015 on."""
    for command in yaml.safe_load(path.read_text())["commands"]:
        job = job_of(command)
        if job.verb == "records":
            assert (job.train_to, job.val_to) == (2010, 2014)  # type: ignore[attr-defined]
