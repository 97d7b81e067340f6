"""Who may talk to whom under the rendered policies: reckoned, as the test cluster does not enforce them."""

from typing import Any

import pytest
from policies import End, connects
from rendered import of_kind, overlay, pods_of

from eyewall.contracts.settings import Settings


def _step(verb: str, **labels: str) -> End:
    return End({"app.kubernetes.io/part-of": "eyewall", "eyewall.io/verb": verb, **labels})


INGEST, FORECAST, PUBLISH, VERIFY = _step("ingest"), _step("forecast"), _step("publish"), _step("verify")
JOB = End({"app.kubernetes.io/part-of": "eyewall", "app.kubernetes.io/component": "job", "eyewall.io/job": "17"})
CHIEF = _step("train", **{"eyewall.io/gang": "gang-a", "eyewall.io/role": "chief"})
WORKER = _step("train", **{"eyewall.io/gang": "gang-a", "eyewall.io/role": "worker"})
SCHEDULER = End({"tier": "airflow", "component": "scheduler"})
PAGE = End({"tier": "airflow", "component": "api-server"})
STRANGER = End({"app": "other"})
FAR_STRANGER = End(FORECAST.labels, namespace="other")
DNS = End({"k8s-app": "kube-dns"}, namespace="kube-system")
CLIENT = End({"eyewall.io/model-client": "true"}, "maps", {"eyewall.io/model-client": "true"})
HALF_CLIENT = End({"eyewall.io/model-client": "true"}, "maps")
INGRESS = End({"app": "nginx"}, "ingress", {"eyewall.io/ingress": "true"})
STORE = End(address="52.219.1.7")
METADATA = End(address="169.254.169.254")
API_SERVER = End(address="10.96.0.1")


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """The rendered objects of an installation with all its parts."""
    return overlay("claim")


@pytest.fixture(scope="module")
def policies(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Its policies."""
    return list(of_kind(objects, "NetworkPolicy").values())


@pytest.fixture(scope="module")
def servers(objects: list[dict[str, Any]]) -> dict[str, End]:
    """The pods of the model servers, with the labels that they really have."""
    return {name: End(template["metadata"]["labels"]) for name, template in pods_of(objects)}


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(CHIEF, WORKER, 2222, id="chief to worker"),
        pytest.param(WORKER, CHIEF, 2222, id="worker to chief"),
        pytest.param(INGEST, STORE, 443, id="step to object store"),
        pytest.param(CHIEF, STORE, 443, id="training to object store"),
        pytest.param(INGEST, End(address="2600:1f68::1"), 443, id="step to object store, IPv6"),
        pytest.param(SCHEDULER, API_SERVER, 443, id="airflow to API server"),
        pytest.param(SCHEDULER, API_SERVER, 6443, id="airflow to API server, its own port"),
        pytest.param(SCHEDULER, End(address="10.0.0.5"), 5432, id="airflow to its database"),
        pytest.param(SCHEDULER, PAGE, 8080, id="task to execution API"),
        pytest.param(PAGE, SCHEDULER, 8793, id="page to logs"),
        pytest.param(INGRESS, PAGE, 8080, id="ingress to page"),
    ],
)  # fmt: skip
def test_what_is_needed_is_open(policies: list[dict[str, Any]], source: End, target: End, port: int) -> None:
    assert connects(policies, source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(INGEST, WORKER, 2222, id="step to training"),
        pytest.param(JOB, End(address="10.0.0.5"), 5432, id="job to the database"),
        pytest.param(JOB, API_SERVER, 6443, id="job to API server"),
        pytest.param(JOB, STORE, 443, id="job to the internet"),
        pytest.param(JOB, PAGE, 8080, id="job to Airflow"),
        pytest.param(JOB, CHIEF, 2222, id="job to training"),
        pytest.param(STRANGER, CHIEF, 2222, id="stranger to training"),
        pytest.param(FAR_STRANGER, CHIEF, 2222, id="another namespace to training"),
        pytest.param(CHIEF, WORKER, 8080, id="training on another port"),
        pytest.param(CHIEF, API_SERVER, 6443, id="training to API server"),
        pytest.param(INGEST, API_SERVER, 6443, id="step to API server"),
        pytest.param(INGEST, METADATA, 443, id="step to metadata service"),
        pytest.param(INGEST, STORE, 80, id="step to the web without TLS"),
        pytest.param(INGEST, PAGE, 8080, id="step to execution API"),
        pytest.param(CHIEF, INGEST, 2222, id="training to step"),
        pytest.param(STRANGER, PAGE, 8080, id="stranger to page"),
        pytest.param(End(namespace="maps"), PAGE, 8080, id="another namespace to page"),
        pytest.param(INGRESS, SCHEDULER, 8080, id="ingress to scheduler"),
        pytest.param(STRANGER, STRANGER, 80, id="strangers among themselves"),
        pytest.param(STRANGER, STORE, 443, id="stranger to the internet"),
    ],
)  # fmt: skip
def test_everything_else_is_closed(policies: list[dict[str, Any]], source: End, target: End, port: int) -> None:
    assert not connects(policies, source, target, port)


@pytest.mark.parametrize(
    "source", [INGEST, CHIEF, SCHEDULER, STRANGER], ids=["step", "training", "airflow", "stranger"]
)
def test_names_are_resolved_by_all(policies: list[dict[str, Any]], source: End) -> None:
    assert connects(policies, source, DNS, 53, "UDP")
    assert connects(policies, source, DNS, 53, "TCP")
    assert not connects(policies, source, DNS, 8080)


@pytest.mark.parametrize(
    ("source", "port", "fleet", "canary"),
    [
        pytest.param(FORECAST, 8500, True, False, id="forecast"),
        pytest.param(VERIFY, 8500, True, False, id="verify"),
        pytest.param(PUBLISH, 8500, True, True, id="publish"),
        pytest.param(PUBLISH, 8501, False, False, id="publish, REST"),
        pytest.param(INGEST, 8500, False, False, id="a step that does not ask"),
        pytest.param(CLIENT, 8500, True, False, id="client, gRPC"),
        pytest.param(CLIENT, 8501, True, False, id="client, REST"),
        pytest.param(HALF_CLIENT, 8500, False, False, id="client in a namespace without the label"),
        pytest.param(CHIEF, 8500, False, False, id="training"),
        pytest.param(SCHEDULER, 8500, False, False, id="airflow"),
        pytest.param(FAR_STRANGER, 8500, False, False, id="step of another namespace"),
        pytest.param(STRANGER, 8500, False, False, id="stranger"),
    ],
)  # fmt: skip
def test_model_servers_answer_their_clients_alone(
    policies: list[dict[str, Any]], servers: dict[str, End], source: End, port: int, fleet: bool, canary: bool
) -> None:
    assert connects(policies, source, servers["model-server"], port) is fleet
    assert connects(policies, source, servers["model-server-canary"], port) is canary


def test_a_model_server_gets_nowhere(policies: list[dict[str, Any]], servers: dict[str, End]) -> None:
    """It reads its store by a mount, which the node makes."""
    for server in servers.values():
        assert not any(connects(policies, server, target, 443) for target in (STORE, API_SERVER, METADATA))


def test_without_the_policy_of_its_own_name_https_is_closed(policies: list[dict[str, Any]]) -> None:
    kept = [policy for policy in policies if policy["metadata"]["name"] != "steps-to-https"]

    assert len(kept) == len(policies) - 1
    assert not connects(kept, INGEST, STORE, 443)
    assert not connects(kept, CHIEF, STORE, 443)


def test_the_labels_are_those_that_the_operators_give() -> None:
    """The one place where these labels are made is operators/step_pod.py; gangs add theirs to them."""
    pytest.importorskip("airflow.providers.cncf.kubernetes")
    from operators.step_pod import StepPod

    settings = Settings(backend="kubernetes")
    job = Settings(store="/store", streams={"s": {}}).job("train", "s", records_ref="r", run="r")
    labels = StepPod(task_id="train", settings=settings, job=job).labels

    assert {"app.kubernetes.io/part-of": "eyewall", "eyewall.io/verb": "train"}.items() <= labels.items()
    assert labels.get("app.kubernetes.io/component") != "model-server"
