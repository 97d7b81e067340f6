"""A publisher killed with -9 at any point: the old version serves, and the same command run again completes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import INPUTS, Repository, U, X, saved_model

from eyewall.contracts.jobs import ServeJob
from eyewall.serving.client import Client
from eyewall.serving.plan import versions_in
from eyewall.serving.serve_step import start

#: In the order in which a publish passes them. True: the label has moved on the server already.
POINTS = [
    pytest.param("before:eyewall.serving.repository._copy_checked", False, id="before-the-copy"),
    pytest.param("after:shutil.copyfile*1", False, id="half-copied"),
    pytest.param("after:eyewall.serving.repository._try_and_warm_up", False, id="copied-not-renamed"),
    pytest.param("after:eyewall.serving.repository.copy_version", False, id="renamed-not-in-the-index"),
    pytest.param("after:eyewall.serving.repository.write_index", False, id="a-candidate"),
    pytest.param("after:eyewall.serving.client.Client.reload*1", False, id="told-the-server-to-load"),
    pytest.param("after:eyewall.serving.promote.check_answer*1", False, id="answered"),
    pytest.param("after:eyewall.serving.client.Client.reload*2", True, id="label-moved-on-the-server"),
    pytest.param("before:eyewall.serving.repository.retire", True, id="label-moved-everywhere"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One repository and server for all kills, as in life."""
    repository = Repository(str(tmp_path_factory.mktemp("killed")))
    repository.publish(1.5)
    server = start(ServeJob(store=repository.url, grpc_port=0, rest_port=0, poll_s=0))
    yield repository, server
    server.stop(1.0)


@pytest.fixture(scope="module")
def publisher(place):
    """The process whose children die."""
    repository, server = place
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), str(here.parents[1])])}
    with subprocess.Popen(
        [sys.executable, str(here / "publish_and_die.py"), repository.url, server.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    ) as process:  # fmt: skip
        yield process
        process.stdin.close()
        process.wait(30)


@pytest.mark.parametrize(("point", "moved"), POINTS)
def test_the_old_version_serves_and_the_same_command_completes(place, publisher, point, moved):
    repository, server = place
    gain = 2.0 + [p.values[0] for p in POINTS].index(point)
    before = repository.served
    old_gain = gain_of(server)
    saved_model(gain)
    repository.decision(gain)

    publisher.stdin.write(f"{gain} {point}\n")
    publisher.stdin.flush()
    assert publisher.stdout.readline() == "-9\n"

    assert gain_of(server) == pytest.approx(gain if moved else old_gain)
    after = repository.served
    assert after.stable == (before.stable if point != POINTS[-1].values[0] else before.stable + 1)
    for number in versions_in(Path(repository.url) / "serving/track"):
        folder = f"serving/track/{number}"
        manifest = repository.store.read_manifest(folder)
        assert manifest is not None
        assert all((Path(repository.url) / folder / f.path).stat().st_size == f.bytes for f in manifest.files)

    receipt = repository.publish(gain, server=server.address)
    assert receipt.summary["version"] == before.stable + 1  # no number was lost or used twice
    assert receipt.summary["labels"] == {"stable": before.stable + 1, "previous": before.stable}
    assert gain_of(server) == pytest.approx(gain)
    assert not [p for p in repository.files() if ".tmp" in p]  # what the dead left is swept away


def gain_of(server) -> float:
    """The gain behind the label stable."""
    with Client(server.address) as client:
        return float((client.predict(INPUTS, "track", label="stable").outputs["y"] / np.float32(X + U)).mean())
