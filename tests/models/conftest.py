"""One set of toy records, and what models are made with, for all tests of the wrapper library."""

from pathlib import Path
from typing import Any

import pytest

from eyewall.besttrack.baselines import Cliper
from eyewall.besttrack.cases import Cases
from eyewall.models.card import Normalisation
from eyewall.records.testing import tiny_records
from eyewall.storage import Store


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of 48 training storms: enough for every term of a quadratic CLIPER at the shorter leads."""
    store = Store(str(tmp_path_factory.mktemp("records")))
    return tiny_records(store, train_from=2001, train_to=2008, val_to=2009, test_to=2010, storms_per_season=6).folder()


@pytest.fixture(scope="session")
def cases(records_folder: Path) -> Cases:
    """The training cases of the records."""
    from eyewall.training.plan import read_cases

    return read_cases(records_folder, "train")


@pytest.fixture(scope="session")
def batch(records_folder: Path) -> dict[str, Any]:
    """Features of 32 validation samples; some have both frames, some one, some none."""
    from eyewall.records.dataset import load

    features, _ = next(iter(load(records_folder, "val", batch=32)))
    return dict(features)


@pytest.fixture
def parts(cases: Cases) -> dict[str, Any]:
    """Keyword arguments of `registry.build` that do not depend on the kind of model."""
    return {
        "cliper": Cliper.fit(cases).to_json(),
        "scale_km": (20.0, 40.0, 90.0, 200.0, 350.0),
        "normalisation": Normalisation(),
    }
