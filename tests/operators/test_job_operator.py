"""Jobs as tasks, against a real queue: what is submitted, what is refused, and what an end becomes."""

# NOTE: injected by pytest, defined in queue_database: queue
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from eyewall.contracts.submission import Submission
from eyewall.jobs import claim
from eyewall.jobs.queue import cancel, submit
from eyewall.storage import Store
from operators.job import JobOperator, owner

FORM = {
    "env": "local", "command": "python train.py --lr 0.01 'a b; c'", "code": "code/a", "data": ["sets/x", "sets/y"],
    "gpus": 2, "generation": ["any"], "memory_gb": 4.5, "priority": 7, "after": None, "max_hours": 1.5,
    "variables": {"LR": "0.1"}, "name": "try-1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Store:
    """A store that holds what FORM names."""
    made = Store(str(tmp_path))
    for name in ("code/a/train.py", "sets/x/1", "sets/y/1"):
        made.write_bytes(name, b"print('trained')")
    monkeypatch.setenv("EYEWALL_STORE", made.url)
    return made


def context(form, run_id="manual__1", user="ada", try_number=1, cleared_at=0):
    """What a task of the DAG `job` gets to see of its run; it has 3 retries, and was cleared after ``cleared_at``."""
    return {
        "dag_run": SimpleNamespace(dag_id="job", run_id=run_id, conf=form, triggering_user_name=user),
        "dag": SimpleNamespace(params=dict.fromkeys(FORM), dag_id="job"),
        "params": {**dict.fromkeys(FORM), **form},
        "ti": SimpleNamespace(try_number=try_number, max_tries=cleared_at + 3),
    }


def submitted(form=FORM, **run) -> int:
    """The number of the job that a task submits before it defers."""
    with pytest.raises(TaskDeferred) as deferred:
        JobOperator(task_id="job", retries=3).execute(context(form, **run))
    return int(deferred.value.trigger.job)


def run_to(queue, state, exit_code, reason=""):
    """A dispatcher's work: the next job gets its devices, and ends."""
    number = queue.execute(
        "INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('h', 1, 0) RETURNING id"
    ).fetchone()[0]
    assignment = claim.claim(queue, number)
    assert claim.end(queue, assignment.attempt, assignment.token, state, exit_code, reason)
    return assignment


def test_the_form_is_the_same_job_as_the_command_line(queue):
    """Field by field the row that `eyewall job submit` makes of the same words."""
    job = submitted()
    by_hand = submit(
        queue,
        Submission(
            command=("python", "train.py", "--lr", "0.01", "a b; c"), environment="local", code="code/a",
            data=("sets/x", "sets/y"), gpus=2, generations=("any",), memory_gb=4.5, priority=7, max_hours=1.5,
            variables={"LR": "0.1"}, name="try-1", owner="ada",
        ),
    )  # fmt: skip
    columns = "name, owner, environment, command, code, data, variables, gpus, generations, memory_mb, priority, max_s"

    rows = queue.execute(f"SELECT {columns} FROM job WHERE id IN (%s, %s)", (job, by_hand)).fetchall()

    assert rows[0] == rows[1]


def test_what_the_form_leaves_empty_is_the_platforms_default(queue):
    job = submitted({"env": "local", "command": "true"})

    row = queue.execute("SELECT command, gpus, priority, max_s, code FROM job WHERE id = %s", (job,)).fetchone()
    assert row == (["true"], 1, 5, None, None)


def test_a_task_that_is_tried_again_waits_for_the_job_it_submitted(queue):
    assert submitted() == submitted(try_number=2)
    assert queue.execute("SELECT count(*) FROM job").fetchone() == (1,)


def test_two_runs_are_two_jobs(queue):
    assert submitted(run_id="a") != submitted(run_id="b")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_clearing_the_task_queues_a_job_that_did_not_succeed_again(queue, end):
    job = submitted()
    if end == "failed":
        run_to(queue, "failed", 3)
    else:
        cancel(queue, job, "ada")

    assert submitted(try_number=2, cleared_at=1) == job
    assert queue.execute("SELECT state FROM job").fetchall() == [("queued",)]


@pytest.mark.parametrize(
    ("try_number", "cleared_at"),
    [pytest.param(2, 0, id="never cleared"), pytest.param(4, 2, id="cleared after try 2, whose first was try 3")],
)
def test_a_job_that_failed_is_not_run_again_because_airflow_tries_its_task_again(queue, try_number, cleared_at):
    """As it does where it lost the task's report, or where the database was away when the end was to be told."""
    job = submitted()
    run_to(queue, "failed", 3)

    assert submitted(try_number=try_number, cleared_at=cleared_at) == job
    assert queue.execute("SELECT state FROM job").fetchall() == [("failed",)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"env": "tensorflow-9"}, "no environment 'tensorflow-9'", id="environment"),
        pytest.param({"command": "python 'train"}, "cannot be split", id="command"),
        pytest.param({"gpus": 3}, "GPUs on one host", id="gpus"),
        pytest.param({"generation": ["h100"]}, "generation h100", id="generation"),
        pytest.param({"code": "../secrets"}, "no path inside the store", id="code"),
        pytest.param({"data": ["sets/z"]}, "no data 'sets/z'", id="data"),
        pytest.param({"after": [999]}, "no job 999", id="after"),
        pytest.param({"variables": {"LD_PRELOAD": "x"}}, "LD_PRELOAD", id="variable"),
    ],
)
def test_what_is_refused_fails_for_good_with_the_sentence(queue, change, sentence):
    with pytest.raises(AirflowFailException, match=sentence):
        JobOperator(task_id="job").execute(context(FORM | change))
    assert queue.execute("SELECT count(*) FROM job").fetchone() == (0,)


def test_a_database_that_is_away_is_tried_again(monkeypatch):
    from airflow.sdk.exceptions import AirflowException

    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://eyewall:secret-word@127.0.0.1:1/x")

    with pytest.raises(AirflowException) as caught:
        JobOperator(task_id="job").execute(context(FORM))

    assert type(caught.value) is AirflowException
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "name"), [("ada", "ada"), (None, "airflow"), ("", "airflow"), ("a.b=c", "a.b=c")], ids=str
)
def test_the_owner_is_who_triggered_the_run(user, name):
    assert owner(user) == name


@pytest.mark.parametrize("user", ["ada@example.org", "Ada Lovelace", "'; DROP TABLE job; --", "愛", "-rf", "_x"])
def test_a_user_whose_name_jobs_cannot_have_gets_one_of_his_own(queue, user):
    job = submitted(user=user)
    other = submitted(user=f"{user}2", run_id="other")

    owners = dict(queue.execute("SELECT id, owner FROM job").fetchall())
    assert owners[job] != owners[other]


def told(job):
    """What the task does after the job's end."""
    return JobOperator(task_id="job").ended(context(FORM), {"job": job, "state": "ignored"})


def test_success_gives_the_jobs_number_and_its_log(queue, store, capfd):
    job = submitted()
    run_to(queue, "succeeded", 0)
    store.write_bytes(f"jobs/{job}/1/log.txt", b"".join(b"step %d\n" % n for n in range(100)) + b"\xff last\n")

    summary = told(job)

    log = capfd.readouterr().out

    assert summary == {"job": job, "state": "succeeded", "attempts": 1, "log": f"jobs/{job}/1/log.txt"}
    assert "| step 99" in log
    assert "| step 10 " not in log  # the end of it is enough
    assert f"all 101 lines: {store.url}/jobs/{job}/1/log.txt" in log


def test_a_failed_job_fails_the_task_for_good_with_its_reason_although_the_store_is_away(queue, monkeypatch):
    job = submitted()
    run_to(queue, "failed", 3, "exit code 3: no module named tensorflaw")
    monkeypatch.setenv("EYEWALL_STORE", "/nonexistent")

    with pytest.raises(AirflowFailException, match=f"job {job} failed: .*tensorflaw"):
        told(job)


def test_a_cancelled_job_fails_the_task_and_says_why(queue):
    job = submitted()
    cancel(queue, job, "grace", "wrong data")

    with pytest.raises(AirflowFailException, match=f"job {job} cancelled: wrong data"):
        told(job)


def test_a_pruned_job_is_skipped_and_a_deleted_one_fails(queue):
    job = submitted()
    queue.execute("UPDATE job SET state = 'pruned', ended_at = now(), reason = 'no better than others'")
    with pytest.raises(AirflowSkipException, match="no better"):
        told(job)

    with pytest.raises(AirflowFailException, match="deleted"):
        told(job + 1)


def test_stopping_the_task_while_it_submits_cancels_the_job(queue):
    task = JobOperator(task_id="job")
    with pytest.raises(TaskDeferred):
        task.execute(context(FORM))

    task.on_kill()

    assert queue.execute("SELECT state FROM job").fetchall() == [("cancelled",)]
