"""Names, addresses and pods of a gang's replicas."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.cluster import Replica
from eyewall.contracts.jobs import TrainJob
from operators.gang_members import Gang, gang_name, is_gang, owner_of, replica_pod, service

JOB = TrainJob(
    store="/store", records_ref="records/r", run="r", strategy="parameter_server", workers=2, ps=1, receipt="receipts/x"
)
GANG = Gang("gang-x", "ns", workers=2, ps=1)
BASE = {
    "metadata": {"name": "single", "labels": {"eyewall.io/verb": "train"}, "annotations": {"eyewall.io/job": "sum"}},
    "spec": {
        "restartPolicy": "Always",
        "containers": [{"name": "base", "args": ["train"], "env": [{"name": "HOME", "value": "/tmp"}]}],
    },
}


def replica(role, index=0):
    return Replica(role=role, index=index)


@given(parts=st.lists(st.text(max_size=60), min_size=3, max_size=3), index=st.integers(-1, 2000))
def test_any_task_gives_a_name_that_dns_takes_also_for_its_last_worker(parts, index):
    name = gang_name("/store", *parts, index)

    last = f"{name}-worker-1023"
    assert len(last) <= 63
    assert last.isascii()
    assert last[0].isalpha()
    assert set(last) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_names_differ_by_every_part_and_by_the_installation():
    given_names = [
        gang_name("/a", "d", "r", "t", -1), gang_name("/b", "d", "r", "t", -1), gang_name("/a", "e", "r", "t", -1),
        gang_name("/a", "d", "s", "t", -1), gang_name("/a", "d", "r", "u", -1), gang_name("/a", "d", "r", "t", 0),
    ]  # fmt: skip

    assert len(set(given_names)) == 6
    assert gang_name("/a", "d", "r", "t", -1) == given_names[0]


@pytest.mark.parametrize(
    ("strategy", "workers", "gang", "beside"),
    [
        pytest.param("multi_worker", 2, True, 1, id="the chief of a synchronous cluster is one of its workers"),
        pytest.param("parameter_server", 2, True, 2, id="that of an asynchronous one stands beside them"),
        pytest.param("model_parallel", 2, True, 1, id="a mesh over pods"),
        pytest.param("model_parallel", 1, False, 0, id="a mesh within one"),
        pytest.param("mirrored", 2, False, 1, id="devices of one process"),
    ],
)
def test_which_trainings_are_gangs(strategy, workers, gang, beside):
    job = TrainJob(store="s", records_ref="r", run="r", strategy=strategy, workers=workers)

    assert (is_gang(job), job.workers_beside_chief) == (gang, beside)


def test_every_replica_finds_the_others_by_names_below_the_service():
    address = "gang-x-{}.gang-x.ns.svc:2222"
    pod = replica_pod(BASE, GANG, replica("worker", 1), JOB, restarts=0)

    env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
    assert json.loads(env["TF_CONFIG"]) == {
        "cluster": {
            "chief": [address.format("chief-0")],
            "worker": [address.format("worker-0"), address.format("worker-1")],
            "ps": [address.format("ps-0")],
        },
        "task": {"type": "worker", "index": 1},
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("gang-x-worker-1", "gang-x")
    assert (env["HOME"], env["EYEWALL_HEARTBEAT"]) == ("/tmp", "/tmp/heartbeat")


def test_a_replica_never_comes_back_alone_and_only_the_chief_writes_the_receipt():
    pods = [replica_pod(BASE, GANG, r, JOB, restarts=2) for r in GANG.replicas()]

    assert {pod["spec"]["restartPolicy"] for pod in pods} == {"Never"}
    assert ["--receipt=receipts/x" in pod["spec"]["containers"][0]["args"] for pod in pods] == [True] + [False] * 3
    assert {pod["metadata"]["annotations"]["eyewall.io/restarts"] for pod in pods} == {"2"}
    assert all(pod["metadata"]["labels"]["eyewall.io/verb"] == "train" for pod in pods)
    assert BASE["spec"]["restartPolicy"] == "Always"  # the base is untouched


def test_the_kubelet_asks_each_replica_for_its_heartbeat():
    job = JOB.model_copy(update={"heartbeat_timeout_s": 90.0})
    container = replica_pod(BASE, GANG, replica("ps"), job, 0)["spec"]["containers"][0]

    probe = container["livenessProbe"]
    assert probe["exec"]["command"] == [
        "python", "-m", "eyewall.training.heartbeat", "--file", "/tmp/heartbeat", "--timeout-s", "90",
    ]  # fmt: skip
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (10, 2)
    # Two minutes to import and read, before anybody calls it silent.
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 120


def test_kueue_takes_a_life_as_one_group():
    queued = Gang("gang-x", "ns", workers=2, ps=1, queue="q")
    metadata = replica_pod(BASE, queued, replica("worker"), JOB, restarts=1)["metadata"]

    assert {k: v for k, v in metadata["labels"].items() if "kueue" in k} == {
        "kueue.x-k8s.io/queue-name": "q",
        "kueue.x-k8s.io/pod-group-name": "gang-x-1",
    }
    assert metadata["annotations"]["kueue.x-k8s.io/pod-group-total-count"] == "4"


def test_the_service_is_headless_and_the_chiefs():
    made = service(GANG, owner_of({"metadata": {"name": "gang-x-chief-0", "uid": "u"}}))

    assert made["spec"]["clusterIP"] == "None"
    assert made["spec"]["publishNotReadyAddresses"] is True
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["u"]
