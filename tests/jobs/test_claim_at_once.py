"""Many dispatchers at once, on a real server: every job exactly once, no GPU twice, nothing forgotten."""

# NOTE: injected by pytest, defined in conftest: cluster, url
import random
import threading
import time
from collections import Counter

import psycopg
import pytest

from eyewall.jobs import claim, queue
from tests.jobs.invariants import broken

DISPATCHERS, JOBS = 6, 90


class Watcher(threading.Thread):
    """Looks again and again for what must never be, in one snapshot each time."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.found, self.looks, self.over = url, [], 0, threading.Event()

    def run(self) -> None:
        """Until it is over, and once more."""
        with psycopg.connect(self.url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            last = False
            while not last:
                last = self.over.is_set()
                with connection.transaction():
                    self.found += broken(connection)
                self.looks += 1


def dispatch(url: str, dispatcher: int, seed: int, chaos: bool, errors: list[BaseException]) -> None:
    """Claim, hold up to three for a moment, end, until no job is left that could ever start."""
    rng = random.Random(seed)
    mine: list[claim.Assignment] = []
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            while not errors:
                got = claim.claim(connection, dispatcher) if len(mine) < 3 else None
                if got is not None:
                    mine.append(got)
                    continue
                if mine:
                    ended = mine.pop(rng.randrange(len(mine)))
                    state = rng.choice(("succeeded", "succeeded", "lost", "failed")) if chaos else "succeeded"
                    exit_code = {"succeeded": 0, "failed": rng.choice((1, 75))}.get(state)
                    assert claim.end(connection, ended.attempt, ended.token, state, exit_code, "")
                elif not connection.execute(
                    "SELECT count(*) FROM job WHERE state IN ('blocked', 'queued', 'running')"
                ).fetchone()[0]:
                    return
    except BaseException as error:  # what it holds would keep the others waiting: all of them end
        errors.append(error)


def disturb(url: str, jobs: list[int], seed: int, errors: list[BaseException]) -> None:
    """People at work meanwhile: cancel, put back, reprioritise, drain a worker and let it go on."""
    rng = random.Random(seed)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for job in rng.sample(jobs, 25):
                action = rng.choice((queue.cancel, queue.requeue, None))
                try:
                    if action is None:
                        queue.set_priority(connection, job, rng.randint(0, 9), "eve")
                    else:
                        action(connection, job, "eve")
                except queue.InputError:
                    continue  # it has ended, or it has not: the sentence is tested elsewhere
    except BaseException as error:
        errors.append(error)


@pytest.mark.parametrize(
    "chaos", [pytest.param(False, id="all-is-well"), pytest.param(True, id="hosts-lost-people-busy")]
)
def test_every_job_runs_once_at_a_time_whoever_dispatches(cluster, url, chaos):
    """Six dispatchers, 10 GPUs on 3 hosts, 90 jobs of one to four GPUs, a third of them after others."""
    cluster.connection.execute("UPDATE queue_policy SET retry = '0', reserve_after = '0', reserved_share = 1")
    for name, gpus in (("a", 4), ("b", 4), ("c", 2)):
        cluster.worker(name, gpus)
    rng = random.Random(7)
    jobs: list[int] = []
    for number in range(JOBS):
        after = rng.sample(jobs, min(len(jobs), 2)) if number % 3 == 2 else []
        jobs.append(
            cluster.submit(
                gpus=rng.choice((1, 1, 1, 2, 4)), priority=rng.randint(0, 9), owner=rng.choice("abc"), after=after
            )
        )
    numbers = [cluster.dispatcher, *(cluster.add_dispatcher() for _ in range(DISPATCHERS - 1))]
    errors: list[BaseException] = []
    threads = [threading.Thread(target=dispatch, args=(url, n, n, chaos, errors), daemon=True) for n in numbers]
    if chaos:
        threads.append(threading.Thread(target=disturb, args=(url, jobs, 3, errors), daemon=True))
    watcher = Watcher(url)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    watcher.over.set()
    watcher.join(timeout=60)

    assert errors == []
    assert watcher.looks > 1
    assert watcher.found == []
    states = Counter(state for (state,) in cluster.connection.execute("SELECT state FROM job"))
    assert cluster.one("SELECT count(*) FROM gpu WHERE held_by IS NOT NULL") == 0
    assert cluster.one("SELECT count(*) FROM lease WHERE released_at IS NULL") == 0
    attempts = cluster.one("SELECT count(*) FROM attempt")
    if not chaos:
        assert states == {"succeeded": JOBS}
        assert attempts == JOBS
        assert cluster.one("SELECT count(DISTINCT dispatcher) FROM attempt") > 1
    else:
        assert set(states) <= {"succeeded", "failed", "cancelled"}
        assert attempts == cluster.one("SELECT count(*) FROM attempt WHERE ended_at IS NOT NULL")
    late = cluster.one(  # nobody began before what it comes after had succeeded
        "SELECT count(*) FROM attempt a JOIN job_dependency d ON d.job = a.job WHERE NOT EXISTS"
        " (SELECT FROM attempt b WHERE b.job = d.after AND b.state = 'succeeded' AND b.ended_at <= a.claimed_at)"
    )
    assert late == 0


def test_two_ends_at_once_let_go_of_what_waits_for_both(cluster, url):
    """Each alone sees the other job running: whoever commits second must look again. 20 times, as it is a race."""
    cluster.worker("node", gpus=2)
    for _ in range(20):
        first, second = cluster.submit(), cluster.submit()
        waits = cluster.submit(after=[first, second])
        pair = [cluster.claim(), cluster.claim()]
        start = threading.Barrier(2)

        def end(got, start=start):
            with psycopg.connect(url, autocommit=True) as connection:
                start.wait()
                claim.end(connection, got.attempt, got.token, "succeeded", 0, "")

        threads = [threading.Thread(target=end, args=(got,)) for got in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert cluster.state(waits) == "queued"
        queue.cancel(cluster.connection, waits, "ann")


def test_two_that_give_up_overlapping_chains_at_once_do_not_wait_for_each_other(cluster, url):
    """One has the chain's end, and goes on to its middle, while the other has the middle, and goes on to the end.

    first ← left ← middle ← end, and first ← right ← end; second ← middle. A third session holds the end until both are
    under way, so that what is a race else happens every time.
    """
    first, second = cluster.submit(), cluster.submit()
    left = cluster.submit(after=[first])
    middle = cluster.submit(after=[left, second])
    right = cluster.submit(after=[first])
    last = cluster.submit(after=[middle, right])
    errors: list[BaseException] = []

    def cancel(job):
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                queue.cancel(connection, job, "ann")
        except BaseException as error:
            errors.append(error)

    def waiting():
        return cluster.one(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

    threads = [threading.Thread(target=cancel, args=(job,), daemon=True) for job in (first, second)]
    with psycopg.connect(url) as third:
        third.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (last,))
        for number, thread in enumerate(threads, 1):
            thread.start()
            deadline = time.monotonic() + 30
            while waiting() < number:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    for thread in threads:
        thread.join(timeout=60)

    assert errors == []
    assert [cluster.state(job) for job in (first, second, left, middle, right, last)] == ["cancelled"] * 6


def test_one_key_submitted_by_many_at_once_is_one_job(cluster, url):
    jobs: list[int] = []
    start = threading.Barrier(8)

    def submit():
        with psycopg.connect(url, autocommit=True) as connection:
            start.wait()
            values = {"command": ["true"], "environment": "tf", "owner": "ann", "key": "run 7"}
            jobs.append(queue.submit(connection, queue.Submission.parse(values)))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(jobs) == 8
    assert len(set(jobs)) == 1
