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
    program, verb, *words = shlex.split(command.replace("{tracks}", "tracks.csv").replace("{frames}", "frames/*.jpg"))
    job = JOBS[verb]
    fields = {job.option_of(field): field for field in job.model_fields}
    assert program == "eyewall"
    values: dict[str, Any] = {}
    while words:
        option = words.pop(0)
        flag = job.model_fields[fields[option]].annotation is bool
        values[fields[option]] = True if flag else words.pop(0)
    return job.parse({name: (value,) if name == "files" else value for name, value in values.items()})


def is_of_centres(values: dict[str, Any]) -> bool:
    """Whether an experiment finds storms, which has a distance and no lead, rather than forecasts them."""
    return any(job_of(command).verb == "find-centre" for command in values["commands"])


def test_there_are_experiments() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES)
def test_an_experiment_says_what_it_asks_costs_and_gave(path: Path) -> None:
    """No key beside; a score for every lead, which may be below 0 (worse than CLIPER) but is no joke."""
    values: dict[str, Any] = yaml.safe_load(path.read_text())

    assert sorted(values) == ["commands", "measured", "minutes", "question", "runlocal"]
    assert values["question"].endswith("?")
    assert 0 < values["minutes"] < 24 * 60
    if is_of_centres(values):
        assert sorted(values["measured"]) == ["guess_median_km", "median_km"]
        assert 0 < values["measured"]["median_km"] < values["measured"]["guess_median_km"] < 1000
        return
    assert sorted(values["measured"], key=int) == [str(lead) for lead in LEADS_H]
    assert all(-50 < score < 50 for score in values["measured"].values())


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("which", ["commands", "runlocal"])
def test_its_commands_are_jobs(path: Path, which: str) -> None:
    """And they hand over by receipts that an earlier one of them wrote."""
    written: set[str] = set()
    for command in yaml.safe_load(path.read_text())[which]:
        job = job_of(command)
        for field in (
            "records_ref",
            "model_ref",
            "incumbent_ref",
            "pretrained_ref",
            "track_model_ref",
            "residuals_ref",
        ):
            reference = getattr(job, field, None)
            assert reference is None or reference in written, command
        if job.receipt:
            written.add(job.receipt)


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_trained_or_chosen_on_the_seasons_that_are_reported(path: Path) -> None:
    """To 2010, on 2011-2014, reported from 2015 on; with frames, and what stands under them: 2006, 2008, 2009."""
    commands = yaml.safe_load(path.read_text())["commands"]
    jobs: list[Any] = [job_of(command) for command in commands]
    with_frames = any(job.verb == "ingest" for job in jobs)
    first_reported = 2009 if with_frames else 2015
    judging = {job.records_ref for job in jobs if job.verb == "verify"}
    for job in jobs:
        if job.verb == "records":
            assert job.val_to < first_reported
            if job.receipt in judging:
                assert (job.train_to, job.val_to) == ((2006, 2008) if with_frames else (2010, 2014))
            if job.stream:
                assert job.train_from >= 1998
        if job.verb == "verify":
            assert (job.season_from, job.season_to) == ((2009, 2010) if with_frames else (2015, 2018))
            assert job.frames_only == with_frames


@pytest.mark.parametrize("path", FILES)
def test_centres_are_learned_to_2006_chosen_on_2007_and_2008_and_reported_after_that(path: Path) -> None:
    """What runs locally does not even look at the seasons that are reported."""
    values = yaml.safe_load(path.read_text())
    for command in values["commands"] + values["runlocal"]:
        job: Any = job_of(command)
        if job.verb == "pretrain":
            assert job.season_to <= 2006
        if job.verb == "train-centre":
            assert job.train_to < job.val_to <= 2008
            assert command in values["runlocal"] or (job.train_to, job.val_to) == (2006, 2008)
        if job.verb == "find-centre":
            assert job.season_to <= 2008 if command in values["runlocal"] else job.season_from == 2009
