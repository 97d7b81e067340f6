"""Single steps on a real cluster: their ends, what is done to their pods, and Airflow's or the API server's absence."""

import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import airflow_home  # noqa: F401 - before anything of Airflow's
import pytest
from api_proxy import Proxy
from gang_driver import tell
from kubernetes import client
from kubernetes_cluster import (
    IMAGE,
    context,
    deferred,
    fire,
    namespace_of_its_own,
    pod_of,
    run_pod,
    serialised,
    task,
    to_the_end,
)

from operators.api_calls import send_all, sender
from operators.kubernetes import KubernetesBackend
from operators.pod_trigger import PodLog
from operators.step import raise_for

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

SLEEP = "import time; print('begun', flush=True); time.sleep(120)"
LAST_WORDS = "import os; open(os.environ['EYEWALL_TERMINATION_LOG'], 'w').write({said!r}); raise SystemExit({code})"


@pytest.fixture
def cluster():
    """A namespace of this test's own."""
    with namespace_of_its_own() as found:
        yield found


def job(cluster):
    """Some step; most tests run other code in its place."""
    return cluster.settings().job("gate", evaluation_ref="e", store="/tmp/store")


# What mostly waits, for a kubelet or for an API server that is away, is begun at once, each in a namespace of its own


def without_an_image(cluster, folder):
    """Comes back long before an hour; a kubelet of 1.20 takes a minute to let the pod go."""
    settings = cluster.settings(images={"ingest": "eyewall-nowhere:7"}, start_timeout_s=3600)
    outcome = run_pod(settings, job(cluster))
    assert cluster.empty()
    return outcome


def api_away_while_it_runs(cluster, folder, frozen):
    """The API server is away for 30 s, and the step ends meanwhile."""
    proxy = Proxy(cluster.kubeconfig, folder)
    code = "import time; time.sleep(15)\n" + LAST_WORDS.format(said='{"n": 7}', code=0)

    def outage():
        cluster.running()  # asked directly, not by the proxy
        proxy.freeze(True) if frozen else proxy.close()
        time.sleep(30)
        proxy.freeze(False) if frozen else proxy.open()

    thread = meanwhile(outage)
    try:
        return run_pod(cluster.settings(config_file=str(proxy.kubeconfig)), job(cluster), code)
    finally:
        thread.join()
        proxy.close()


def api_away_at_both_ends(cluster, folder):
    """The worker's own requests: the pod is to be made, and after its end to be removed."""
    proxy = Proxy(cluster.kubeconfig, folder)
    proxy.close()

    def back():
        time.sleep(20)
        proxy.open()

    thread = meanwhile(back)
    settings = cluster.settings(config_file=str(proxy.kubeconfig))
    code = LAST_WORDS.format(said='{"n": 7}', code=0)
    trigger = deferred(lambda: pod_of(settings, job(cluster), code).run_pod(context(), None)).trigger
    thread.join()
    event = fire(trigger)
    proxy.close()
    thread = meanwhile(back)
    try:
        return pod_of(settings, job(cluster), code).run_pod(context(), event)
    finally:
        thread.join()
        proxy.close()


STORIES = {
    "no_image": (without_an_image,),
    "api_down": (api_away_while_it_runs, False),
    "api_frozen": (api_away_while_it_runs, True),
    "api_down_at_both_ends": (api_away_at_both_ends,),
}


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """Futures of the outcomes, by name; each must leave nothing behind."""
    yield from tell(STORIES, tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def _under_way(stories):
    """They begin with the first test, beside the others."""


# Ends


def test_a_step_runs_and_its_result_is_in_the_store_its_summary_in_the_outcome(cluster, tmp_path):
    """The whole way of the backend: the command line of the job, the mounted store, the termination message."""
    tmp_path.chmod(0o777)  # pods are uid 10001
    settings = cluster.settings(
        store="/store", mounts=[{"source": str(tmp_path), "target": "/store", "read_only": False}]
    )
    step = settings.job(
        "simulate",
        out="/store/season",
        last_season=2002,
        storms_per_season=2,
        imaged_storms=0,
        receipt="receipts/s.json",
    )

    def backend():
        return KubernetesBackend(settings, task())

    outcome = to_the_end(lambda: backend().run(step, context()), lambda event: backend().resume(step, context(), event))

    assert outcome.code == 0
    assert outcome.summary["storms"] == 4  # 2 seasons of 2
    assert (tmp_path / "season" / "besttrack.csv").exists()
    assert (tmp_path / "receipts" / "s.json").exists()
    assert cluster.empty()


def test_unusable_input_ends_with_65_and_the_steps_own_sentence(cluster):
    outcome = run_pod(cluster.settings(), job(cluster))

    assert outcome.code == 65
    assert "e" in outcome.sentence
    with pytest.raises(Exception, match=r"eyewall gate \(exit 65\)"):
        raise_for(outcome, "gate")
    assert cluster.empty()


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        pytest.param(99, "the answer is no", (99, {}, "the answer is no"), id="nothing to do"),
        pytest.param(70, "worker-1 was lost", (70, {}, "worker-1 was lost"), id="a failure with a word"),
        pytest.param(0, '{"n": 3}', (0, {"n": 3}, "ended with exit code 0"), id="a summary"),
    ],
)
def test_exit_code_and_termination_message_are_the_outcome(cluster, code, said, expected):
    assert run_pod(cluster.settings(), job(cluster), LAST_WORDS.format(said=said, code=code)) == expected


def test_a_crash_without_a_word_ends_with_the_last_line_of_its_log(cluster):
    outcome = run_pod(cluster.settings(), job(cluster), "raise ValueError('7 is not even')")

    assert outcome == (1, {}, "ValueError: 7 is not even")


def test_a_step_can_do_what_it_needs_and_nothing_else(cluster):
    """Seen from inside: who it is, where it may write, what it may know."""
    cluster.api.create_namespaced_secret(
        cluster.namespace, {"metadata": {"name": "s3"}, "stringData": {"AWS_REGION": "eu-7"}}
    )
    service = {"metadata": {"name": "eyewall-store"}, "spec": {"ports": [{"port": 80}]}}
    cluster.api.create_namespaced_service(cluster.namespace, service)
    code = """
import json, os, pathlib
def may(path):
    try:
        pathlib.Path(path, "x").write_text("x")
        return True
    except OSError:
        return False
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
seen = {
    "ids": [os.getuid(), os.getgid()], "root": may("/"), "home": may(pathlib.Path.home()), "shm": may("/dev/shm"),
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "capabilities": status["CapEff"], "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "secret": os.environ.get("AWS_REGION"), "links": [n for n in os.environ if n.startswith("EYEWALL_STORE_")],
}
open(os.environ["EYEWALL_TERMINATION_LOG"], "w").write(json.dumps(seen))
"""
    outcome = run_pod(cluster.settings(env_secrets=["s3"]), job(cluster), code)

    assert outcome.summary == {
        "ids": [10001, 10001],
        "root": False,
        "home": True,
        "shm": True,
        "token": False,
        "capabilities": "0000000000000000",
        "no_new_privileges": "1",
        "seccomp": "2",  # filtered
        "secret": "eu-7",
        "links": [],
    }


def test_a_log_comes_whole_and_each_line_once_while_it_is_written(cluster):
    step = pod_of(
        cluster.settings(), job(cluster), "import time\nfor i in range(40): print(i, flush=True); time.sleep(0.1)"
    )
    trigger = deferred(lambda: step.run_pod(context(), None)).trigger
    cluster.running()
    said = []
    log, send = PodLog(cluster.namespace, trigger.pod_name, "base"), sender(step.hook.api_client)
    while cluster.pods()[0].status.phase == "Running":
        send_all(log.read(said.append), send)
        time.sleep(0.3)
    send_all(log.read(said.append), send)

    assert said == [str(i) for i in range(40)]


# What is done to a pod


def test_out_of_memory_is_said_with_the_limit(cluster):
    outcome = run_pod(cluster.settings(), job(cluster), "x = bytearray(2**30); print(len(x))")

    assert outcome.code == 137
    assert outcome.sentence == (
        "used more memory than its limit of 256Mi (OOMKilled): raise memory of kubernetes.resources.gate"
    )
    assert cluster.empty()


def test_a_command_that_is_not_in_the_image_is_final(cluster):
    outcome = run_pod(cluster.settings(), job(cluster), cmds=["not-a-command"])

    assert outcome.code == 65
    assert outcome.sentence.startswith(f"image {IMAGE} cannot be run: ")
    assert "not-a-command" in outcome.sentence


def test_a_pod_that_finds_no_node_is_taken_back_with_the_schedulers_words(cluster):
    settings = cluster.settings(start_timeout_s=10, resources={"gate": {"cpus": 999}})
    outcome = run_pod(settings, job(cluster))

    assert outcome.code == 75
    assert "had not started after 1" in outcome.sentence  # 10 s, or a little more
    assert "(Unschedulable): 0/1 nodes are available: 1 Insufficient cpu" in outcome.sentence
    assert cluster.empty()


def test_a_folder_that_is_not_on_the_node_is_named(cluster):
    settings = cluster.settings(start_timeout_s=10, mounts=[{"source": "/not/there", "target": "/data"}])
    outcome = run_pod(settings, job(cluster))

    assert outcome.code == 75
    assert "/not/there is not a directory" in outcome.sentence


def test_a_secret_that_is_not_there_is_final(cluster, monkeypatch):
    monkeypatch.setattr("operators.pod_watch.CONFIG_PATIENCE_S", 4.0)
    outcome = run_pod(cluster.settings(env_secrets=["missing"]), job(cluster))

    assert outcome.code == 65
    assert outcome.sentence.endswith('(CreateContainerConfigError): Error: secret "missing" not found')


def test_the_kubelet_ends_a_step_that_runs_too_long(cluster):
    outcome = run_pod(cluster.settings(), job(cluster), SLEEP, active_deadline_seconds=3, termination_grace_period=1)

    assert outcome.code in (75, 137)
    assert "ran longer than it may: Pod was active on the node longer than the specified deadline" in outcome.sentence


def test_the_tasks_timeout_ends_step_and_pod(cluster):
    from datetime import timedelta

    limit = {"execution_timeout": timedelta(seconds=5), "active_deadline_seconds": 600}
    outcome = run_pod(cluster.settings(), job(cluster), SLEEP, **limit, termination_grace_period=1)

    assert outcome.code == 75
    assert outcome.sentence.endswith("had not ended by the task's execution_timeout")
    assert cluster.empty()


def test_a_step_that_fills_its_disk_is_evicted_and_says_so(cluster):
    limits = {"cpu": "200m", "memory": "256Mi", "ephemeral-storage": "20Mi"}
    code = "open('/tmp/x', 'wb').write(bytes(60 << 20)); import time; time.sleep(300)"
    outcome = run_pod(
        cluster.settings(),
        job(cluster),
        code,
        container_resources=client.V1ResourceRequirements(limits=limits, requests=limits),
    )

    assert outcome.code in (75, 137, 143)
    assert "was evicted from node" in outcome.sentence
    assert "ephemeral" in outcome.sentence


def meanwhile(action):
    """Run ``action`` beside the test; its exception fails the test."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_a_pod_deleted_while_it_runs_is_a_failure_that_is_tried_again(cluster):
    def delete():
        name = cluster.running().metadata.name
        cluster.api.delete_namespaced_pod(name, cluster.namespace, grace_period_seconds=1)

    thread = meanwhile(delete)
    outcome = run_pod(cluster.settings(), job(cluster), SLEEP)
    thread.join()

    assert outcome.code in (75, 137, 143)
    assert "was taken away while it ran on node" in outcome.sentence


def test_a_pod_deleted_before_it_started_is_a_failure_that_is_tried_again(cluster):
    def delete():
        pod = cluster.wait_for(lambda pod: pod.status.phase == "Pending" and bool(pod.status.conditions))
        time.sleep(3)  # for the watcher to see it
        cluster.api.delete_namespaced_pod(pod.metadata.name, cluster.namespace)

    thread = meanwhile(delete)
    outcome = run_pod(cluster.settings(resources={"gate": {"cpus": 999}}), job(cluster))
    thread.join()

    assert outcome.code == 75
    assert "was taken away before it started (Deleted)" in outcome.sentence


@pytest.fixture
def slot(cluster):
    """One device of a kind of its own on a node: what two pods can fight for without touching anybody else's."""
    name = f"test.eyewall.io/slot-{secrets.token_hex(3)}"
    node = cluster.api.list_node().items[0].metadata.name
    path = name.replace("/", "~1")
    patch = [{"op": "add", "path": f"/status/capacity/{path}", "value": "1"}]
    cluster.api.patch_node_status(node, patch)
    yield name
    gone = [{"op": "remove", "path": f"/status/{part}/{path}"} for part in ("capacity", "allocatable")]
    cluster.api.patch_node_status(node, gone)


@pytest.fixture
def priorities(cluster):
    """Two priorities below everybody else's."""
    api = client.SchedulingV1Api(cluster.api.api_client)
    names = {}
    for word, value in (("low", -900), ("high", -800)):
        names[word] = f"{cluster.namespace}-{word}"
        api.create_priority_class({"metadata": {"name": names[word]}, "value": value})
    yield names
    for name in names.values():
        api.delete_priority_class(name)


def test_a_preempted_pod_says_by_whom(cluster, slot, priorities):
    """A pod of higher priority takes the one device; the scheduler removes ours for it."""
    table = {"gpu_resource": slot, "resources": {"gate": {"cpus": 0.1, "memory": "128Mi", "gpus": 1}}}

    def take_it():
        cluster.running()
        other = pod_of(cluster.settings(**table, priority_class=priorities["high"]), job(cluster), SLEEP)
        deferred(lambda: other.run_pod(context("another"), None))

    thread = meanwhile(take_it)
    low = cluster.settings(**table, priority_class=priorities["low"])
    outcome = run_pod(low, job(cluster), SLEEP, termination_grace_period=1)
    thread.join()

    assert outcome.code in (75, 137, 143)
    assert f"(Preempted): Preempted by {cluster.namespace}/d-step-" in outcome.sentence


# Airflow away


#: A worker and then a triggerer in a process of its own, for killing.
PROCESS = """
import sys
sys.path[:0] = {paths!r}
import airflow_home
from kubernetes_cluster import *
cluster = Cluster(None, {namespace!r}, {kubeconfig!r})
settings = cluster.settings()
step = pod_of(settings, settings.job("gate", evaluation_ref="e", store="/tmp/store"), {code!r})
trigger = deferred(lambda: step.run_pod(context(), None)).trigger
print("deferred", flush=True)
fire(trigger)
"""


def test_killed_worker_and_triggerer_leave_one_pod_that_the_next_try_goes_on_with(cluster):
    """Kill -9 after the pod was made and while it was watched; then a second try, from nothing."""
    code = "import time; time.sleep(25)\n" + LAST_WORDS.format(said='{"n": 7}', code=0)
    here = Path(__file__).resolve()
    paths = [str(here.parents[2]), str(here.parents[1]), str(here.parent)]
    script = PROCESS.format(paths=paths, namespace=cluster.namespace, kubeconfig=cluster.kubeconfig, code=code)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert any("deferred" in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    first = cluster.running().metadata.uid

    step = job(cluster)
    trigger = deferred(lambda: pod_of(cluster.settings(), step, code).run_pod(context(try_number=2), None)).trigger
    assert [pod.metadata.uid for pod in cluster.pods()] == [first]
    outcome = pod_of(cluster.settings(), step, code).run_pod(context(try_number=2), fire(trigger))

    assert outcome.summary == {"n": 7}
    assert cluster.empty()


def test_a_pod_that_ended_while_nobody_looked_is_read_and_removed_by_the_next_try(cluster):
    code = LAST_WORDS.format(said='{"n": 7}', code=0)

    def step():
        return pod_of(cluster.settings(), job(cluster), code)

    deferred(lambda: step().run_pod(context(), None))
    cluster.wait_for(lambda pod: pod.status.phase == "Succeeded")

    assert step().run_pod(context(try_number=2), None).summary == {"n": 7}  # no deferral, no second pod
    assert cluster.empty()


def test_a_pod_that_failed_while_nobody_looked_is_replaced_by_the_next_try(cluster):
    code = LAST_WORDS.format(said="lost", code=70)

    def step():
        return pod_of(cluster.settings(), job(cluster), code)

    deferred(lambda: step().run_pod(context(), None))
    first = cluster.wait_for(lambda pod: pod.status.phase == "Failed").metadata.uid
    deferred(lambda: step().run_pod(context(try_number=2), None))

    assert first not in [pod.metadata.uid for pod in cluster.pods()]
    assert len(cluster.pods()) == 1


def test_a_pod_that_is_still_ending_is_waited_for_and_never_doubled(cluster):
    """The try before was marked failed: its pod takes its time to end."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: 0)\nfor _ in range(60): time.sleep(1)"
    step = pod_of(cluster.settings(), job(cluster), stubborn)
    deferred(lambda: step.run_pod(context(), None))
    first = cluster.running().metadata
    cluster.api.delete_namespaced_pod(first.name, cluster.namespace, grace_period_seconds=5)

    deferred(lambda: pod_of(cluster.settings(), job(cluster), SLEEP).run_pod(context(try_number=2), None))

    (pod,) = cluster.pods()
    assert pod.metadata.name == first.name
    assert pod.metadata.uid != first.uid


def test_a_stopped_task_leaves_no_pod(cluster):
    settings = cluster.settings(store="s3://b/p")
    backend = KubernetesBackend(settings, task())
    deferred(lambda: backend.run(settings.job("gate", evaluation_ref="e"), context()))
    backend.stop()

    assert cluster.empty()


def test_a_task_that_is_ended_while_deferred_leaves_no_pod(cluster):
    import asyncio

    step = pod_of(cluster.settings(), job(cluster), SLEEP, termination_grace_period=1)
    trigger = deferred(lambda: step.run_pod(context(), None)).trigger
    cluster.running()
    asyncio.run(serialised(trigger).on_kill())

    assert cluster.empty()


# The API server away


@pytest.mark.parametrize(
    "story",
    [
        pytest.param("api_down", id="down for 30 s"),
        pytest.param("api_frozen", id="frozen for 30 s"),
        pytest.param("api_down_at_both_ends", id="down where the step is to begin, and where it has ended"),
    ],
)
def test_the_step_goes_on_while_the_api_server_is_away(stories, story):
    assert stories[story].result(240).summary == {"n": 7}


def test_an_image_that_is_not_there_is_final_at_once(stories):
    outcome = stories["no_image"].result(240)

    assert outcome.code == 65
    assert outcome.sentence.startswith("image eyewall-nowhere:7 cannot be had (ErrImageNeverPull): ")
