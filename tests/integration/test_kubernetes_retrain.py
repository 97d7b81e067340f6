"""The whole retrain DAG under a real Airflow, every step a pod of a real cluster, the training a gang of two."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from kubernetes import client, config
from kubernetes_cluster import Cluster, namespace_of_its_own

from eyewall import __version__
from eyewall.contracts.jobs import TrainJob
from eyewall.platform.ports import Ports
from eyewall.platform.rest import Airflow
from eyewall.platform.up import Installation, down, up
from eyewall.storage import Store

pytestmark = [pytest.mark.kubernetes, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING = {
    "model": "track", "strategy": "multi_worker", "workers": 2, "steps": 400, "batch": 64, "checkpoint_every": 200,
}  # fmt: skip
SETTINGS = """
store = "{var}/store"
backend = "kubernetes"
server = "model-server.{namespace}.svc.cluster.local:8500"
default_stream = "sim"
airflow_port = {ports.airflow}
grpc_port = {ports.grpc}
rest_port = {ports.rest}

[kubernetes]
config_file = "{kubeconfig}"
namespace = "{namespace}"
pull_policy = "IfNotPresent"
mounts = [
  {{source = "{var}/store", target = "{var}/store", read_only = false}},
  {{source = "{var}/season", target = "{var}/season"}},
]
[kubernetes.resources.records]
cpus = 0.8
memory = "2Gi"
[kubernetes.resources.gate]
cpus = 0.3
memory = "1Gi"
[kubernetes.resources.train]
cpus = 0.6
memory = "2Gi"
[kubernetes.resources.verify]
cpus = 0.8
memory = "3Gi"
[kubernetes.resources.publish]
cpus = 0.8
memory = "2Gi"

[streams.sim.records]
tracks = "{var}/season/besttrack.csv"
train_from = 2001
train_to = 2008
val_to = 2009
test_to = 2010
frames = 0
[streams.sim.train]
{training}
[streams.sim.verify]
truth = "{var}/season/besttrack.csv"
season_from = 2010
season_to = 2010
[streams.sim.gate]
min_cases = 5
min_storms = 1
max_worse_than_cliper_pct = 50.0
[streams.sim.publish]
"""


class Platform(NamedTuple):
    """A running Airflow whose steps are pods of ``cluster``."""

    installation: Installation
    airflow: Airflow
    cluster: Cluster
    store: Store
    var: Path


def eyewall(*args: str, **more: str) -> None:
    """The command line on this machine, with ``more`` in its environment."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "EYEWALL"))}
    command = [sys.executable, "-m", "eyewall.cli", *args]
    subprocess.run(command, env=environ | more, check=True, capture_output=True, timeout=300)


def open_to_pods(folder: Path) -> Path:
    """Pods are uid 10001 and mount folders of this machine, which belong to whoever runs the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder


def start_model_server(cluster: Cluster, store: Path) -> None:
    """The project's own model server in the place of TensorFlow Serving, behind a Service, over the same store."""
    labels = {"app.kubernetes.io/name": "model-server"}
    container = {
        "name": "server",
        "image": f"eyewall-serve:{__version__}",
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve", f"--store={store}", "--host=0.0.0.0"],
        "volumeMounts": [{"name": "store", "mountPath": str(store)}],
    }
    spec = {"containers": [container], "volumes": [{"name": "store", "hostPath": {"path": str(store)}}]}
    cluster.api.create_namespaced_pod(
        cluster.namespace, {"metadata": {"name": "model-server", "labels": labels}, "spec": spec}
    )
    ports = [{"name": "grpc", "port": 8500}]
    cluster.api.create_namespaced_service(
        cluster.namespace, {"metadata": {"name": "model-server"}, "spec": {"selector": labels, "ports": ports}}
    )


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A season, Airflow, a namespace with a model server."""
    with namespace_of_its_own() as cluster, tempfile.TemporaryDirectory(prefix="eyewall-pods-") as name:
        var = open_to_pods(Path(name) / "var")
        var.parent.chmod(0o755)
        open_to_pods(var / "store")
        eyewall(
            "simulate", f"--out={var / 'season'}", "--first-season=2001", "--last-season=2010",
            "--storms-per-season=8", "--imaged-storms=0",
        )  # fmt: skip
        start_model_server(cluster, var / "store")
        training = "\n".join(f"{key} = {json.dumps(value)}" for key, value in TRAINING.items())
        text = SETTINGS.format(
            var=var, namespace=cluster.namespace, kubeconfig=cluster.kubeconfig, ports=Ports.free(), training=training
        )
        settings = var / "eyewall.toml"
        settings.write_text(text)
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "EYEWALL"))}
        installation = Installation.of({**environ, "EYEWALL_SETTINGS": str(settings)}, var / "platform")
        try:
            up(installation, lambda text: None)
            with installation.client() as airflow:
                yield Platform(installation, airflow, cluster, Store(str(var / "store")), var)
        finally:
            down(installation)


def members(cluster: Cluster) -> dict[str, str]:
    """The gang's running pods: name → uid."""
    return {
        pod.metadata.name: pod.metadata.uid
        for pod in cluster.pods()
        if "eyewall.io/gang" in pod.metadata.labels and pod.status.phase == "Running"
    }


def kill_and_start_again(installation: Installation, *services: str) -> None:
    """SIGKILL, as a machine that fails would; then what an operator types."""
    for name in services:
        pid = installation.supervisor.pid_of(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    settings = installation.environ["EYEWALL_SETTINGS"]
    eyewall("platform", "up", EYEWALL_SETTINGS=settings, EYEWALL_VAR=str(installation.places.var))
    assert all(installation.supervisor.pid_of(name) for name in services)


def losses(folder: Path) -> list[float]:
    """Loss by step of a model artifact."""
    with (folder / "history.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def test_retrain_in_pods_serves_a_model_whose_losses_are_the_process_backends(platform: Platform) -> None:
    """Records, a gang of chief and worker, verify, gate, publish; and nothing of it is left in the cluster.

    Airflow's scheduler and triggerer are killed while the gang trains: it goes on, and no second one appears.
    """
    platform.airflow.unpause("retrain")
    run_id = platform.airflow.trigger("retrain", {})
    deadline = time.monotonic() + 300
    while len(gang := members(platform.cluster)) < 2:
        assert time.monotonic() < deadline, platform.airflow.tasks("retrain", run_id)
        time.sleep(0.5)
    kill_and_start_again(platform.installation, "scheduler", "triggerer")
    now = members(platform.cluster)
    assert now == {name: uid for name, uid in gang.items() if name in now}
    *_, states = platform.airflow.follow("retrain", run_id)

    for task, state in states.items():
        expected = "skipped" if task == "search" else "success"  # the form asks for none
        assert state == expected, (task, state, platform.airflow.log("retrain", run_id, task)[-40:])
    assert platform.store.exists("serving/track/1/saved_model.pb")

    # The same records and job as processes of this machine, in a store of their own.
    [records] = (platform.var / "store" / "records").glob("[0-9a-f]*")
    [model] = (platform.var / "store" / "models").glob("[0-9a-f]*")
    here = platform.var / "here"
    shutil.copytree(records, here / "records" / records.name)
    job = TrainJob.parse({**TRAINING, "store": str(here), "records_ref": f"records/{records.name}", "run": "here"})
    eyewall(*job.to_args())
    in_pods, in_processes = losses(model), losses(here / "models" / model.name)
    assert len(in_pods) == TRAINING["steps"]
    assert in_pods == pytest.approx(in_processes, abs=1e-4)

    namespace = platform.cluster.namespace
    leases = client.CoordinationV1Api(config.new_client_from_config(platform.cluster.kubeconfig))
    deadline = time.monotonic() + 60
    while len(platform.cluster.pods()) > 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert [pod.metadata.name for pod in platform.cluster.pods()] == ["model-server"]
    assert [s.metadata.name for s in platform.cluster.api.list_namespaced_service(namespace).items] == ["model-server"]
    assert leases.list_namespaced_lease(namespace).items == []
