"""deploy/kueue against what Kueue's API (v1beta2) says of its fields; no server and no schema of it can be had here.

Written by hand from its Go types (apis/kueue/v1beta2: clusterqueue_types.go, resourceflavor_types.go,
localqueue_types.go, workloadpriorityclass_types.go): their fields, their enums and the rules of their annotations.
"""

from typing import Any

import pytest
from rendered import DEPLOY, kustomize, of_kind

from eyewall.contracts.placement import KubernetesSettings


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """The rendered objects."""
    return kustomize(DEPLOY / "kueue")


def test_the_version_is_the_one_that_kueue_serves_alone_since_0_20(objects: list[dict[str, Any]]) -> None:
    assert {o["apiVersion"] for o in objects} == {"kueue.x-k8s.io/v1beta2"}
    assert {o["kind"] for o in objects} == {"ResourceFlavor", "ClusterQueue", "LocalQueue", "WorkloadPriorityClass"}


def test_flavours_are_told_by_the_label_that_the_settings_name(objects: list[dict[str, Any]]) -> None:
    label = KubernetesSettings().gpu_label
    flavours = of_kind(objects, "ResourceFlavor")

    for name, flavour in flavours.items():
        spec = flavour.get("spec", {})
        assert set(spec) <= {"nodeLabels", "nodeTaints", "tolerations", "topologyName"}
        if name != "eyewall-cpu":
            assert spec["nodeLabels"] == {label: name.removeprefix("eyewall-")}
            # "a value must be empty when 'operator' is 'Exists'"
            assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert "spec" not in flavours["eyewall-cpu"]


def test_each_flavour_has_the_covered_resources_in_their_order(objects: list[dict[str, Any]]) -> None:
    """Said of the field: each flavor must list all resources of the group, in the same order."""
    spec = of_kind(objects, "ClusterQueue")["eyewall"]["spec"]
    (group,) = spec["resourceGroups"]

    assert group["coveredResources"] == ["cpu", "memory", KubernetesSettings().gpu_resource]
    for flavour in group["flavors"]:
        assert [resource["name"] for resource in flavour["resources"]] == group["coveredResources"]
        # borrowingLimit must be null without a cohort
        assert all(set(resource) == {"name", "nominalQuota"} for resource in flavour["resources"])
        assert all(isinstance(resource["nominalQuota"], str) for resource in flavour["resources"])
    assert {flavour["name"] for flavour in group["flavors"]} == set(of_kind(objects, "ResourceFlavor"))


def test_pods_without_a_gpu_come_to_the_flavour_without_gpus_first(objects: list[dict[str, Any]]) -> None:
    """The first flavour that fits is taken."""
    (group,) = of_kind(objects, "ClusterQueue")["eyewall"]["spec"]["resourceGroups"]
    gpus = [flavour["resources"][2]["nominalQuota"] for flavour in group["flavors"]]

    assert gpus[0] == "0"
    assert all(int(quota) > 0 for quota in gpus[1:])


def test_policies_are_among_those_that_the_api_takes(objects: list[dict[str, Any]]) -> None:
    spec = of_kind(objects, "ClusterQueue")["eyewall"]["spec"]

    assert set(spec) == {
        "namespaceSelector", "queueingStrategy", "preemption", "flavorFungibility", "resourceGroups",
    }  # fmt: skip
    assert spec["queueingStrategy"] in ("StrictFIFO", "BestEffortFIFO")
    assert set(spec["preemption"]) == {"withinClusterQueue"}
    assert spec["preemption"]["withinClusterQueue"] in ("Never", "LowerPriority", "LowerOrNewerEqualPriority")
    assert spec["flavorFungibility"] == {"whenCanPreempt": "TryNextFlavor"}  # or MayStopSearch


def test_the_local_queue_is_in_the_namespace_that_the_queue_takes_work_from(objects: list[dict[str, Any]]) -> None:
    local = of_kind(objects, "LocalQueue")["eyewall"]
    queue = of_kind(objects, "ClusterQueue")[local["spec"]["clusterQueue"]]

    assert local["metadata"]["namespace"] == KubernetesSettings().namespace
    assert queue["spec"]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "eyewall"}


def test_a_retraining_goes_before_a_sweep(objects: list[dict[str, Any]]) -> None:
    classes = of_kind(objects, "WorkloadPriorityClass")

    assert all(set(c) == {"apiVersion", "kind", "metadata", "value", "description"} for c in classes.values())
    assert classes["eyewall-retrain"]["value"] > classes["eyewall-sweep"]["value"]
