"""`eyewall job dispatch` with a cluster as its worker: processes, PostgreSQL, pods and kills, all of them real."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import airflow_home  # noqa: F401 - before anything of Airflow's
import psycopg
import pytest
from jobs_namespace import namespace_for_jobs, priority_classes

from eyewall.platform import postgres
from eyewall.storage import Store

pytestmark = [pytest.mark.kubernetes, pytest.mark.docker, pytest.mark.slow]

BASE = "python:3.11-slim-bookworm"
#: A job that says where it is, and waits for a word in its own log: none. Long enough for a takeover.
LONG = "import time\nfor n in range(20): print(n, flush=True); time.sleep(0.5)"


def _docker(*args):
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=200)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def image():
    """A Python by digest on the cluster's one node, as `eyewall env build` would have pushed it."""
    try:
        _docker("image", "inspect", BASE, "registry:2")
    except (RuntimeError, OSError):
        pytest.skip(f"needs the images {BASE} and registry:2 on the cluster's node")
    name = f"eyewall-test-registry-{secrets.token_hex(4)}"
    _docker("run", "--detach", "--rm", "--name", name, "--publish", "127.0.0.1::5000", "registry:2")
    tag = ""
    try:
        port = _docker("port", name, "5000/tcp").rpartition(":")[2]
        tag = f"127.0.0.1:{port}/{name}:1"
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/v2/"))
        _docker("tag", BASE, tag)
        _docker("push", tag)
        digests = json.loads(_docker("image", "inspect", "--format", "{{json .RepoDigests}}", tag))
        (digest,) = [each for each in digests if each.startswith(f"127.0.0.1:{port}/")]
        yield digest
        _docker("image", "rm", digest)
    finally:
        if tag:
            subprocess.run(["docker", "image", "rm", tag], capture_output=True, timeout=60)
        _docker("rm", "--force", name)


class Installation:
    """A database, a store and a cluster; everything by the command line."""

    def __init__(self, url, cluster, folder, classes):
        self.url, self.cluster, self.folder = url, cluster, folder
        self.store = Store(str(folder / "store"))
        settings = folder / "eyewall.toml"
        settings.write_text(
            f'store = "{folder}/store"\n'
            "[queue]\nlease_s = 4\nheartbeat_s = 1\nretry_s = 0\n"
            '[workers.cluster]\nkind = "kubernetes"\ndevices = 2\ncpus = 0.1\nmemory = "96Mi"\npull_policy = "Never"\n'
            f'kubeconfig = "{cluster.kubeconfig}"\nnamespace = "{cluster.namespace}"\n'
            f'priority_classes = {{ 0 = "{classes}-low", 5 = "{classes}", 8 = "{classes}-high" }}\n'
        )
        self.environ = {**os.environ, "EYEWALL_SETTINGS": str(settings), "EYEWALL_DATABASE_URL": url}
        self.environ["EYEWALL_STORE"] = f"{folder}/store"

    def eyewall(self, *args):
        """What ``eyewall …`` prints."""
        command = [sys.executable, "-m", "eyewall.cli", *args]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=120, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, program, *options):
        """The number of a job that runs this Python."""
        printed = self.eyewall("job", "submit", "--env", "py", *options, "--json", "--", "python", "-c", program)
        return int(json.loads(printed)["job"])

    def dispatch(self, *args):
        """A dispatcher, as a process."""
        command = [sys.executable, "-m", "eyewall.cli", "job", "dispatch", *args]
        return subprocess.Popen(
            command, env=self.environ, stderr=(self.folder / "said.txt").open("ab"), cwd=self.folder
        )

    def rows(self, sql):
        """Rows of the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def attempts(self, job):
        """State, exit code and reason of each attempt."""
        return self.rows(f"SELECT state, exit_code, reason FROM attempt WHERE job = {job} ORDER BY number")

    def state(self, job):
        """State of a job."""
        return self.rows(f"SELECT state FROM job WHERE id = {job}")[0][0]

    def log(self, job, number=1):
        """What it printed, so far."""
        try:
            return self.store.read_bytes(f"jobs/{job}/{number}/log.txt").decode()
        except Exception:
            return ""

    def left(self):
        """Names of pods and ConfigMaps of jobs."""
        listed = (self.cluster.api.list_namespaced_pod, self.cluster.api.list_namespaced_config_map)
        found = [list_(self.cluster.namespace, label_selector="eyewall.io/job").items for list_ in listed]
        return [each.metadata.name for items in found for each in items]


def wait_for(condition, seconds=120.0):
    """What ``condition`` gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def installation(image, tmp_path_factory):
    """Two devices of a cluster, and the environment ``py``."""
    folder = tmp_path_factory.mktemp("installation")
    with (
        tempfile.TemporaryDirectory(prefix="eyewall-dispatch-") as data,
        namespace_for_jobs(folder) as cluster,
        priority_classes(cluster) as classes,
    ):
        server = postgres.start(Path(data) / "postgres")
        try:
            made = Installation(postgres.uri(server, "postgres"), cluster, folder, classes)
            made.eyewall("job", "dispatch", "--idle-s", "0")  # the schema, and the worker of the settings
            with psycopg.connect(made.url, autocommit=True) as connection:
                connection.execute(
                    "INSERT INTO environment (name, framework, version, recipe_sha256, state, image)"
                    " VALUES ('py', 'python', '3.11', repeat('ab', 32), 'built', %s)",
                    (image,),
                )
            yield made
        finally:
            postgres.stop(Path(data) / "postgres")


@pytest.fixture
def dispatchers(installation):
    """Starts dispatchers; those that are left are killed."""
    made = []

    def start(*args):
        made.append(installation.dispatch(*args))
        return made[-1]

    yield start
    for process in made:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def test_jobs_run_on_a_cluster_report_leave_their_output_and_nothing_else(installation, dispatchers):
    report = 'print(\'eyewall-report \' + \'{"step": 1, "metric": "loss", "value": 0.5}\')\n'
    left = "import os; open(os.environ['EYEWALL_OUT'] + '/model.bin', 'w').write('weights')\n"
    good = installation.submit(report + left)
    bad = installation.submit("raise SystemExit('the learning rate is none')")
    gang = installation.submit("import os; print(os.environ['EYEWALL_GPUS'])", "--gpus", "2")

    dispatchers("--idle-s", "2").wait(180)

    assert [installation.state(job) for job in (good, bad, gang)] == ["succeeded", "failed", "succeeded"]
    assert installation.attempts(bad) == [("failed", 1, "the learning rate is none")]
    assert installation.log(gang) == "2\n"
    assert installation.store.read_bytes(f"jobs/{good}/1/out/model.bin") == b"weights"
    assert installation.rows("SELECT metric, step, value FROM report") == [("loss", 1, 0.5)]
    wait_for(lambda: not installation.left())
    assert installation.rows("SELECT count(*) FROM lease WHERE released_at IS NULL") == [(0,)]


def test_a_dispatcher_that_is_killed_or_frozen_hands_over_and_the_job_runs_once(installation, dispatchers):
    job = installation.submit(LONG)
    first = dispatchers()
    wait_for(lambda: "1\n" in installation.log(job))
    first.kill()
    second = dispatchers()
    wait_for(lambda: installation.rows(f"SELECT token FROM attempt WHERE job = {job}") == [(2,)])
    second.send_signal(signal.SIGSTOP)
    third = dispatchers("--idle-s", "2")
    wait_for(lambda: installation.rows(f"SELECT token FROM attempt WHERE job = {job}") == [(3,)])
    third.wait(180)
    second.send_signal(signal.SIGCONT)

    assert installation.attempts(job) == [("succeeded", 0, "")]
    assert installation.log(job).split() == [str(n) for n in range(20)]
    wait_for(lambda: not installation.left())


def test_a_pod_that_is_deleted_is_a_lost_attempt_and_the_job_runs_again(installation, dispatchers):
    job = installation.submit(LONG)
    dispatchers("--idle-s", "2")
    wait_for(lambda: "1\n" in installation.log(job))

    installation.cluster.api.delete_namespaced_pod(
        f"eyewall-job-{job}-1", installation.cluster.namespace, grace_period_seconds=1
    )
    wait_for(lambda: installation.state(job) == "succeeded")

    (lost, good) = installation.attempts(job)
    assert lost[:2] == ("lost", None)
    assert good == ("succeeded", 0, "")


def test_pods_have_the_class_of_their_jobs_priority_and_a_cancelled_one_gives_its_device_back(
    installation, dispatchers
):
    up = "import time; print('up', flush=True); time.sleep(300)"
    jobs = [installation.submit(up, *options) for options in ((), ("--priority", "9"))]
    dispatchers("--idle-s", "2")
    wait_for(lambda: all("up" in installation.log(job) for job in jobs))

    pods = {
        pod.metadata.name: pod.spec
        for pod in installation.cluster.api.list_namespaced_pod(
            installation.cluster.namespace, label_selector="eyewall.io/job"
        ).items
    }
    usual, high = (pods[f"eyewall-job-{job}-1"] for job in jobs)
    assert usual.priority_class_name.endswith("-eyewall-job")
    assert high.priority_class_name.endswith("-eyewall-job-high")
    assert high.priority > usual.priority > 0
    assert high.preemption_policy == "Never"
    for job in jobs:
        installation.eyewall("job", "cancel", str(job))

    wait_for(lambda: [installation.state(job) for job in jobs] == ["cancelled"] * 2)
    wait_for(lambda: not installation.left())
