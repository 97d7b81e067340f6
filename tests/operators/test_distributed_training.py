"""The operator and its trigger together, on a cluster in a dictionary: what each event leads to."""

import asyncio
import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from gang_cluster import FakeCluster, node

from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.settings import Settings
from operators import gang_lease, gang_trigger
from operators.api_calls import ApiAway, ApiRefused
from operators.distributed_training import DistributedTrainingOperator
from operators.gang_run import backoff_s
from operators.gang_trigger import GangTrigger

TABLE = {"namespace": "ns", "resources": {"train": {"cpus": 1, "memory": "1Gi", "gpus": 1}}, "gang_timeout_s": 5}
JOB = TrainJob(store="/store", records_ref="records/r", run="r", strategy="multi_worker", workers=2)


def context(try_number=1):
    ti = SimpleNamespace(
        dag_id="retrain",
        run_id="r1",
        task_id="train",
        map_index=-1,
        try_number=try_number,
        start_date=datetime.now(UTC),
    )
    return {"ti": ti, "run_id": "r1", "dag": SimpleNamespace(dag_id="retrain")}


class Operator(DistributedTrainingOperator):
    """Asks the cluster in a dictionary."""

    cluster: FakeCluster

    def sender(self):
        """Its API server."""
        return self.cluster.send


@pytest.fixture
def cluster(monkeypatch):
    made = FakeCluster(node(gpus=2))

    async def asked(self, calls):
        """One look, and a second of the cluster's time."""
        made.tick()
        return await gang_trigger.asend_all(calls, lambda call: as_async(made.send, call))

    monkeypatch.setattr(GangTrigger, "_ask", asked)
    monkeypatch.setattr(gang_trigger, "POLL_S", 0.001)
    monkeypatch.setattr(gang_trigger, "CAUSE_WITHIN_S", 0.05)
    monkeypatch.setattr("operators.gang_trigger.backoff_s", lambda gang, tries: 0.001)
    monkeypatch.setattr("operators.distributed_training.time.sleep", lambda s: made.tick())
    return made


async def as_async(send, call):
    return send(call)


def operator(cluster, job=JOB, **kubernetes):
    settings = Settings(store="/store", kubernetes={**TABLE, "config_file": "/nowhere/kubeconfig", **kubernetes})
    made = Operator(settings=settings, job=job, task_id="train")
    made.cluster = cluster
    # The pod is the provider's, whose client must not be made: there is no cluster to ask.
    made.as_json = lambda pod: __import__("kubernetes").client.ApiClient().sanitize_for_serialization(pod)
    made.__dict__["hook"] = SimpleNamespace(is_in_cluster=False)
    return made


def deferred(cluster, event=None, **more):
    """One turn of the task that defers; the trigger, as it comes out of the database."""
    with pytest.raises(TaskDeferred) as caught:
        operator(cluster, **more).run_gang(context(), event)
    assert caught.value.method_name == "trigger_reentry"
    path, kwargs = caught.value.trigger.serialize()
    assert path == "operators.gang_trigger.GangTrigger"
    return GangTrigger(**kwargs)


def event_of(trigger):
    async def first():
        async for event in trigger.run():
            return event.payload
        return None

    return asyncio.run(asyncio.wait_for(first(), 20))


def names(cluster):
    return sorted(name for _, name in cluster.left())


def test_a_gang_that_ends_well_gives_the_chiefs_summary_and_leaves_nothing(cluster):
    trigger = deferred(cluster)
    cluster.tick()
    chief = trigger.gang.chief
    cluster.end(chief, message='{"model": "models/abc", "val_km": 71.5}')

    event = event_of(trigger)
    outcome = operator(cluster).run_gang(context(), event)
    cluster.tick()

    assert event["status"] == "done"
    assert (outcome.code, outcome.summary) == (0, {"model": "models/abc", "val_km": 71.5})
    assert not cluster.left()


def test_the_lease_is_held_until_all_are_scheduled_and_is_gone_afterwards(cluster):
    trigger = deferred(cluster)
    lease = cluster.objects["leases", gang_lease.LEASE]

    assert lease["spec"]["holderIdentity"] == trigger.gang.name
    assert lease["metadata"]["ownerReferences"][0]["name"] == trigger.gang.chief  # it cannot outlive the chief
    asyncio.run(trigger._watch())
    assert not cluster.of("leases")


def test_an_expired_lease_of_a_dead_process_is_taken_over_and_a_fresh_one_is_not(cluster):
    foreign = {"holderIdentity": "gang-other", "leaseDurationSeconds": 30, "renewTime": cluster.now.isoformat()}
    cluster.objects["leases", gang_lease.LEASE] = {
        "metadata": {"name": gang_lease.LEASE, "uid": "u0", "resourceVersion": "0"}, "spec": foreign,
    }  # fmt: skip

    assert deferred(cluster).state == "waiting"
    assert cluster.objects["leases", gang_lease.LEASE]["spec"] == foreign
    cluster.tick(31)
    assert deferred(cluster).state == "watching"


def test_a_lost_replica_shows_its_log_and_the_gang_is_made_again(cluster, caplog, capsys):
    trigger = deferred(cluster)
    cluster.tick()
    lost = f"{trigger.gang.name}-worker-0"
    cluster.end(lost, 137, reason="OOMKilled")

    event = event_of(trigger)
    with caplog.at_level(logging.INFO):
        waiting = deferred(cluster, event)
    said = caplog.text + capsys.readouterr().out
    room = event_of(waiting)
    again = deferred(cluster, room)

    assert event["status"] == "lost"
    assert "worker-0" in event["sentence"]
    assert "OOMKilled" in event["sentence"]
    assert f"[worker-0] log of {lost}" in said
    assert (waiting.state, waiting.restarts, room["status"]) == ("waiting", 1, "room")
    assert (again.state, again.restarts) == ("watching", 1)


def test_the_cause_of_a_loss_may_come_to_light_after_the_failure_that_it_caused(cluster, monkeypatch):
    monkeypatch.setattr(gang_trigger, "CAUSE_WITHIN_S", 5.0)
    trigger = deferred(cluster)
    cluster.tick()
    cluster.end(trigger.gang.chief, 1, message="a peer is gone")
    look = cluster.tick

    def later(seconds=1):
        look(seconds)
        if cluster.seconds == 6:
            cluster.end(f"{trigger.gang.name}-worker-0", 137)

    monkeypatch.setattr(cluster, "tick", later)

    assert event_of(trigger)["replica"] == "worker-0"


def test_after_three_restarts_the_task_fails_to_be_tried_again(cluster):
    trigger = deferred(cluster)
    lost = {"status": "lost", "sentence": "worker-0 was killed by SIGKILL", "pod": "p", "replica": "worker-0"}

    outcome = operator(cluster).run_gang(context(), lost | {"code": 70, "tries": 0, "restarts": 3})
    cluster.tick()

    assert outcome.code == 70
    assert outcome.sentence == (
        "worker-0 was killed by SIGKILL; given up after 3 restarts: run 'r' keeps its last checkpoint"
    )
    assert trigger.gang.name not in names(cluster)
    assert not cluster.left()


def test_a_final_exit_code_ends_the_task_for_good(cluster):
    trigger = deferred(cluster)
    cluster.tick()
    cluster.end(f"{trigger.gang.name}-worker-0", 65, message="eyewall: the records hold no training sample")

    event = event_of(trigger)

    with pytest.raises(AirflowFailException, match="worker-0: the records hold no training sample"):
        operator(cluster).trigger_reentry(context(), event)
    assert not cluster.left()


def test_a_gang_that_is_not_placed_in_time_is_taken_back_and_waits(cluster):
    cluster.forbidden.add("nodes")  # so that only trying tells
    cluster.nodes = [node(gpus=1)]
    trigger = deferred(cluster)

    event = event_of(trigger)
    waiting = deferred(cluster, event)
    cluster.tick()

    assert event["status"] == "unplaced"
    assert (waiting.state, waiting.tries, waiting.restarts) == ("waiting", 1, 0)
    assert not cluster.left()


def test_a_gang_waits_for_room_without_anything_on_the_cluster(cluster):
    cluster.nodes = [node(gpus=1)]
    waiting = deferred(cluster)
    asyncio.run(waiting._wait())

    assert (waiting.state, cluster.left()) == ("waiting", [])
    cluster.nodes.append(node("n2", gpus=1))
    assert event_of(waiting)["status"] == "room"


def test_another_job_under_the_same_name_replaces_the_gang_of_an_earlier_try(cluster):
    deferred(cluster)
    changed = deferred(cluster, job=JOB.model_copy(update={"steps": 7}))

    assert changed.state == "waiting"


def test_an_api_server_that_is_away_is_no_event(cluster, monkeypatch):
    trigger, answers = deferred(cluster), iter([ApiAway("no answer"), ApiAway("no answer"), ApiRefused(401, "token")])
    whole = GangTrigger._ask

    async def asked(self, calls):
        for error in answers:
            raise error
        return await whole(self, calls)

    monkeypatch.setattr(GangTrigger, "_ask", asked)
    cluster.tick()
    cluster.end(trigger.gang.chief, message="{}")

    assert event_of(trigger)["status"] == "done"


def test_an_execution_timeout_ends_the_gang_also_while_the_api_server_is_away(cluster, monkeypatch):
    trigger = deferred(cluster)
    trigger.until = 1.0

    async def asked(self, calls):
        raise ApiAway("no answer")

    monkeypatch.setattr(GangTrigger, "_ask", asked)
    event = event_of(trigger)

    with pytest.raises(AirflowException, match="execution_timeout is over"):
        operator(cluster).trigger_reentry(context(), event)
    assert not cluster.left()


def test_a_person_who_ends_the_deferred_task_ends_the_gang(cluster):
    trigger = deferred(cluster)

    asyncio.run(trigger.on_kill())

    assert not cluster.left()


def test_a_task_that_is_stopped_in_its_slot_ends_the_gang(cluster):
    running = operator(cluster)
    with pytest.raises(TaskDeferred):
        running.run_gang(context(), None)

    running.on_kill()

    assert not cluster.left()


def test_a_request_that_the_server_refuses_ends_the_task_with_its_sentence(cluster):
    cluster.forbidden.add("services")

    outcome = operator(cluster).run_gang(context(), None)

    assert (outcome.code, outcome.sentence.partition(": ")[2]) == (
        69,
        "the API server refuses (403): services is forbidden",
    )
    cluster.forbidden.clear()
    cluster.tick()


def test_it_takes_as_many_slots_of_its_pool_as_it_takes_gpus(cluster):
    assert operator(cluster).pool_slots == 2
    assert operator(cluster, resources={"train": {"gpus": 0}}).pool_slots == 1


def test_a_training_of_one_process_is_no_gang(cluster):
    with pytest.raises(ContractError, match="'single' with 1 workers is one process"):
        operator(cluster, job=JOB.model_copy(update={"strategy": "single", "workers": 1}))


def test_the_backoff_grows_to_a_minute_and_differs_between_two_gangs():
    assert backoff_s("a", 0) == 0
    assert all(1.0 <= backoff_s("a", 1) <= 2.0 for _ in range(2))
    assert all(30.0 <= backoff_s(name, tries) <= 60.0 for name in "ab" for tries in (6, 50, 10_000))
    assert backoff_s("a", 5) != backoff_s("b", 5)
