"""What people do to jobs is right in every state, and every change is an event with its actor."""

# NOTE: injected by pytest, defined in conftest: cluster, connection
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eyewall.contracts.errors import InputError
from eyewall.contracts.queueing import QueueSettings
from eyewall.contracts.submission import Submission
from eyewall.jobs import claim, queue, workers
from eyewall.jobs.policy import set_policy
from tests.jobs.cluster import Cluster
from tests.jobs.invariants import broken

# ---- ends


@pytest.mark.parametrize(
    ("state", "exit_code", "of_job"),
    [
        pytest.param("succeeded", 0, "succeeded", id="zero"),
        pytest.param("failed", 1, "failed", id="the-users-bug-is-not-tried-again"),
        pytest.param("failed", 75, "queued", id="75-is-temporary"),
        pytest.param("lost", None, "queued", id="lost"),
    ],
)
def test_how_an_attempt_ends_decides_what_becomes_of_its_job(cluster, state, exit_code, of_job):
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    cluster.claim()

    assert cluster.end(job, state, exit_code, "so it was")

    assert cluster.state(job) == of_job
    assert cluster.row("SELECT state, exit_code, reason FROM attempt") == (state, exit_code, "so it was")
    assert cluster.one("SELECT reason FROM job") == "so it was"


def test_a_lost_job_keeps_its_place_and_is_given_up_after_its_attempts(cluster):
    cluster.worker("node", gpus=1)
    job = cluster.submit(max_attempts=2)
    behind = cluster.submit()

    assert cluster.claim().number == 1
    cluster.end(job, "lost", None)
    second = cluster.claim()
    assert (second.job, second.number) == (job, 2)
    cluster.end(job, "lost", None, "host gone")

    assert cluster.state(job) == "failed"
    assert cluster.claimed() == [behind]


def test_a_temporary_failure_waits_longer_each_time(cluster):
    """The policy's retry is 30 s: 30 s after the first, 60 s after the second."""
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    waits = []
    for _ in range(2):
        cluster.claim()
        cluster.end(job, "failed", 75)
        waits.append(cluster.one("SELECT extract(epoch FROM not_before - clock_timestamp())::float8 FROM job"))
        cluster.connection.execute("UPDATE job SET not_before = '-infinity'")

    assert waits == [pytest.approx(30, abs=5), pytest.approx(60, abs=5)]


@pytest.mark.parametrize("how", ["cancelled", "pruned"])
@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        pytest.param("succeeded", 0, id="clean-exit"),
        pytest.param("failed", 143, id="killed"),
        pytest.param("failed", 75, id="temporary"),
        pytest.param("lost", None, id="lost"),
    ],
)
def test_a_job_that_was_asked_to_stop_ends_as_it_was_asked_to(cluster, how, state, exit_code):
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    cluster.claim()
    queue.ask_to_stop(cluster.connection, job, how, "search 1", "worse than the median")

    assert cluster.state(job) == "running"
    cluster.end(job, state, exit_code, "signal 15")

    assert cluster.row("SELECT state, reason FROM job") == (how, "worse than the median")
    assert cluster.one("SELECT state FROM attempt") == ("lost" if state == "lost" else how)


def test_who_lost_an_attempt_to_another_dispatcher_changes_nothing(cluster):
    """Writes with an old token match no row, whatever they say and whenever they come."""
    cluster.worker("node", gpus=1)
    job = cluster.submit()
    got = cluster.claim()
    cluster.connection.execute("UPDATE attempt SET token = token + 1")

    assert claim.end(cluster.connection, got.attempt, got.token, "failed", 1, "late") is False
    assert cluster.state(job) == "running"
    assert claim.end(cluster.connection, got.attempt, got.token + 1, "succeeded", 0, "") is True
    assert claim.end(cluster.connection, got.attempt, got.token + 1, "failed", 1, "again") is False
    assert cluster.state(job) == "succeeded"


# ---- dependencies


def test_a_job_starts_after_those_it_comes_after(cluster):
    cluster.worker("node", gpus=3)
    first, second = cluster.submit(), cluster.submit()
    last = cluster.submit(after=[first, second], priority=9)

    assert cluster.state(last) == "blocked"
    assert cluster.claimed() == [first, second]
    cluster.end(first)
    assert cluster.claimed() == []
    cluster.end(second)
    assert cluster.claimed() == [last]


@pytest.mark.parametrize("how", ["failed", "cancelled", "pruned"])
def test_what_comes_after_a_job_that_does_not_succeed_is_cancelled_with_the_reason(cluster, how):
    """And what comes after that, and so on."""
    cluster.worker("node", gpus=1)
    first = cluster.submit()
    second = cluster.submit(after=[first])
    third = cluster.submit(after=[second])
    if how == "failed":
        cluster.claim()
        cluster.end(first, "failed", 1)
    else:
        queue.ask_to_stop(cluster.connection, first, how, "ann")

    assert [cluster.state(job) for job in (first, second, third)] == [how, "cancelled", "cancelled"]
    said = "failed before it" if how == "failed" else f"was {how} before it"
    assert cluster.one("SELECT reason FROM job WHERE id = %s", second) == f"job {first} {said}"
    assert cluster.one("SELECT reason FROM job WHERE id = %s", third) == f"job {second} was cancelled before it"


# ---- people


def brought_to(cluster, state):
    """A job in ``state``."""
    cluster.worker("node", gpus=1)
    if state == "blocked":
        return cluster.submit(after=[cluster.submit()])
    job = cluster.submit()
    if state in ("running", "succeeded", "failed"):
        cluster.claim()
    if state in ("succeeded", "failed"):
        cluster.end(job, state, 0 if state == "succeeded" else 1)
    if state in ("cancelled", "pruned"):
        queue.ask_to_stop(cluster.connection, job, state, "ann")
    assert cluster.state(job) == state
    return job


STATES = ("blocked", "queued", "running", "succeeded", "failed", "cancelled", "pruned")
ENDED = STATES[3:]


@pytest.mark.parametrize("state", STATES)
def test_cancel(cluster, state):
    """At once where it waits, by asking where it runs, harmless where it is done, refused where it ended otherwise."""
    job = brought_to(cluster, state)

    if state in ("succeeded", "failed", "pruned"):
        with pytest.raises(InputError, match=f"job {job} has ended already"):
            queue.cancel(cluster.connection, job, "bob")
        assert cluster.state(job) == state
        return
    told = queue.cancel(cluster.connection, job, "bob", "no longer needed")
    assert told == ("running" if state == "running" else "cancelled")
    assert queue.cancel(cluster.connection, job, "bob") == told  # a second time changes nothing
    assert cluster.state(job) == told
    assert cluster.one("SELECT stop FROM job WHERE id = %s", job) == ("cancelled" if state == "running" else "")
    if state != "cancelled":
        event = "SELECT what, reason, actor FROM event WHERE job = %s ORDER BY id DESC LIMIT 1"
        what = "job.stop" if state == "running" else "job"
        assert cluster.row(event, job) == (what, "no longer needed", "bob")


@pytest.mark.parametrize("state", STATES)
def test_requeue(cluster, state):
    """Only what has ended; all its attempts are before it again, and it goes to the end of the queue."""
    job = brought_to(cluster, state)

    if state not in ENDED:
        with pytest.raises(InputError, match=f"job {job} is {state}"):
            queue.requeue(cluster.connection, job, "bob")
        assert cluster.state(job) == state
        return
    other = cluster.submit()
    queue.requeue(cluster.connection, job, "bob")
    assert cluster.row("SELECT state, reason, stop, attempts, ended_at FROM job WHERE id = %s", job) == (
        "queued", "", "", 0, None,
    )  # fmt: skip
    assert cluster.claimed() == [other]
    cluster.end(other)
    got = cluster.claim()
    assert (got.job, got.number) == (job, 2 if state in ("succeeded", "failed") else 1)  # names are never reused


@pytest.mark.parametrize("state", STATES)
def test_priority(cluster, state):
    job = brought_to(cluster, state)

    if state in ENDED:
        with pytest.raises(InputError, match="has ended already"):
            queue.set_priority(cluster.connection, job, 9, "bob")
        return
    queue.set_priority(cluster.connection, job, 9, "bob")
    assert cluster.row("SELECT priority, extract(epoch FROM queued_at - order_at) FROM job WHERE id = %s", job) == (
        9, 9 * 3600,
    )  # fmt: skip
    event = "SELECT what, from_state, to_state, actor FROM event WHERE job = %s ORDER BY id DESC LIMIT 1"
    assert cluster.row(event, job) == ("job.priority", "5", "9", "bob")


@pytest.mark.parametrize("state", STATES)
def test_pruning_a_job_that_has_ended_meanwhile_is_no_error(cluster, state):
    job = brought_to(cluster, state)

    queue.ask_to_stop(cluster.connection, job, "pruned", "search 1")

    expected = {"blocked": "pruned", "queued": "pruned"}.get(state, state)
    assert cluster.state(job) == expected


def test_being_cancelled_is_more_than_being_pruned(cluster):
    job = brought_to(cluster, "running")
    for how in ("pruned", "cancelled", "pruned"):
        queue.ask_to_stop(cluster.connection, job, how, "x")
    cluster.end(job)

    assert cluster.state(job) == "cancelled"


def test_what_is_put_back_waits_again_for_what_it_comes_after(cluster):
    first = brought_to(cluster, "failed")
    second = cluster.submit()
    queue.requeue(cluster.connection, first, "ann")
    third = cluster.submit(after=[first, second])
    queue.cancel(cluster.connection, second, "ann")

    with pytest.raises(InputError, match=f"job {second} was cancelled, so nothing can come after it"):
        queue.requeue(cluster.connection, third, "ann")
    queue.requeue(cluster.connection, second, "ann")
    queue.requeue(cluster.connection, third, "ann")
    assert cluster.state(third) == "blocked"


@pytest.mark.parametrize("what", ["cancel", "requeue", "ask_to_stop", "set_priority"])
def test_a_job_that_is_not_there_is_named(cluster, what):
    more = {"ask_to_stop": ("pruned",), "set_priority": (5,)}.get(what, ())
    with pytest.raises(InputError, match="no job 404"):
        getattr(queue, what)(cluster.connection, 404, *more, "ann")


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_has_one_digit(cluster, priority):
    with pytest.raises(InputError, match=f"priority {priority} is not between 0 and 9"):
        queue.set_priority(cluster.connection, 1, priority, "ann")


# ---- workers


def test_a_worker_that_still_runs_something_is_not_removed_unless_it_is_lost(cluster):
    job = brought_to(cluster, "running")
    with pytest.raises(InputError, match="worker node still runs 1 jobs"):
        workers.remove_worker(cluster.connection, "node", lost=False, actor="ann")
    assert cluster.one("SELECT state FROM worker") == "up"

    (attempt,) = workers.remove_worker(cluster.connection, "node", lost=True, actor="ann")

    assert cluster.row("SELECT id, state, reason FROM attempt") == (
        attempt, "lost", "worker node was removed as lost by ann",
    )  # fmt: skip
    assert cluster.state(job) == "queued"
    assert claim.end(cluster.connection, attempt, 1, "succeeded", 0, "") is False  # its dispatcher is told so
    assert cluster.claim() is None


def test_a_worker_that_was_removed_can_be_added_again(cluster):
    cluster.worker("node", gpus=1)
    workers.remove_worker(cluster.connection, "node", lost=False, actor="ann")
    cluster.worker("node", gpus=1)

    job = cluster.submit()

    assert cluster.claimed() == [job]


def test_an_unknown_worker_is_named(cluster):
    with pytest.raises(InputError, match="no worker 'nobody'"):
        workers.set_worker_state(cluster.connection, "nobody", "up")


# ---- rules


def test_rules_that_change_move_what_waits(cluster):
    """With an interval of 2 h instead of 1 h, priority 5 is 4 h ahead of 3, so that 3 h of waiting are too little."""
    cluster.worker("node", gpus=2)
    old, fresh = cluster.submit(priority=3), cluster.submit(priority=5)
    cluster.age(old, 3)
    rules = QueueSettings(ageing_s=7200)

    assert set_policy(cluster.connection, rules, "ann") is True
    assert set_policy(cluster.connection, rules, "ann") is False

    assert cluster.claimed() == [fresh, old]


def test_the_rules_of_a_new_database_are_the_defaults_of_the_settings(connection):
    assert set_policy(connection, QueueSettings(), "ann") is False


# ---- any sequence of all that

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit"] * 4
            + ["claim"] * 5
            + ["end"] * 4
            + ["cancel", "requeue", "requeue", "priority", "prune", "worker", "probe", "take over"]
        ),
        st.integers(0, 10**6),
    ),
    min_size=10,
    max_size=40,
)


def act(cluster, jobs, action, dice):
    """One action, its particulars from ``dice``; what is refused is a sentence."""
    connection = cluster.connection
    job = jobs[dice % len(jobs)] if jobs else 1
    if action == "submit":
        after = sorted({jobs[dice % len(jobs)], jobs[dice // 7 % len(jobs)]}) if jobs and dice % 3 == 0 else []
        jobs.append(
            cluster.submit(gpus=1 + dice % 2, priority=dice % 10, owner="abc"[dice % 3], after=after, max_attempts=2)
        )
    elif action == "claim":
        cluster.claim()
    elif action == "end":
        state, exit_code = [("succeeded", 0), ("failed", 1), ("failed", 75), ("lost", None)][dice % 4]
        live = connection.execute("SELECT id, token FROM attempt WHERE ended_at IS NULL ORDER BY id").fetchall()
        if live:
            assert claim.end(connection, *live[dice % len(live)], state, exit_code, "")
    elif action == "take over":
        connection.execute("UPDATE attempt SET token = token + 1 WHERE ended_at IS NULL")
    elif action == "worker":
        workers.set_worker_state(connection, "ab"[dice % 2], ["up", "draining", "unreachable"][dice % 3], "", "ann")
    elif action == "probe":
        cluster.found("ab"[dice % 2], [("a100", 40, ["ok", "failed", "ok"][(dice + n) % 3]) for n in range(2)])
    elif action == "priority":
        queue.set_priority(connection, job, dice % 10, "ann")
    elif action == "prune":
        queue.ask_to_stop(connection, job, "pruned", "search")
    else:
        {"cancel": queue.cancel, "requeue": queue.requeue}[action](connection, job, "ann")


@given(actions=ACTIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_people_and_programs_do_the_queue_stays_true(connection, actions):
    connection.execute(
        "TRUNCATE job, job_dependency, trial, attempt, lease, report, event, gpu, worker, dispatcher, environment"
        " RESTART IDENTITY CASCADE"
    )
    connection.execute("UPDATE queue_policy SET retry = '0', reserve_after = '0', reserved_share = 1")
    cluster = Cluster(connection)
    cluster.worker("a", gpus=2)
    cluster.worker("b", gpus=2)
    jobs: list[int] = []

    for action, dice in actions:
        with contextlib.suppress(InputError):
            act(cluster, jobs, action, dice)

        assert broken(connection) == []


def test_a_submission_that_is_refused_leaves_nothing(cluster):
    cluster.worker("node", gpus=1)
    with pytest.raises(InputError):
        cluster.submit(gpus=2)
    with pytest.raises(InputError):
        queue.submit(
            cluster.connection,
            Submission.parse({"command": ["true"], "environment": "tf", "owner": "ann", "after": [1]}),
        )

    assert cluster.one("SELECT count(*) FROM job") == 0
    assert cluster.one("SELECT count(*) FROM event WHERE what = 'job'") == 0
