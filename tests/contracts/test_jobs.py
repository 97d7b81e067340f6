"""Jobs: they round-trip through the command line, and refuse what they do not know."""

import string
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from eyewall.cli import parse_command_line
from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import JOBS, IngestJob, RecordsJob, TrainJob, VerifyJob

NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
# Leading dashes, spaces, quotes, semicolons: whatever a path may hold must reach the step unchanged.
_SHOWN = string.ascii_letters + string.digits + string.punctuation + " "
URIS = st.text(_SHOWN, min_size=1, max_size=40).filter(str.strip)
TIMES = st.datetimes(min_value=datetime(1979, 1, 1), max_value=datetime(2050, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(deadline=None)  # a command line is built of all verbs each time
@given(
    st.builds(
        IngestJob,
        stream=NAMES,
        reader=NAMES,
        files=st.lists(URIS, max_size=3).map(tuple),
        slot_from=TIMES | st.none(),
        wanted_segments=st.lists(st.integers(1, 10), max_size=4).map(tuple),
        min_valid_fraction=st.floats(0, 1),
    )
)
def test_an_ingest_job_round_trips_through_its_command_line(job: IngestJob) -> None:
    assert parse_command_line(job.to_args()) == job


@settings(deadline=None)
@given(st.builds(RecordsJob, tracks=URIS, train_to=st.integers(1951, 2030), val_to=st.integers(1951, 2030),
                 test_to=st.integers(1951, 2030), stream=NAMES | st.none(), frames_only=st.booleans()))  # fmt: skip
def test_a_records_job_round_trips_with_flags_and_numbers(job: RecordsJob) -> None:
    assert parse_command_line(job.to_args()) == job


def test_a_job_passes_on_its_store_and_what_differs_from_its_defaults() -> None:
    """The store always: where the command runs, the settings or the environment may name another."""
    job = TrainJob(records_ref="records/ab", run="r1", steps=7)

    assert job.to_args() == ["train", "--store=var/store", "--records=records/ab", "--run=r1", "--steps=7"]


def test_renamed_options_come_from_the_contract() -> None:
    job = VerifyJob(truth="bt.csv", season_from=2015, season_to=2018)

    assert job.to_args() == ["verify", "--store=var/store", "--truth=bt.csv", "--from=2015", "--to=2018"]


@pytest.mark.parametrize("verb", [pytest.param(verb, id=verb) for verb in JOBS])
def test_every_job_is_frozen_and_refuses_unknown_fields(verb: str) -> None:
    job = JOBS[verb]

    with pytest.raises(ContractError, match="shell_command"):
        job.parse({"shell_command": "rm -rf /"})
    assert job.model_config["frozen"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("stream", "../../etc", id="climbs-out"),
        pytest.param("stream", "a;rm -rf /", id="shell-text"),
        pytest.param("stream", "", id="empty"),
        pytest.param("source", "a\x00b", id="null-byte"),
        pytest.param("area", "1,2,3", id="three-numbers"),
        pytest.param("area", "0,0,360,60,1e-9", id="too-many-pixels"),
        pytest.param("min_valid_fraction", "nan", id="not-a-number"),
    ],
)
def test_hostile_values_are_refused_with_the_value_in_the_sentence(field: str, value: str) -> None:
    with pytest.raises(ContractError, match=field):
        IngestJob.parse({"reader": "ahi_hsd", field: value})


def test_naive_times_are_utc_and_aware_ones_are_converted() -> None:
    naive = IngestJob.parse({"reader": "r", "slot_from": "2020-08-01T06:00"})
    aware = IngestJob.parse({"reader": "r", "slot_from": "2020-08-01T15:00+09:00"})

    assert naive.slot_from == aware.slot_from == datetime(2020, 8, 1, 6, tzinfo=UTC)


def test_jobs_cannot_be_changed_after_they_are_made() -> None:
    job = TrainJob(records_ref="records/ab", run="r1")

    with pytest.raises(ValidationError, match="frozen"):
        job.steps = 3  # type: ignore[misc]
