"""The whole main job on this machine, with a smaller season: simulated slots in, a served forecast out."""

import json
import math
import signal
import time
from pathlib import Path

import psutil
import pytest
from demo_process import start

from eyewall.platform.processes import MARKER

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that belong to the demo in ``folder``, or work on its database."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(folder) or str(folder) in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Not in pytest's own folder: PostgreSQL's user, where these tests run as root, may not enter that."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="eyewall-demo-") as name:
        yield Path(name) / "demo"


def test_the_main_job_runs_end_to_end_and_leaves_nothing_running(folder):
    process = start(folder)
    out, err = process.communicate(timeout=580)

    assert process.returncode == 0, err[-3000:]
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary) == [
        "seconds", "slots_ok", "slots_quarantined", "records", "leads", "decision", "served_version", "forecast",
    ]  # fmt: skip
    season = json.loads((folder / "season" / "season.json").read_text())
    assert summary["slots_ok"] == season["slots"]  # a damaged file never costs a good one its frame
    assert summary["slots_quarantined"] == len(season["damaged"])
    assert summary["records"] > 1000
    assert list(summary["leads"]) == ["6", "12", "24", "48", "72"]
    for scores in summary["leads"].values():
        assert scores["n"] > 30
        assert 0 < scores["model_km"] < 1.2 * scores["persistence_km"]
    assert summary["decision"] in {"yes", "no"}
    assert "Mean great-circle error" in out
    assert f"Gate: {summary['decision']}" in out
    assert left_running(folder) == []
    if summary["decision"] == "no":
        pytest.fail(f"the gate must say yes on the demo's season, or nobody sees a forecast: {out}")
    assert summary["served_version"] == 1
    assert [lead for lead, _, _ in summary["forecast"]] == [6, 12, 24, 48, 72]
    assert all(0 < lat < 60 and 90 < lon < 200 and math.isfinite(lat + lon) for _, lat, lon in summary["forecast"])
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_a_demo_that_is_interrupted_leaves_nothing_running(folder):
    """Ctrl-C while the platform is starting; also a second run in the same folder, which is emptied first."""
    process = start(folder)
    deadline = time.monotonic() + 120
    while not (folder / "run" / "scheduler.pid").exists():
        assert time.monotonic() < deadline, "the scheduler never started"
        time.sleep(0.2)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)

    assert process.returncode == 130
    assert left_running(folder) == []
