"""Another basin by settings alone: southern storms from best tracks through records to a verification."""

import json

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack import table as t
from eyewall.besttrack.testing import southern_summers, toy_tracks
from eyewall.cli import run_job
from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import RecordsJob, VerifyJob
from eyewall.records.schema import read_schema
from eyewall.verification import step

BOX = "100,-60,180,0"


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """The toy storms' mirror images in the southern summers of 2002 to 2006, which begin the November before."""
    table = southern_summers(toy_tracks(seed=3, seasons=range(2001, 2006), storms=4))
    path = tmp_path_factory.mktemp("south") / "ibtracs.csv"
    lines = [
        f"{row[t.STORM_ID]},{row[t.TIME_UTC]},{row[t.LAT_DEG]},{row[t.LON_DEG]},{row[t.WIND_KT]}"
        for _, row in table.iterrows()
    ]
    path.write_text("\n".join(["SID,ISO_TIME,LAT,LON,WMO_WIND", *lines]) + "\n")
    return path


@pytest.fixture
def records(store, tracks):
    """Records of them: trained on to 2004, chosen on 2005, tested on 2006."""
    job = {"store": store.url, "tracks": str(tracks), "train_from": 2002, "train_to": 2004, "val_to": 2005}
    return run_job(RecordsJob.parse(job | {"test_to": 2006, "frames": 0, "box": BOX, "shards": 2}))


def verified(store, tracks, **fields):
    """The receipt of a verification of the summer that ends in 2006."""
    values = {"truth": str(tracks), "season_from": 2006, "season_to": 2006, "resamples": 100, "plots": False}
    return run_job(VerifyJob(store=store.url, **(values | fields)))


def test_southern_records_know_their_box_and_keep_a_summer_in_one_season(store, records):
    schema = read_schema(store.fetch(records.result.uri))

    assert schema.box == BOX
    assert records.summary["storms"] == {"train": 12, "val": 4, "test": 4}
    past = schema.statistics["train"]["past_lat_deg"]
    assert -50 <= past.min < past.max < 0


def test_verify_takes_box_and_fit_seasons_from_the_records(store, tracks, records):
    """Nothing but the records is named; said in full it is the same verification."""
    report = step.read_report(store, verified(store, tracks, records_ref=records.result.uri).result.uri)

    assert report.sample.box == BOX
    assert report.sample.fit_seasons == (2002, 2004)
    assert report.sample.cases == records.summary["samples"]["test"]
    assert report.sample.fit_cases == records.summary["samples"]["train"]
    alone = verified(store, tracks, box=BOX, fit_from=2002, fit_to=2004)
    assert step.read_report(store, alone.result.uri).leads == report.leads


def test_records_without_images_do_not_wait_for_tensorflow_and_have_no_frame(store, tracks, records, monkeypatch):
    """Nothing is read from their shards; asked for frames only, they are refused."""
    monkeypatch.setattr("eyewall.records.dataset.load", lambda *_, **__: pytest.fail("read the shards"))

    report = step.read_report(store, verified(store, tracks, records_ref=records.result.uri).result.uri)
    assert report.sample.cases_with_frames == 0
    with pytest.raises(InputError, match="hold no frames at all"):
        verified(store, tracks, records_ref=records.result.uri, frames_only=True)


def test_what_the_job_says_goes_before_the_records(store, tracks, records):
    report = step.read_report(
        store, verified(store, tracks, records_ref=records.result.uri, fit_from=2003, box="140,-60,180,0").result.uri
    )

    assert report.sample.fit_seasons == (2003, 2004)
    assert report.sample.box == "140,-60,180,0"
    assert report.sample.cases < records.summary["samples"]["test"]


def test_southern_storms_recurve_poleward_and_lag_behind_the_truth(store, tracks):
    """Stages are found in the south, and CLIPER learns to turn: better than persistence, which lags."""
    receipt = verified(store, tracks, box=BOX)
    report = step.read_report(store, receipt.result.uri)
    cases = pd.read_csv(store.local(f"{receipt.result.uri}/cases.csv"))

    stages = cases[cases["lead_h"] == 24].groupby("stage").size()
    assert {"before", "in", "after"} <= set(stages.index)
    assert stages.get("no_turn", 0) < stages.sum() / 2
    assert report.leads["48"].cliper.mean_km < 0.8 * report.leads["48"].persistence_6h.mean_km
    # a forecast that stays put is behind by all the way that the storm has gone in 6 h, in the south too
    six = cases[cases["lead_h"] == 6]
    np.testing.assert_allclose(six["no_motion_along_km"], -six["no_motion_km"], atol=2e-3)


def test_the_wrong_box_is_told_with_where_the_storms_are(store, tracks):
    with pytest.raises(
        InputError,
        match=r"within 100 to 180 E, 0 N to 60 N.* the file has seasons 2002-2006, .* 0 lie in the box.*--box",
    ):
        verified(store, tracks)


def test_a_report_from_before_boxes_is_still_a_report(report_values, make_lead, add_evaluation, store):
    values = report_values({"24": make_lead(60, 8, cliper=150.5)})
    assert "box" not in values["sample"]

    assert step.read_report(store, add_evaluation(json.loads(json.dumps(values)))).sample.box == "100,0,180,60"
