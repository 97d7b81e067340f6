"""The study's third part: track error of outputs against truth, and the samples it is of."""

# NOTE: injected by pytest, defined in tests/conftest: shared_data, store_url
import numpy as np
import pytest

from eyewall.contracts.features import (
    OUT_LAT_DEG,
    OUT_LON_DEG,
    TARGET_LAT_DEG,
    TARGET_LON_DEG,
    TARGET_VALID,
    ImageSpec,
)
from eyewall.split.study.typhoon_ways import errors_km, samples
from eyewall.storage import Store


def test_the_error_is_the_mean_over_the_storms_that_live_then():
    """On the equator a degree is 111.19 km (R = 6371): 1 and 3 degrees off at 6 h, 2 at 12 h of the one that lives."""
    zeros = np.zeros((2, 5), np.float32)
    truth = {TARGET_LAT_DEG: zeros, TARGET_LON_DEG: zeros + 130, TARGET_VALID: zeros.copy()}
    truth[TARGET_VALID][:, 0] = 1
    truth[TARGET_VALID][1, 1] = 1
    lon_deg = truth[TARGET_LON_DEG] + np.array([[1, 50, 0, 0, 0], [3, 2, 0, 0, 0]], np.float32)

    found = errors_km({OUT_LAT_DEG: zeros, OUT_LON_DEG: lon_deg}, truth)

    assert set(found) == {"6", "12"}, "a lead that no storm lives to has no mean"
    assert found["6"] == pytest.approx(2 * 111.195, rel=1e-4)
    assert found["12"] == pytest.approx(2 * 111.195, rel=1e-4)


@pytest.mark.shared_data
def test_records_without_any_frame_are_refused(shared_data, store_url):
    from eyewall.cli import run_job
    from eyewall.contracts.errors import InputError
    from eyewall.contracts.jobs import RecordsJob
    from eyewall.storage import resolve

    tracks = str(shared_data / "besttrack" / "ibtracs_wp_1951_2018.parquet")
    job = RecordsJob(
        store=store_url, tracks=tracks, train_from=2014, train_to=2015, val_to=2016, test_to=2017, frames=1
    )
    records = resolve(Store(store_url), run_job(job).result.uri, "records")

    with pytest.raises(InputError, match="no test sample with an image"):
        samples(records, "test", ImageSpec(frames=0))
