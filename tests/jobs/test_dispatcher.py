"""A dispatcher runs what is submitted, each job once, and says truthfully how it ended: real processes throughout."""

import signal
from pathlib import Path

import psycopg
import pytest
from dispatching import Place, wait_until

from eyewall.jobs import queue


@pytest.fixture
def place(url: str, tmp_path: Path) -> Place:
    """An installation with two devices."""
    return Place(url, tmp_path, devices=2)


def appends(place: Place, seconds: float = 0.0) -> tuple[str, ...]:
    """A command that adds a line to a file of its job's own: twice run, twice there."""
    line = 'echo ran >> "$0/job-$EYEWALL_JOB"; sleep "$1"'
    return ("sh", "-c", line, str(place.folder), str(seconds))


def runs(place: Place, job: int) -> int:
    """How often a job of `appends` ran."""
    path = place.folder / f"job-{job}"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_job_runs_and_its_log_reports_and_output_are_kept(place: Place) -> None:
    program = (
        "import eyewall, os\n"
        "for epoch in range(3): eyewall.report(epoch, loss=1 / (epoch + 1))\n"
        "open(os.environ['EYEWALL_OUT'] + '/model.txt', 'w').write('weights')\n"
        "print('done', os.environ['EYEWALL_GPUS'])"
    )
    job = place.submit("python", "-c", program)
    with place.dispatcher("--idle-s", "0") as dispatcher:
        assert dispatcher.wait() == 0
    assert place.attempts(job) == [("succeeded", 1, 0, "")]
    assert place.state(job) == "succeeded"
    assert place.log(job).endswith("\ndone 1\n")
    # 1/1, 1/2, 1/3
    reported = place.rows("SELECT metric, step, value FROM report ORDER BY step")
    assert reported == [("loss", 0, 1.0), ("loss", 1, 0.5), ("loss", 2, pytest.approx(1 / 3))]
    assert place.store.read_bytes(f"jobs/{job}/1/out/model.txt") == b"weights"
    assert place.nothing_left()


def test_a_users_mistake_is_a_failure_in_one_sentence_and_not_repeated(place: Place) -> None:
    mistakes: dict[str, tuple[tuple[str, ...], dict[str, object], int | None, str]] = {
        "no such command": (("trian.py",), {}, 127, "cannot start 'trian.py': No such file"),
        "fails at once": (("sh", "-c", "exit 3"), {}, 3, "ended with exit code 3"),
        "says why": (("sh", "-c", "echo no data; exit 3"), {}, 3, "its command ended with exit code 3: no data"),
        "no such code": (("true",), {"code": "no/code"}, None, "code 'no/code' is not there"),
        "no such data": (("true",), {"data": ("no/data",)}, None, "data 'no/data' is not in the store"),
        "over its time": (("sleep", "60"), {"max_hours": 1 / 3600}, None, "max_hours"),
    }
    jobs = {what: place.submit(*command, **values) for what, (command, values, _, _) in mistakes.items()}
    with place.dispatcher("--idle-s", "0") as dispatcher:
        assert dispatcher.wait() == 0
    for what, (_, _, exit_code, said) in mistakes.items():
        ((state, _, code, reason),) = place.attempts(jobs[what])
        assert (state, code, place.state(jobs[what])) == ("failed", exit_code, "failed"), what
        assert said in reason
    assert place.nothing_left()


def test_exit_code_75_is_tried_again_as_often_as_the_job_allows(place: Place) -> None:
    again = place.submit("sh", "-c", 'echo "attempt $EYEWALL_ATTEMPT"; [ "$EYEWALL_ATTEMPT" = 2 ] || exit 75')
    never = place.submit("sh", "-c", "exit 75", max_attempts=2)
    with place.dispatcher("--idle-s", "0") as dispatcher:
        dispatcher.wait()
    assert [row[0] for row in place.attempts(again)] == ["failed", "succeeded"]
    assert place.log(again, 2) == "attempt 2\n"
    assert [row[0] for row in place.attempts(never)] == ["failed", "failed"]
    assert (place.state(again), place.state(never)) == ("succeeded", "failed")


def test_a_running_job_ends_as_it_was_asked_to(url: str, tmp_path: Path) -> None:
    place = Place(url, tmp_path, devices=6)
    reports = "exec python -c 'import eyewall, time\nfor n in range(999): eyewall.report(n, n); time.sleep(0.05)'"
    programs = {
        "obedient": ("sleep 60", 143),
        "deaf": ("trap '' TERM; while :; do sleep 0.1; done", 137),
        "reporting": (reports, 0),
    }
    asked = {
        (what, how): place.submit("sh", "-c", f"touch {tmp_path}/{what}-{how}; {program}")
        for what, (program, _) in programs.items()
        for how in ("cancelled", "pruned")
    }
    with place.dispatcher("--idle-s", "0") as dispatcher:
        wait_until(lambda: all((tmp_path / f"{what}-{how}").exists() for what, how in asked))
        # Its handler of SIGTERM is there after its first report.
        wait_until(lambda: place.rows("SELECT count(DISTINCT attempt) FROM report") == [(2,)])
        with psycopg.connect(place.url, autocommit=True) as connection:
            for (_, how), job in asked.items():
                if how == "cancelled":
                    queue.cancel(connection, job, "tester")
                else:
                    queue.ask_to_stop(connection, job, "pruned", "tester")
        assert dispatcher.wait() == 0
    for (what, how), job in asked.items():
        assert place.state(job) == how
        assert place.attempts(job)[0][:3] == (how, 1, programs[what][1]), what
    assert place.nothing_left()


def test_two_dispatchers_run_forty_short_jobs_on_three_devices_once_each(url: str, tmp_path: Path) -> None:
    place = Place(url, tmp_path, devices=3)
    with place.dispatcher() as one, place.dispatcher() as other:
        jobs = [place.submit(*appends(place)) for _ in range(40)]
        wait_until(lambda: place.states().get("succeeded") == 40)
        wait_until(place.nothing_left)
        assert [runs(place, job) for job in jobs] == [1] * 40
        assert " starts on " in one.text()
        assert " starts on " in other.text()
    # No two leases on one device at the same time, by their own times.
    overlapping = place.rows(
        "SELECT a.id, b.id FROM lease a JOIN lease b ON a.gpu = b.gpu AND a.id < b.id"
        " AND tstzrange(a.granted_at, a.released_at) && tstzrange(b.granted_at, b.released_at)"
    )
    assert overlapping == []


def test_a_job_never_sees_the_dispatchers_secrets(place: Place) -> None:
    job = place.submit("env")
    with place.dispatcher("--idle-s", "0") as dispatcher:
        dispatcher.wait()
    names = {line.partition("=")[0] for line in place.log(job).splitlines()}
    assert "EYEWALL_OUT" in names
    assert not names & {"EYEWALL_DATABASE_URL", "AWS_SECRET_ACCESS_KEY"}


def test_told_to_end_it_ends_at_once_and_the_next_one_goes_on_with_its_job(place: Place) -> None:
    job = place.submit(*appends(place, seconds=2.0))
    with place.dispatcher() as first:
        wait_until(lambda: runs(place, job))
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        assert "1 jobs go on" in first.text()
    assert place.state(job) == "running"
    with place.dispatcher("--idle-s", "0") as second:
        assert second.wait() == 0
        assert "taken over from dispatcher 1" in second.text()
    assert place.attempts(job) == [("succeeded", 2, 0, "")]
    assert runs(place, job) == 1
    assert place.nothing_left()
