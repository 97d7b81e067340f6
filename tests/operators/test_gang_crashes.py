"""A gang whose task is killed between any two requests, and two gangs that race for the same room."""

import contextlib
from itertools import count

import pytest
from gang_cluster import FakeCluster, Killed, dying_after, node
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.contracts.jobs import TrainJob
from operators import gang_lease
from operators.api_calls import send_all
from operators.gang_members import RESTARTS_ANNOTATION, Gang, replica_pod
from operators.gang_placement import Need
from operators.gang_run import Wait, again, begin, settle
from operators.gang_steps import is_complete, look, remove
from operators.gang_verdict import judge

JOB = TrainJob(
    store="/store", records_ref="records/r", run="r", strategy="multi_worker", workers=3, batch=6, receipt="x"
)
BASE = {
    "metadata": {"name": "base"},
    "spec": {"containers": [{"name": "base", "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}}}]},
}
NEED = Need.of(BASE["spec"])


def a_gang(name="gang-a", **values):
    return Gang(name=name, namespace="ns", workers=2, **values)


def maker(gang):
    return lambda replica, restarts: replica_pod(BASE, gang, replica, JOB, restarts)


def run(cluster, calls):
    return send_all(calls, cluster.send)


def go_on(cluster, gang, wait, most=200):
    """What the triggerer and the task do until the gang runs: the real trigger's decisions, without its clock."""
    for _ in range(most):
        seen = run(cluster, look(gang))
        if wait.state == "waiting":
            if not seen.pods:
                wait = run(cluster, settle(gang, maker(gang), NEED, wait))
        else:
            verdict = judge(gang, seen.pods, seen.now)
            if verdict.state == "running":
                run(cluster, gang_lease.release(gang))
                return wait
            if verdict.state != "placing":
                event = {"status": verdict.state, "sentence": "", "tries": wait.tries, "restarts": wait.restarts}
                wait = run(cluster, again(gang, event))
        cluster.tick()
    raise AssertionError(f"never ran: {wait}, {cluster.left()}")


def requests_of(calls_of):
    """How many requests something takes when nobody disturbs it."""
    cluster = FakeCluster(node(gpus=3))
    run(cluster, calls_of(a_gang()))
    return len(cluster.calls)


def start(gang):
    return begin(gang, maker(gang), NEED)


@pytest.mark.parametrize("killed_at", range(1, requests_of(start) + 1))
def test_a_task_killed_after_any_request_of_a_creation_is_taken_over_by_its_next_try(killed_at):
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    with pytest.raises(Killed):
        send_all(start(gang), dying_after(cluster.send, killed_at))
    cluster.tick()

    wait = go_on(cluster, gang, run(cluster, start(gang)))

    assert wait.restarts == 0
    assert [pod["metadata"]["name"] for pod in cluster.of("pods")] == list(gang.members())
    assert max(cluster.created[name] for name in gang.members()) == 1  # what was there was kept, not made again
    assert run(cluster, is_complete(gang, run(cluster, look(gang))))
    assert not cluster.of("leases")


@pytest.mark.parametrize("killed_at", range(1, 12))
def test_a_task_killed_after_any_request_of_a_removal_leaves_nothing_that_its_next_try_builds_upon(killed_at):
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    go_on(cluster, gang, run(cluster, start(gang)))
    with contextlib.suppress(Killed):
        send_all(remove(gang), dying_after(cluster.send, killed_at))
    cluster.tick()
    chief_of_then = dict(cluster.created)

    go_on(cluster, gang, run(cluster, start(gang)))

    uids = {owner["uid"] for pod in cluster.of("pods") for owner in pod["metadata"].get("ownerReferences", [])}
    chief = cluster.objects["pods", gang.chief]
    assert uids == {chief["metadata"]["uid"]}  # all of one life
    # Either nothing had been deleted yet (the first request only looks), or every pod is of the new life.
    assert {cluster.created[n] - chief_of_then[n] for n in gang.members()} in ({0}, {1})


def test_a_removal_leaves_nothing():
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    go_on(cluster, gang, run(cluster, start(gang)))
    assert cluster.left()

    run(cluster, remove(gang))
    cluster.tick()

    assert not cluster.left()
    assert run(cluster, remove(gang))


def test_a_deleted_chief_takes_everything_along_even_if_nobody_is_left_to_remove_it():
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    run(cluster, start(gang))
    cluster.tick()
    del cluster.objects["pods", gang.chief]

    cluster.tick()

    assert not cluster.left()


def test_a_lost_replica_starts_a_new_life_that_remembers_the_lost_ones():
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    wait = go_on(cluster, gang, run(cluster, start(gang)))
    for life in (1, 2, 3):
        cluster.end(f"{gang.name}-worker-1", 137)
        wait = go_on(cluster, gang, wait)
        chief = cluster.objects["pods", gang.chief]
        assert (wait.restarts, chief["metadata"]["annotations"][RESTARTS_ANNOTATION]) == (life, str(life))

    event = {"status": "lost", "sentence": "", "tries": 0, "restarts": wait.restarts}
    assert run(cluster, again(gang, event)) is None  # three are enough


def test_the_next_try_of_a_killed_task_reads_the_lost_lives_from_the_chief():
    cluster, gang = FakeCluster(node(gpus=3)), a_gang()
    wait = go_on(cluster, gang, run(cluster, start(gang)))
    cluster.end(f"{gang.name}-worker-1", 137)
    go_on(cluster, gang, wait)

    assert run(cluster, start(gang)) == Wait("watching", 0, 1, "the gang of an earlier try is there")


def test_a_gang_too_large_for_now_creates_nothing_and_runs_when_there_is_room():
    cluster, gang = FakeCluster(node(gpus=2)), a_gang()
    wait = run(cluster, start(gang))

    assert wait.state == "waiting"
    assert wait.sentence.startswith("2 of 3 replicas find room: one asks for 1 cpu, 1 nvidia.com/gpu")
    assert not cluster.left()
    cluster.nodes.append(node("n2", gpus=1))
    assert go_on(cluster, gang, wait).restarts == 0


def test_without_the_right_to_see_nodes_it_places_by_trying_and_takes_half_a_gang_back():
    cluster, gang = FakeCluster(node(gpus=2)), a_gang(place_timeout_s=5)
    cluster.forbidden.add("nodes")
    wait = run(cluster, start(gang))
    assert wait.state == "watching"
    cluster.tick(6)

    seen = run(cluster, look(gang))
    verdict = judge(gang, seen.pods, seen.now)
    assert verdict.state == "unplaced"
    wait = run(cluster, again(gang, {"status": "unplaced", "sentence": "", "tries": 0, "restarts": 0}))
    cluster.tick()

    assert (wait.state, wait.tries, cluster.left()) == ("waiting", 1, [])


def test_with_kueue_there_is_no_lease_and_no_look_at_nodes():
    cluster, gang = FakeCluster(), a_gang(queue="q")

    assert run(cluster, start(gang)).state == "watching"
    assert {call.path.rsplit("/", 1)[-1] for call in cluster.calls} == {"pods", "services"}


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.booleans(), min_size=0, max_size=60), seeing=st.booleans())
def test_two_gangs_that_each_need_everything_both_run_in_any_order_of_their_requests(order, seeing):
    """Their requests are interleaved at will; each ends a while after it runs, and makes room for the other."""
    cluster = FakeCluster(node(gpus=3))
    if not seeing:
        cluster.forbidden.add("nodes")  # then only the lease and the taking back are between them and a deadlock
    finished: list[str] = []
    actors = [actor(cluster, a_gang(name, place_timeout_s=4), finished) for name in ("gang-a", "gang-b")]
    choices = iter(order)
    for turn in count():
        if len(finished) == 2:
            break
        assert turn < 3000, f"a deadlock: {cluster.left()}"
        second = next(choices, turn % 2 == 1)
        next(actors[second], None)
    cluster.tick()

    assert sorted(finished) == ["gang-a", "gang-b"]
    assert not cluster.left()
    # With the right to look nobody has ever created half a gang.
    pods = {name: times for name, times in cluster.created.items() if name not in (gang_lease.LEASE, *finished)}
    assert not seeing or set(pods.values()) == {1}


def actor(cluster, gang, finished):
    """A task and its trigger, one request a turn; a second passes whenever they have nothing to do."""
    wait = yield from one_by_one(cluster, start(gang))
    while True:
        seen = yield from one_by_one(cluster, look(gang))
        if wait.state == "waiting":
            if not seen.pods:
                wait = yield from one_by_one(cluster, settle(gang, maker(gang), NEED, wait))
        else:
            verdict = judge(gang, seen.pods, seen.now)
            if verdict.state == "running":
                yield from one_by_one(cluster, gang_lease.release(gang))
                cluster.end(gang.chief)
                yield from one_by_one(cluster, remove(gang))
                finished.append(gang.name)
                return
            if verdict.state == "placing":
                yield from one_by_one(cluster, gang_lease.acquire(gang))
            else:
                event = {"status": verdict.state, "sentence": "", "tries": wait.tries, "restarts": wait.restarts}
                wait = yield from one_by_one(cluster, again(gang, event))
        cluster.tick()
        yield


def one_by_one(cluster, calls):
    try:
        call = next(calls)
        while True:
            try:
                answer = cluster.send(call)
            except Exception as error:
                call = calls.throw(error)
            else:
                call = calls.send(answer)
            yield
    except StopIteration as end:
        return end.value
