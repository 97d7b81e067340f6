"""The manifests as kubectl renders them, by every kubectl of this machine, and as the plain data that tests look at."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("claim", "object-store", "embedded-server", "single-node")
Object = dict[str, Any]


@cache
def kubectls() -> tuple[str, ...]:
    """Every kubectl there is: $KUBECTL, the one beside the cluster's KUBECONFIG, those on the PATH."""
    config = os.environ.get("KUBECONFIG")
    named = [os.environ.get("KUBECTL"), shutil.which("kubectl")]
    if config:  # a cluster that brings its own keeps it in bin/, beside its kubeconfig
        named.insert(1, str(Path(config).parent / "bin" / "kubectl"))
    # Links are not followed: one program may be several by the name that it is called by.
    there = [str(Path(name).absolute()) for name in named if name and os.access(name, os.X_OK)]
    return tuple(dict.fromkeys(there))


def kustomize(folder: Path, kubectl: str | None = None) -> list[Object]:
    """What ``kubectl kustomize`` makes of ``folder``; skips the test where there is no kubectl."""
    if not kubectls():
        pytest.skip("needs kubectl: set KUBECTL, or put it on the PATH")
    command = [kubectl or kubectls()[0], "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@cache
def _overlay(name: str) -> str:
    return yaml.safe_dump_all(kustomize(DEPLOY / "kubernetes" / "overlays" / name))


def overlay(name: str) -> list[Object]:
    """The objects of an overlay; a copy of one's own."""
    return list(yaml.safe_load_all(_overlay(name)))


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Name → object."""
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


def pods_of(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod template of everything that makes pods."""
    for o in objects:
        if "template" in o.get("spec", {}):
            yield o["metadata"]["name"], o["spec"]["template"]


def containers_of(pod: Object) -> Iterator[Object]:
    """All containers of a pod template, those that run first too."""
    yield from pod["spec"].get("initContainers") or ()
    yield from pod["spec"]["containers"]
