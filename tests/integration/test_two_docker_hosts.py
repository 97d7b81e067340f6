"""Jobs on two Docker hosts that are really two: engines, networks, disks; killed, without power, and coming back.

Each host is an engine in a network namespace of its own (`docker_hosts`), reached over TCP with TLS. Host ``a`` has
GPUs, by a stand-in for NVIDIA's runtime and library; host ``b`` has none and declares two devices. The dispatcher is
the real one, `eyewall job dispatch`, in a process of its own.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import gpu_runtime
import nvml_stub
import psycopg
import pytest
from docker_engine import BASE
from docker_hosts import DockerHost, demand_engines_of_our_own, docker_hosts

from eyewall.contracts.submission import Submission
from eyewall.db.connect import connected
from eyewall.jobs import queue
from eyewall.jobs.docker.runner import DockerRunner
from eyewall.jobs.runner import Worker, WorkerUnreachable
from eyewall.platform import postgres
from eyewall.storage import Store

pytestmark = [pytest.mark.docker, pytest.mark.slow]
H100 = "NVIDIA H100 80GB HBM3|9.0|81559"
GPUS = (f"GPU-a0|{H100}||", f"GPU-a1|{H100}||")
LONG_S = 120.0


def until(what: Callable[[], Any], seconds: float = LONG_S, say: Callable[[], str] = str) -> Any:
    """The first true value; after so long, a failure with what there is to say."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, say()
        time.sleep(0.1)
    return value


class Hosts:
    """Both hosts, and the image that both have."""

    def __init__(self, a: DockerHost, b: DockerHost, image: str, runtime: Path) -> None:
        self.a, self.b, self.image, self.runtime = a, b, image, runtime

    def set_gpus(self, *lines: str) -> None:
        """From now on host a has these GPUs."""
        gpu_runtime.set_gpus(self.runtime, *lines)


@pytest.fixture(scope="module")
def hosts(engine: "docker.APIClient", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Two running hosts."""
    demand_engines_of_our_own()
    if not engine.images(name=BASE):
        pytest.skip(f"needs the image {BASE} on the engine")
    folder = tmp_path_factory.mktemp("hosts")
    runtime = folder / "runtime"
    runtime.mkdir()
    nvml_stub.build(runtime)
    image = engine.inspect_image(BASE)["Id"]
    with (folder / "image.tar").open("wb") as file:
        for chunk in engine.get_image(BASE):
            file.write(chunk)
    with docker_hosts(folder, a=gpu_runtime.install(runtime), b={}) as (a, b):
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.take_image(folder / "image.tar"), (a, b)))
        (folder / "image.tar").unlink()
        yield Hosts(a, b, f"any@{image}", runtime)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which another run closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="eyewall-hosts-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


class Installation:
    """A database, a store, both hosts as workers, and dispatchers."""

    def __init__(self, hosts: Hosts, server: str, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        name = f"t{time.monotonic_ns()}"
        with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        self.url = postgres.uri(server, name)
        self.store = Store(str(folder / "store"))
        self.options: dict[str, dict[str, Any]] = {
            "a": {"tls": str(hosts.a.tls), "probe_image": hosts.image, "memory": "256Mi"},
            "b": {"tls": str(hosts.b.tls), "devices": 2, "generation": "any"},
        }
        workers = "".join(
            f'[workers.{host.name}]\nkind = "docker"\nurl = "{host.url}"\n'
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.options[host.name].items())
            for host in (hosts.a, hosts.b)
        )
        (folder / "eyewall.toml").write_text(
            f'store = "{self.store.root}"\n[queue]\nlease_s = 4\nheartbeat_s = 0.5\nretry_s = 0\n{workers}'
        )
        with connected(self.url) as connection:
            connection.execute(
                "INSERT INTO environment (name, framework, version, recipe_sha256, image, state)"
                " VALUES ('python', 'python', '3.11', repeat('7', 64), %s, 'built')",
                [hosts.image],
            )
        self.store.write_bytes("code/main.py", PROGRAM.encode())

    def submit(self, *args: str, **fields: Any) -> int:
        """A job that runs PROGRAM."""
        values = {"environment": "python", "owner": "tester", "code": "code", "command": ["python", "main.py", *args]}
        with psycopg.connect(self.url, autocommit=True) as connection:
            return queue.submit(connection, Submission.parse(values | fields))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, values).fetchall()

    def attempts(self, job: int) -> list[tuple[str, str]]:
        """(worker, state) of each attempt."""
        return [
            (str(worker), str(state))
            for worker, state in self.rows("SELECT worker, state FROM attempt WHERE job = %s ORDER BY number", job)
        ]

    def state(self, job: int) -> str:
        """State of a job."""
        return str(self.rows("SELECT state FROM job WHERE id = %s", job)[0][0])

    def worker(self, name: str) -> tuple[str, str]:
        """State of a worker, and why."""
        ((state, reason),) = self.rows("SELECT state, reason FROM worker WHERE name = %s", name)
        return str(state), str(reason)

    def log(self, job: int, number: int = 1) -> list[str]:
        """Lines of an attempt's log."""
        path = f"jobs/{job}/{number}/log.txt"
        return self.store.read_bytes(path).decode().splitlines() if self.store.exists(path) else []

    def runner(self, name: str) -> DockerRunner:
        """The runner of a host."""
        host = self.hosts.a if name == "a" else self.hosts.b
        return DockerRunner(Worker(name, "docker", host.url, self.options[name]), self.store)

    def everything(self) -> str:
        """For a failure's message."""
        return "\n".join(map(str, (
            *self.rows("SELECT id, state, reason FROM job ORDER BY id"),
            *self.rows("SELECT job, number, worker, state, exit_code, reason FROM attempt ORDER BY id"),
            *self.rows("SELECT name, state, reason FROM worker"),
            *(path.read_text()[-3000:] for path in self.folder.glob("dispatcher-*")),
        )))  # fmt: skip

    def wait(self, what: Callable[[], Any]) -> Any:
        """Until it is so."""
        return until(what, say=self.everything)

    def nothing_left(self) -> bool:
        """No lease, no held GPU, no container of a job on either host."""
        ((live,),) = self.rows("SELECT count(*) FROM lease WHERE released_at IS NULL")
        ((held,),) = self.rows("SELECT count(*) FROM gpu WHERE held_by IS NOT NULL")
        return live == held == 0 and self.hosts.a.containers() == self.hosts.b.containers() == []

    @contextmanager
    def dispatcher(self) -> Iterator["subprocess.Popen[bytes]"]:
        """`eyewall job dispatch`; killed at the end."""
        said = self.folder / f"dispatcher-{time.monotonic_ns()}"
        with said.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "eyewall.cli", "job", "dispatch"],
                env={**os.environ, "EYEWALL_SETTINGS": str(self.folder / "eyewall.toml"),
                     "EYEWALL_DATABASE_URL": self.url},
                stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            until(lambda: "at work" in said.read_text() or process.poll() is not None, say=said.read_text)
            assert process.poll() is None, said.read_text()
            yield process
        finally:
            process.kill()
            process.wait()


#: Says where it is, reports, waits for its file unless told not to, leaves something.
PROGRAM = """
import os, pathlib, socket, sys, time
seen = pathlib.Path("/etc/nvml-stub")
lines = seen.read_text().splitlines() if seen.exists() else None
print("sees", "no NVML" if lines is None else [line.split("|")[0] for line in lines], flush=True)
print('eyewall-report {"step": 1, "metric": "loss", "value": 0.25}', flush=True)
out = pathlib.Path(os.environ["EYEWALL_OUT"])
if sys.argv[1] == "wait":
    while not (out / "go").exists():
        time.sleep(0.05)
(out / "model").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
print("done", flush=True)
"""


@pytest.fixture
def place(hosts: Hosts, server: str, tmp_path: Path) -> Iterator[Installation]:
    """An installation with both hosts up and sound GPUs; its containers are gone afterwards."""
    for host in (hosts.a, hosts.b):
        if not host.answers():
            host.start()
    hosts.set_gpus(*GPUS)
    made = Installation(hosts, server, tmp_path)
    yield made
    for host in (hosts.a, hosts.b):
        if not host.answers():
            host.start()
        for name in host.containers():
            host.client().remove_container(name, force=True, v=True)


def container_of(host: DockerHost, job: int, number: int = 1) -> str:
    """Name of an attempt's container."""
    (name,) = (each for each in host.containers() if each.startswith(f"eyewall-job-{job}-{number}-"))
    return name


def let_go(host: DockerHost, job: int, number: int = 1) -> None:
    """Let a waiting job finish."""
    client = host.client()
    made = client.exec_create(container_of(host, job, number), ["touch", "/work/out/go"])
    client.exec_start(made["Id"])


def where(place: Installation, jobs: list[int]) -> dict[str, list[int]]:
    """Host → jobs whose last attempt is there, once all of them run."""
    place.wait(lambda: all(place.log(job)[-1:] == ['eyewall-report {"step": 1, "metric": "loss", "value": 0.25}']
                           for job in jobs))  # fmt: skip
    found: dict[str, list[int]] = {"a": [], "b": []}
    for job in jobs:
        found[place.attempts(job)[-1][0]].append(job)
    return found


def test_the_gpus_of_a_host_are_found_by_nvml_in_a_container_of_its_own(place):
    gpus = place.runner("a").probe()

    assert [(g.number, g.uuid, g.generation, g.memory_mb, g.state, g.declared) for g in gpus] == [
        (0, "GPU-a0", "h100", 81559, "ok", False), (1, "GPU-a1", "h100", 81559, "ok", False),
    ]  # fmt: skip
    assert [(g.uuid, g.declared) for g in place.runner("b").probe()] == [("b-0", True), ("b-1", True)]
    assert place.hosts.a.containers() == place.hosts.b.containers() == []


def test_a_gpu_that_somebody_uses_or_that_failed_is_not_offered(place):
    """Somebody is a real process of this machine, in no container; a lost GPU says so."""
    with subprocess.Popen(["sleep", "100"]) as somebody:
        place.hosts.set_gpus(f"GPU-a0|{H100}||{somebody.pid}", f"GPU-a1|{H100}|lost|")
        gpus = place.runner("a").probe()
        somebody.kill()

    assert [(gpu.uuid, gpu.state) for gpu in gpus] == [("GPU-a0", "foreign"), ("GPU-a1", "failed")]
    assert f"process {somebody.pid}" in gpus[0].reason
    assert "GPU is lost" in gpus[1].reason


def test_jobs_run_on_both_hosts_each_on_the_one_device_that_it_was_given(place):
    """Four devices, six jobs. On a, a job sees one GPU of two; on b, none."""
    with place.dispatcher():
        place.wait(lambda: place.rows("SELECT count(*) FROM gpu WHERE state = 'ok'")[0][0] == 4)
        jobs = [place.submit("end") for _ in range(6)]
        place.wait(lambda: all(place.state(job) == "succeeded" for job in jobs))
        place.wait(place.nothing_left)

    used = {worker for job in jobs for worker, _ in place.attempts(job)}
    assert used == {"a", "b"}
    for job in jobs:
        ((worker, uuid),) = place.rows(
            "SELECT g.worker, g.uuid FROM gpu g JOIN lease l ON l.gpu = g.id JOIN attempt a ON a.id = l.attempt"
            " WHERE a.job = %s",
            job,
        )
        given = uuid if worker == "a" else ""
        seen = f"sees ['{uuid}']" if worker == "a" else "sees no NVML"
        assert place.log(job)[0] == seen
        assert place.store.read_bytes(f"jobs/{job}/1/out/model").decode() == given
    assert place.rows("SELECT DISTINCT metric, step, value FROM report") == [("loss", 1, 0.25)]


def test_while_a_job_is_on_it_a_gpu_is_not_foreign(place):
    """The job's own process is the one that NVML names."""
    with place.dispatcher():
        job = place.submit("wait", generations=["h100"])
        where(place, [job])
        pids = [row[1] for row in place.hosts.a.client().top(container_of(place.hosts.a, job))["Processes"]]
        place.hosts.set_gpus(*(f"GPU-a{n}|{H100}||{','.join(pids)}" for n in (0, 1)))

        assert [gpu.state for gpu in place.runner("a").probe()] == ["ok", "ok"]
        let_go(place.hosts.a, job)
        place.wait(lambda: place.state(job) == "succeeded")
        place.wait(place.nothing_left)


def test_a_killed_engine_tells_nothing_and_its_jobs_are_run_again_when_it_is_back(place):
    """After kill -9 of a's engine its jobs keep their leases, those on b go on; then a's are lost, and end well."""
    with place.dispatcher():
        place.wait(lambda: place.rows("SELECT count(*) FROM gpu WHERE state = 'ok'")[0][0] == 4)
        jobs = [place.submit("wait") for _ in range(4)]
        on = where(place, jobs)
        assert [len(on["a"]), len(on["b"])] == [2, 2]

        place.hosts.a.kill()
        place.wait(lambda: place.worker("a")[0] == "unreachable")
        assert "no Docker engine answers" in place.worker("a")[1]
        for job in on["b"]:
            let_go(place.hosts.b, job)
        place.wait(lambda: all(place.state(job) == "succeeded" for job in on["b"]))
        late = place.submit("end")
        place.wait(lambda: place.state(late) == "succeeded")

        assert [place.attempts(job) for job in on["a"]] == [[("a", "running")]] * 2
        assert place.rows(
            "SELECT count(*) FROM lease l JOIN gpu g ON g.id = l.gpu WHERE g.worker = 'a' AND released_at IS NULL"
        ) == [(2,)]

        place.hosts.a.start()
        place.wait(lambda: all(len(place.attempts(job)) == 2 for job in on["a"]))
        again = {job: place.wait(lambda job=job: started(place, job, 2)) for job in on["a"]}
        for job, worker in again.items():
            let_go(place.hosts.a if worker == "a" else place.hosts.b, job, 2)
        place.wait(lambda: all(place.state(job) == "succeeded" for job in jobs))
        place.wait(place.nothing_left)

    for job in on["a"]:
        assert [state for _, state in place.attempts(job)] == ["lost", "succeeded"]
        ((reason,),) = place.rows("SELECT reason FROM attempt WHERE job = %s AND number = 1", job)
        assert "or its engine went down" in reason


def started(place: Installation, job: int, number: int) -> str | None:
    """The worker of an attempt, once its program runs there."""
    (row,) = place.rows("SELECT worker FROM attempt WHERE job = %s AND number = %s", job, number) or [(None,)]
    return str(row[0]) if row[0] and len(place.log(job, number)) >= 2 else None


def test_a_job_that_ends_while_its_engine_is_away_has_ended(place):
    """Its shim keeps its exit code for the engine that comes back: it is not run a second time."""
    with place.dispatcher():
        job = place.submit("wait", generations=["h100"])
        where(place, [job])
        later = "import time, pathlib; time.sleep(3); pathlib.Path('/work/out/go').touch()"
        made = place.hosts.a.client().exec_create(container_of(place.hosts.a, job), ["python", "-c", later])
        place.hosts.a.client().exec_start(made["Id"], detach=True)

        place.hosts.a.kill()
        place.wait(lambda: place.worker("a")[0] == "unreachable")
        time.sleep(4)
        place.hosts.a.start()
        place.wait(lambda: place.state(job) == "succeeded")
        place.wait(place.nothing_left)

    assert place.attempts(job) == [("a", "succeeded")]
    assert place.store.read_bytes(f"jobs/{job}/1/out/model") in (b"GPU-a0", b"GPU-a1")


def test_jobs_of_an_engine_with_live_restore_go_on_without_it(place):
    """The same attempt ends; its log is whole, from the first line."""
    place.hosts.a.kill()
    place.hosts.a.start("--live-restore")
    with place.dispatcher():
        job = place.submit("wait", generations=["h100"])
        where(place, [job])

        place.hosts.a.kill()
        place.wait(lambda: place.worker("a")[0] == "unreachable")
        place.hosts.a.start("--live-restore")
        place.wait(lambda: place.worker("a")[0] == "up")
        let_go(place.hosts.a, job)
        place.wait(lambda: place.state(job) == "succeeded")
        place.wait(place.nothing_left)

    assert place.attempts(job) == [("a", "succeeded")]
    assert [line.split()[0] for line in place.log(job)] == ["sees", "eyewall-report", "done"]


def test_jobs_of_a_host_without_power_are_run_again(place):
    """Engine, shims and programs end at once. The engine can only say 255 then, which is not taken for an exit code."""
    with place.dispatcher():
        job = place.submit("wait", generations=["h100"])
        where(place, [job])

        place.hosts.a.lose_power()
        place.wait(lambda: place.worker("a")[0] == "unreachable")
        place.hosts.a.start()
        place.wait(lambda: started(place, job, 2))
        let_go(place.hosts.a, job, 2)
        place.wait(lambda: place.state(job) == "succeeded")
        place.wait(place.nothing_left)

    assert place.attempts(job) == [("a", "lost"), ("a", "succeeded")]
    assert place.rows("SELECT reason FROM attempt WHERE job = %s AND number = 1", job) == [("its host went down",)]


def test_a_cable_that_was_out_for_a_moment_changes_nothing(place):
    """What the job printed meanwhile is there afterwards."""
    with place.dispatcher():
        job = place.submit("wait", generations=["h100"])
        where(place, [job])
        later = "import time, pathlib; time.sleep(1); pathlib.Path('/work/out/go').touch()"
        made = place.hosts.a.client().exec_create(container_of(place.hosts.a, job), ["python", "-c", later])
        place.hosts.a.client().exec_start(made["Id"], detach=True)

        place.hosts.a.pull_cable()
        time.sleep(3)
        assert place.state(job) == "running"
        place.hosts.a.plug_in()
        place.wait(lambda: place.state(job) == "succeeded")
        place.wait(place.nothing_left)

    assert place.attempts(job) == [("a", "succeeded")]
    assert place.log(job)[-1] == "done"


def test_a_dispatcher_that_is_killed_leaves_its_jobs_to_the_next_one(place):
    with place.dispatcher() as first:
        place.wait(lambda: place.rows("SELECT count(*) FROM gpu WHERE state = 'ok'")[0][0] == 4)
        jobs = [place.submit("wait") for _ in range(4)]
        on = where(place, jobs)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with place.dispatcher():
        for name, host in (("a", place.hosts.a), ("b", place.hosts.b)):
            for job in on[name]:
                let_go(host, job)
        place.wait(lambda: all(place.state(job) == "succeeded" for job in jobs))
        place.wait(place.nothing_left)

    assert [len(place.attempts(job)) for job in jobs] == [1, 1, 1, 1]
    assert all(place.log(job)[-1] == "done" for job in jobs)


def test_an_engine_takes_nobody_without_a_certificate_of_its_authority(place, tmp_path):
    """Neither without one, nor with one that somebody else signed."""
    from docker_hosts import Certificates

    stranger = Certificates(tmp_path / "tls").sign("stranger")
    (stranger / "ca.pem").write_bytes((place.hosts.b.tls / "ca.pem").read_bytes())
    worker = Worker("b", "docker", place.hosts.b.url, {"tls": str(stranger), "devices": 1})

    with pytest.raises(WorkerUnreachable, match="no Docker engine answers"):
        DockerRunner(worker, place.store).probe()
    assert len(place.runner("b").probe()) == 2
