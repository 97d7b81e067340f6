"""Real frames: the lines that are found are those of the archive's own mask, and cases are where its labels are."""

# NOTE: defined in tests/conftest.py: shared_data
import numpy as np
import pandas as pd
import pytest

from eyewall.besttrack.read import read_tracks
from eyewall.besttrack.sphere import distance_km
from eyewall.centre.cases import find_cases
from eyewall.centre.charts import Charts, survey
from eyewall.centre.inputs import frames_of
from eyewall.cli import run_job
from eyewall.contracts.jobs import IngestJob
from eyewall.storage import Store

pytestmark = pytest.mark.shared_data

#: One frame a day or so, over years: weather that does not stay.
CWB_HOURS = ("1998*0[23]00", "1999100*0[0-9]00", "2000080*03*", "20030[5-9]*0[0-2]33", "200508*1433", "2006*03*")


@pytest.fixture(scope="module")
def cwb(shared_data, tmp_path_factory):
    """A store with some frames of 1998 to 2006 in stream cwb."""
    store = Store(str(tmp_path_factory.mktemp("cwb")))
    files = tuple(str(shared_data / "cwb_ir1_lcc" / "frames256" / f"{hours}.jpg") for hours in CWB_HOURS)
    run_job(IngestJob(store=store.url, stream="cwb", reader="map_picture", files=files))
    return store, frames_of(store, "cwb", 1998, 2006)


def test_the_burnt_in_lines_are_found_without_being_told(cwb, shared_data):
    """Against the mask that comes with the archive, 512 pixels wide: a pixel of ours is four of its."""
    from PIL import Image

    store, frames = cwb
    assert len(frames.keys) >= 30
    scale, lines = survey(store, frames.keys, 96, 20.0, frames.damaged)
    mask = np.asarray(Image.open(shared_data / "cwb_ir1_lcc" / "overlay_mask_512.png").convert("L")) > 127
    told = mask.reshape(256, 2, 256, 2).max(axis=(1, 3))
    beside = np.pad(told, 1)
    near = np.any([beside[i : i + 256, j : j + 256] for i in range(3) for j in range(3)], axis=0)

    assert scale.quantity == "grey_level"
    assert (lines & told).sum() / told.sum() > 0.5  # its lines are drawn wider than the pixels that stand out
    assert (lines & near).sum() / lines.sum() > 0.9


def test_cases_are_where_the_archives_labels_are(cwb, shared_data):
    """Labels were interpolated by whoever made the archive's list; ours follow the great circle between fixes."""
    store, frames = cwb
    tracks = read_tracks(str(shared_data / "besttrack" / "ibtracs_wp_1951_2018.parquet"))
    cases = find_cases(frames.keys, tracks, Charts(store, 20.0))
    labels = pd.read_csv(shared_data / "cwb_ir1_lcc" / "labels.csv", dtype={"time_utc": str})
    labels = labels[labels.inside].set_index(["time_utc", "sid"])
    named = [(case, (case.time.strftime("%Y%m%d%H%M"), case.storm_id)) for case in cases]
    both = [(case, labels.loc[name]) for case, name in named if name in labels.index]

    assert len(both) > 0.9 * len(cases) > 30
    away = [float(distance_km(case.lat_deg, case.lon_deg, label.lat, label.lon)) for case, label in both]
    assert max(away) < 5
