"""The check table of ../shared/data/README.md, western North Pacific 2015–2018: what simple methods reach."""

import pytest

from eyewall.cli import run_job
from eyewall.contracts.jobs import VerifyJob

pytestmark = pytest.mark.shared_data

LEADS = ("6", "12", "24", "48", "72")
CASES = ((2283, 110), (2273, 110), (2215, 110), (1985, 104), (1717, 94))
# method → (mean, interval) by lead, km
TABLE = {
    "no_motion": (
        (125.2, 119.8, 131.5), (251.5, 238.1, 265.6), (504.8, 476.7, 532.7), (991.2, 936.6, 1046.4),
        (1445.4, 1345.2, 1550.2),
    ),
    "mean_displacement": (
        (100.2, 95.6, 105.3), (202.1, 192.3, 213.9), (410.0, 388.2, 431.3), (810.3, 765.8, 860.8),
        (1179.7, 1105.7, 1262.8),
    ),
    "persistence_6h": (
        (34.7, 32.9, 37.0), (80.1, 75.2, 86.0), (203.0, 189.2, 219.9), (529.8, 487.6, 575.1), (933.7, 860.4, 1015.3),
    ),
    "persistence_12h": (
        (39.4, 37.1, 42.2), (88.7, 82.9, 96.0), (217.0, 201.1, 236.2), (548.0, 503.1, 596.0), (948.8, 870.5, 1032.0),
    ),
    "cliper_linear": (
        (35.7, 33.7, 38.2), (80.2, 75.4, 86.6), (194.7, 181.6, 210.3), (482.0, 451.8, 518.9), (788.1, 739.2, 839.7),
    ),
    "cliper": (
        (34.5, 32.6, 36.9), (76.6, 72.4, 82.4), (185.1, 172.0, 199.9), (461.0, 431.2, 493.5), (746.3, 689.7, 794.6),
    ),
}  # fmt: skip
FITTED = {"mean_displacement", "cliper_linear", "cliper"}


@pytest.fixture(scope="module")
def leads(shared_data, tmp_path_factory):
    """The scores of the verification that the table describes."""
    tracks = str(shared_data / "besttrack" / "ibtracs_wp_1951_2018.parquet")
    store = str(tmp_path_factory.mktemp("store"))
    job = VerifyJob(store=store, truth=tracks, fit=tracks, fit_to=2010, season_from=2015, season_to=2018, plots=False)
    return run_job(job).summary


def test_the_sample_has_the_same_cases_and_storms(leads):
    found = tuple((leads["leads"][lead]["n"], leads["leads"][lead]["storms"]) for lead in LEADS)

    assert found == CASES
    assert (leads["sample"]["fit_cases"], leads["sample"]["fit_storms"]) == (18427, 867)


@pytest.mark.parametrize("method", [pytest.param(name, id=name) for name in TABLE])
def test_mean_errors_are_those_of_the_table(leads, method):
    """Persistence to the digit, the fits to 1 %."""
    tolerance = {"rel": 0.01} if method in FITTED else {"abs": 0.051}
    for lead, (mean_km, _, _) in zip(LEADS, TABLE[method], strict=True):
        assert leads["leads"][lead][method]["mean_km"] == pytest.approx(mean_km, **tolerance), lead


@pytest.mark.parametrize("method", [pytest.param(name, id=name) for name in TABLE])
def test_intervals_are_those_of_the_table_within_the_noise_of_resampling(leads, method):
    """Ends of an interval from 1000 resamples differ from draw to draw by about a tenth of its width."""
    for lead, (_, low, high) in zip(LEADS, TABLE[method], strict=True):
        found = leads["leads"][lead][method]["ci95_km"]
        assert found == pytest.approx((low, high), abs=0.12 * (high - low)), lead


def test_errors_along_the_track_outweigh_those_across_and_persistence_lags(leads):
    """Storms speed up as they recurve: a forecast without that knowledge falls behind."""
    scores = leads["leads"]["48"]

    for method in ("cliper", "persistence_6h"):
        assert scores[method]["along_km"] < 0
        assert scores[method]["along_abs_km"] > abs(scores[method]["along_km"])
        assert scores[method]["mean_km"] <= scores[method]["along_abs_km"] + scores[method]["cross_abs_km"]
    assert scores["persistence_6h"]["skill_pct"] == pytest.approx(100 * (1 - 529.8 / 461.0), abs=0.1)
