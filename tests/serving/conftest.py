"""Tiny models in a store, decisions about them, and one running server for each test that wants it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from tiny_models import Repository

from eyewall.contracts.jobs import ServeJob
from eyewall.serving.serve_step import RunningServer, start


@pytest.fixture
def repository(store_url: str) -> Repository:
    """An empty store."""
    return Repository(store_url)


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningServer]]:
    """Start servers in this process on free ports; they are stopped after the test."""
    running: list[RunningServer] = []

    def make(url: str, **fields: object) -> RunningServer:
        values = {"store": url, "grpc_port": 0, "rest_port": 0, "poll_s": 0.1, "grace_s": 2.0} | fields
        running.append(start(ServeJob.parse(values)))
        return running[-1]

    yield make
    for server in running:
        server.stop(1.0)


@pytest.fixture
def server(repository: Repository, serve: Callable[..., RunningServer]) -> RunningServer:
    """A server over the empty store."""
    Path(repository.url).mkdir(parents=True, exist_ok=True)
    return serve(repository.url)
