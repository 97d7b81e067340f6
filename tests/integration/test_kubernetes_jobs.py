"""Jobs as pods of a real cluster: their ends, what is done to them, and what a dispatcher that was frozen cannot do.

Everything is done with the rights of deploy/kubernetes/base/jobs.yaml, and no others, in a namespace of these tests.
"""

import dataclasses
import os
import threading
import time
from pathlib import Path

import airflow_home  # noqa: F401 - before anything of Airflow's
import pytest
import yaml
from api_proxy import Proxy
from jobs_namespace import namespace_for_jobs
from kubernetes.client.exceptions import ApiException
from kubernetes_cluster import IMAGE

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.jobs.pods import api as pods_api
from eyewall.jobs.pods import manifest as pods_manifest
from eyewall.jobs.pods.runner import PodRunner
from eyewall.jobs.runner import Assignment, Gpu, Worker, WorkerUnreachable
from eyewall.storage import Store

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

UP = "print('up', flush=True); import time; time.sleep(100)"
#: A resource that no other test asks for, so that the node's real (and others' fake) GPUs are left alone.
RESOURCE = "test.eyewall.io/gpu"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A namespace with the manifests' accounts and rights, and a kubeconfig of the dispatcher's account."""
    with namespace_for_jobs(tmp_path_factory.mktemp("dispatcher")) as found:
        yield found


@pytest.fixture
def store(tmp_path):
    """A store that the pods cannot see, unless a test's worker says so."""
    return Store(str(tmp_path / "store"))


_numbers = iter(range(1, 10_000))


class Bench:
    """A runner, and assignments for it."""

    def __init__(self, cluster, store, /, **options):
        given = {"kubeconfig": cluster.kubeconfig, "namespace": cluster.namespace, "pull_policy": "Never", "devices": 2}
        given |= {"cpus": 0.1, "memory": "96Mi", "disk": "1Gi", **options}  # of which store is the cluster's view
        self.cluster = cluster
        self.worker = Worker("cluster", "kubernetes", "", given)
        self.artifacts = store
        self.runner = PodRunner(self.worker, store)

    def job(self, *command, **fields):
        """An attempt of a job that has no code."""
        number = next(_numbers)
        values = {
            "attempt": number, "job": number, "number": 1, "token": 1, "worker": self.worker, "command": command,
            "gpus": (Gpu(0, "cluster-0", True),), "owner": "ada", "environment": "some", "image": IMAGE,
            "folder": None, "code": None, "data": (), "variables": {}, "max_s": None,
        }  # fmt: skip
        return Assignment(**(values | fields))

    def python(self, program, *arguments, **fields):
        """An attempt that runs this Python."""
        return self.job("python", "-c", program, *arguments, **fields)

    def begin(self, job):
        """Create and start."""
        self.runner.create(job)
        self.runner.start(job)
        return job

    def to_the_end(self, job):
        """What it printed, and how it was seen last."""
        lines = list(self.runner.lines(self.begin(job)))
        return lines, self.runner.look(job)

    def until(self, job, line):
        """Read what it prints up to this line."""
        for printed in self.runner.lines(job):
            if printed == line:
                return
        raise AssertionError(f"{line!r} was not printed")

    def pod(self, job):
        """The pod as the API server has it; None when there is none."""
        try:
            return self.cluster.api.read_namespaced_pod(job.name, self.cluster.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return None

    def delete(self, job, **kwargs):
        """As somebody who has nothing to do with the platform."""
        self.cluster.api.delete_namespaced_pod(job.name, self.cluster.namespace, **kwargs)

    def gone(self, job, seconds=60.0):
        """Whether pod, permit and parts have gone."""
        deadline = time.monotonic() + seconds
        selector = f"eyewall.io/job={job.job}"
        while time.monotonic() < deadline:
            maps = self.cluster.api.list_namespaced_config_map(self.cluster.namespace, label_selector=selector).items
            if self.pod(job) is None and not maps:
                return True
            time.sleep(0.2)
        return False


@pytest.fixture
def bench(cluster, store):
    """A worker with two declared devices."""
    return Bench(cluster, store)


def wait_for(condition, seconds=60.0):
    """What ``condition`` gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return found


# Ends


def test_code_of_several_parts_runs_with_arguments_as_they_are_and_leaves_its_output(bench, store):
    """No shell and no kubelet puts anything in their place; no common store, no exec, no credentials in the pod."""
    hostile = ["$(EYEWALL_JOB)", "$$", "$(rm -rf /)", "a b; c", "`x`", '"', "'", "", "-", "ä\n\t☃", "--help", "*"]
    code = Path(store.full("code/lab"))
    code.mkdir(parents=True)
    (code / "big.bin").write_bytes(os.urandom(1_500_000))  # two parts
    (code / "train.py").write_text(
        "import json, os, pathlib, sys\n"
        "print(json.dumps([sys.argv[1:], os.environ['ODD'], os.getcwd(), os.path.getsize('big.bin'), os.getuid()]))\n"
        "out = pathlib.Path(os.environ['EYEWALL_OUT'])\n"
        "(out / 'sub').mkdir()\n"
        "(out / 'sub' / 'model.bin').write_bytes(b'weights' * 1000)\n"
        "(out / 'link').symlink_to('/etc/passwd')\n"
        "sys.exit(3)\n"
    )
    job = bench.job("python", "train.py", *hostile, code="code/lab", variables={"ODD": "$(HOME) $$ ${HOME}"})
    assert bench.runner.look(job).state == "absent"
    bench.runner.create(job)
    assert bench.runner.look(job).state == "created"
    assert bench.pod(job) is None
    bench.runner.start(job)
    assert bench.runner.look(job).state == "running"

    (line,) = bench.runner.lines(job)
    seen = bench.runner.look(job)
    bench.runner.keep(job)

    assert yaml.safe_load(line) == [hostile, "$(HOME) $$ ${HOME}", "/work/code", 1_500_000, 10001]
    assert (seen.state, seen.exit_code) == ("ended", 3)
    assert store.list_files(f"jobs/{job.job}/1/out") == [f"jobs/{job.job}/1/out/sub/model.bin"]
    assert store.read_bytes(f"jobs/{job.job}/1/out/sub/model.bin") == b"weights" * 1000
    bench.runner.remove(job)
    assert bench.gone(job)
    bench.runner.remove(job)  # harmless


def test_a_job_has_no_token_no_rights_and_no_place_to_write_but_its_own(bench):
    code = (
        "import os, pathlib\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print([l.split()[1] for l in status.splitlines() if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))])\n"
        "print(os.path.exists('/var/run/secrets/kubernetes.io'), os.getpid() == 1)\n"
        "for path in ('/x', '/etc/x', '/work/x', '/work/code/x', '/work/out/x', '/tmp/x', '/dev/shm/x'):\n"
        "    try: open(path, 'w'); print(path)\n"
        "    except OSError: pass\n"
        "print(sorted(k for k in os.environ if k.startswith(('EYEWALL', 'CUDA', 'NVIDIA'))))\n"
    )

    lines, seen = bench.to_the_end(bench.python(code))

    assert seen == ("ended", 0, "")
    assert yaml.safe_load(lines[0]) == ["0" * 16, "0" * 16, "1"]
    assert lines[1] == "False False"
    assert lines[2:6] == ["/work/code/x", "/work/out/x", "/tmp/x", "/dev/shm/x"]
    assert {"EYEWALL_JOB", "EYEWALL_GPUS", "CUDA_VISIBLE_DEVICES"} < set(yaml.safe_load(lines[6]))
    assert "EYEWALL_DATABASE_URL" not in lines[6]


def test_a_job_that_outgrows_its_memory_says_so_with_the_limit(bench):
    _, seen = bench.to_the_end(bench.python("x = [bytearray(b'7' * 2**20) for _ in range(500)]"))

    assert (seen.exit_code, seen.reason) == (137, "used more memory than its limit of 96Mi (OOMKilled)")


def test_a_command_that_is_not_there_fails_at_once_with_its_name(bench):
    _, seen = bench.to_the_end(bench.job("no-such-program", "--x"))

    assert seen.exit_code in (127, 128)
    assert "no-such-program" in seen.reason


@pytest.fixture(scope="module")
def imageless(cluster, tmp_path_factory):
    """A job without an image, under way beside the other tests: a kubelet of 1.20 takes a minute to let go of one."""
    bench = Bench(cluster, Store(str(tmp_path_factory.mktemp("imageless"))))
    job = bench.python("pass", image="eyewall.test/none@sha256:" + "a" * 64)
    ends = []
    thread = threading.Thread(target=lambda: ends.append(bench.to_the_end(job)), daemon=True)
    thread.start()
    yield lambda: thread.join(120) or ends[0]
    bench.runner.remove(job)


@pytest.fixture(scope="module", autouse=True)
def _under_way(imageless):
    """It begins with the first test."""


def test_a_job_without_a_place_says_why_and_is_given_back_in_time(cluster, store):
    bench = Bench(cluster, store, node_selector={"eyewall.io/none": "here"}, start_timeout_s=5)

    lines, seen = bench.to_the_end(bench.python("print('never')"))

    assert any("Unschedulable" in line and "node" in line for line in lines)
    assert seen.exit_code == 75
    assert "had not started after" in seen.reason
    assert "(Unschedulable): 0/1 nodes are available" in seen.reason


def test_a_job_over_its_time_is_ended_by_the_kubelet_where_no_dispatcher_lives(bench, monkeypatch):
    monkeypatch.setattr("eyewall.jobs.pods.manifest._LATE_S", 0)

    _, seen = bench.to_the_end(bench.python(UP, max_s=4))

    assert seen.exit_code == 124
    assert "DeadlineExceeded" in seen.reason


def test_floods_and_endless_lines_are_bounded_and_the_end_is_there(bench):
    code = (
        "import sys\n"
        "sys.stdout.write('x' * 5_000_000 + '\\n')\n"
        "for n in range(60_000): sys.stdout.write(f'line {n} of a flood that nobody wants to read\\n')\n"
        "sys.stdout.flush(); import time; time.sleep(1.5); sys.stdout.write('the end')\n"
    )

    lines, seen = bench.to_the_end(bench.python(code))

    assert seen == ("ended", 0, "")
    assert len(lines) < 100_000
    assert max(map(len, lines)) < 9000
    assert any("left out" in line for line in lines)
    assert lines[-1] == "the end"


def test_output_that_is_too_large_for_this_way_is_an_error_with_the_remedy(bench):
    code = "import os; open(os.environ['EYEWALL_OUT'] + '/x', 'wb').write(os.urandom(7 * 2**20))"
    job = bench.python(code)
    _, seen = bench.to_the_end(job)

    assert seen.exit_code == 0
    with pytest.raises(EyewallError, match=r"6,291,456 bytes.*option store"):
        bench.runner.keep(job)


# A store that the cluster has as well


@pytest.fixture
def common(cluster, store):
    """A worker whose nodes have the store's folder."""
    root = Path(store.root)
    (root / "code").mkdir(parents=True)
    (root / "data" / "tracks").mkdir(parents=True)
    (root / "data" / "tracks" / "1.txt").write_text("track 1")
    (root / "secret.txt").write_text("of somebody else")
    folder = root
    while folder != Path("/tmp"):  # pods are uid 10001
        folder.chmod(0o755)
        folder = folder.parent
    return Bench(cluster, store, store=store.root)


def test_of_a_common_store_a_job_sees_its_code_and_data_and_writes_into_its_output_alone(common, store):
    (Path(store.root) / "code" / "show.py").write_text(
        "import os, pathlib\n"
        "data = pathlib.Path(os.environ['EYEWALL_DATA'])\n"
        "print(data, (data / '1.txt').read_text(), os.access(data, os.W_OK))\n"
        "print([str(p) for p in pathlib.Path('/').rglob('secret.txt')])\n"
        "out = pathlib.Path(os.environ['EYEWALL_OUT'])\n"
        "(out / 'model.bin').write_bytes(b'w'); (out / 'link').symlink_to('/etc/shadow')\n"
    )

    job = common.job("python", "show.py", code="code/show.py", data=("data/tracks",))
    lines, seen = common.to_the_end(job)
    common.runner.keep(job)

    assert seen == ("ended", 0, "")
    assert lines == ["/work/data/0-tracks track 1 False", "[]"]
    out = Path(store.full(f"jobs/{job.job}/1/out"))
    assert [path.name for path in out.iterdir()] == ["model.bin"]
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"code": "code/none"}, "code/none", id="no such code"),
        pytest.param({"data": ("data/none",)}, "data/none", id="no such data"),
        pytest.param({"data": ("data/out",)}, "leads out of the store", id="a link out of the store"),
        pytest.param({"image": None}, "eyewall env build", id="no image"),
    ],
)
def test_what_can_never_work_is_refused_before_anything_is_made(common, store, fields, words):
    (Path(store.root) / "data" / "out").symlink_to("/etc")
    job = common.python("pass", **fields)

    with pytest.raises(InputError, match=words):
        common.runner.create(job)

    assert common.runner.look(job).state == "absent"


# What is done to it


#: A kubelet of 1.20 removes the containers of a deleted pod at times before it has looked how they ended.
UNKNOWN = None


def test_a_job_that_is_told_to_stop_may_end_by_itself_and_stays_ended_when_its_pod_has_gone(bench):
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(7))\n" + UP
    job = bench.begin(bench.python(code))
    bench.until(job, "up")

    bench.runner.stop(job, 20)

    seen = bench.runner.look(job)
    assert seen.state == "ended"
    assert seen.exit_code in (7, UNKNOWN)
    bench.delete(job, grace_period_seconds=0)
    assert bench.pod(job) is None
    assert bench.runner.look(job) == seen
    bench.runner.start(job)
    assert bench.pod(job) is None
    bench.runner.remove(job)
    assert bench.gone(job)


def test_a_job_that_handles_no_signal_ends_at_sigterm_and_one_that_ignores_it_is_killed(bench):
    """The program is not PID 1, to which an unhandled SIGTERM would do nothing."""
    plain, deaf = (
        bench.begin(bench.python(c + UP)) for c in ("", "import signal; signal.signal(15, signal.SIG_IGN)\n")
    )
    bench.until(plain, "up")
    bench.until(deaf, "up")

    began = time.monotonic()
    bench.runner.stop(plain, 200)
    assert time.monotonic() - began < 100  # it did not have to be killed
    bench.runner.stop(deaf, 2)

    for job, code in ((plain, 143), (deaf, 137)):
        seen = bench.runner.look(job)
        assert seen.state == "ended"
        assert seen.exit_code in (code, UNKNOWN)


def test_a_job_that_is_stopped_between_create_and_start_never_runs(bench):
    job = bench.python(UP)
    bench.runner.create(job)

    bench.runner.stop(job, 5)
    bench.runner.start(job)

    assert bench.runner.look(job).state == "absent"
    assert bench.gone(job)


def test_a_pod_that_somebody_deletes_is_lost_even_if_the_job_ends_well_at_sigterm(bench):
    """A drained node and a preempting pod do the same; exit code 0 would be taken for success."""
    job = bench.begin(bench.python("import signal, sys; signal.signal(15, lambda *_: sys.exit(0))\n" + UP))
    bench.until(job, "up")

    bench.delete(job)
    seen = wait_for(lambda: (s := bench.runner.look(job)).state in ("ended", "absent") and s)

    assert seen.exit_code is None
    assert "deleted by somebody else" in seen.reason
    wait_for(lambda: bench.pod(job) is None, 120.0)  # a kubelet with much to do
    assert bench.runner.look(job).state == "absent"
    bench.runner.start(job)  # a dispatcher that was frozen before its start
    assert bench.pod(job) is None


def test_a_pod_that_is_killed_by_force_is_lost_and_nothing_starts_by_its_permit_any_more(bench):
    job = bench.begin(bench.python(UP))
    bench.until(job, "up")

    bench.delete(job, grace_period_seconds=0)
    seen = wait_for(lambda: (s := bench.runner.look(job)).state == "absent" and s)

    assert "deleted by somebody else" in seen.reason
    assert bench.gone(job)


# Two dispatchers, of which one was frozen


def test_many_starts_at_once_make_one_pod(bench):
    job = bench.python(UP)
    runners = [PodRunner(bench.worker, bench.artifacts) for _ in range(4)]
    bench.runner.create(job)

    def both(runner):
        runner.create(job)
        runner.start(job)

    threads = [threading.Thread(target=both, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    uid = bench.pod(job).metadata.uid
    bench.runner.start(dataclasses.replace(job, token=2))
    bench.until(job, "up")
    assert bench.pod(job).metadata.uid == uid
    assert bench.pod(job).status.container_statuses[0].restart_count == 0


def test_a_request_for_a_pod_that_arrives_after_the_end_was_recorded_runs_nothing(bench, monkeypatch, tmp_path):
    """A dispatcher is frozen after it has looked at the permit, with its request for the pod in its hands."""
    job = bench.python("print('ran')")
    sent = threading.Event()
    thaw = threading.Event()
    frozen = PodRunner(bench.worker, bench.artifacts)
    make = frozen._api.make

    def late(kind, body):
        sent.set()
        thaw.wait(60)
        return make(kind, body)

    bench.runner.create(job)
    monkeypatch.setattr(frozen._api, "make", late)
    thread = threading.Thread(target=frozen.start, args=(job,))
    thread.start()
    sent.wait(10)
    assert bench.to_the_end(job) == (["ran"], ("ended", 0, ""))  # by another one
    bench.runner.remove(job)
    assert bench.gone(job)

    monkeypatch.setattr(frozen, "_annotate", lambda *_: {})  # and killed right after: it does not tidy up either
    thaw.set()
    thread.join()
    assert bench.pod(job) is not None
    statuses = []
    while (pod := bench.pod(job)) is not None:
        statuses += [s.state for s in pod.status.container_statuses or [] if s.state.running or s.state.terminated]
        time.sleep(0.1)
    assert statuses == []
    assert bench.runner.look(job).state == "absent"


def test_a_request_for_a_pod_that_arrives_after_a_stop_runs_nothing(bench):
    """The permit is still there, as the end stands in it, but it is spent."""
    job = bench.begin(bench.python(UP))
    bench.until(job, "up")
    permit = bench.cluster.api.read_namespaced_config_map(job.name, bench.cluster.namespace)
    bench.runner.stop(job, 1)
    bench.delete(job, grace_period_seconds=0)

    place = pods_manifest.Place(0, (), False)
    bench.runner._api.make("pods", pods_manifest.pod(job, bench.runner._options, permit.metadata.uid, place))
    wait_for(lambda: bench.pod(job).status.container_statuses)
    time.sleep(3)

    (state,) = [s.state for s in bench.pod(job).status.container_statuses if s.name == "job"]
    assert state.waiting.reason == "CreateContainerConfigError"
    assert bench.runner.look(job)[:2] == ("running", None)  # it takes it back, and tells the end then
    assert bench.pod(job).metadata.deletion_timestamp is not None
    bench.delete(job, grace_period_seconds=0)
    assert bench.runner.look(job).state == "ended"
    bench.runner.remove(job)


def test_a_pod_of_another_installation_of_the_same_name_is_left_alone(bench):
    """Both count their jobs from 1; the time of the claim tells them apart."""
    job = bench.python(UP, claimed_s=1.5)
    other = dataclasses.replace(job, claimed_s=2.5)
    bench.begin(job)

    assert bench.runner.look(other).state == "absent"
    with pytest.raises(InputError, match="another installation"):
        bench.runner.create(other)
    bench.runner.stop(other, 1)
    bench.runner.remove(other)

    assert bench.pod(job).metadata.deletion_timestamp is None
    bench.runner.remove(job)


# The API server away


def test_while_the_api_server_is_away_nothing_is_concluded_and_then_the_job_is_where_it_was(
    bench, cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(pods_api, "_READ_S", 1.0)
    monkeypatch.setattr(pods_api, "_CONNECT_S", 1.0)
    proxy = Proxy(cluster.kubeconfig, tmp_path)
    away = Bench(cluster, bench.artifacts, kubeconfig=str(proxy.kubeconfig))
    code = "import time\nfor n in range(12): print(n, flush=True); time.sleep(0.5)"
    job = away.begin(away.python(code))
    try:
        away.until(job, "1")
        for fault, mend in (
            (proxy.close, proxy.open),
            (lambda: proxy.freeze(True), lambda: proxy.freeze(False)),
        ):
            fault()
            for action in (
                away.runner.look, away.runner.create, away.runner.start, away.runner.keep, away.runner.remove,
                lambda job: away.runner.stop(job, 1), lambda job: list(away.runner.lines(job)),
            ):  # fmt: skip
                with pytest.raises(WorkerUnreachable, match="worker cluster: no answer from the API server"):
                    action(job)
            with pytest.raises(WorkerUnreachable):
                away.runner.probe()
            mend()

        assert list(away.runner.lines(job)) == [str(n) for n in range(12)]
        assert away.runner.look(job) == ("ended", 0, "")
    finally:
        proxy.close()


def test_lines_go_on_where_they_were_when_the_connection_breaks_off(bench, cluster, tmp_path, monkeypatch):
    """A silent job's connection is opened anew each minute; here each second."""
    monkeypatch.setattr(pods_api, "QUIET_S", 1.0)
    code = "import time\nfor n in range(3): print(n, flush=True); time.sleep(2)"

    lines, _ = bench.to_the_end(bench.python(code))

    assert lines == ["0", "1", "2"]


def test_a_dispatcher_without_rights_concludes_nothing_and_says_what_it_lacks(bench, cluster, tmp_path):
    kubeconfig = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    kubeconfig["users"][0]["user"] = {}
    path = tmp_path / "nobody"
    path.write_text(yaml.safe_dump(kubeconfig))
    nobody = Bench(cluster, bench.artifacts, kubeconfig=str(path))

    with pytest.raises(WorkerUnreachable, match=r"the API server says 40[13]"):
        nobody.runner.look(nobody.python("pass"))


def test_a_priority_class_that_the_cluster_does_not_have_fails_no_job_but_is_said_of_the_worker(cluster, store):
    bench = Bench(cluster, store, priority_classes={"5": "eyewall-test-none"})
    job = bench.python("pass", priority=7)
    bench.runner.create(job)

    with pytest.raises(WorkerUnreachable, match="no PriorityClass with name eyewall-test-none"):
        bench.runner.start(job)

    bench.runner.remove(job)


# GPUs


@pytest.fixture
def gpus(cluster):
    """Four GPUs of a resource of this test's own on the node, of generation a100; taken away again."""
    (node,) = cluster.api.list_node().items
    name, amount = node.metadata.name, {RESOURCE: "4"}
    cluster.api.patch_node_status(name, {"status": {"capacity": amount, "allocatable": amount}})
    cluster.api.patch_node(name, {"metadata": {"labels": {"test.eyewall.io/generation": "A100"}}})
    try:
        wait_for(lambda: cluster.api.read_node(name).status.allocatable.get(RESOURCE) == "4")
        yield name
    finally:
        gone = {RESOURCE: None}
        cluster.api.patch_node(name, {"metadata": {"labels": {"test.eyewall.io/generation": None}}})
        cluster.api.patch_node_status(name, {"status": {"capacity": gone, "allocatable": gone}})


def test_gpus_of_nodes_are_slots_a_gang_gets_its_number_and_others_are_not_offered(cluster, store, gpus):
    options = {"devices": None, "gpu_resource": RESOURCE, "gpu_label": "test.eyewall.io/generation"}
    options |= {"kubeconfig": cluster.admin, "node_selector": {"kubernetes.io/hostname": gpus}}  # rights over nodes
    bench = Bench(cluster, store, **options)
    found = bench.runner.probe()
    assert [(f.uuid, f.host, f.generation, f.state, f.declared) for f in found] == [
        (f"A100/{gpus}/{n}", gpus, "a100", "ok", False) for n in range(4)
    ]
    leased = tuple(Gpu(f.number, f.uuid, False) for f in found)

    job = bench.begin(bench.python(UP, gpus=leased[:3]))
    bench.until(job, "up")
    pod = bench.pod(job)
    limits = pod.spec.containers[0].resources.limits
    assert (limits[RESOURCE], limits["cpu"], limits["memory"]) == ("3", "300m", "288Mi")
    assert [f.state for f in bench.runner.probe()] == ["ok"] * 4  # our own are no reason not to offer them

    waiting = bench.begin(bench.python("pass", gpus=leased[2:]))  # 2, where 1 is left
    seen = wait_for(lambda: (s := bench.runner.look(waiting)).reason and "Insufficient" in s.reason and s)
    assert f"Insufficient {RESOURCE}" in seen.reason
    bench.runner.stop(job, 1)
    bench.runner.remove(job)
    assert list(bench.runner.lines(waiting))[-1:] != ["never"]
    assert bench.runner.look(waiting).exit_code == 0  # it went on by itself

    others = []
    for here, elsewhere in (("A100", "H100"), (gpus, "elsewhere")):  # another generation, another node
        slots = tuple(dataclasses.replace(g, uuid=g.uuid.replace(here, elsewhere)) for g in leased)
        others.append(bench.begin(bench.python("pass", gpus=slots)))
    for other in others:
        seen = wait_for(lambda other=other: (s := bench.runner.look(other)).reason and "affinity" in s.reason and s)
        assert "node affinity" in seen.reason
    for each in (waiting, *others):
        bench.runner.remove(each)


def test_gpus_that_other_pods_use_are_foreign_and_those_of_a_cordoned_node_failed(cluster, store, gpus):
    options = {"devices": None, "gpu_resource": RESOURCE, "kubeconfig": cluster.admin}
    ours, theirs = Bench(cluster, store, **options), "somebody-else"
    limits = {RESOURCE: "3", "cpu": "50m", "memory": "64Mi"}
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "60"]}
    container["resources"] = {"limits": limits}
    body = {"metadata": {"name": theirs}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    cluster.api.create_namespaced_pod(cluster.namespace, body)
    wait_for(lambda: cluster.api.read_namespaced_pod(theirs, cluster.namespace).spec.node_name)

    assert [f.state for f in ours.runner.probe()] == ["ok", "foreign", "foreign", "foreign"]
    assert ours.runner.probe()[3].reason == f"other pods use 3 of 4 on node {gpus}"
    cluster.api.delete_namespaced_pod(theirs, cluster.namespace)


def test_an_image_that_cannot_be_had_ends_the_attempt_for_good(imageless):
    """The last test of the file, so that it has not to wait."""
    lines, seen = imageless()

    assert seen.exit_code == 65
    assert "eyewall.test/none@sha256:" in seen.reason
    assert "ErrImageNeverPull" in seen.reason
    assert any("ErrImageNeverPull" in line for line in lines)
