"""Workers and stores that are away for a while: nothing is concluded, nothing is lost, and it is said."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dispatching import Place, wait_until

from eyewall.contracts.errors import StorageError
from eyewall.jobs import queue, supervise
from eyewall.jobs.dispatcher import Dispatcher
from eyewall.jobs.process.runner import ProcessRunner
from eyewall.jobs.runner import Assignment, Found, Runner, Seen, Worker, WorkerUnreachable
from eyewall.storage import Store


@pytest.fixture
def place(url: str, tmp_path: Path) -> Place:
    """An installation with one device."""
    return Place(url, tmp_path, devices=1)


@contextmanager
def dispatching(place: Place, make_runner: Callable[[Worker, Store], Runner]) -> Iterator[list[str]]:
    """A dispatcher in a thread of this process; what it says."""
    said: list[str] = []
    dispatcher = Dispatcher(place.url, place.store, say=said.append, make_runner=make_runner, grace_s=1.0, probe_s=0.3)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield said
    finally:
        dispatcher.stop()
        thread.join()


class Distant(ProcessRunner):
    """A runner of a machine behind a cable that can be pulled out; what is under way breaks off then."""

    cable: threading.Event

    def _reach(self) -> None:
        if not self.cable.is_set():
            raise WorkerUnreachable("no route to host")

    def look(self, assignment: Assignment) -> Seen:
        """Where the cable is in."""
        self._reach()
        return super().look(assignment)

    def create(self, assignment: Assignment) -> None:
        """Where the cable is in."""
        self._reach()
        super().create(assignment)

    def start(self, assignment: Assignment) -> None:
        """Where the cable is in."""
        self._reach()
        super().start(assignment)

    def lines(self, assignment: Assignment) -> Iterator[str]:
        """Until the cable is out."""
        for line in super().lines(assignment):
            self._reach()
            yield line

    def stop(self, assignment: Assignment, grace_s: float) -> None:
        """Where the cable is in."""
        self._reach()
        super().stop(assignment, grace_s)

    def remove(self, assignment: Assignment) -> None:
        """Where the cable is in."""
        self._reach()
        super().remove(assignment)

    def answers(self) -> None:
        """Where the cable is in."""
        self._reach()

    def probe(self) -> list[Found]:
        """Where the cable is in."""
        self._reach()
        return super().probe()


@pytest.mark.parametrize("asked", ["", "cancelled"])
def test_a_worker_out_of_reach_keeps_its_jobs_and_gets_no_new_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(supervise, "_RETRY_S", 0.1)
    Distant.cable = threading.Event()
    Distant.cable.set()
    program = 'echo up; touch "$0/up"; while [ ! -e "$0/end" ]; do sleep 0.05; echo more; done; echo down'
    job = place.submit("sh", "-c", program, str(place.folder))
    with dispatching(place, Distant) as said:
        wait_until((place.folder / "up").exists)
        Distant.cable.clear()
        wait_until(lambda: place.rows("SELECT state FROM worker") == [("unreachable",)])
        waiting = place.submit("true")
        if asked:
            with psycopg.connect(place.url, autocommit=True) as connection:
                queue.cancel(connection, job, "tester")
        else:
            (place.folder / "end").touch()  # its end cannot be seen now
            wait_until(lambda: list(place.scratch.glob("eyewall-job-*/end.json")))
        wait_until(lambda: any("does not answer, nothing is concluded" in line for line in said))
        assert (place.state(job), place.state(waiting)) == ("running", "queued")
        assert place.rows("SELECT count(*) FROM lease WHERE released_at IS NULL") == [(1,)]
        Distant.cable.set()
        place.wait_for(waiting, "succeeded")
        wait_until(place.nothing_left)
        assert place.rows("SELECT state FROM worker") == [("up",)]
    assert place.state(job) == (asked or "succeeded")
    assert len(place.attempts(job)) == 1
    lines = place.log(job).splitlines()
    assert (lines[0], lines.count("up")) == ("up", 1)  # read again from the first line, not twice
    assert (lines[-1] == "down") is (not asked)


def test_what_is_left_on_a_worker_out_of_reach_is_removed_when_it_is_back(place: Place) -> None:
    class Cut(Distant):
        """Its cable is pulled out between the end and the removal."""

        def keep(self, assignment: Assignment) -> None:
            super().keep(assignment)
            self.cable.clear()

    Distant.cable = threading.Event()
    Distant.cable.set()
    job = place.submit("true")
    with dispatching(place, Cut):
        place.wait_for(job, "succeeded")
        assert list(place.scratch.glob("eyewall-job-*"))
        Distant.cable.set()
        wait_until(place.nothing_left)


def test_a_store_that_is_away_for_long_fails_the_job_and_leaves_its_output_to_a_person(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_STORE_PAUSES_S", (0.01, 0.01))
    tries: list[int] = []

    class Full(ProcessRunner):
        """The store has no room for output."""

        def keep(self, assignment: Assignment) -> None:
            tries.append(assignment.job)
            raise StorageError("cannot write 'x': no space left on device; free some space")

    job = place.submit("sh", "-c", 'echo weights > "$EYEWALL_OUT/model"')
    with dispatching(place, Full):
        place.wait_for(job, "failed")
        after = place.submit("true")
        place.wait_for(after, "failed")
    ((state, _, code, reason),) = place.attempts(job)
    assert (state, code) == ("failed", 0)
    assert "could not be kept, and stays on local: cannot write 'x'" in reason
    assert tries == [job] * 3 + [after] * 3
    (left,) = place.scratch.glob(f"eyewall-job-{job}-*/out/model")
    assert left.read_text() == "weights\n"


def test_a_store_that_is_back_in_time_costs_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_STORE_PAUSES_S", (0.01, 0.01))
    failures = iter([True, True, False])

    class Away(ProcessRunner):
        """The store is away, twice."""

        def keep(self, assignment: Assignment) -> None:
            if next(failures):
                raise StorageError("cannot reach the store")
            super().keep(assignment)

    job = place.submit("sh", "-c", 'echo weights > "$EYEWALL_OUT/model"')
    with dispatching(place, Away):
        place.wait_for(job, "succeeded")
        wait_until(place.nothing_left)
    assert place.store.read_bytes(f"jobs/{job}/1/out/model") == b"weights\n"


def test_output_that_cannot_be_read_costs_the_log_and_not_the_job(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_RETRY_S", 0.01)

    class Mute(ProcessRunner):
        """Its output breaks off after the first line, always."""

        def lines(self, assignment: Assignment) -> Iterator[str]:
            yield next(super().lines(assignment))
            raise RuntimeError("no more")

    job = place.submit("sh", "-c", "echo first; echo second")
    with dispatching(place, Mute):
        place.wait_for(job, "succeeded")
    assert place.log(job) == "first\n[eyewall: the rest of the output could not be read: RuntimeError: no more]\n"


def test_what_may_mend_by_itself_is_tried_again_what_cannot_is_not(place: Place) -> None:
    errors: dict[int, Any] = {}

    class Broken(ProcessRunner):
        """Its first attempt cannot be made."""

        def create(self, assignment: Assignment) -> None:
            if assignment.number == 1 and assignment.job in errors:
                raise errors[assignment.job]
            super().create(assignment)

    job = place.submit("true")
    errors[job] = StorageError("cannot read the code: timed out")
    with dispatching(place, Broken):
        place.wait_for(job, "succeeded")
    assert [row[0] for row in place.attempts(job)] == ["failed", "succeeded"]


def test_an_unforeseen_error_while_watching_is_said_and_the_job_goes_on(place: Place) -> None:
    class Odd(ProcessRunner):
        """Raises what no runner should, once."""

        raised = False

        def look(self, assignment: Assignment) -> Seen:
            if not Odd.raised:
                Odd.raised = True
                raise RuntimeError("unforeseen")
            return super().look(assignment)

    job = place.submit("true")
    with dispatching(place, Odd) as said:
        place.wait_for(job, "succeeded")
        wait_until(place.nothing_left)
    assert any("to be tried again: RuntimeError: unforeseen" in line for line in said)
    assert len(place.attempts(job)) == 1
