"""Every manifest in deploy/kubernetes, as rendered: its fields exist, and its pods may do as little as can be."""

import copy
import re
import tomllib
from typing import Any

import pytest
from rendered import DEPLOY, OVERLAYS, ROOT, containers_of, kubectls, kustomize, of_kind, overlay, pods_of
from strict_schema import check, kind_of

from eyewall import __version__
from eyewall.contracts.jobs import ServeJob

FOLDERS = ("base", "model-server", "scaling", "store-claim", *(f"overlays/{name}" for name in OVERLAYS))
#: Volume types that the Pod Security level "restricted" leaves.
HARMLESS_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def _sorted(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_renders_to_the_same_objects_with_every_kubectl(folder: str) -> None:
    """From kustomize 2.0.3 (kubectl 1.20) on: no components, no folders under resources."""
    first = _sorted(kustomize(DEPLOY / "kubernetes" / folder))

    assert first
    for other in kubectls()[1:]:
        assert _sorted(kustomize(DEPLOY / "kubernetes" / folder, other)) == first


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_field_is_one_that_kubernetes_has_with_the_type_that_it_has(name: str) -> None:
    faults = [f"{o['kind']} {o['metadata']['name']}{fault}" for o in overlay(name) for fault in check(o, kind_of(o))]

    assert faults == []


def _autoscaler() -> dict[str, Any]:
    return copy.deepcopy(of_kind(overlay("claim"), "HorizontalPodAutoscaler")["model-server"])


def test_a_field_that_does_not_exist_is_found() -> None:
    manifest = _autoscaler()
    manifest["spec"]["metrics"][0]["containerResource"]["averageUtilisation"] = 70  # the British way

    faults = check(manifest, "V2HorizontalPodAutoscaler")

    assert faults == [
        ".spec.metrics[0].containerResource.averageUtilisation: V2ContainerResourceMetricSource has no such field"
    ]


def test_a_field_that_is_missing_is_found() -> None:
    manifest = _autoscaler()
    del manifest["spec"]["maxReplicas"]

    assert ["max_replicas" in fault for fault in check(manifest, "V2HorizontalPodAutoscaler")] == [True]


def test_a_value_of_another_type_is_found() -> None:
    manifest = _autoscaler()
    manifest["spec"]["minReplicas"] = "2"

    assert check(manifest, "V2HorizontalPodAutoscaler") == [".spec.minReplicas: int is wanted, not '2'"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_comply_with_the_restricted_level_and_more(name: str) -> None:
    """Pod Security Standards, "restricted"; and beyond it a read-only root, limits, and no token."""
    pods = dict(pods_of(overlay(name)))

    assert set(pods) == {"model-server", "model-server-canary"}
    for pod in pods.values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == "eyewall-step"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= HARMLESS_VOLUMES
        for container in containers_of(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_volume_is_used_and_every_mount_has_its_volume(name: str) -> None:
    for _, pod in pods_of(overlay(name)):
        mounted = {mount["name"] for container in containers_of(pod) for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


@pytest.mark.parametrize("name", OVERLAYS)
def test_model_servers_read_the_store_and_cannot_write_to_it(name: str) -> None:
    for _, pod in pods_of(overlay(name)):
        stores = [m for c in containers_of(pod) for m in c["volumeMounts"] if m["name"] == "store"]
        assert stores
        assert all(mount["readOnly"] for mount in stores)


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_of_this_version_and_of_its_tensorflow(name: str) -> None:
    images = {container["image"] for _, pod in pods_of(overlay(name)) for container in containers_of(pod)}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (tensorflow,) = {
        re.findall(r"^tensorflow-serving-api==(.+)", pin)[0]
        for pins in extras.values()
        for pin in pins
        if pin.startswith("tensorflow-serving-api==")
    }

    known = {f"eyewall-{kind}:{__version__}" for kind in ("ingest", "serve")}
    assert images <= known | {f"tensorflow/serving:{tensorflow}"}


@pytest.mark.parametrize("path", sorted(p for p in DEPLOY.rglob("*") if p.is_file()), ids=lambda p: p.name)
def test_no_file_of_deploy_holds_a_secret_or_an_image_without_a_version(path: Any) -> None:
    text = path.read_text()

    assert not re.search(r"^kind: Secret$", text, re.MULTILINE)
    assert not re.search(r"secretGenerator|stringData|BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}", text)
    assert not re.search(
        r"(?i)(password|secret|token|access_key)[\w-]*(?<!Name): *[\"']?[\w/+=-]{16,}[\"']?$", text, re.MULTILINE
    )
    assert ":latest" not in text


def test_the_namespace_refuses_pods_that_are_not_restricted() -> None:
    labels = of_kind(overlay("claim"), "Namespace")["eyewall"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert re.fullmatch(r"v1\.\d+", labels["pod-security.kubernetes.io/enforce-version"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_service_finds_the_pods_of_its_own_name_alone(name: str) -> None:
    objects = overlay(name)
    pods = dict(pods_of(objects))
    for service_name, service in of_kind(objects, "Service").items():
        wanted = service["spec"]["selector"].items()
        assert [pod for pod, t in pods.items() if wanted <= t["metadata"]["labels"].items()] == [service_name]
        ports = {port["name"] for c in pods[service_name]["spec"]["containers"] for port in c.get("ports", ())}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_the_autoscaler_and_the_disruption_budget_are_of_the_fleet() -> None:
    objects = overlay("claim")
    fleet = of_kind(objects, "Deployment")["model-server"]
    scaler = of_kind(objects, "HorizontalPodAutoscaler")["model-server"]["spec"]
    budget = of_kind(objects, "PodDisruptionBudget")["model-server"]["spec"]

    assert scaler["scaleTargetRef"] == {"apiVersion": fleet["apiVersion"], "kind": "Deployment", "name": "model-server"}
    assert "replicas" not in fleet["spec"]  # it would fight the autoscaler at each apply
    named = scaler["metrics"][0]["containerResource"]["container"]
    assert named in {container["name"] for container in fleet["spec"]["template"]["spec"]["containers"]}
    assert budget["selector"]["matchLabels"].items() <= fleet["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_canary_is_one_pod_that_reads_its_config_only_once(name: str) -> None:
    """A server that reads it again would unload the version that a publisher is trying."""
    canary = of_kind(overlay(name), "Deployment")["model-server-canary"]["spec"]

    assert canary["replicas"] == 1
    assert canary["strategy"] == {"type": "Recreate"}
    assert not any("poll_wait" in argument for c in containers_of(canary["template"]) for argument in c["args"])
    assert [container["name"] for container in canary["template"]["spec"]["containers"]] == ["model-server"]


def test_fleet_and_canary_differ_in_nothing_else() -> None:
    deployments = of_kind(overlay("claim"), "Deployment")
    fleet, canary = (
        copy.deepcopy(deployments[n]["spec"]["template"]["spec"]) for n in ("model-server", "model-server-canary")
    )
    for pod in (fleet, canary):
        pod["containers"] = [c for c in pod["containers"] if c["name"] != "config"]
        pod["containers"][0].pop("readinessProbe")
        pod.pop("topologySpreadConstraints", None)
    fleet["containers"][0]["args"].remove("--model_config_file_poll_wait_seconds=10")

    assert fleet == canary


@pytest.mark.parametrize("name", ["embedded-server", "single-node"])
def test_the_server_that_stands_in_says_so_and_leaves_nothing_of_the_other_behind(name: str) -> None:
    objects = overlay(name)
    for _, pod in pods_of(objects):
        assert pod["metadata"]["annotations"] == {"eyewall.io/stands-in-for": "tensorflow/serving"}
        assert [c["image"] for c in containers_of(pod)] == [f"eyewall-serve:{__version__}"]
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & {o["kind"] for o in objects}


def test_its_arguments_are_those_of_eyewall_serve() -> None:
    own = ServeJob(store="/store", host="0.0.0.0").to_args()

    for _, pod in pods_of(overlay("embedded-server")):
        (container,) = containers_of(pod)
        assert [*container["command"], *container["args"]] == ["eyewall", *own]
