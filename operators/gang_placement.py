"""Whether a whole gang finds room: what the scheduler would say to each of its pods, asked before any is created.

Nodes' allocatable amounts, less the requests of the pods on them, less those of other gangs' pods that are still to be
placed; node selectors, taints, readiness and the number of pods of a node count too. First fit decreasing: exact for
replicas that ask for the same, which those of a gang do. Affinities, topologies and volumes are not looked at: if the
scheduler is stricter, the gang is taken back after its placement timeout and waits again.

Pure: it takes nodes and pods as the API server gives them, as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Amounts = dict[str, Decimal]  #: resource → amount in its base unit (cores, bytes, devices, pods)
Object = Mapping[str, Any]

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What one pod asks of its node."""

    requests: Amounts
    node_selector: Mapping[str, str]
    tolerations: Sequence[Object] = ()

    @classmethod
    def of(cls, spec: Object) -> "Need":
        """The need of a pod's spec."""
        return cls(requests_of(spec), spec.get("nodeSelector") or {}, spec.get("tolerations") or ())

    @property
    def size(self) -> tuple[Decimal, ...]:
        """Larger pods are placed first; rare devices before cores, cores before bytes."""
        devices = sum((v for k, v in self.requests.items() if k not in ("cpu", "memory", "pods")), Decimal(0))
        return devices, self.requests.get("cpu", Decimal(0)), self.requests.get("memory", Decimal(0))


@dataclass(frozen=True)
class Placement:
    """Node names in the order of the pods; ``None`` for a pod that finds no room. ``sentence`` says so to people."""

    nodes: tuple[str | None, ...]
    sentence: str

    @property
    def complete(self) -> bool:
        """Whether every pod has found a node."""
        return None not in self.nodes


def amount(quantity: str | int | float) -> Decimal:
    """A Kubernetes quantity in its base unit: ``"500m"`` → 0.5, ``"4Gi"`` → 4294967296."""
    text = str(quantity)
    number = text.rstrip("numkKMGTPi")
    return Decimal(number) * _SUFFIXES[text[len(number) :]]


def requests_of(spec: Object) -> Amounts:
    """What the scheduler reserves for a pod: its containers' sum, or its largest init container; and one pod."""
    total = _sum(_container(c) for c in spec.get("containers") or ())
    for container in spec.get("initContainers") or ():
        for name, value in _container(container).items():
            total[name] = max(total.get(name, Decimal(0)), value)
    total = _sum((total, {k: amount(v) for k, v in (spec.get("overhead") or {}).items()}))
    return total | {"pods": Decimal(1)}


def _container(container: Object) -> Amounts:
    resources = container.get("resources") or {}
    # A limit without a request is the request.
    return {k: amount(v) for k, v in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items()}


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, Decimal(0)) + value
    return total


def place(
    needs: Sequence[Need], nodes: Sequence[Object], pods: Sequence[Object], ahead: Sequence[Need] = ()
) -> Placement:
    """Put ``needs`` on ``nodes`` beside the ``pods`` that are there; ``ahead`` go before them, where they fit."""
    usable = [node for node in nodes if _takes_pods(node)]
    free = {node["metadata"]["name"]: _free(node, pods) for node in usable}
    for need in sorted(ahead, key=lambda n: n.size, reverse=True):
        _first_fit(need, usable, free)
    order = sorted(range(len(needs)), key=lambda i: needs[i].size, reverse=True)
    found: dict[int, str | None] = {i: _first_fit(needs[i], usable, free) for i in order}
    names = tuple(found[i] for i in range(len(needs)))
    return Placement(names, _sentence(needs, names, len(usable), len(nodes)))


def _takes_pods(node: Object) -> bool:
    conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and not node.get("spec", {}).get("unschedulable", False)


def _free(node: Object, pods: Sequence[Object]) -> Amounts:
    free = {name: amount(value) for name, value in node["status"]["allocatable"].items()}
    for pod in pods:
        running = pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        if running and pod["spec"].get("nodeName") == node["metadata"]["name"]:
            for name, value in requests_of(pod["spec"]).items():
                free[name] = free.get(name, Decimal(0)) - value
    return free


def _first_fit(need: Need, nodes: Sequence[Object], free: dict[str, Amounts]) -> str | None:
    for node in nodes:
        name: str = node["metadata"]["name"]
        if _wanted(need, node) and all(free[name].get(k, Decimal(0)) >= v for k, v in need.requests.items() if v):
            for resource, value in need.requests.items():
                free[name][resource] = free[name].get(resource, Decimal(0)) - value
            return name
    return None


def _wanted(need: Need, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in need.node_selector.items()):
        return False
    taints = [t for t in node.get("spec", {}).get("taints") or () if t.get("effect") in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(toleration, taint) for toleration in need.tolerations) for taint in taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def _sentence(needs: Sequence[Need], names: Sequence[str | None], usable: int, known: int) -> str:
    missing = [needs[i] for i, name in enumerate(names) if name is None]
    if not missing:
        return f"all {len(needs)} replicas find room on {len(set(names))} of {usable} nodes"
    need = missing[0]
    asked = ", ".join(f"{_shown(k, v)} {k}" for k, v in sorted(need.requests.items()) if k != "pods" and v)
    where = "".join(f" with {k}={v}" for k, v in sorted(need.node_selector.items()))
    return (
        f"{len(needs) - len(missing)} of {len(needs)} replicas find room: one asks for {asked or 'a place'}{where};"
        f" {usable} of {known} nodes take pods"
    )


def _shown(resource: str, value: Decimal) -> str:
    return f"{value / 2**30:.3g}Gi" if resource == "memory" else f"{value.normalize():f}"
