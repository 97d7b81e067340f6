"""One store with a tail and a whole model, one server over it, and edges in this process that end with their test."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tiny_split
from faulty_link import Proxy
from running_edge import RunningEdge

from eyewall.contracts.jobs import ServeJob
from eyewall.serving.serve_step import start


@pytest.fixture(scope="session")
def store_of_tails(tmp_path_factory) -> str:
    """A store that serves ``tail`` and ``whole``."""
    return tiny_split.tail_store(tmp_path_factory.mktemp("tails") / "store")


@pytest.fixture(scope="session")
def server(store_of_tails):
    """A model server in this process."""
    running = start(ServeJob(store=store_of_tails, grpc_port=0, rest_port=0, poll_s=0))
    yield running
    running.stop(1.0)


@pytest.fixture
def proxy(server):
    """A link to the server that can be broken."""
    with Proxy(server.grpc_port) as made:
        yield made


@pytest.fixture
def edge(tmp_path: Path):
    """Makes edges on one state folder; ``edge(...)`` takes options, and starts it."""
    made: list[RunningEdge] = []

    def make(**options) -> RunningEdge:
        made.append(RunningEdge(tmp_path, options))
        return made[-1]

    yield make
    for one in made:
        one.close()
