"""Versions come and go under load, and no request fails."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
from tiny_models import INPUTS, U, X

from eyewall.serving.client import Client
from eyewall.serving.rollback import roll_back
from eyewall.serving.serve_step import RunningServer

GAINS = (2.0, 3.0, 4.0, 5.0, 6.0)
BODY = json.dumps({"inputs": {"x": X.tolist(), "u": U.tolist()}})


class Witness:
    """Clients that ask without a pause and write down every answer that is wrong or missing."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.stop = threading.Event()
        self.answered = Counter[str]()
        self.wrong: list[str] = []
        self._threads: list[threading.Thread] = []

    def add(self, ask: Callable[[], tuple[object, int | None]], how: str) -> None:
        """One more client, which asks by ``ask`` for y and, where it is told, the version."""

        def keep_asking() -> None:
            while not self.stop.is_set():
                try:
                    self._judge(*ask(), how)
                except Exception as error:
                    self.wrong.append(f"{how}: {error!r}")

        self._threads.append(threading.Thread(target=keep_asking))
        self._threads[-1].start()

    def _judge(self, y: object, version: int | None, how: str) -> None:
        gain = float((np.float32(y) / (X + U)).mean())
        possible = GAINS if version is None else (GAINS[version - 1],)
        if min(abs(gain - g) for g in possible) > 1e-4:
            self.wrong.append(f"{how}: version {version} answered with gain {gain}")
        self.answered[how] += 1

    def over_grpc(self, **choice: str) -> None:
        """A gRPC client."""
        client = Client(self.server.address)

        def ask() -> tuple[object, int | None]:
            answer = client.predict(INPUTS, "track", **choice)
            return answer.outputs["y"], answer.version

        self.add(ask, f"grpc {choice} {len(self._threads)}")

    def over_rest(self, path: str) -> None:
        """A REST client on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.rest_port, timeout=20)

        def ask() -> tuple[object, None]:
            connection.request("POST", f"/v1/models/track{path}:predict", BODY)
            return json.load(connection.getresponse())["outputs"]["y"], None

        self.add(ask, f"rest {path}")

    def some_more(self) -> None:
        """Wait for twenty further answers to each client."""
        before = Counter(self.answered)
        while not self.wrong and min(self.answered[how] - before[how] for how in self.answered) < 20:
            self.stop.wait(0.02)

    def end(self) -> None:
        """Stop asking."""
        self.stop.set()
        for thread in self._threads:
            thread.join(30)


def test_while_versions_are_published_and_rolled_back_every_request_is_answered_rightly(repository, server):
    repository.publish(GAINS[0], server=server.address)
    witness = Witness(server)
    witness.over_grpc(label="stable")
    witness.over_grpc()
    witness.over_rest("/labels/stable")
    witness.over_rest("")
    for gain in GAINS[1:4]:
        repository.publish(gain, server=server.address)
    roll_back(repository.store, "track", server=server.address)
    repository.publish(GAINS[4], server=server.address)
    witness.some_more()
    witness.end()
    assert witness.wrong == []
    assert len(witness.answered) == 4
    with Client(server.address) as client:
        states = {n: s.state for n, s in client.status("track").items()}
        assert client.predict(INPUTS, "track", label="stable").version == 5
    # 4 was rolled back, so 3 is previous; what is no longer served was let go
    assert states == {1: "END", 2: "END", 3: "AVAILABLE", 4: "END", 5: "AVAILABLE"}


def test_a_label_never_points_at_nothing_while_it_moves(repository, server):
    """The manager's own view, without a network in between, asked as fast as it can be."""
    repository.publish(2.0, server=server.address)
    stop, failures, versions = threading.Event(), [], set()

    def ask() -> None:
        while not stop.is_set():
            try:
                with server.manager.use("track", label="stable") as (version, _):
                    versions.add(version)
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for gain in (3.0, 4.0):
        repository.publish(gain, server=server.address)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
    assert versions >= {1, 3}
