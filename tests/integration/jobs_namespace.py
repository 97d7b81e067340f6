"""A namespace of a real cluster for jobs of the platform, with the manifests' rights for whoever dispatches them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes_cluster import namespace_of_its_own

RIGHTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "base" / "jobs.yaml"
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
            RIGHTS.read_text().replace("namespace: eyewall", f"namespace: {found.namespace}")
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
