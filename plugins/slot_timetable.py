"""The timetable of satellite slots: one run for each period, named by the period's start.

Airflow's CronPartitionTimetable in all but two things. Its period comes from the installation (EYEWALL_INGEST_CRON,
read when the DAG is parsed and kept in the serialised DAG, so that a change of it is a new DAG version and nothing
else is), because slots come every ten minutes from one satellite and a few times a day from an archive. And it knows
the end of a period, so that a task can say which slots are its own without looking at a clock.
"""

import os
from datetime import datetime
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import UTC, instance

HOURLY = "0 * * * *"


class SlotTimetable(CronPartitionTimetable):
    """At each tick of ``cron`` (UTC) a run for the period that has just ended; a backfill makes one run a period."""

    def __init__(self, cron: str | None = None) -> None:
        """``cron``: five fields; default: EYEWALL_INGEST_CRON, or hourly."""
        # run_offset -1: at 12:00 the partition is 11:00, whose slots are complete by then.
        super().__init__(cron or os.environ.get("EYEWALL_INGEST_CRON") or HOURLY, timezone=UTC, run_offset=-1)

    def period(self, partition_date: datetime) -> tuple[datetime, datetime]:
        """[start, end) of the partition that begins at ``partition_date``."""
        start = instance(partition_date)
        return start, self._get_next(start)

    def serialize(self) -> dict[str, Any]:
        """The cron expression: all that the scheduler needs to make it again."""
        return {"cron": self._expression}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "SlotTimetable":
        """The inverse of `serialize`."""
        return cls(data["cron"])


class SlotTimetablePlugin(AirflowPlugin):
    """Registers the timetable."""

    name = "slot_timetable"
    timetables = [SlotTimetable]  # noqa: RUF012 - as Airflow declares it
