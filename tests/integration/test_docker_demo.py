"""The demo with each step in a container: the same summary as with processes, and nothing left when it is stopped."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from demo_process import start

from eyewall import __version__

pytestmark = [pytest.mark.docker, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def images(engine) -> None:
    """Skips where the images of the demo's steps have not been made."""
    missing = [n for n in ("ingest", "train") if not engine.images(name=f"eyewall-{n}:{__version__}")]
    if missing:
        pytest.skip(f"needs the images of {', '.join(missing)}: make images")


@pytest.fixture
def folder():
    """Not in pytest's own folder: PostgreSQL's user, where these tests run as root, may not enter that."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="eyewall-docker-demo-") as name:
        yield Path(name) / "demo"


def steps(engine, folder: Path) -> list[str]:
    """Names of the containers of this demo's steps, running or not."""
    found = engine.containers(all=True, filters={"label": f"eyewall.store={folder / 'store'}"})
    return [container["Names"][0] for container in found]


def test_the_main_job_runs_in_containers_and_leaves_none(engine, images, folder):
    process = start(folder, "--backend=docker")
    seen: set[str] = set()
    try:
        while process.poll() is None:
            seen.update(steps(engine, folder))
            time.sleep(0.5)
        _, err = process.communicate()
    finally:
        process.kill()

    assert process.returncode == 0, err[-3000:]
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary) == [
        "seconds", "slots_ok", "slots_quarantined", "records", "leads", "decision", "served_version", "forecast",
    ]  # fmt: skip
    season = json.loads((folder / "season" / "season.json").read_text())
    assert (summary["slots_ok"], summary["slots_quarantined"]) == (season["slots"], len(season["damaged"]))
    assert (summary["decision"], summary["served_version"]) == ("yes", 1)
    assert [lead for lead, _, _ in summary["forecast"]] == [6, 12, 24, 48, 72]
    # The long steps at least were seen at work.
    assert {"/eyewall-ingest", "/eyewall-retrain"} <= {"-".join(name.split("-")[:2]) for name in seen}
    assert steps(engine, folder) == []
    # Whoever ran the demo owns what its containers wrote.
    assert {path.stat().st_uid for path in (folder / "store").rglob("*")} == {os.getuid()}


def test_a_demo_that_is_interrupted_in_a_step_leaves_no_container(engine, images, folder):
    process = start(folder, "--backend=docker")
    try:
        deadline = time.monotonic() + 300
        while not steps(engine, folder):
            assert process.poll() is None, process.communicate()[1][-3000:]
            assert time.monotonic() < deadline, "no step ever ran"
            time.sleep(0.1)

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    finally:
        process.kill()

    assert process.returncode == 130
    assert steps(engine, folder) == []
