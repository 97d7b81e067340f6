"""The type of the fixture `make_job`: fields of a TrainJob that differ from a short training on toy records."""

from collections.abc import Callable

from eyewall.contracts.jobs import TrainJob

JobMaker = Callable[..., TrainJob]
