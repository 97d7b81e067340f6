"""A namespace of a real cluster for jobs of the platform, with the manifests' rights for whoever dispatches them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes_cluster import namespace_of_its_own

BASE = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "base"
ACCOUNT = "eyewall-dispatcher"


@dataclass(frozen=True)
class JobsNamespace:
    """What a test needs of it; ``kubeconfig`` is the dispatcher's, ``admin`` may do everything."""

    api: Any
    namespace: str
    kubeconfig: str
    admin: str


@contextmanager
def namespace_for_jobs(folder: Path) -> Iterator[JobsNamespace]:
    """The namespace; removed with all that is in it. ``folder``: where the dispatcher's kubeconfig is put."""
    with namespace_of_its_own() as found:
        rbac = client.RbacAuthorizationV1Api(found.api.api_client)
        for body in yaml.safe_load_all(
            (BASE / "jobs.yaml").read_text().replace("namespace: eyewall", f"namespace: {found.namespace}")
        ):
            if body["kind"] == "ServiceAccount":
                found.api.create_namespaced_service_account(found.namespace, body)
            elif body["kind"] == "Role":
                rbac.create_namespaced_role(found.namespace, body)
            else:
                rbac.create_namespaced_role_binding(found.namespace, body)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = found.api.create_namespaced_service_account_token(ACCOUNT, found.namespace, request)
        kubeconfig = yaml.safe_load(Path(found.kubeconfig).read_text())
        kubeconfig["users"] = [{"name": kubeconfig["users"][0]["name"], "user": {"token": token.status.token}}]
        path = folder / "kubeconfig"
        path.touch(0o600)
        path.write_text(yaml.safe_dump(kubeconfig))
        yield JobsNamespace(found.api, found.namespace, str(path), found.kubeconfig)


@contextmanager
def priority_classes(cluster: JobsNamespace) -> Iterator[str]:
    """The manifests' PriorityClasses for jobs; what their names begin with here, as they are in no namespace."""
    api = client.SchedulingV1Api(cluster.api.api_client)
    ours = [
        body | {"metadata": {"name": f"{cluster.namespace}-{body['metadata']['name']}"}}
        for body in yaml.safe_load_all((BASE / "priorities.yaml").read_text())
        if body["metadata"]["name"].startswith("eyewall-job")
    ]
    try:
        for body in ours:
            api.create_priority_class(body)
        yield f"{cluster.namespace}-eyewall-job"
    finally:
        for body in ours:
            with suppress(ApiException):
                api.delete_priority_class(body["metadata"]["name"])
