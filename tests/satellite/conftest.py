"""Fixtures of the satellite room."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from satellite_files import write_disk_segment

from eyewall.contracts.jobs import IngestJob
from eyewall.storage import Store

Ingest = Callable[..., dict[str, Any]]


@pytest.fixture
def store(store_url: str) -> Store:
    """An empty store."""
    return Store(store_url)


@pytest.fixture
def ingest(store_url: str) -> Ingest:
    """Run the step into the test's store with the given fields of the job; returns the summary."""
    from eyewall.satellite.step import run

    def call(**fields: Any) -> dict[str, Any]:
        if isinstance(fields.get("files"), str | Path):
            fields["files"] = [str(fields["files"])]
        return run(IngestJob.parse({"store": store_url, **fields})).summary

    return call


@pytest.fixture(scope="session")
def disk_segments(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Segments 2, 3 and 5 of a synthetic full disk; read them, never change them."""
    folder = tmp_path_factory.mktemp("disk")
    return {number: write_disk_segment(folder, number) for number in (2, 3, 5)}
