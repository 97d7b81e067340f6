"""Real frames and real best tracks: the storm is where the agencies say, and the cases are the check table's."""

# NOTE: defined in tests/conftest.py: shared_data; in conftest.py: store
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack import table as t
from eyewall.besttrack.interpolate import position_at
from eyewall.besttrack.read import read_tracks
from eyewall.cli import run_job
from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, STORM_ID, ImageSpec
from eyewall.contracts.jobs import IngestJob, RecordsJob
from eyewall.contracts.layout import frame_path
from eyewall.records.dataset import read_schema
from eyewall.records.example import decode
from eyewall.records.images import storm_images
from eyewall.records.resample import Grid
from eyewall.records.schema import SPLITS
from eyewall.records.shards import read_records, shard_paths
from eyewall.satellite.frame import read_frame, write_frame
from eyewall.satellite.index import list_frames

pytestmark = pytest.mark.shared_data

IBTRACS = "besttrack/ibtracs_wp_1951_2018.parquet"
#: Some hours of storms of each split: October 1999, August 2005, September 2008.
CWB_HOURS = ("199910041*", "2005081[12]*", "2008091200*", "200809110[0-6]*")


@pytest.fixture(scope="module")
def cwb(shared_data, tmp_path_factory):
    """A store with the frames of CWB_HOURS in stream cwb, and the labels of those frames."""
    from eyewall.storage import Store

    store = Store(str(tmp_path_factory.mktemp("cwb")))
    files = tuple(str(shared_data / "cwb_ir1_lcc" / "frames256" / f"{hours}.jpg") for hours in CWB_HOURS)
    run_job(IngestJob(store=store.url, stream="cwb", reader="map_picture", files=files))
    labels = pd.read_csv(shared_data / "cwb_ir1_lcc" / "labels.csv", dtype={"time_utc": str})
    labels["time"] = pd.to_datetime(labels.time_utc, format="%Y%m%d%H%M")
    labels["path"] = [frame_path("cwb", time) for time in labels.time]
    return store, labels[labels.path.isin([key.path for key in list_frames(store, "cwb")])]


@pytest.fixture(scope="module")
def tracks(shared_data):
    """IBTrACS, 1951-2018."""
    return read_tracks(str(shared_data / IBTRACS))


def cwb_job(store, shared_data, **fields):
    values = {"store": store.url, "tracks": str(shared_data / IBTRACS), "stream": "cwb", "frames_only": True}
    values |= {"train_from": 1998, "train_to": 2004, "val_to": 2007, "test_to": 2010, "px": 32, "km_per_px": 20.0}
    return RecordsJob.parse(values | fields)


def test_the_labelled_pixel_of_every_storm_is_where_the_geometry_puts_it(cwb, tracks):
    """labels.csv was made from the best tracks by others: our interpolation and our projection against theirs."""
    store, labels = cwb
    off_px = []
    for label in labels.itertuples():
        fixes = tracks[tracks[t.STORM_ID] == label.sid]
        lat, lon, known = position_at(fixes, np.array([label.time]))
        if not known[0]:
            continue
        row, column = Grid.of(read_frame(store, label.path).area).row_column(lat, lon)
        off_px.append(float(np.hypot(row[0] - label.y256, column[0] - label.x256)))

    assert len(off_px) > 40
    assert max(off_px) < 2.0
    assert np.median(off_px) < 0.5


def test_the_labelled_pixel_falls_into_the_middle_of_the_crop(cwb, tracks):
    """A white cross painted at the label of a black copy of each frame, found again in the storm's square."""
    store, labels = cwb
    spec = ImageSpec(frames=1, px=32, km_per_px=20.0, quantity="grey_level")
    found = 0
    for label in labels.drop_duplicates("time_utc").itertuples():
        frame = read_frame(store, label.path)
        data = np.full_like(frame.data, 10.0)
        row, column = round(label.y256), round(label.x256)
        data[row - 1 : row + 2, column - 1 : column + 2] = 255.0
        path = frame_path("marked", frame.nominal_time)
        write_frame(store, path, replace(frame, data=data))
        keys = [key for key in list_frames(store, "marked") if key.path == path]
        fixes = tracks[tracks[t.STORM_ID] == label.sid]
        base = frame.nominal_time + timedelta(hours=6)  # a fix lies on both sides of the frame by then
        sample = storm_images(store, "marked", keys, fixes, base, spec, max_frame_age_h=6)
        if not sample[IMAGE_VALID].any():
            continue  # the storm's end, or the edge of the map
        found += 1
        white = np.argwhere(sample[IMAGES][0, :, :, 0] > 150)
        assert np.abs(white.mean(axis=0) - 15.5).max() < 2.0, label

    assert found > 30


def test_cwb_frames_and_ibtracs_become_records(cwb, shared_data):
    store, _ = cwb
    summary = run_job(cwb_job(store, shared_data)).summary
    folder = store.fetch(summary["records"])
    schema = read_schema(folder)

    assert all(count > 0 for count in summary["samples"].values())
    assert summary["samples"] == summary["with_frames"]
    assert schema.images == ImageSpec(frames=3, px=32, km_per_px=20.0, quantity="grey_level")
    assert 1 <= schema.statistics["train"][IMAGES].min <= schema.statistics["train"][IMAGES].max <= 255
    storms = set()
    for split in SPLITS:
        for shard in shard_paths(folder, split, schema.shards):
            for sample in (decode(record, schema.images) for record in read_records(shard)):
                storms.add(sample[STORM_ID])
                ages = sample[IMAGE_AGE_H][sample[IMAGE_VALID] > 0]
                assert (np.diff(ages) <= -1).all()
                assert (ages <= 12).all()
                assert sample["target_valid"].any()
    assert "1999275N16135" in storms


def test_the_counts_are_those_of_the_check_table(store, shared_data):
    """data/README.md: 18427 training cases of 867 storms up to 2010, 2283 cases of 110 storms 2015-2018."""
    job = RecordsJob(
        store=store.url, tracks=str(shared_data / IBTRACS), train_to=2010, val_to=2014, test_to=2018, shards=1
    )
    summary = run_job(job).summary

    assert (summary["samples"]["train"], summary["storms"]["train"]) == (18427, 867)
    assert (summary["samples"]["test"], summary["storms"]["test"]) == (2283, 110)


@pytest.mark.parametrize(
    ("own_track", "most_px"),
    [
        pytest.param("digital_typhoon/jma/200717.tsv", 0, id="its_own_track"),
        pytest.param(IBTRACS, 2, id="ibtracs"),
    ],
)
def test_podul_is_in_the_middle_of_its_frames(store, shared_data, own_track, most_px):
    """Storm-centred pictures cut again about the storm: by the track they were made with, and by another."""
    files = tuple(
        str(shared_data / "digital_typhoon" / "image" / "200717" / f"200710{day}*.h5") for day in ("05", "06")
    )
    run_job(IngestJob(store=store.url, stream="podul", reader="digital_typhoon", files=files))
    job = RecordsJob(
        store=store.url, tracks=str(shared_data / own_track), stream="podul", frames_only=True,
        train_from=2007, train_to=2007, val_to=2007, test_to=2007, shards=1, px=64,
        km_per_px=4 * 2600 / 512,  # four of their pixels, which span 2600 km in all
    )  # fmt: skip
    folder = store.fetch(run_job(job).summary["records"])
    schema = read_schema(folder)
    samples = [decode(r, schema.images) for p in shard_paths(folder, "train", 1) for r in read_records(p)]

    assert len(samples) >= 4
    assert len({sample[STORM_ID] for sample in samples}) == 1
    checked = 0
    for sample in samples:
        for image, age_h in zip(sample[IMAGES], sample[IMAGE_AGE_H], strict=True):
            if not image.any():
                continue
            time = datetime.fromtimestamp(sample["base_time_s"], UTC) - timedelta(hours=float(age_h))
            theirs = read_frame(store, frame_path("podul", time, "200717")).data
            assert np.abs(best_shift(image[:, :, 0], theirs)).max() <= most_px, time
            checked += 1
    assert checked >= 8


def best_shift(ours, theirs, reach=3):
    """By how many of our pixels (row, column) a picture of 2600 km on 512 pixels has to move to look most like ours.

    Second method: plain arithmetic from the middle, 4 x 4 of their pixels (5.08 km) for one of ours (20.3 km).
    """
    means = theirs[: 512 // 4 * 4].reshape(128, 4, 128, 4).mean(axis=(1, 3))

    def moved(rows, columns):
        at = np.arange(64) - 31.5
        row, column = (np.rint(63.5 + at + shift).astype(int) for shift in (rows, columns))
        return means[np.ix_(row, column)]

    shifts = [(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)]
    return max(shifts, key=lambda shift: np.nan_to_num(np.corrcoef(ours.ravel(), moved(*shift).ravel())[0, 1], nan=-1))
