"""Short trainings on toy records (120 training samples), made from the fields that differ from that."""

from collections.abc import Callable
from typing import Any

from eyewall.contracts.jobs import TrainJob
from eyewall.records.testing import tiny_records
from eyewall.storage import Store

#: Of the fixture `make_job`: fields → job.
JobMaker = Callable[..., TrainJob]
#: Of the fixture `alone`: fields → losses by step, and the summary.
Alone = Callable[..., tuple[list[float], dict[str, Any]]]


def job_maker(store: Store) -> JobMaker:
    """Makes jobs in ``store``, which gets the records."""
    records = tiny_records(store)

    def make(**values: Any) -> TrainJob:
        defaults = {
            "store": store.url, "records_ref": records.path, "run": "r", "model": "track",
            "steps": 12, "batch": 8, "checkpoint_every": 5,
        }  # fmt: skip
        return TrainJob.parse(defaults | values)

    return make
