"""A task that a person marks: what it asked of the queue ends, whoever held the task; nothing else does."""

# NOTE: injected by pytest, defined in conftest: url, connection
from types import SimpleNamespace

import jobs_rows
import pytest
from airflow._shared.listeners.listener import ListenerManager
from airflow._shared.listeners.spec import taskinstance
from marked_tasks import MarkedTasks, MarkedTasksPlugin

from eyewall.contracts.submission import key_of
from eyewall.jobs import claim, queue
from eyewall.tuning import sweeps
from eyewall.tuning.space import Space

SPACE = Space.parse(
    {
        "job": {"environment": "tensorflow-2.21", "command": ["train", "--lr={lr}"]},
        "parameters": {"lr": {"type": "float", "low": 0.1, "high": 1.0}},
        "objective": {"metric": "loss"},
        "budget": {"trials": 3},
    }
)
LONG_RUN = "manual__" + "x" * 240


@pytest.fixture
def hook():
    """Airflow's own way of calling listeners, with ours alone."""
    manager = ListenerManager()
    manager.add_hookspecs(taskinstance)
    manager.add_listener(MarkedTasksPlugin.listeners[0])
    return manager.hook


def task(run="manual__1", dag="job", name="job", operator="JobOperator"):
    return SimpleNamespace(dag_id=dag, run_id=run, task_id=name, operator=operator)


def submit(connection, run="manual__1"):
    """The job that the task of that run asks for."""
    return jobs_rows.submit(connection, "a", "ada", key=key_of("job", run, "job"))


def state_of(connection, job):
    return connection.execute("SELECT state, stop, reason FROM job WHERE id = %s", (job,)).fetchone()


@pytest.mark.parametrize("end", ["success", "failed", "skipped"])
def test_marking_a_task_cancels_its_job_and_no_other(connection, hook, end):
    job, other = submit(connection), submit(connection, "manual__2")
    error = {"error": "marked"} if end == "failed" else {}

    getattr(hook, f"on_task_instance_{end}")(previous_state=None, task_instance=task(), **error)

    assert state_of(connection, job) == ("cancelled", "", "a person ended its task in Airflow")
    assert state_of(connection, other)[0] == "queued"


def test_a_job_that_runs_is_asked_to_end_and_one_that_has_ended_stays_as_it_is(connection, hook):
    jobs_rows.hosts(connection)
    job = submit(connection, LONG_RUN)
    assignment = claim.claim(connection, jobs_rows.dispatcher(connection))

    hook.on_task_instance_failed(previous_state=None, task_instance=task(LONG_RUN), error="marked")
    assert state_of(connection, job)[:2] == ("running", "cancelled")
    claim.end(connection, assignment.attempt, assignment.token, "succeeded", 0, "")
    hook.on_task_instance_failed(previous_state=None, task_instance=task(LONG_RUN), error="marked")

    assert state_of(connection, job)[0] in ("succeeded", "cancelled")  # as its dispatcher has it


def test_what_ends_by_itself_cancels_nothing(connection, hook):
    """A task that fails as its database is away is tried again, and waits for its job then."""
    job = submit(connection)

    hook.on_task_instance_failed(previous_state="running", task_instance=task(), error="database")

    assert state_of(connection, job)[0] == "queued"


def test_marking_the_task_of_a_search_stops_it_with_its_trials(connection, hook):
    search = sweeps.create(connection, SPACE, "rates", "ada")
    sweeps.hand_over(connection, search, "ada", key_of("retrain", "r", "search"))
    trial = queue.submit(connection, SPACE.submission("rates", 0, SPACE.example(), owner="ada", key=search.key(0)))
    connection.execute("INSERT INTO trial (job, sweep, number, params) VALUES (%s, %s, 0, '{}')", (trial, search.id))

    hook.on_task_instance_success(previous_state=None, task_instance=task("r", "retrain", "train", "TrainOnBest"))
    assert sweeps.find(connection, "rates").state == "running"
    hook.on_task_instance_success(previous_state=None, task_instance=task("r", "retrain", "search", "Search"))

    assert sweeps.find(connection, "rates").state == "stopped"
    assert state_of(connection, trial)[0] == "cancelled"


def test_a_database_that_is_away_is_said_and_keeps_nobody_from_marking(monkeypatch, hook, caplog):
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://eyewall:secret-word@127.0.0.1:1/x")

    hook.on_task_instance_failed(previous_state=None, task_instance=task(), error="marked")

    assert "job/manual__1/job" in caplog.text
    assert "secret-word" not in caplog.text


def test_the_plugin_hears_of_ends_alone():
    assert {name for name in dir(MarkedTasks) if name.startswith("on_")} == {
        f"on_task_instance_{end}" for end in ("success", "failed", "skipped")
    }
