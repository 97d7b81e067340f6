"""Each fault done for real to a gang that trains on a real cluster: it goes on from its checkpoint, or says why not.

The replicas are played (`fake_replica.py`); a peer's death, its pod's end, its memory and its heartbeat are not.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml
from gang_driver import Drive, a_job, container_of, gang_settings, lives, pod_of, quick, steps_done, tell, until
from kubernetes.client import SchedulingV1Api
from kubernetes_cluster import Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(400)]
STEPS = 12
SLOW = {"FAKE_STEP_S": "0.5"}
Told = tuple[Drive, int]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """All faults, each beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        yield from tell(STORIES, tmp_path_factory)


def training(cluster: Cluster, store: Path, **job: Any) -> Drive:
    """A gang in a thread, some steps on its way."""
    gang = Drive(gang_settings(cluster, store), a_job(steps=STEPS, **job), SLOW).start()
    until(lambda: gang.error or steps_done(store) > 2)
    return gang


def force_deleted(cluster: Cluster, store: Path, replica: str) -> Told:
    """Kubectl delete pod --force: its object is gone at once, its container a moment later."""
    gang = training(cluster, store)
    cluster.api.delete_namespaced_pod(pod_of(cluster, replica), cluster.namespace, grace_period_seconds=0)
    return gang, gang.end() and lives(store)


def evicted(cluster: Cluster, store: Path) -> Told:
    """What a drained node does."""
    gang = training(cluster, store)
    name = pod_of(cluster, "worker-0")
    cluster.api.create_namespaced_pod_eviction(name, cluster.namespace, {"metadata": {"name": name}})
    return gang, gang.end() and lives(store)


def killed(cluster: Cluster, store: Path, replica: str) -> Told:
    """SIGKILL from outside, as by the kernel."""
    gang = training(cluster, store)
    subprocess.run(["docker", "kill", container_of(cluster, replica)], check=True, capture_output=True)
    return gang, gang.end() and lives(store)


def server_killed(cluster: Cluster, store: Path) -> Told:
    """A parameter server of an asynchronous cluster."""
    gang = training(cluster, store, strategy="parameter_server", workers=2, ps=1)
    subprocess.run(["docker", "kill", container_of(cluster, "ps-0")], check=True, capture_output=True)
    return gang, gang.end() and lives(store)


def frozen(cluster: Cluster, store: Path) -> Told:
    """SIGSTOP: it holds its connections and says nothing, for ever."""
    gang = training(cluster, store, heartbeat_timeout_s=4)
    os.kill(pid_of(container_of(cluster, "worker-0")), signal.SIGSTOP)
    return gang, gang.end() and lives(store)


def paused(cluster: Cluster, store: Path) -> Told:
    """The whole container is frozen, so that its probe cannot be run either: its peers get no further."""
    gang = training(cluster, store, heartbeat_timeout_s=6)
    pause(container_of(cluster, "worker-0"))
    return gang, gang.end() and lives(store)


def pause(container: str) -> None:
    """Docker pause, of a container that no probe is just entering.

    A command that starts in a container while it freezes never gets there, and the runtime waits for it behind a lock
    that ``docker inspect``, ``kill`` and ``unpause`` take too: the kubelet would stop at this container for good. So
    the cgroup is thawed until such a command has ended; Docker starts no other in a container that it calls paused.
    (Frozen with the container, a probe would be given up after 20 s only: long after the peers' probes have failed.)
    """
    first = pid_of(container)
    groups = Path(f"/proc/{first}/cgroup").read_text().splitlines()
    group = next(line.split(":", 2)[2] for line in groups if line.split(":")[1] == "freezer")
    freezer = Path(f"/sys/fs/cgroup/freezer{group}")
    state = freezer / "freezer.state"
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    state.write_text("THAWED")
    time.sleep(0.5)  # what Docker had let in before it knew
    until(lambda: subprocess.run(["pgrep", "-f", f"runc .*exec .*{container}"], capture_output=True).returncode == 1)
    until(lambda: (freezer / "cgroup.procs").read_text().split() == [str(first)])
    state.write_text("FROZEN")
    until(lambda: state.read_text() == "FROZEN\n")


def pid_of(container: str) -> int:
    """The process that a container began with, as this machine numbers it."""
    shown = subprocess.run(["docker", "inspect", "-f", "{{.State.Pid}}", container], capture_output=True, check=True)
    return int(shown.stdout)


def out_of_memory(cluster: Cluster, store: Path) -> Told:
    """More than its limit, once."""
    told = SLOW | {"FAKE_DO": "worker-0 oom at 3"}
    gang = Drive(gang_settings(cluster, store), a_job(steps=STEPS), told)
    return gang, gang.to_the_end() and lives(store)


def unusable_input(cluster: Cluster, store: Path) -> Told:
    """A replica that says 65."""
    gang = Drive(gang_settings(cluster, store), a_job(steps=STEPS), SLOW | {"FAKE_DO": "worker-0 exit 65 at 1"})
    return gang, gang.to_the_end() and lives(store)


def no_image(cluster: Cluster, store: Path) -> Told:
    """An image that is nowhere."""
    gang = Drive(gang_settings(cluster, store, images={"train": "eyewall-none:0"}), a_job())
    return gang, gang.to_the_end() and lives(store)


def preempted(cluster: Cluster, store: Path) -> Told:
    """A pod of higher priority takes a replica's place, and gives it back after a while."""
    resource, node = f"eyewall.io/{cluster.namespace}", cluster.api.list_node().items[0].metadata.name
    pointer = "/status/capacity/" + resource.replace("/", "~1")
    cluster.api.patch_node_status(node, [{"op": "add", "path": pointer, "value": "2"}])
    classes = SchedulingV1Api(cluster.api.api_client)
    classes.create_priority_class({"metadata": {"name": cluster.namespace}, "value": 1000})
    try:
        until(lambda: resource in (cluster.api.read_node(node).status.allocatable or {}), 30)
        resources = {"train": {"cpus": 0.1, "memory": "128Mi", "shm": "16Mi", "gpus": 1}}
        settings = gang_settings(cluster, store, gpu_resource=resource, resources=resources)
        gang = Drive(settings, a_job(steps=STEPS), SLOW).start()
        until(lambda: gang.error or steps_done(store) > 2)
        container = {
            "name": "base", "image": settings.kubernetes.image("train"), "command": ["sleep", "600"],
            "resources": {"limits": {resource: "1"}},
        }  # fmt: skip
        spec = {"priorityClassName": cluster.namespace, "containers": [container], "terminationGracePeriodSeconds": 0}
        cluster.api.create_namespaced_pod(cluster.namespace, {"metadata": {"name": "important"}, "spec": spec})
        until(lambda: gang.error or "lost" in gang.statuses())
        time.sleep(3)  # it waits meanwhile
        assert lives(store) == 1
        cluster.api.delete_namespaced_pod("important", cluster.namespace, grace_period_seconds=0)
        return gang, gang.end() and lives(store)
    finally:
        classes.delete_priority_class(cluster.namespace)
        for part in ("capacity", "allocatable"):
            cluster.api.patch_node_status(node, [{"op": "remove", "path": pointer.replace("capacity", part)}])


def api_away(cluster: Cluster, store: Path, frozen_only: bool) -> Told:
    """The API server down, or accepting connections and saying nothing, for 30 s; a peer dies meanwhile."""
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    there = config["clusters"][0]["cluster"]
    host, _, port = there["server"].removeprefix("https://").partition(":")
    script = [sys.executable, str(Path(__file__).with_name("tcp_proxy.py"))]
    proxy = subprocess.Popen([*script, "0", host, port], stdout=subprocess.PIPE, text=True)
    mine = int(proxy.stdout.readline())
    there |= {"server": f"https://127.0.0.1:{mine}", "tls-server-name": host}
    kubeconfig = store / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    try:
        gang = Drive(gang_settings(cluster, store, config_file=str(kubeconfig)), a_job(steps=STEPS), SLOW).start()
        until(lambda: gang.error or steps_done(store) > 2)
        if frozen_only:
            proxy.send_signal(signal.SIGSTOP)
        else:
            proxy.kill()
            proxy.wait()
        subprocess.run(["docker", "kill", container_of(cluster, "worker-0")], check=True, capture_output=True)
        time.sleep(30)
        if frozen_only:
            proxy.send_signal(signal.SIGCONT)
        else:
            proxy = subprocess.Popen([*script, str(mine), host, port], stdout=subprocess.PIPE, text=True)
        return gang, gang.end() and lives(store)
    finally:
        proxy.kill()
        proxy.wait()
        proxy.stdout.close()


STORIES: dict[str, tuple[Any, ...]] = {
    "api_down": (api_away, False),
    "api_frozen": (api_away, True),
    "preempted": (preempted,),
    "paused": (paused,),
    "frozen": (frozen,),
    "worker_deleted": (force_deleted, "worker-0"),
    "chief_deleted": (force_deleted, "chief-0"),
    "evicted": (evicted,),
    "worker_killed": (killed, "worker-0"),
    "chief_killed": (killed, "chief-0"),
    "server_killed": (server_killed,),
    "out_of_memory": (out_of_memory,),
    "unusable_input": (unusable_input,),
    "no_image": (no_image,),
}


@pytest.mark.parametrize(
    ("story", "says"),
    [
        pytest.param("worker_deleted", "worker-0", id="a worker's pod is deleted by force"),
        pytest.param("chief_deleted", "chief-0", id="the chief's pod is deleted by force"),
        pytest.param("evicted", "worker-0", id="a pod is evicted"),
        pytest.param("preempted", "Preempted", id="a pod is preempted"),
        pytest.param("worker_killed", "worker-0", id="a worker is killed"),
        pytest.param("chief_killed", "chief-0", id="the chief is killed"),
        pytest.param("server_killed", "ps-0", id="a parameter server is killed"),
        pytest.param("frozen", "worker-0 has been silent for 4 s", id="a worker is frozen"),
        pytest.param("paused", "worker-0 is frozen", id="a worker's container is frozen"),
        pytest.param("out_of_memory", "OOMKilled", id="a worker uses too much memory"),
        pytest.param("api_down", "worker-0", id="a worker is killed while the API server is down"),
        pytest.param("api_frozen", "worker-0", id="a worker is killed while the API server is frozen"),
    ],
)
def test_the_training_goes_on_from_its_checkpoint_and_ends_with_all_its_steps(stories, story, says):
    gang, begun = stories[story].result(240)

    assert (gang.outcome.code, gang.outcome.summary["steps"]) == (0, STEPS)
    assert gang.outcome.summary["first"] > 2  # resumed, not begun again
    happened = [event for event in gang.events if event["status"] != "room"]  # once, or again if others were faster
    assert ([event["status"] for event in happened], begun) == (["lost", "done"], 2)
    assert says in happened[0]["sentence"]


def test_a_replica_that_calls_its_input_unusable_ends_the_task_for_good(stories):
    gang, begun = stories["unusable_input"].result(240)

    assert gang.outcome == (65, {}, "worker-0: worker-0 does what it was told: exit 65")
    assert (gang.statuses(), begun) == (["failed"], 1)


def test_an_image_that_cannot_be_had_ends_the_task_with_its_name(stories):
    gang, begun = stories["no_image"].result(240)

    assert gang.outcome.code == 65
    assert "eyewall-none:0" in gang.outcome.sentence
    assert (gang.statuses(), begun) == (["unstarted"], 0)
