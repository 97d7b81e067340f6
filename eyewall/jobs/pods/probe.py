"""The slots of a cluster: what its nodes have of GPUs, less what others use. Pure: nodes and pods as JSON → Found.

A slot is no device: it stands for one GPU's worth of a node, where the pod then has to go. Which of the node's devices
it gets is the cluster's affair.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eyewall.jobs.pods.manifest import uuid_of
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.runner import Found

Object = Mapping[str, Any]
ANY = "any"  #: generation of a node that has no label for it
_MODEL_LABEL = "nvidia.com/gpu.product"


def declared_slots(worker: str, options: PodOptions) -> list[Found]:
    """As many slots as the option ``devices`` says; they take no GPU of the cluster."""
    generation = options.generation or ANY
    return [
        Found(n, f"{worker}-{n}", "declared", generation, options.memory_mb, "ok", "", True)
        for n in range(options.devices or 0)
    ]


def slots_of(nodes: Sequence[Object], pods: Iterable[Object], options: PodOptions) -> list[Found]:
    """One Found for each GPU of each node; numbers are those of this probe, the uuid says which slot it is."""
    taken = _taken_by_others(pods, options)
    found: list[Found] = []
    for node in sorted(nodes, key=lambda one: str(one["metadata"]["name"])):
        name = node["metadata"]["name"]
        labels = node["metadata"].get("labels") or {}
        generation = str(labels.get(options.gpu_label, ANY))  # as it is: the pod's affinity is by this value
        count = int((node.get("status", {}).get("allocatable") or {}).get(options.gpu_resource, 0))
        trouble = _trouble(node)
        for n in range(count):
            state, reason = "ok", ""
            if trouble:
                state, reason = "failed", f"node {name} {trouble}"
            elif n >= count - taken[name]:
                state, reason = "foreign", f"other pods use {taken[name]} of {count} on node {name}"
            found.append(
                Found(
                    len(found),
                    uuid_of(generation, name, n),
                    str(labels.get(_MODEL_LABEL, options.gpu_resource)),
                    generation.lower(),
                    _memory_mb(labels.get(options.gpu_memory_label)),
                    state,  # type: ignore[arg-type]
                    reason,
                    False,
                    name,
                )
            )
    return found


def _taken_by_others(pods: Iterable[Object], options: PodOptions) -> Counter[str]:
    """By node, GPUs of pods that are no jobs of this namespace."""
    taken: Counter[str] = Counter()
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        metadata = pod["metadata"]
        ours = metadata["namespace"] == options.namespace and "eyewall.io/job" in (metadata.get("labels") or {})
        if node is None or ours or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        taken[node] += max(
            sum(_asked(c, options.gpu_resource) for c in pod["spec"].get("containers") or ()),
            max((_asked(c, options.gpu_resource) for c in pod["spec"].get("initContainers") or ()), default=0),
        )
    return taken


def _asked(container: Object, resource: str) -> int:
    return int(((container.get("resources") or {}).get("limits") or {}).get(resource, 0))


def _trouble(node: Object) -> str:
    """Why a node takes no pods; empty if it does."""
    if (node.get("spec") or {}).get("unschedulable"):
        return "is cordoned"
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") != "True":
            return f"is not ready: {' '.join(str(condition.get('message') or 'unknown').split())[:200]}"
    return ""


def _memory_mb(label: object) -> int:
    text = str(label or "")
    return int(text) if text.isdecimal() else 0
