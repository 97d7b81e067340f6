"""From a task's start to its first step: a gang of 1 + N pods against one plain pod of the provider's operator.

    KUBECONFIG=… .venv/bin/python benchmarks/startup.py [--workers 2] [--repeats 5] [--image eyewall-ingest:0.1.0]

Both run the same tiny command in the same image: the first line it prints is the "first step". For the gang that line
comes when every replica has answered the chief on its DNS name, which is what a training waits for. ``overhead_s`` is
the median of the differences, pair by pair, in turn; ``create_s`` is the part of it that the task itself takes (lease,
look for room, all requests). TensorFlow's own start is the same for both and left out. Prints one line of JSON last.
"""

import argparse
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="eyewall-benchmark-"))
ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator  # noqa: E402
from airflow.sdk.exceptions import TaskDeferred  # noqa: E402
from kubernetes import client, config  # noqa: E402
from kubernetes.client.exceptions import ApiException  # noqa: E402

from eyewall.contracts.jobs import TrainJob  # noqa: E402
from eyewall.contracts.settings import Settings  # noqa: E402
from operators.distributed_training import DistributedTrainingOperator  # noqa: E402

#: Peers answer; the chief, or a single pod, says when it could take its first step, and stays.
SOURCE = """
import json, os, socket, sys, time
cluster = json.loads(os.environ.get("TF_CONFIG", '{"cluster": {}, "task": {"type": "chief"}}'))
if cluster["task"]["type"] != "chief":
    server = socket.create_server(("", 2222))
    while True:
        server.accept()
for address in cluster["cluster"].get("worker", ()):
    host, _, port = address.rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), 1)
            break
        except OSError:
            time.sleep(0.02)
sys.stdout.write("first step %.3f\\n" % time.time())
sys.stdout.flush()
time.sleep(600)
"""


class Gang(DistributedTrainingOperator):
    """The real operator; its replicas run the tiny command, without probes for it."""

    def adapt(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Replace the command."""
        container = pod["spec"]["containers"][0]
        container["command"], container["args"] = ["python", "-c", SOURCE], []
        del container["livenessProbe"], container["startupProbe"]
        return pod


def context(run_id: str) -> Any:
    """What Airflow gives a task."""
    ti = SimpleNamespace(
        dag_id="benchmark", run_id=run_id, task_id="t", map_index=-1, try_number=1, start_date=datetime.now(UTC)
    )
    ti.xcom_push = lambda **_: None
    return {"ti": ti, "run_id": run_id, "dag": SimpleNamespace(dag_id="benchmark")}


def first_step(api: client.CoreV1Api, namespace: str, began: float) -> float:
    """Seconds from ``began`` to the first step; then everything in the namespace is removed."""
    while True:
        for pod in api.list_namespaced_pod(namespace).items:
            with suppress(ApiException):
                log = api.read_namespaced_pod_log(pod.metadata.name, namespace, _preload_content=False)
                for line in log.data.decode().splitlines():  # preloaded, it comes as the text of a bytes object
                    if line.startswith("first step"):
                        return float(line.split()[2]) - began
        time.sleep(0.1)


def clear(api: client.CoreV1Api, namespace: str) -> None:
    """Remove all pods and Services, and wait until they are gone."""
    for service in api.list_namespaced_service(namespace).items:
        api.delete_namespaced_service(service.metadata.name, namespace)
    while pods := api.list_namespaced_pod(namespace).items:
        for pod in pods:
            with suppress(ApiException):
                api.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
        time.sleep(0.3)


def measure(api: client.CoreV1Api, namespace: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways in turn; medians."""
    own = {
        "namespace": namespace, "pull_policy": "IfNotPresent", "images": {"train": arguments.image},
        "config_file": os.environ["KUBECONFIG"], "service_account": "default", "store": "/tmp/store",
        "resources": {"train": {"cpus": 0.1, "memory": "128Mi", "shm": "16Mi"}},
    }  # fmt: skip
    settings = Settings.model_validate({"kubernetes": own})
    job = TrainJob(
        store="/tmp/store", records_ref="records/r", run="b", strategy="multi_worker", workers=arguments.workers + 1
    )
    plain, gang, create = [], [], []
    for turn in range(arguments.repeats):
        began = time.time()
        single = KubernetesPodOperator(
            task_id="t", name="plain", namespace=namespace, image=arguments.image, cmds=["python", "-c", SOURCE],
            config_file=os.environ["KUBECONFIG"], kubernetes_conn_id=None, deferrable=True,
            image_pull_policy="IfNotPresent", automount_service_account_token=False, durable=False,
        )  # fmt: skip
        with suppress(TaskDeferred):
            single.execute_async(context(f"plain-{turn}"))
        plain.append(first_step(api, namespace, began))
        clear(api, namespace)
        began = time.time()
        with suppress(TaskDeferred):
            Gang(settings=settings, job=job, task_id="t").run_gang(context(f"gang-{turn}"), None)
        create.append(time.time() - began)
        gang.append(first_step(api, namespace, began))
        clear(api, namespace)
    return {
        "replicas": arguments.workers + 1,
        "plain_s": round(statistics.median(plain), 2),
        "gang_s": round(statistics.median(gang), 2),
        "create_s": round(statistics.median(create), 2),
        "overhead_s": round(statistics.median(g - p for g, p in zip(gang, plain, strict=True)), 2),
        "repeats": arguments.repeats,
    }


def main() -> None:
    """Make a namespace, measure in it, remove it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="replicas beside the chief")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--image", default="eyewall-ingest:0.1.0", help="any with Python in it, on every node")
    arguments = parser.parse_args()
    api = client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))
    namespace = f"eyewall-benchmark-{secrets.token_hex(3)}"
    api.create_namespace({"metadata": {"name": namespace}})
    try:
        time.sleep(2)  # until its service account is known
        print(json.dumps(measure(api, namespace, arguments)))
    finally:
        clear(api, namespace)
        api.delete_namespace(namespace)


if __name__ == "__main__":
    main()
