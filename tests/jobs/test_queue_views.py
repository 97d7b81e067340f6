"""The views say in words why each job waits, where it stands, and who is on each GPU."""

# NOTE: injected by pytest, defined in conftest: cluster
import pytest

from eyewall.jobs import workers

IMAGE = "x@sha256:" + "ab" * 32


def busy(cluster):
    """One host of two a100, both lent."""
    cluster.worker("node", gpus=2)
    for _ in range(2):
        cluster.submit(owner="other")
    cluster.claimed()


def test_why_it_waits_for_other_jobs(cluster):
    first, second = cluster.submit(), cluster.submit()

    assert cluster.why(cluster.submit(after=[second, first])) == f"after job {first} (queued), job {second} (queued)"


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param("listed", "environment mine is not built: see `eyewall env build mine`", id="listed"),
        pytest.param("building", "environment mine is being built", id="building"),
        pytest.param("failed", "environment mine could not be built: see `eyewall env build mine`", id="failed"),
    ],
)
def test_why_it_waits_for_its_environment(cluster, state, why):
    cluster.environment("mine", state)
    cluster.worker("node", gpus=1)

    assert cluster.why(cluster.submit(environment="mine")) == why


def test_why_it_waits_for_an_image(cluster):
    cluster.environment("mine", folder="/srv")
    cluster.worker("node", gpus=1, kind="docker")

    assert cluster.why(cluster.submit(environment="mine")) == (
        "environment mine is not built for such a worker: it has no image"
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({}, "all GPUs are busy", id="any"),
        pytest.param({"generations": ["a100"]}, "all a100 GPUs are busy", id="generation"),
        pytest.param({"memory_gb": 40}, "all GPUs of 40.0 GiB are busy", id="memory"),
        pytest.param({"gpus": 2}, "no worker has 2 GPUs free on one host", id="gang"),
        pytest.param({"generations": ["h100"]}, "worker far is unreachable", id="unreachable"),
        pytest.param({"gpus": 4}, "worker far is unreachable", id="gang-unreachable"),
    ],
)
def test_why_it_waits_for_gpus(cluster, fields, why):
    cluster.worker("far", gpus=4, generation="h100")
    workers.set_worker_state(cluster.connection, "far", "unreachable", "no route to host")
    busy(cluster)

    assert cluster.why(cluster.submit(**fields)) == why


def test_why_it_waits_where_gpus_went_away_after_it_was_submitted(cluster):
    cluster.worker("node", gpus=2)
    pair, single = cluster.submit(gpus=2), cluster.submit()
    cluster.found("node", [("a100", 40, "foreign"), ("a100", 40, "failed")])

    assert cluster.why(single) == "such GPUs have failed, or somebody else uses them"
    cluster.found("node", [("a100", 40, "failed")])
    assert cluster.why(pair) == "no worker has 2 GPUs on one host"


def test_why_it_waits_until_a_time(cluster):
    busy(cluster)
    job = cluster.submit()
    cluster.connection.execute("UPDATE job SET not_before = '2099-01-02 03:04:05+00' WHERE id = %s", (job,))

    assert cluster.why(job) == "tried again at 2099-01-02 03:04:05 UTC"


def test_why_it_waits_where_nobody_dispatches(cluster):
    cluster.worker("node", gpus=1)
    job = cluster.submit()

    assert cluster.why(job) == "about to start"
    cluster.connection.execute("UPDATE dispatcher SET heartbeat_at = clock_timestamp() - interval '1 hour'")
    assert cluster.why(job) == "no dispatcher is running: see `eyewall job dispatch`"


def test_the_order_that_is_shown_is_the_order_in_which_jobs_start(cluster):
    """With fair share as it is before the first claim: Ann has two GPUs, so Bob is ahead of her."""
    cluster.worker("node", gpus=2)
    for _ in range(2):
        cluster.submit(owner="ann")
    cluster.claimed()
    jobs = [cluster.submit(owner=owner, priority=priority) for owner, priority in
            (("ann", 5), ("bob", 5), ("ann", 6), ("bob", 4), ("cho", 9))]  # fmt: skip
    shown = cluster.connection.execute(
        "SELECT job, penalty::text FROM queue_order WHERE state = 'queued' ORDER BY position"
    ).fetchall()

    # Scores against the first, in minutes: ann 0 + 10, bob 0, ann -60 + 10, bob +60, cho -240.
    assert shown == [
        (jobs[4], "00:00:00"), (jobs[2], "00:10:00"), (jobs[1], "00:00:00"), (jobs[0], "00:10:00"),
        (jobs[3], "00:00:00"),
    ]  # fmt: skip
    first = shown[0][0]
    cluster.worker("spare", gpus=1)
    assert cluster.claimed() == [first]


def test_a_jobs_status_is_that_of_its_last_attempt(cluster):
    cluster.worker("node", gpus=2)
    job = cluster.submit(gpus=2)
    cluster.claim()
    cluster.end(job, "lost", None, "host gone")
    got = cluster.claim()
    cluster.connection.execute(
        "UPDATE attempt SET started_at = claimed_at, state = 'running' WHERE id = %s", (got.attempt,)
    )
    for step, loss in ((1, 0.5), (2, 0.25)):
        cluster.connection.execute(
            "INSERT INTO report (attempt, metric, step, value) VALUES (%s, 'loss', %s, %s)", (got.attempt, step, loss)
        )

    row = cluster.row(
        "SELECT state, why, attempt, attempt_state, worker, gpu_numbers, metric, step, value, waited_s >= 0, ran_s >= 0"
        " FROM job_status WHERE id = %s",
        job,
    )

    assert row == ("running", None, 2, "running", "node", [0, 1], "loss", 2, 0.25, True, True)


def test_a_gpus_row_says_who_is_on_it(cluster):
    cluster.worker("node", gpus=3)
    cluster.found("node", [("a100", 40, "ok"), ("a100", 40, "foreign"), ("a100", 40, "ok")])
    job = cluster.submit(name="first")
    cluster.claim()
    cluster.connection.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 s'")

    rows = cluster.connection.execute(
        "SELECT number, state, job, name, owner, lease_expired FROM gpu_occupancy ORDER BY number"
    ).fetchall()

    assert rows == [
        (0, "busy", job, "first", "ann", True),
        (1, "foreign", None, None, None, None),
        (2, "free", None, None, None, None),
    ]  # fmt: skip
    cluster.found("node", [("a100", 40, "ok")] * 2)  # the last one went, and the one that is lent stays to be seen
    assert cluster.one("SELECT count(*) FROM gpu_occupancy") == 2
