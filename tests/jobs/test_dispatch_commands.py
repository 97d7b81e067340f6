"""``eyewall job dispatch`` and ``eyewall job logs`` as a user types them."""

import threading
from pathlib import Path

import psycopg
import pytest
from dispatching import Place
from typer.testing import CliRunner

from eyewall.contracts.errors import InputError
from eyewall.jobs import dispatch_commands, queue
from eyewall.jobs.dispatch_commands import app


@pytest.fixture
def place(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An installation with one device, whose database and store the commands find."""
    made = Place(url, tmp_path, devices=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    monkeypatch.setenv("EYEWALL_STORE", made.store.url)
    return made


def logs(*args: str) -> str:
    """What `eyewall job logs` prints on stdout. Raises what the command raises."""
    result = CliRunner().invoke(app, ["logs", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_logs_of_a_job_by_attempt(place: Place) -> None:
    job = place.submit("sh", "-c", 'echo "attempt $EYEWALL_ATTEMPT"; [ "$EYEWALL_ATTEMPT" = 2 ] || exit 75')
    with pytest.raises(InputError, match=f"job {job} is queued and was never started"):
        logs(str(job))
    with place.dispatcher("--idle-s", "0") as dispatcher:
        dispatcher.wait()
    assert logs(str(job)) == "attempt 2\n"
    assert logs(str(job), "--attempt", "1") == "attempt 1\n"
    with pytest.raises(InputError, match=f"job {job} has no attempt 3: it had 1, 2"):
        logs(str(job), "--attempt", "3")


def test_follow_does_not_wait_for_what_will_never_come(place: Place) -> None:
    job = place.submit("true")
    with psycopg.connect(place.url, autocommit=True) as connection:
        queue.cancel(connection, job, "tester")
    with pytest.raises(InputError, match=f"job {job} is cancelled and was never started"):
        logs(str(job), "--follow")
    with pytest.raises(InputError, match="no job 99"):
        logs("99", "--follow")


def test_follow_begins_before_the_job_does_and_ends_with_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_commands, "_FOLLOW_S", 0.05)
    job = place.submit("sh", "-c", "echo one; sleep 1; echo two")
    shown: list[str] = []
    thread = threading.Thread(target=lambda: shown.append(logs(str(job), "--follow")))
    thread.start()
    with place.dispatcher("--idle-s", "0") as dispatcher:
        dispatcher.wait()
    thread.join(30)
    assert shown == ["one\ntwo\n"]


@pytest.mark.parametrize(
    ("log", "last", "new"),
    [
        pytest.param(b"a\nb\n", b"", b"a\nb\n", id="first"),
        pytest.param(b"a\nb\nc\n", b"a\nb\n", b"c\n", id="grown"),
        pytest.param(b"a\n", b"a\n", b"", id="the-same"),
        pytest.param(b"a\n[left out]\ny\nz\n", b"x\ny\n", b"a\n[left out]\ny\nz\n", id="carried-away"),
        pytest.param(b"[left out]\nx\ny\nz\n", b"x\ny\n", b"z\n", id="moved"),
    ],
)
def test_what_is_new_in_a_log_that_grows_and_moves(log: bytes, last: bytes, new: bytes) -> None:
    assert dispatch_commands._new(log, last) == new


def test_dispatch_on_a_new_installation_makes_this_machine_its_worker(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    monkeypatch.setenv("EYEWALL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("EYEWALL_VAR", str(tmp_path / "var"))
    result = CliRunner().invoke(app, ["dispatch", "--idle-s", "0"], catch_exceptions=False)
    assert result.exit_code == 0
    said = capfd.readouterr().err
    assert "worker local is registered" in said
    assert "nothing waited or ran for 0 s, ending" in said
    with pytest.raises(InputError, match="no worker 'hall': workers are local"):
        CliRunner().invoke(app, ["dispatch", "--worker", "hall"], catch_exceptions=False)


def test_workers_of_the_settings_are_registered_with_their_devices(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "eyewall.toml"
    settings.write_text(
        '[queue]\nheartbeat_s = 0.1\n[workers.desk]\nkind = "process"\ndevices = 3\ngeneration = "toy"\n'
        f'folder = "{tmp_path}/desk"\n'
    )
    monkeypatch.setenv("EYEWALL_SETTINGS", str(settings))
    monkeypatch.setenv("EYEWALL_DATABASE_URL", url)
    monkeypatch.setenv("EYEWALL_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(app, ["dispatch", "--idle-s", "0.5"], catch_exceptions=False)
    assert result.exit_code == 0
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT worker, number, uuid, generation, state FROM gpu ORDER BY number").fetchall()
    assert found == [("desk", n, f"desk-{n}", "toy", "ok") for n in range(3)]
