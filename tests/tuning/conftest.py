"""A real PostgreSQL, and a dispatcher small enough to be told what each trial does."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from real_postgres import copy_of, fast_server, with_schema

from eyewall.db.connect import Connection, connected
from eyewall.jobs import claim, workers
from eyewall.jobs.runner import Assignment, Found, Worker
from eyewall.platform import postgres
from eyewall.tuning.controller import Controller

#: What a trial does: its reports, one at a time, from the words of its command; an exception is its failure.
Training = Callable[[tuple[str, ...]], Iterator[float]]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket."""
    with fast_server("tuning") as socket:
        yield socket


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema and an environment, which every test's own is a copy of."""
    from eyewall.tuning.study import open_storage

    name = with_schema(server)
    with connected(postgres.uri(server, name)) as connection:
        connection.execute(
            "INSERT INTO environment (name, framework, version, recipe_sha256, folder, state)"
            " VALUES ('local', 'python', '3', repeat('a', 64), '/usr', 'built') ON CONFLICT DO NOTHING"
        )
        workers.upsert_worker(connection, Worker("here", "process"))
        found = [Found(n, f"device-{n}", "", "any", 0, "ok", "", True) for n in range(8)]
        workers.record_gpus(connection, "here", found)
    open_storage(postgres.uri(server, name)).engine.dispose()  # Optuna's tables take 0.5 s to make
    return name


@pytest.fixture
def url(server: str, template: str) -> str:
    """URL of a database of this test's own, with one worker of eight devices."""
    return copy_of(server, template)[1]


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection to this test's database that commits at once."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@dataclass
class Live:
    """An attempt that runs."""

    assignment: Assignment
    reports: Iterator[float]
    step: int = 0


@dataclass
class LittleDispatcher:
    """Claims, and lets each trial report one step at each turn; a trial that is asked to stop ends at once.

    In ``lockstep`` nobody takes a step before Optuna knows all reports so far, and every end.
    """

    url: str
    idle: threading.Event  #: set while the controller, of this process, waits for news
    training: Training
    metric: str = "loss"
    lockstep: bool = True
    live: list[Live] = field(default_factory=list)
    most_at_once: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "LittleDispatcher":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(
                "INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('here', 1, pg_backend_pid()) RETURNING id"
            ).fetchone()
            while not self._end.wait(0.002):
                while (got := claim.claim(connection, row[0])) is not None:
                    self.live.append(Live(got, self.training(got.command)))
                self.most_at_once = max(self.most_at_once, len(self.live))
                if not self.lockstep or (self._optuna_knows(connection) and self.idle.is_set()):
                    for each in list(self.live):
                        self._turn(connection, each)

    def _optuna_knows(self, connection: Connection) -> bool:
        """Whether every report has come to Optuna, and every trial that ended has been told."""
        return connection.execute(
            "SELECT (SELECT count(*) FROM report)"
            "     = (SELECT count(*) FROM optuna.trial_intermediate_values)"
            "   AND (SELECT count(*) FROM trial t JOIN job j ON j.id = t.job WHERE j.ended_at IS NULL)"
            "     = (SELECT count(*) FROM optuna.trials WHERE state = 'RUNNING')"
            "   AND NOT EXISTS (SELECT FROM job WHERE state = 'queued')"
        ).fetchone()[0]

    def _turn(self, connection: Connection, each: Live) -> None:
        got = each.assignment
        stop = connection.execute("SELECT stop FROM job WHERE id = %s", (got.job,)).fetchone()[0]
        try:
            if stop:
                self._ended(connection, each, stop, 0)
                return
            value = next(each.reports)
        except StopIteration:
            self._ended(connection, each, "succeeded", 0)
            return
        except ZeroDivisionError as error:
            self._ended(connection, each, "failed", 1, str(error))
            return
        each.step += 1
        connection.execute(
            "INSERT INTO report (attempt, metric, step, value) VALUES (%s, %s, %s, %s)",
            (got.attempt, self.metric, each.step, value),
        )

    def _ended(self, connection: Connection, each: Live, state: str, code: int, reason: str = "") -> None:
        assert claim.end(connection, each.assignment.attempt, each.assignment.token, state, code, reason)
        self.live.remove(each)


@pytest.fixture
def dispatcher(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LittleDispatcher]:
    """Call with what a trial does; a context in which trials run."""
    idle, wait = threading.Event(), Controller.wait

    def seen_waiting(controller: Controller) -> None:
        idle.set()
        wait(controller)
        idle.clear()

    monkeypatch.setattr(Controller, "wait", seen_waiting)
    return lambda training, **options: LittleDispatcher(url, idle, training, **options)
