"""The track model on real best tracks: better than CLIPER on seasons that it was not trained on."""

from pathlib import Path

import pytest

from eyewall.contracts.jobs import RecordsJob, TrainJob
from eyewall.records.step import run as make_records
from eyewall.training.step import run

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


def test_a_minutes_training_on_ibtracs_beats_cliper_at_every_lead(shared_data: Path, store_url: str) -> None:
    """Train 1980–2006, validate 2007–2010 (shrinkage is chosen there, so half of the 7 % usually seen is asked for).

    The counts are those of the sample rules on these seasons: every validation case has a target at some lead.
    """
    tracks = str(shared_data / "besttrack" / "ibtracs_wp_1951_2018.parquet")
    records = make_records(
        RecordsJob(store=store_url, tracks=tracks, train_from=1980, train_to=2006, val_to=2010, test_to=2011, frames=0)
    )
    assert records.result is not None

    job = TrainJob(store=store_url, records_ref=records.result.uri, run="r", model="track", steps=400, batch=128)
    summary = run(job).summary

    assert summary["val_km"]["6"]["n"] == 1486
    for lead, km in summary["val_km"].items():
        assert km["model"] < km["cliper"], lead
    assert summary["val_km"]["24"]["model"] < 0.965 * summary["val_km"]["24"]["cliper"]
