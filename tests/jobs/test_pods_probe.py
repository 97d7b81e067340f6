"""The slots of a cluster, from its nodes and pods as the API server shows them."""

from typing import Any

from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.probe import declared_slots, slots_of

OPTIONS = PodOptions()


def _node(name: str, gpus: int = 0, ready: str = "True", cordoned: bool = False, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {key.replace("__", "/").replace("_", "."): v for key, v in labels.items()},
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": {"cpu": "8", **({"nvidia.com/gpu": str(gpus)} if gpus else {})},
            "conditions": [{"type": "Ready", "status": ready, "message": "kubelet is\nquiet"}],
        },
    }


def _pod(node: str | None, *gpus: int, namespace: str = "other", labels: dict[str, str] | None = None, **status: Any):  # type: ignore[no-untyped-def]
    containers = [{"resources": {"limits": {"nvidia.com/gpu": str(n)}}} for n in gpus]
    return {
        "metadata": {"namespace": namespace, "labels": labels},
        "spec": {"nodeName": node, "containers": containers},
        "status": {"phase": "Running", **status},
    }


def test_each_gpu_of_each_node_is_a_slot_that_says_where_it_is() -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-A100", "nvidia.com/gpu.memory": "40960"}
    nodes = [_node("b", 2), _node("a", 1), _node("none")]
    nodes[0]["metadata"]["labels"] = {**labels, "eyewall.io/gpu-generation": "A100"}

    found = slots_of(nodes, [], OPTIONS)

    assert [(f.number, f.uuid, f.host, f.model, f.generation, f.memory_mb, f.state) for f in found] == [
        (0, "any/a/0", "a", "nvidia.com/gpu", "any", 0, "ok"),
        (1, "A100/b/0", "b", "NVIDIA-A100", "a100", 40960, "ok"),
        (2, "A100/b/1", "b", "NVIDIA-A100", "a100", 40960, "ok"),
    ]
    assert not any(f.declared for f in found)


def test_gpus_of_pods_that_are_no_jobs_of_this_namespace_are_not_offered() -> None:
    """4 on the node: 1 of another namespace, 1 of ours that is no job; our job and an ended pod do not count."""
    pods = [
        _pod("a", 1),
        _pod("a", 1, namespace="eyewall", labels={"eyewall.io/verb": "train"}),
        _pod("a", 2, namespace="eyewall", labels={"eyewall.io/job": "17"}),
        _pod("a", 1, phase="Succeeded"),
        _pod(None, 1),
        _pod("b", 1),
    ]

    found = slots_of([_node("a", 4)], pods, OPTIONS)

    assert [f.state for f in found] == ["ok", "ok", "foreign", "foreign"]
    assert found[3].reason == "other pods use 2 of 4 on node a"


def test_a_job_of_another_installations_namespace_is_a_stranger() -> None:
    pods = [_pod("a", 1, namespace="other", labels={"eyewall.io/job": "17"})]

    assert [f.state for f in slots_of([_node("a", 1)], pods, OPTIONS)] == ["foreign"]


def test_nodes_that_take_no_pods_have_failed_slots_and_say_why() -> None:
    found = slots_of([_node("a", 1, cordoned=True), _node("b", 1, ready="Unknown")], [], OPTIONS)

    assert [(f.state, f.reason) for f in found] == [
        ("failed", "node a is cordoned"),
        ("failed", "node b is not ready: kubelet is quiet"),
    ]


def test_a_slot_keeps_its_name_when_other_nodes_come_and_go() -> None:
    alone = slots_of([_node("b", 2)], [], OPTIONS)
    together = slots_of([_node("a", 3), _node("b", 2)], [], OPTIONS)

    assert {f.uuid for f in alone} <= {f.uuid for f in together}


def test_declared_slots_are_as_many_as_the_option_says_of_its_generation() -> None:
    options = PodOptions(devices=2, generation="h100", memory_mb=81_920)

    found = declared_slots("cluster", options)

    assert [(f.uuid, f.generation, f.memory_mb, f.declared) for f in found] == [
        ("cluster-0", "h100", 81_920, True),
        ("cluster-1", "h100", 81_920, True),
    ]
