"""The timetable of satellite slots: which partitions there are, and what each reads."""

from datetime import UTC, datetime

import pytest
from airflow.timetables.base import TimeRestriction
from pendulum import instance
from slot_timetable import SlotTimetable, SlotTimetablePlugin


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_a_setting_the_period_is_an_hour(monkeypatch):
    monkeypatch.delenv("EYEWALL_INGEST_CRON", raising=False)

    assert SlotTimetable().period(at("2026-09-03 11:00")) == (at("2026-09-03 11:00"), at("2026-09-03 12:00"))


@pytest.mark.parametrize(
    ("cron", "start", "end"),
    [
        pytest.param("0 0 * * *", "2026-09-03 00:00", "2026-09-04 00:00", id="a day"),
        pytest.param("*/10 * * * *", "2026-12-31 23:50", "2027-01-01 00:00", id="ten minutes, over new year"),
        pytest.param("0 */6 * * *", "2028-02-28 18:00", "2028-02-29 00:00", id="six hours, before a leap day"),
        pytest.param("0 0 1 * *", "2026-02-01 00:00", "2026-03-01 00:00", id="a month"),
    ],
)
def test_a_partition_ends_where_the_next_begins(monkeypatch, cron, start, end):
    monkeypatch.setenv("EYEWALL_INGEST_CRON", cron)

    assert SlotTimetable().period(at(start)) == (at(start), at(end))


def test_a_backfill_of_three_days_is_three_partitions_both_ends_included():
    found = SlotTimetable("0 0 * * *").iter_partition_dagrun_infos(
        earliest=at("2026-09-01 00:00"), latest=at("2026-09-03 00:00")
    )

    assert [info.partition_key for info in found] == [
        "2026-09-01T00:00:00", "2026-09-02T00:00:00", "2026-09-03T00:00:00",
    ]  # fmt: skip


def test_a_scheduled_run_reads_the_period_that_has_just_ended():
    """At 12:00 the slots from 11:00 on are complete, those from 12:00 on are not."""
    table = SlotTimetable("0 * * * *")
    restriction = TimeRestriction(earliest=instance(at("2026-09-03 12:00")), latest=None, catchup=True)

    info = table.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)

    assert (info.run_after, info.partition_date) == (at("2026-09-03 12:00"), at("2026-09-03 11:00"))


def test_it_is_stored_with_its_period_so_that_the_scheduler_needs_no_setting(monkeypatch):
    monkeypatch.setenv("EYEWALL_INGEST_CRON", "0 0 * * *")
    stored = SlotTimetable().serialize()
    monkeypatch.setenv("EYEWALL_INGEST_CRON", "0 * * * *")

    assert stored == {"cron": "0 0 * * *"}
    assert SlotTimetable.deserialize(stored).period(at("2026-09-03 00:00"))[1] == at("2026-09-04 00:00")


def test_a_partition_key_given_by_hand_is_understood():
    assert SlotTimetable("0 * * * *").resolve_partition_date("2026-09-03T11:00:00") == at("2026-09-03 11:00")


def test_the_plugin_registers_it():
    assert SlotTimetablePlugin.timetables == [SlotTimetable]
