"""Toy records, and jobs on them, for all tests of the train step."""

from pathlib import Path
from typing import Any

import pytest
from job_maker import JobMaker

from eyewall.contracts.jobs import TrainJob
from eyewall.records.testing import tiny_records
from eyewall.storage import Store


@pytest.fixture
def make_job(tmp_path: Path) -> JobMaker:
    """Make a short training on toy records (120 training samples) in a store of this test's own."""
    store = Store(str(tmp_path / "store"))
    records = tiny_records(store)

    def make(**values: Any) -> TrainJob:
        defaults = {
            "store": store.url, "records_ref": records.path, "run": "r", "model": "track",
            "steps": 12, "batch": 8, "checkpoint_every": 5,
        }  # fmt: skip
        return TrainJob.parse(defaults | values)

    return make
