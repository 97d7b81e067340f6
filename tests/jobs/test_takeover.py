"""Dispatchers that are killed, frozen and cut off from their database: no job is lost, none runs twice at a time."""

import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from dispatching import Place, Process, wait_until

from eyewall.platform import postgres

#: Notes its start, works for $1 seconds, notes its end: a second run is seen, and whether it was at the same time.
WORK = 'echo begins >> "$0/ran"; echo working; sleep "$1"; echo ends >> "$0/ran"'


@pytest.fixture
def place(url: str, tmp_path: Path) -> Place:
    """An installation with two devices."""
    return Place(url, tmp_path, devices=2)


def work(place: Place, seconds: float) -> int:
    """Submit the job that notes what it does."""
    return place.submit("sh", "-c", WORK, str(place.folder), str(seconds))


def ran(place: Place) -> list[str]:
    """What it has noted."""
    path = place.folder / "ran"
    return path.read_text().split() if path.exists() else []


def finish(place: Place, job: int, dispatcher: Process) -> None:
    """The job succeeds, having run once, and nothing is left of it."""
    place.wait_for(job, "succeeded")
    wait_until(place.nothing_left)
    assert ran(place) == ["begins", "ends"]
    assert place.log(job) == "working\n", dispatcher.text()


@pytest.mark.parametrize("step", ["create", "start"])
def test_killed_between_claim_and_start_the_next_one_starts_the_same_attempt(place: Place, step: str) -> None:
    job = work(place, 0.1)
    with place.dispatcher("--halt-at", step) as first:
        wait_until(first.halted)
        first.kill()
    assert ran(place) == []
    with place.dispatcher() as second:
        finish(place, job, second)
    assert place.attempts(job) == [("succeeded", 2, 0, "")]


def test_killed_while_its_job_runs_the_next_one_sees_it_to_its_end(place: Place) -> None:
    job = work(place, 1.5)
    with place.dispatcher() as first:
        wait_until(lambda: ran(place))
        first.kill()
    with place.dispatcher() as second:
        finish(place, job, second)
    assert place.attempts(job) == [("succeeded", 2, 0, "")]


def test_a_job_that_ends_while_no_dispatcher_lives_is_recorded_as_it_ended(place: Place) -> None:
    job = place.submit("sh", "-c", 'echo begins >> "$0/ran"; sleep 0.5; exit 7', str(place.folder))
    with place.dispatcher() as first:
        wait_until(lambda: ran(place))
        first.kill()
    wait_until(lambda: list(place.scratch.glob("eyewall-job-*/end.json")))
    assert place.state(job) == "running"
    with place.dispatcher("--idle-s", "0") as second:
        assert second.wait() == 0
    assert place.attempts(job) == [("failed", 2, 7, "its command ended with exit code 7")]
    assert place.nothing_left()


def test_killed_between_an_end_and_the_removal_the_next_one_removes(place: Place) -> None:
    job = work(place, 0.1)
    with place.dispatcher("--halt-at", "remove") as first:
        wait_until(first.halted)
        first.kill()
    assert place.state(job) == "succeeded"
    assert not place.nothing_left()
    with place.dispatcher() as second:
        finish(place, job, second)


@pytest.mark.parametrize("moment", ["while-it-runs", "after-its-end"])
@pytest.mark.parametrize("step", ["create", "start"])
def test_frozen_before_the_start_and_woken_after_a_takeover_it_starts_nothing(
    place: Place, step: str, moment: str
) -> None:
    job = work(place, 0.7)
    with place.dispatcher("--halt-at", step) as frozen:
        wait_until(frozen.halted)
        frozen.signal(signal.SIGSTOP)
        (place.folder / "go-on").touch()
        with place.dispatcher() as second:
            wait_until(lambda: ran(place))  # once its lease has expired
            if moment == "after-its-end":
                finish(place, job, second)
            frozen.signal(signal.SIGCONT)
            wait_until(lambda: "left to them" in frozen.text())
            finish(place, job, second)
            assert place.attempts(job) == [("succeeded", 2, 0, "")]


def test_frozen_while_its_job_runs_and_woken_after_its_end_it_changes_nothing(place: Place) -> None:
    job = work(place, 1.0)
    with place.dispatcher() as frozen:
        wait_until(lambda: ran(place))
        frozen.signal(signal.SIGSTOP)
        with place.dispatcher() as second:
            finish(place, job, second)
            before = place.rows("SELECT * FROM attempt"), place.log(job)
            frozen.signal(signal.SIGCONT)
            wait_until(lambda: "left to them" in frozen.text())
            # It lives on, and takes its part of what comes.
            jobs = [place.submit("true") for _ in range(4)]
            for each in jobs:
                place.wait_for(each, "succeeded")
            assert (place.rows("SELECT * FROM attempt WHERE job = %s", job), place.log(job)) == before


def test_a_clock_that_jumps_makes_nothing_run_twice_and_loses_nothing(place: Place) -> None:
    program = 'echo ran >> "$0/job-$EYEWALL_JOB"; sleep 0.4'
    with place.dispatcher(), place.dispatcher():
        jobs = [place.submit("sh", "-c", program, str(place.folder)) for _ in range(12)]

        def over() -> bool:
            # Every live lease has expired, again and again: as a jump of the database's clock would have it.
            place.rows(
                "UPDATE lease SET expires_at = expires_at - interval '10 days' WHERE released_at IS NULL RETURNING 1"
            )
            time.sleep(0.2)
            return place.states().get("succeeded") == 12

        wait_until(over)
        wait_until(place.nothing_left)
    assert [(place.folder / f"job-{job}").read_text() for job in jobs] == ["ran\n"] * 12
    assert place.rows("SELECT count(*) FROM attempt") == [(12,)]
    assert place.rows("SELECT max(token) > 1 FROM attempt") == [(True,)]


def test_a_job_whose_shim_is_killed_ends_with_all_it_started_and_is_run_again(place: Place) -> None:
    program = (
        'if [ "$EYEWALL_ATTEMPT" = 2 ]; then echo second; exit; fi;'
        'setsid sleep 300 & echo $! > "$0/pids"; sleep 300 & echo $! >> "$0/pids"; echo $$ >> "$0/pids"; wait'
    )
    job = place.submit("sh", "-c", program, str(place.folder))
    with place.dispatcher():
        pids = wait_until(lambda: len(found := read_words(place.folder / "pids")) == 3 and found)
        (begun,) = place.scratch.glob("eyewall-job-*/begun.json")
        os.kill(json.loads(begun.read_text())["pid"], signal.SIGKILL)
        place.wait_for(job, "succeeded")
        wait_until(place.nothing_left)
    assert [row[0] for row in place.attempts(job)] == ["lost", "succeeded"]
    assert place.log(job, 2) == "second\n"
    assert [pid for pid in pids if is_alive(int(pid))] == []


def read_words(path: Path) -> list[str]:
    """Words of a file that may not be there yet."""
    return path.read_text().split() if path.exists() else []


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def own_server() -> Iterator[Path]:
    """The folder of a server that a test may stop and start."""
    with tempfile.TemporaryDirectory(prefix="eyewall-restart-") as name:
        yield Path(name) / "postgres"
        postgres.stop(Path(name) / "postgres")


def test_a_restart_of_the_database_loses_nothing_and_ends_no_job(own_server: Path, tmp_path: Path) -> None:
    from eyewall.db.connect import connected

    url = postgres.uri(postgres.start(own_server), "eyewall")
    with connected(url):
        pass
    place = Place(url, tmp_path, devices=1)
    long = work(place, 3.0)
    short = place.submit("true")
    with place.dispatcher() as first, place.dispatcher() as second:
        wait_until(lambda: ran(place))
        postgres.stop(own_server)
        with pytest.raises(psycopg.OperationalError):
            place.states()
        wait_until(lambda: all("does not answer" in each.text() for each in (first, second)))
        postgres.start(own_server)
        finish(place, long, first)
        place.wait_for(short, "succeeded")
        assert [row[0] for row in place.attempts(long)] == ["succeeded"]
        wait_until(lambda: all("answers again" in each.text() for each in (first, second)))


def test_dispatchers_killed_frozen_and_cut_off_at_random_run_every_job_once(url: str, tmp_path: Path) -> None:
    """Whatever the moment: 24 jobs, three dispatchers, of which one is struck every quarter of a second."""
    place = Place(url, tmp_path, devices=3)
    chance = random.Random(20261121)
    program = 'echo ran >> "$0/job-$EYEWALL_JOB"; sleep "$1"'
    jobs = [place.submit("sh", "-c", program, str(tmp_path), f"{chance.uniform(0, 0.4):.2f}") for _ in range(24)]
    with ExitStack() as stack:
        alive = [stack.enter_context(place.dispatcher()) for _ in range(3)]
        struck = 0
        while place.states().get("succeeded", 0) < len(jobs) and struck < 40:
            time.sleep(0.25)
            struck += 1
            victim = chance.choice(alive)
            how = chance.choice(("kill", "freeze", "cut off"))
            if how == "kill":
                victim.kill()
                alive[alive.index(victim)] = stack.enter_context(place.dispatcher())
            elif how == "freeze":
                victim.signal(signal.SIGSTOP)
                thaw = chance.choice(alive)  # which may be this one, or one that was frozen long ago
                thaw.signal(signal.SIGCONT)
            else:  # its sessions end, as by a network that fails
                place.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                    f"eyewall dispatcher {chance.randint(1, 3)}",
                )
        for each in alive:
            each.signal(signal.SIGCONT)
        wait_until(lambda: place.states() == {"succeeded": len(jobs)})
        wait_until(place.nothing_left)
    assert [(tmp_path / f"job-{job}").read_text() for job in jobs] == ["ran\n"] * len(jobs)
    assert place.rows("SELECT count(*) FROM attempt") == [(len(jobs),)]
