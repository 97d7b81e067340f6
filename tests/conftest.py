"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest

# TensorFlow writes a screenful at import otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    return folder


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """An empty store in a folder of this test's own."""
    return str(tmp_path / "store")
