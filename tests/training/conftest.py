"""Toy records, and jobs on them, for all tests of the train step."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from job_maker import Alone, JobMaker, job_maker
from training_runs import losses

from eyewall.storage import Store


@pytest.fixture
def make_job(tmp_path: Path) -> JobMaker:
    """Make a short training on toy records in a store of this test's own."""
    return job_maker(Store(str(tmp_path / "store")))


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """What a training comes to in this one process, to compare others with; equal ones find the first one's model."""
    make = job_maker(Store(str(tmp_path_factory.mktemp("alone") / "store")))
    numbers = itertools.count()

    def train(**values: Any) -> tuple[list[float], dict[str, Any]]:
        from eyewall.training.step import run

        job = make(run=f"alone-{next(numbers)}", **values)
        summary = run(job).summary
        return losses(job, summary), summary

    return train
