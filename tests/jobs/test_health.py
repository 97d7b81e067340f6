"""Looks at workers: a lost host is noticed soon, also where a look at its GPUs is dear and comes seldom."""

# NOTE: injected by pytest, defined in conftest: cluster

import pytest

from eyewall.jobs.health import Health
from eyewall.jobs.runner import Found, Worker, WorkerUnreachable

HALL = Worker("hall", "docker")


class Hall:
    """A host, and how often it was asked what; as its own runner."""

    def __init__(self, probe_s):
        self.probe_s, self.asked, self.gpus, self.fault = probe_s, [], 2, None

    def probe(self):
        """Its GPUs."""
        self._ask("probe")
        return [Found(n, f"GPU-{n}", "", "a100", 1024, "ok", "", False) for n in range(self.gpus)]

    def answers(self):
        """Whether it is there."""
        self._ask("answers")

    def _ask(self, what):
        self.asked.append(what)
        if self.fault is not None:
            raise self.fault


class Here:
    """A database of one connection."""

    def __init__(self, connection):
        self._connection = connection

    def run(self, action):
        """What it gives."""
        return action(self._connection)


@pytest.fixture
def hall(cluster):
    """A host whose GPUs are looked at once an hour; ``look`` is what a dispatcher does each 15 s: (state, GPUs)."""
    made = Hall(3600.0)
    cluster.worker("hall", gpus=0)
    health = Health(Here(cluster.connection), lambda _: made, lambda _: None, probe_s=0.0)

    def look():
        health.look_at([HALL])
        health._looking["hall"].join()
        state = cluster.one("SELECT state FROM worker WHERE name = 'hall'")
        return state, cluster.one("SELECT count(*) FROM gpu WHERE state = 'ok'")

    made.look = look
    return made


def test_between_two_looks_at_the_gpus_a_host_is_only_asked_whether_it_answers(hall):
    assert [hall.look() for _ in range(3)] == [("up", 2)] * 3
    assert hall.asked == ["probe", "answers", "answers"]


def test_a_host_that_is_gone_is_noticed_by_the_next_question_and_looked_at_when_it_is_back(hall):
    hall.look()
    hall.fault = WorkerUnreachable("no answer")
    assert [hall.look(), hall.look()] == [("unreachable", 2)] * 2
    hall.fault, hall.gpus = None, 3  # it went away for that

    assert hall.look() == ("up", 3)
    assert hall.asked == ["probe", "answers", "probe", "probe"]


def test_a_host_that_answers_but_cannot_be_looked_at_stays_out_of_reach_until_it_can(hall):
    hall.fault = RuntimeError("NVML is broken")

    assert [hall.look() for _ in range(2)] == [("unreachable", 0)] * 2
    assert hall.asked == ["probe", "probe"]


def test_where_a_look_costs_nothing_it_is_taken_each_time(hall):
    hall.probe_s = 0.0

    assert [hall.look() for _ in range(2)] == [("up", 2)] * 2
    assert hall.asked == ["probe", "probe"]
