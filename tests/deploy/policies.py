"""What NetworkPolicies allow, reckoned by their rules: the test cluster takes policies and does not enforce them.

From the reference of networking.k8s.io/v1: a pod that no policy of a direction selects is open in it; otherwise a
connection needs one rule of one such policy. A connection needs both its ends to allow it. In a peer, the namespace
selector and the pod selector must both match; without the former the policy's own namespace is meant.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or (with ``address``) something outside of the cluster."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = "eyewall"
    namespace_labels: dict[str, str] = field(default_factory=dict)
    address: str | None = None


def connects(policies: list[Object], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether ``source`` may open a connection to ``port`` of ``target``."""
    return _allows(policies, "Egress", source, target, port, protocol) and _allows(
        policies, "Ingress", target, source, port, protocol
    )


def _allows(policies: list[Object], direction: str, own: End, other: End, port: int, protocol: str) -> bool:
    if own.address is not None:
        return True  # what is outside has no policies
    mine = [
        p
        for p in policies
        if p["metadata"]["namespace"] == own.namespace
        and direction in p["spec"]["policyTypes"]
        and _selects(p["spec"]["podSelector"], own.labels)
    ]
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return not mine or any(
        _port(rule.get("ports"), port, protocol)
        and (peers not in rule or any(_peer(peer, other, p["metadata"]["namespace"]) for peer in rule[peers]))
        for p in mine
        for rule in p["spec"].get(rules) or ()
    )


def _port(ports: list[Object] | None, port: int, protocol: str) -> bool:
    return ports is None or any(p.get("port") in (None, port) and p.get("protocol", "TCP") == protocol for p in ports)


def _peer(peer: Object, other: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        if other.address is None:
            return False  # pods' addresses are not what these blocks are for
        address = ipaddress.ip_address(other.address)
        block = peer["ipBlock"]
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(e) for e in block.get("except", ()))
    if other.address is not None:
        return False
    if "namespaceSelector" in peer:
        names = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not _selects(peer["namespaceSelector"], names):
            return False
    elif other.namespace != namespace:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        assert expression["operator"] in ("In", "Exists"), "only these operators are reckoned here"
        if expression["key"] not in labels or labels[expression["key"]] not in expression.get(
            "values", labels.values()
        ):
            return False
    return True
