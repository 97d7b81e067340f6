"""The kubernetes backend: which operator a job gets, and the job as pods see it."""

from typing import ClassVar

import pytest
from airflow.sdk import BaseOperator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.settings import Settings
from operators import kubernetes
from operators.kubernetes import KubernetesBackend, as_pods_see_it
from operators.outcome import Outcome
from operators.step import load_backend

CLAIM = {"source": "claim:eyewall-store", "target": "/store", "read_only": False}


def settings(**table):
    return Settings.model_validate({"backend": "kubernetes", "store": "var/store", "kubernetes": table})


def gate(own):
    return own.job("gate", evaluation_ref="e")


@pytest.mark.parametrize(
    ("table", "store"),
    [
        pytest.param({"store": "s3://bucket/p"}, "s3://bucket/p", id="an object store"),
        pytest.param({"store": "/store", "mounts": [CLAIM]}, "/store", id="a claim"),
        pytest.param({"store": "/store/a/b", "mounts": [CLAIM]}, "/store/a/b", id="a folder of a claim"),
    ],
)
def test_the_store_is_as_pods_see_it(table, store):
    own = settings(**table)

    assert as_pods_see_it(gate(own), own).store == store


@pytest.mark.parametrize(
    "table",
    [
        pytest.param({}, id="a folder of this machine"),
        pytest.param({"store": "/store"}, id="no mount"),
        pytest.param({"store": "/store", "mounts": [CLAIM | {"read_only": True}]}, id="a mount to read only"),
        pytest.param({"store": "/storefront", "mounts": [CLAIM]}, id="a name that only begins alike"),
        pytest.param({"store": "file:///elsewhere", "mounts": [CLAIM]}, id="a folder as a URL"),
    ],
)
def test_a_store_that_pods_cannot_see_fails_for_good_before_a_pod_is_made(table):
    own = settings(**table)

    with pytest.raises(ContractError, match=r"pods cannot see the store '.*'"):
        as_pods_see_it(gate(own), own)
    outcome = KubernetesBackend(own, BaseOperator(task_id="t")).run(gate(own), {})
    assert outcome.code == 65
    assert "kubernetes.mounts" in outcome.sentence


class Made:
    """Stands for an operator; remembers what it was made of and asked."""

    made: ClassVar[list] = []

    def __init__(self, **options):
        self.options, self.killed, self.asked = options, False, []
        type(self).made.append(self)

    def run_pod(self, context, event):
        """As StepPod's."""
        self.asked.append(event)
        return Outcome(0, {"kind": type(self).__name__}, "")

    def on_kill(self):
        """As an operator's."""
        self.killed = True


@pytest.fixture
def operators(monkeypatch):
    pod, gang = type("Pod", (Made,), {"made": []}), type("Gang", (Made,), {"made": []})
    monkeypatch.setattr(kubernetes, "StepPod", pod)
    monkeypatch.setattr("operators.distributed_training.DistributedTrainingOperator", gang)
    return pod, gang


def train(own, **fields):
    return own.job("train", records_ref="r", run="r1", **fields)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param({}, "Pod", id="single"),
        pytest.param({"strategy": "mirrored"}, "Pod", id="GPUs of one pod"),
        pytest.param({"strategy": "model_parallel", "devices": 2}, "Pod", id="a mesh in one pod"),
        pytest.param({"strategy": "model_parallel", "workers": 2}, "Gang", id="a mesh over two pods"),
        pytest.param({"strategy": "multi_worker", "workers": 2}, "Gang", id="synchronous"),
        pytest.param({"strategy": "parameter_server", "workers": 2, "ps": 1}, "Gang", id="asynchronous"),
    ],
)
def test_a_training_of_several_replicas_is_a_gang(operators, fields, kind):
    own = settings(store="s3://b/p")
    backend = KubernetesBackend(own, BaseOperator(task_id="t"))

    assert backend.run(train(own, **fields), {}).summary == {"kind": kind}


def test_each_call_makes_the_operator_anew_and_a_kill_reaches_the_last(operators):
    own = settings(store="s3://b/p")
    backend = load_backend(own, BaseOperator(task_id="t"))
    assert isinstance(backend, KubernetesBackend)
    backend.stop()  # nothing to stop yet

    backend.run(gate(own), {})
    backend.resume(gate(own), {}, {"status": "ended"})
    backend.stop()

    first, second = operators[0].made
    assert (first.asked, second.asked) == ([None], [{"status": "ended"}])
    assert (first.killed, second.killed) == (False, True)
    assert first.options["job"].store == "s3://b/p"
