"""What the triggerer waits for, against a real PostgreSQL: work that nobody sees to, the ends of jobs and searches."""

# NOTE: injected by pytest, defined in queue_database: queue, queue_url
import asyncio
import contextlib

import psycopg
import pytest

from eyewall.contracts.submission import Submission
from eyewall.jobs import claim
from eyewall.jobs.queue import submit
from eyewall.tuning import sweeps
from eyewall.tuning.space import Space
from operators import job_ends, job_trigger
from operators.job_trigger import JobTrigger, QueueTrigger, SearchTrigger

SOON_S = 10.0
LOCK = 1702454647


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits for the safety net or for a pause that grows."""
    monkeypatch.setattr(job_ends, "RETRY_S", (0.05, 0.1))
    monkeypatch.setattr(job_ends, "_TURN_S", 0.05)
    job_trigger._ends.clear()


def one(**fields) -> Submission:
    """A job that would run."""
    return Submission(command=("true",), environment="local", owner="ada", **fields)


def search_of(queue):
    """A search that is registered."""
    space = Space.parse(
        {
            "job": {"environment": "local", "command": ["train", "--lr={lr}"]},
            "parameters": {"lr": {"type": "float", "low": 0.1, "high": 1.0}},
            "objective": {"metric": "loss"},
            "budget": {"trials": 3},
        }
    )
    return sweeps.create(queue, space, "rates", "ada")


async def next_event(trigger, within_s=SOON_S):
    """Payload of the trigger's next event; None where it keeps silent."""
    try:
        return (await asyncio.wait_for(anext(trigger), within_s)).payload
    except TimeoutError:
        return None


@contextlib.contextmanager
def dispatcher(url):
    """A dispatcher that lives: its row, and its lock in a session of its own; yields its number."""
    with psycopg.connect(url, autocommit=True) as session:
        number = session.execute(
            "INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('h', 1, pg_backend_pid()) RETURNING id"
        ).fetchone()[0]
        session.execute("SELECT pg_advisory_lock(%s, %s::int)", (LOCK, number))
        yield number


def end(queue, job, state="succeeded"):
    """A dispatcher's whole work on ``job``: it runs, and ends."""
    number = queue.execute(
        "INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('h', 1, 0) RETURNING id"
    ).fetchone()[0]
    assignment = claim.claim(queue, number)
    assert assignment.job == job
    assert claim.end(queue, assignment.attempt, assignment.token, state, 0 if state == "succeeded" else 3, "")


def test_nothing_that_airflow_keeps_of_a_trigger_names_the_database():
    assert QueueTrigger().serialize() == ("operators.job_trigger.QueueTrigger", {})
    assert JobTrigger(7).serialize() == ("operators.job_trigger.JobTrigger", {"job": 7})
    assert SearchTrigger(7, "rates").serialize() == (
        "operators.job_trigger.SearchTrigger", {"number": 7, "name": "rates"}
    )  # fmt: skip


def test_a_job_that_is_submitted_is_an_event_at_once(queue):
    async def scenario():
        events = QueueTrigger().run()
        waiting = asyncio.create_task(next_event(events))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done  # an empty queue
        submit(queue, one())
        return await waiting

    # The safety net looks every 30 s only: it was the notification.
    assert asyncio.run(scenario()) is not None


def test_a_job_that_was_there_before_the_trigger_is_an_event_too(queue):
    submit(queue, one())

    assert asyncio.run(next_event(QueueTrigger().run())) is not None


def test_many_submissions_are_one_event_until_a_dispatcher_had_its_time(queue, monkeypatch):
    async def scenario():
        events = QueueTrigger().run()
        submit(queue, one())
        assert await next_event(events) is not None
        waiting = asyncio.create_task(next_event(events, 1.0))
        for _ in range(5):
            submit(queue, one())
        assert await waiting is None

    asyncio.run(scenario())


def test_where_no_dispatcher_comes_the_event_is_repeated(queue, monkeypatch):
    monkeypatch.setattr(job_trigger, "AGAIN_S", (0.2, 0.4))

    async def scenario():
        submit(queue, one())
        events = QueueTrigger().run()
        return [await next_event(events) for _ in range(3)]

    assert None not in asyncio.run(scenario())


def test_a_living_dispatcher_is_enough_and_its_death_with_a_job_running_is_an_event(queue, queue_url, monkeypatch):
    monkeypatch.setattr(job_trigger, "LOOK_S", 0.2)

    async def scenario():
        events = QueueTrigger().run()
        with dispatcher(queue_url) as number:
            submit(queue, one())
            assert claim.claim(queue, number) is not None
            waiting = asyncio.create_task(next_event(events))
            done, _ = await asyncio.wait({waiting}, timeout=1.0)
            assert not done
        return await waiting  # its session has ended, and with it the lock; the attempt is nobody's

    assert asyncio.run(scenario()) is not None


def test_a_lock_of_another_database_is_no_dispatcher_of_this_one(queue, queue_server):
    from eyewall.platform import postgres

    with dispatcher(queue.info.dsn) as number, psycopg.connect(postgres.uri(queue_server, "postgres")) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s::int)", (LOCK, number))
        queue.execute("SELECT pg_terminate_backend(backend_pid) FROM dispatcher")
        submit(queue, one())

        assert asyncio.run(next_event(QueueTrigger().run())) is not None


def test_a_trigger_that_loses_the_database_comes_back(queue):
    async def scenario():
        events = QueueTrigger().run()
        waiting = asyncio.create_task(next_event(events))
        await asyncio.sleep(0.5)
        cut(queue)
        await asyncio.sleep(0.3)
        submit(queue, one())
        return await waiting

    assert asyncio.run(scenario()) is not None


def cut(queue):
    """End every connection of the triggerer, as a restart of the server does."""
    ended = queue.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'eyewall-triggerer' AND datname = current_database()"
    ).fetchone()
    assert ended[0] > 0


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_the_end_of_a_job_is_one_event_with_its_state(queue, state):
    job = submit(queue, one())

    async def scenario():
        waiting = asyncio.create_task(next_event(JobTrigger(job).run()))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        end(queue, job, state)
        return await waiting

    assert asyncio.run(scenario()) == {"job": job, "state": state}


def test_a_job_that_has_ended_before_or_is_gone_is_told_as_well(queue):
    job = submit(queue, one())
    end(queue, job)

    async def scenario():
        return [await next_event(JobTrigger(number).run()) for number in (job, job + 1)]

    assert asyncio.run(scenario()) == [{"job": job, "state": "succeeded"}, {"job": job + 1, "state": "gone"}]


def test_fifty_waiting_tasks_need_one_connection(queue):
    jobs = [submit(queue, one()) for _ in range(50)]

    async def scenario():
        waiting = [asyncio.create_task(next_event(JobTrigger(job).run())) for job in jobs]
        await asyncio.sleep(0.5)
        connections = queue.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'eyewall-triggerer' AND datname = current_database()"
        ).fetchone()[0]
        for job in jobs:
            end(queue, job)
        return connections, await asyncio.gather(*waiting)

    connections, events = asyncio.run(scenario())

    assert connections == 1
    assert [event["job"] for event in events] == jobs


def test_waiting_goes_on_after_the_database_was_away(queue):
    job = submit(queue, one())

    async def scenario():
        waiting = asyncio.create_task(next_event(JobTrigger(job).run()))
        await asyncio.sleep(0.5)
        cut(queue)
        end(queue, job)  # nobody listens at this moment
        return await waiting

    assert asyncio.run(scenario()) == {"job": job, "state": "succeeded"}


def test_a_trigger_that_airflow_moves_elsewhere_cancels_nothing(queue):
    job = submit(queue, one())

    async def scenario():
        waiting = asyncio.create_task(anext(JobTrigger(job).run()))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())

    assert queue.execute("SELECT state FROM job").fetchall() == [("queued",)]


def test_a_search_that_is_left_to_dispatchers_is_an_event_and_one_that_somebody_runs_is_none(queue, queue_url):
    search = search_of(queue)

    async def scenario():
        events = QueueTrigger().run()
        waiting = asyncio.create_task(next_event(events))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done  # registered, to be run by hand
        with psycopg.connect(queue_url, autocommit=True) as controller:
            assert controller.execute("SELECT pg_try_advisory_lock(1702454648, %s::int)", (search.id,)).fetchone()[0]
            sweeps.hand_over(queue, search, "ada")
            done, _ = await asyncio.wait({waiting}, timeout=0.5)
            assert not done  # it has its controller
        sweeps.hand_over(queue, search, "ada", "dag/run/task")
        sweeps.stop(queue, "rates", "ada")
        sweeps.resume(queue, "rates", "ada", {})
        return await waiting

    assert asyncio.run(scenario()) is not None


def test_the_end_of_a_search_is_one_event_and_one_with_a_job_that_runs_is_not_over(queue, monkeypatch):
    monkeypatch.setattr(job_ends, "LOOK_S", 0.2)
    search = search_of(queue)
    job = submit(queue, one())
    queue.execute("INSERT INTO trial (job, sweep, number, params) VALUES (%s, %s, 0, '{}')", (job, search.id))

    async def scenario():
        waiting = asyncio.create_task(next_event(SearchTrigger(search.id, "rates").run()))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        sweeps.stop(queue, "rates", "ada", let_finish=True)
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        end(queue, job)
        return await waiting, await next_event(SearchTrigger(search.id + 1, "none").run())

    assert asyncio.run(scenario()) == (
        {"search": "rates", "state": "stopped"}, {"search": "none", "state": "gone"}
    )  # fmt: skip
