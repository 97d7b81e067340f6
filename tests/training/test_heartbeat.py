"""A replica's signs of life, and the liveness probe that judges them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eyewall.training.heartbeat import FILE_VARIABLE, FINISHED, SERVING, Heartbeat, complaint, main

ROOT = Path(__file__).parents[2]


def write(path: Path, progress: int, progressed_at: float, beaten_at: float) -> Path:
    """A beat file."""
    path.write_text(f"{progress} {progressed_at} {beaten_at}\n")
    return path


@pytest.mark.parametrize(
    ("progress", "progressed_at", "beaten_at", "sentence"),
    [
        pytest.param(7, 990, 999, None, id="well"),
        pytest.param(7, 990, 969, "silent for more than 30 s", id="frozen: no beat for 31 s"),
        pytest.param(7, 969, 999, "not got any further for 31 s", id="beats, and waits for a lost peer"),
        pytest.param(0, 600, 999, "not done its first step for 400 s", id="never began: 400 s of an allowance of 300"),
        pytest.param(0, 800, 999, None, id="starting up: 200 s"),
        pytest.param(0, 990, 960, "silent", id="frozen while starting up"),
        pytest.param(FINISHED, 100, 999, None, id="exports, as long as it takes"),
        pytest.param(FINISHED, 100, 950, "silent", id="frozen in its export"),
        pytest.param(SERVING, 100, 999, None, id="a server has no steps"),
        pytest.param(SERVING, 100, 950, "silent", id="a frozen server"),
        pytest.param(7, 5000, 5000, "silent", id="a beat of the machine's life before"),
    ],
)
def test_the_probe_tells_frozen_from_waiting_from_well(
    tmp_path: Path, progress: int, progressed_at: float, beaten_at: float, sentence: str | None
) -> None:
    """At 1000 s of the monotonic clock, with a timeout of 30 s and 300 s for the first step."""
    found = complaint(write(tmp_path / "beat", progress, progressed_at, beaten_at), timeout_s=30, now=1000)

    assert (found is None) == (sentence is None)
    assert sentence is None or sentence in str(found)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="absent"),
        pytest.param("", id="empty"),
        pytest.param("3 4", id="cut short"),
        pytest.param("a b c", id="garbage"),
    ],
)
def test_without_a_readable_file_the_replica_is_not_well(
    tmp_path: Path, text: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and one sentence with the path."""
    path = tmp_path / "beat"
    if text is not None:
        path.write_text(text)

    assert main(["--file", str(path), "--timeout-s", "30"]) == 1

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"eyewall: no heartbeat can be read from {path}")


def test_a_replica_in_a_pod_beats_without_a_launcher(tmp_path: Path) -> None:
    """The file's name is enough; it is there as soon as the replica has started to beat."""
    path = tmp_path / "beat"
    beat = Heartbeat({FILE_VARIABLE: str(path)}).start()
    first = path.read_text()
    beat.progress()
    deadline = time.monotonic() + 20
    while path.read_text().split()[0] != "1" and time.monotonic() < deadline:
        time.sleep(0.05)

    assert first.split()[0] == "0"
    assert path.read_text().split()[0] == "1"
    assert complaint(path, timeout_s=20) is None
    assert list(tmp_path.iterdir()) in ([path], [path, path.with_name("beat.tmp")], [path.with_name("beat.tmp"), path])


def test_without_a_file_to_write_there_is_no_heartbeat(tmp_path: Path) -> None:
    """Nothing is started, nothing is written."""
    Heartbeat({}).start().progress()

    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_the_chiefs_checkpoint_is_well_however_long_it_takes() -> None:
    """A worker's file: 1 step, then held up by the chief, then the count goes on."""
    beat = Heartbeat({})
    shown = []
    for say in (beat.progress, beat.serve, beat.progress):
        say()
        shown.append(beat.shown)

    assert shown == [1, SERVING, 2]


def probe(path: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """What kubelet runs."""
    command = [sys.executable, "-m", "eyewall.training.heartbeat", f"--file={path}", f"--timeout-s={timeout_s}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_process_that_is_really_stopped_is_found_out_and_forgiven_when_it_goes_on(tmp_path: Path) -> None:
    """SIGSTOP stops every thread of it, SIGCONT lets it go on: well, silent, well."""
    path = tmp_path / "beat"
    script = (
        "import time\nfrom eyewall.training.heartbeat import Heartbeat\nbeat = Heartbeat().start()\n"
        "while True:\n    beat.progress()\n    time.sleep(0.1)"
    )
    environ = os.environ | {FILE_VARIABLE: str(path), "EYEWALL_LAUNCHER_PID": "0"}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environ)
    try:
        wait_until(path.exists)
        assert probe(path, 30).returncode == 0
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: probe(path, 2).returncode == 1)
        assert "eyewall: the replica has been silent for more than 2 s" in probe(path, 2).stderr
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: probe(path, 2).returncode == 0)
    finally:
        process.kill()
        process.wait()


def wait_until(condition: object) -> None:
    """Up to a minute."""
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.1)


def test_the_probe_loads_nothing_that_takes_time(tmp_path: Path) -> None:
    """It is run every few seconds beside a training that wants the cores."""
    script = (
        "import sys\nfrom eyewall.training.heartbeat import main\n"
        f"main(['--file', {str(tmp_path / 'beat')!r}, '--timeout-s', '5'])\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)

    heavy = {"tensorflow", "numpy", "pydantic", "typer", "fsspec", "importlib.metadata", "dataclasses", "asyncio"}
    assert not heavy & set(loaded.stdout.split())
    assert "eyewall.training.heartbeat" in loaded.stdout.split()
