"""The manifests on a real API server: taken by it, their rights asked of it, and their pods started by it.

In a namespace and under names of the test's own, removed at the end. What the server's version does not know yet is
named in `NEWER` and checked against schemas in test_manifests.py alone; it enforces neither Pod Security nor policies.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendered import OVERLAYS, kubectls, overlay
from tiny_models import U, X, decide, put_model

from eyewall import __version__
from eyewall.contracts.jobs import PublishJob
from eyewall.serving import publish_step
from eyewall.storage import Store

pytestmark = pytest.mark.kubernetes
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "PersistentVolume"}
#: Kinds → the release that brought them in this version.
NEWER = {"HorizontalPodAutoscaler": (1, 23), "PodDisruptionBudget": (1, 21)}


def _kubectl(*args: str, given: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([kubectls()[0], *args], input=given, capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def _renamed(objects: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The same objects in the namespace ``name``, and under names with it where they belong to no namespace."""
    text = yaml.safe_dump_all(objects)
    for kind in ("eyewall-preflight", "eyewall-serving", "eyewall-training"):
        text = text.replace(kind, f"{name}-{kind.removeprefix('eyewall-')}")
    text = re.sub(r"namespace: eyewall$", f"namespace: {name}", text, flags=re.MULTILINE)
    renamed = list(yaml.safe_load_all(text))
    for o in renamed:
        if o["kind"] == "Namespace":
            o["metadata"]["name"] = name
        elif o["kind"] == "PriorityClass" and o["metadata"]["name"].startswith("eyewall-job"):  # eyewall-jobs is a Role
            o["metadata"]["name"] = f"{name}-{o['metadata']['name'].removeprefix('eyewall-')}"
        elif o["kind"] == "PersistentVolume":
            o["metadata"]["name"] = f"{name}-store"
        elif o["kind"] == "PersistentVolumeClaim" and "volumeName" in o["spec"]:
            o["spec"]["volumeName"] = f"{name}-store"
    return renamed


@pytest.fixture(scope="module")
def version() -> tuple[int, int]:
    """The server's version; skips where there is none."""
    if not os.environ.get("KUBECONFIG") or not kubectls():
        pytest.skip("needs a cluster: set KUBECONFIG")
    done = _kubectl("version", "-o", "json", check=False)
    if done.returncode:
        pytest.skip(f"no answer from the cluster: {done.stderr.strip()[:200]}")
    server = json.loads(done.stdout)["serverVersion"]
    return int(server["major"]), int(server["minor"].rstrip("+"))


@pytest.fixture(scope="module")
def installed(version: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The overlay for a single node, installed for real; the name of its namespace."""
    name = f"eyewall-deploy-{uuid.uuid4().hex[:8]}"
    store = tmp_path_factory.mktemp("cluster") / "store"
    store.mkdir()
    for folder in (store, *store.parents[:3]):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o755)
    objects = _renamed(overlay("single-node"), name)
    for o in objects:
        if o["kind"] == "PersistentVolume":
            o["spec"]["hostPath"]["path"] = str(store)
    try:
        _kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--wait=false", check=False)
        there = [o for o in objects if o["kind"] in CLUSTER_WIDE - {"Namespace"}]
        _kubectl(
            "delete", "-f", "-", "--ignore-not-found", "--wait=false", given=yaml.safe_dump_all(there), check=False
        )


@pytest.fixture(scope="module")
def empty(version: tuple[int, int]) -> Iterator[str]:
    """A namespace with nothing in it: a dry run wants one that is there."""
    name = f"eyewall-deploy-{uuid.uuid4().hex[:8]}"
    _kubectl("create", "namespace", name)
    yield name
    _kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_server_takes_every_manifest_that_it_has_the_api_for(
    name: str, version: tuple[int, int], empty: str
) -> None:
    """By a dry run on the server: defaults, validation and admission, without keeping it."""
    objects = _renamed(overlay(name), empty)
    known = [o for o in objects if version >= NEWER.get(o["kind"], (1, 20))]

    done = _kubectl("apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(known))

    assert done.stdout.count("(server dry run)") == len(known)
    assert {o["kind"] for o in objects} - {o["kind"] for o in known} <= set(NEWER)


Question = tuple[str, str, str | None]  #: verb, resource[/subresource], namespace (None: in all of them)


def _answers(account: str, of: str, questions: list[Question]) -> dict[Question, bool]:
    """What ``kubectl auth can-i`` asks, in one go, as the account of namespace ``of``."""
    reviews = []
    for verb, resource, namespace in questions:
        kind, _, sub = resource.partition("/")
        name, _, group = kind.partition(".")
        attributes = {"verb": verb, "resource": name, "group": group, "subresource": sub, "namespace": namespace or ""}
        reviews.append(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
        )
    who = f"system:serviceaccount:{of}:{account}"
    done = _kubectl("create", "-f", "-", "-o", "json", "--as", who, given=yaml.safe_dump_all(reviews))
    decoder, answers, rest = json.JSONDecoder(), [], done.stdout.lstrip()
    while rest:  # one document after the other, or one list of them
        value, end = decoder.raw_decode(rest)
        answers += value.get("items", [value])
        rest = rest[end:].lstrip()
    return {q: a["status"]["allowed"] for q, a in zip(questions, answers, strict=True)}


ALLOWED = [
    ("pods", "create get list watch delete patch"),
    ("pods/log", "get"),
    ("events", "list"),
    ("services", "create get list delete"),
    ("leases.coordination.k8s.io", "create get update delete"),
    ("configmaps", "create get patch delete"),  # of jobs
]
REFUSED = [
    ("pods", "update deletecollection"),
    ("pods/exec", "create"),
    ("pods/eviction", "create"),
    ("secrets", "get list create"),
    ("configmaps", "list update"),
    ("serviceaccounts/token", "create"),
    ("services", "update patch"),
    ("leases.coordination.k8s.io", "list"),
    ("deployments.apps", "patch"),
    ("rolebindings.rbac.authorization.k8s.io", "create"),
]


def _questions(table: list[tuple[str, str]], namespace: str | None) -> list[Question]:
    return [(verb, resource, namespace) for resource, verbs in table for verb in verbs.split()]


def test_airflow_may_do_what_its_operators_do_and_nothing_else(installed: str) -> None:
    allowed, refused = _questions(ALLOWED, installed), _questions(REFUSED, installed)

    answers = _answers("eyewall-airflow", installed, [*allowed, *refused])

    assert answers == dict.fromkeys(allowed, True) | dict.fromkeys(refused, False)


def test_a_dispatcher_of_jobs_may_do_what_attempts_need_and_nothing_else(installed: str) -> None:
    allowed = _questions(
        [
            ("pods", "create get list watch delete"),
            ("pods/log", "get"),
            ("events", "list"),
            ("configmaps", "create get patch delete"),
        ],
        installed,
    )
    refused = _questions([*REFUSED, ("pods", "patch"), ("services", "create"), ("leases", "create")], installed)

    answers = _answers("eyewall-dispatcher", installed, [*allowed, *refused])

    assert answers == dict.fromkeys(allowed, True) | dict.fromkeys(refused, False)


def test_airflow_sees_the_room_of_the_cluster_and_changes_nothing_outside(installed: str) -> None:
    allowed: list[Question] = [("get", "nodes", None), ("list", "nodes", None), ("list", "pods", None)]
    refused: list[Question] = [(verb, "pods", "default") for verb in ("create", "delete", "get", "watch")]
    refused += [("patch", "nodes", None), ("list", "secrets", None)]

    answers = _answers("eyewall-airflow", installed, [*allowed, *refused])

    assert answers == dict.fromkeys(allowed, True) | dict.fromkeys(refused, False)


def test_steps_may_do_nothing_at_all(installed: str) -> None:
    questions = [*_questions(ALLOWED, installed), ("list", "nodes", None)]

    assert _answers("eyewall-step", installed, questions) == dict.fromkeys(questions, False)


def _has_image(name: str) -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "image", "inspect", name], capture_output=True, timeout=60).returncode == 0


def _json(*args: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_kubectl("get", *args, "-o", "json").stdout)
    return value


@pytest.mark.slow
@pytest.mark.skipif(not _has_image(f"eyewall-serve:{__version__}"), reason="needs the image eyewall-serve: make images")
def test_the_canary_is_ready_before_any_model_and_the_fleet_is_not(installed: str) -> None:
    """Read-only root, no capabilities, another user than root: the server that stands in runs so, with its probes."""
    _kubectl("-n", installed, "rollout", "status", "deployment/model-server-canary", "--timeout=100s")
    address = _json("-n", installed, "service", "model-server-canary")["spec"]["clusterIP"]
    with urllib.request.urlopen(f"http://{address}:8501/healthz", timeout=10) as answer:
        assert answer.status == 200

    selector = "app.kubernetes.io/name=model-server"
    end = time.monotonic() + 60
    while not (started := _started(installed, selector)) and time.monotonic() < end:
        time.sleep(1)
    assert started
    assert _json("-n", installed, "deployment", "model-server")["status"].get("readyReplicas", 0) == 0


def _started(namespace: str, selector: str) -> bool:
    pods = _json("-n", namespace, "pods", "-l", selector)["items"]
    statuses = [s for pod in pods for s in pod["status"].get("containerStatuses", ())]
    return bool(statuses) and all(status.get("started") and not status["restartCount"] for status in statuses)


def test_the_folder_of_the_store_is_bound_to_the_claim(installed: str) -> None:
    end = time.monotonic() + 60
    while (phase := _json("-n", installed, "pvc", "eyewall-store")["status"].get("phase")) != "Bound":
        assert time.monotonic() < end, f"the claim is {phase}"
        time.sleep(0.5)
    assert Path(_json("pv", f"{installed}-store")["spec"]["hostPath"]["path"]).is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not _has_image(f"eyewall-serve:{__version__}"), reason="needs the image eyewall-serve: make images")
def test_what_the_canary_has_answered_with_the_fleet_serves_and_only_then_is_it_ready(installed: str) -> None:
    """Publishing as Airflow's task does it: tried on the canary, then labelled; the fleet follows the store."""
    _kubectl("-n", installed, "rollout", "status", "deployment/model-server-canary", "--timeout=100s")
    addresses = {
        name: _json("-n", installed, "service", name)["spec"]["clusterIP"]
        for name in ("model-server", "model-server-canary")
    }
    store = Store(_json("pv", f"{installed}-store")["spec"]["hostPath"]["path"])

    receipt = publish_step.run(
        PublishJob(
            store=store.url,
            decision_ref=decide(store, put_model(store, 3.0)),
            name="track",
            server=f"{addresses['model-server-canary']}:8500",
            server_base="/store/serving",
        )
    )

    assert receipt.summary["version"] == 1
    _kubectl("-n", installed, "rollout", "status", "deployment/model-server", "--timeout=100s")
    request = urllib.request.Request(
        f"http://{addresses['model-server']}:8501/v1/models/track/labels/stable:predict",
        data=json.dumps({"inputs": {"x": X.tolist(), "u": U.tolist()}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    outputs = _answer(request)["outputs"]
    assert outputs["y"] == (3 * (X + U)).tolist()


def _answer(request: urllib.request.Request, limit_s: float = 30.0) -> dict[str, Any]:
    """The answer's JSON; a Service leads to a pod a little after that has become ready."""
    end = time.monotonic() + limit_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                value: dict[str, Any] = json.load(answer)
                return value
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)
