"""Kubernetes' own schemas, as the Python client's classes carry them: for APIs newer than the test cluster's.

The client's classes are generated from the OpenAPI of a release (client 36: Kubernetes 1.36), so they know every
field's name, type and whether it must be there. An API server takes an unknown field without a word; this does not.
"""

import re
from typing import Any

from kubernetes import client

_PLAIN = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def check(given: Any, kind: str, where: str = "") -> list[str]:
    """What is wrong with ``given`` as a value of the client's type ``kind``; an empty list when nothing is."""
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(given, list):
            return [f"{where}: a list is wanted, not {given!r}"]
        return [fault for i, item in enumerate(given) for fault in check(item, match[1], f"{where}[{i}]")]
    if match := re.fullmatch(r"dict\[(\w+), (.+)\]", kind):
        if not isinstance(given, dict):
            return [f"{where}: a mapping is wanted, not {given!r}"]
        return [fault for key, item in given.items() for fault in check(item, match[2], f"{where}.{key}")]
    if kind in _PLAIN:
        right = isinstance(given, _PLAIN[kind]) and (kind == "bool" or not isinstance(given, bool))
        return [] if right else [f"{where}: {kind} is wanted, not {given!r}"]
    if kind in ("object", "datetime"):
        return []
    return _check_object(given, kind, where)


def _check_object(given: Any, kind: str, where: str) -> list[str]:
    if not isinstance(given, dict):
        return [f"{where}: a {kind} is wanted, not {given!r}"]
    cls = getattr(client, kind)
    attribute_of = {name: attribute for attribute, name in cls.attribute_map.items()}
    faults = [f"{where}.{name}: {kind} has no such field" for name in given if name not in attribute_of]
    values = {attribute_of[name]: value for name, value in given.items() if name in attribute_of}
    try:
        cls(**values)  # its setters refuse None where a field is required
    except ValueError as error:
        faults.append(f"{where or kind}: {error}")
    for attribute, value in values.items():
        faults += check(value, cls.openapi_types[attribute], f"{where}.{cls.attribute_map[attribute]}")
    return faults


def kind_of(manifest: dict[str, Any]) -> str:
    """The client's class for a manifest: ``autoscaling/v2 HorizontalPodAutoscaler`` → V2HorizontalPodAutoscaler."""
    version = manifest["apiVersion"].rpartition("/")[2]
    return f"{version[0].upper()}{version[1:]}{manifest['kind']}"
