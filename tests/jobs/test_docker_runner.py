"""Jobs on a real Docker engine: their place, their ends, and dispatchers that come and go in between."""

# NOTE: the fixture job_bench comes from docker_jobs: a worker of this test's own, a store, and what is left there.

import contextlib
import json
import threading
import time
from pathlib import Path

import pytest

from eyewall.contracts.errors import ContractError, ServingError
from eyewall.jobs.docker import probe as docker_probe
from eyewall.jobs.docker.runner import DockerRunner
from eyewall.jobs.runner import Gpu, Worker, WorkerUnreachable

pytestmark = pytest.mark.docker

SLEEP = "import time\nprint('here', flush=True)\ntime.sleep(600)\n"
OBEY = f"import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n{SLEEP}"


def until(true, seconds=30.0):
    """The first true value."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return value


# --- a job's place


def test_a_job_runs_to_its_end_and_leaves_nothing(job_bench):
    job = job_bench.python("print('step 1')\nprint('step 2')\n")
    assert job_bench.runner.look(job).state == "absent"
    job_bench.runner.create(job)
    assert job_bench.runner.look(job).state == "created"
    job_bench.runner.start(job)

    assert list(job_bench.runner.lines(job)) == ["step 1", "step 2"]
    assert job_bench.runner.look(job) == ("ended", 0, "")

    volumes = [mount["Name"] for mount in job_bench.inspect(job)["Mounts"]]
    job_bench.runner.remove(job)
    assert job_bench.containers() == []
    assert len(volumes) == 1
    assert volumes[0] not in {each["Name"] for each in job_bench.engine.volumes()["Volumes"] or ()}
    assert job_bench.runner.look(job).state == "absent"


def test_arguments_and_variables_reach_the_program_as_they_are(job_bench):
    """No shell, no entry point, no splitting between here and there."""
    hostile = ["a b", "$(touch /tmp/x)", "`id`", "; rm -rf /", "--entrypoint=sh", "", "'\"\\", "a\nb", "é€", "*", "-"]
    job = job_bench.python(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['LR'], os.environ['EYEWALL_JOB']]))\n",
        *hostile,
        variables={"LR": "$HOME\n`id`", "EYEWALL_JOB": "999"},
    )

    lines, _ = job_bench.run(job)

    assert json.loads(lines[0]) == [hostile, "$HOME\n`id`", str(job.job)]


PLACE = """
import json, os, pathlib, sys
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return error.strerror
status = pathlib.Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":\\t") for line in status if ":\\t" in line)
print(json.dumps({
    "cwd": os.getcwd(), "uid": [os.getuid(), os.getgid()], "capabilities": int(status["CapEff"], 16),
    "no_new_privileges": status["NoNewPrivs"], "root": refused("/etc/x"), "usr": refused("/usr/bin/x"),
    "tmp": refused("/tmp/x"), "code": refused("x"), "out": refused(os.environ["EYEWALL_OUT"] + "/x"),
    "home": refused(os.environ["HOME"] + "/x"), "data": refused(os.environ["EYEWALL_DATA"] + "/x"),
    "data is": pathlib.Path(os.environ["EYEWALL_DATA"], "part-0").read_text(),
    "environment": {k: v for k, v in os.environ.items() if k.startswith(("EYEWALL", "CUDA", "NVIDIA"))},
}))
"""


def test_a_jobs_place_is_its_own_and_it_has_no_rights_beside_it(job_bench):
    job_bench.store.write_bytes("data/tracks/part-0", b"7")
    root = str(Path(job_bench.store.root).resolve())
    worker = Worker("hall", "docker", "", {**job_bench.worker.options, "store": root})
    runner = DockerRunner(worker, job_bench.store)
    job = job_bench.python(PLACE, data=("data/tracks",), worker=worker)

    runner.create(job)
    runner.start(job)
    found = json.loads(next(iter(runner.lines(job))))

    readonly = "Read-only file system"
    assert found == {
        "cwd": "/work/code", "uid": [10001, 10001], "capabilities": 0, "no_new_privileges": "1",
        "root": readonly, "usr": readonly, "data": readonly,
        "tmp": None, "code": None, "out": None, "home": None, "data is": "7",
        "environment": {
            "EYEWALL_JOB": str(job.job), "EYEWALL_ATTEMPT": "1", "EYEWALL_CODE": "/work/code",
            "EYEWALL_DATA": "/work/data/0-tracks", "EYEWALL_DATA_0": "/work/data/0-tracks",
            "EYEWALL_DATA_JSON": '["/work/data/0-tracks"]', "EYEWALL_OUT": "/work/out", "EYEWALL_GPUS": "1",
            "CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void",
        },
    }  # fmt: skip


def test_limits_grow_with_the_gpus_and_devices_are_asked_for_by_uuid(job_bench):
    """2 GPUs: 2 x 256 Mi = 536870912 bytes, half a core each = 1e9 billionths, shared memory 2 x 64 Mi = 134217728."""
    options = {**job_bench.worker.options, "memory": "256Mi", "cpus": 0.5, "shm": "64Mi"}
    worker = Worker("hall", "docker", "", options)
    gpus = (Gpu(0, "GPU-aa", declared=False), Gpu(3, "GPU-bb", declared=False))
    job = job_bench.assignment("true", gpus=gpus, worker=worker)
    runner = DockerRunner(worker, job_bench.store)
    runner.create(job)

    (made,) = job_bench.containers()
    found = job_bench.engine.inspect_container(made["Id"])
    host = found["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["ShmSize"]) == (
        536870912, 536870912, 1000000000, 134217728,
    )  # fmt: skip
    (asked,) = host["DeviceRequests"]
    assert (asked["DeviceIDs"], asked["Capabilities"], asked["Count"]) == (["GPU-aa", "GPU-bb"], [["gpu"]], 0)
    assert "CUDA_VISIBLE_DEVICES=GPU-aa,GPU-bb" in found["Config"]["Env"]

    # This engine has no GPU runtime: that is the host's fault, so the attempt is lost, not failed.
    runner.start(job)
    state, code, reason = runner.look(job)
    assert (state, code) == ("ended", None)
    assert "could not select device driver" in reason


# --- ends


@pytest.mark.parametrize("code", [0, 3, 75, 255])
def test_the_exit_code_is_the_programs_own(job_bench, code):
    _, seen = job_bench.run(job_bench.python(f"import sys\nsys.exit({code})\n"))

    assert seen[:2] == ("ended", code)


def test_a_command_that_is_not_there_ends_with_127_and_its_name(job_bench):
    job = job_bench.assignment("nosuch-program", "--lr", "1")

    lines, seen = job_bench.run(job)

    assert seen[:2] == ("ended", 127)
    assert seen.reason.startswith("'nosuch-program' cannot be run")
    assert "nosuch-program failed: No such file or directory" in lines[0]


def test_a_job_that_outgrows_its_memory_says_so(job_bench):
    worker = Worker("hall", "docker", "", {**job_bench.worker.options, "memory": "64Mi"})
    job = job_bench.python("hog = b'x' * (256 << 20)\nprint(len(hog))\n", worker=worker)
    job_bench.runner = DockerRunner(worker, job_bench.store)

    lines, seen = job_bench.run(job)

    assert (lines, seen.state, seen.exit_code) == ([], "ended", 137)
    assert seen.reason == "killed by the kernel: it needs more memory than its limit of 64Mi for each GPU"


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
def test_a_container_that_somebody_kills_is_lost_not_failed(job_bench, signal):
    job = job_bench.python(SLEEP)
    job_bench.begin(job)
    lines = job_bench.runner.lines(job)
    assert next(lines) == "here"

    job_bench.engine.kill(job_bench.name(job), signal)

    assert list(lines) == []
    assert job_bench.runner.look(job)[:2] == ("ended", None)


def test_a_container_that_somebody_stops_is_lost_though_its_program_would_end_well(job_bench):
    """``docker stop``, or an engine that goes down, must not make a success of a job that did half its work."""
    job = job_bench.python(OBEY)
    job_bench.begin(job)
    next(job_bench.runner.lines(job))

    job_bench.engine.stop(job_bench.name(job), timeout=5)

    assert job_bench.runner.look(job)[:2] == ("ended", None)


def test_a_container_that_somebody_removes_is_absent(job_bench):
    job = job_bench.python(SLEEP)
    job_bench.begin(job)
    job_bench.engine.remove_container(job_bench.name(job), force=True, v=True)

    assert job_bench.runner.look(job).state == "absent"
    assert list(job_bench.runner.lines(job)) == []
    job_bench.runner.stop(job, 0)
    job_bench.runner.keep(job)
    job_bench.runner.remove(job)


def test_a_program_that_complies_with_sigterm_ends_by_itself(job_bench):
    job = job_bench.python(OBEY)
    job_bench.begin(job)
    next(job_bench.runner.lines(job))

    job_bench.runner.stop(job, 30)

    assert job_bench.runner.look(job) == ("ended", 0, "")


def test_a_program_that_does_not_is_killed_after_its_grace(job_bench):
    job = job_bench.python(SLEEP.replace("import time", "import signal, time\nsignal.signal(15, signal.SIG_IGN)"))
    job_bench.begin(job)
    next(job_bench.runner.lines(job))

    job_bench.runner.stop(job, 0.5)

    assert job_bench.runner.look(job)[:2] == ("ended", None)
    job_bench.runner.stop(job, 0.5)


def test_a_paused_container_can_be_stopped(job_bench):
    job = job_bench.python(OBEY)
    job_bench.begin(job)
    next(job_bench.runner.lines(job))
    job_bench.engine.pause(job_bench.name(job))
    assert job_bench.runner.look(job).state == "running"

    job_bench.runner.stop(job, 30)

    assert job_bench.runner.look(job).state == "ended"


# --- dispatchers that come and go


def test_another_dispatcher_finds_it_and_reads_it_from_its_first_line(job_bench):
    """The first one's stream breaks off with it; the second is another object, which knows nothing."""
    job = job_bench.python(
        "import pathlib, time\nprint('first', flush=True)\n"
        "while not pathlib.Path('/work/out/go').exists(): time.sleep(0.05)\nprint('last')\n"
    )
    job_bench.begin(job)
    assert next(job_bench.runner.lines(job)) == "first"

    other = job_bench.another()
    other.create(job)
    other.start(job)
    assert other.look(job).state == "running"
    lines = other.lines(job)
    assert next(lines) == "first"
    made = job_bench.engine.exec_create(job_bench.name(job), ["touch", "/work/out/go"])
    job_bench.engine.exec_start(made["Id"])

    assert list(lines) == ["last"]
    assert other.look(job) == ("ended", 0, "")
    assert list(job_bench.another().lines(job)) == ["first", "last"]


def test_many_dispatchers_that_make_and_start_at_once_make_one_container_that_runs_once(job_bench):
    job = job_bench.python("import uuid\nprint(uuid.uuid4())\n")
    errors = []

    def dispatch() -> None:
        try:
            runner = job_bench.another()
            runner.create(job)
            runner.start(job)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=dispatch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(list(job_bench.runner.lines(job))) == 1
    assert len(job_bench.containers()) == 1


def test_a_dispatcher_that_was_frozen_before_its_start_cannot_start_it_a_second_time(job_bench, monkeypatch):
    """It has seen that the container is made, and sleeps until another one has started it, and it has ended."""
    job = job_bench.python("print('ran')\n")
    job_bench.runner.create(job)
    frozen = job_bench.another()
    seen = frozen._find(job)
    lines, end = job_bench.run(job)
    assert (lines, end.state) == (["ran"], "ended")

    monkeypatch.setattr(frozen, "_find", lambda assignment: seen)
    frozen.start(job)

    assert job_bench.runner.look(job).state == "ended"
    assert list(job_bench.another().lines(job)) == ["ran"]


def test_a_container_that_was_started_by_one_who_died_at_once_is_known_as_started(job_bench):
    """Killed between the start and giving it its name: the next look does that."""
    job = job_bench.python(SLEEP)
    job_bench.runner.create(job)
    job_bench.engine.start(job_bench.name(job) + ".ready")

    assert job_bench.another().look(job).state == "running"
    assert job_bench.inspect(job)["State"]["Status"] == "running"


def test_what_is_stopped_before_its_start_never_starts(job_bench):
    job = job_bench.python("print('ran')\n")
    job_bench.runner.create(job)

    job_bench.another().stop(job, 0)
    job_bench.runner.start(job)

    assert job_bench.inspect(job)["State"]["Status"] == "created"
    job_bench.runner.remove(job)
    assert job_bench.containers() == []


def test_attempt_1_of_one_database_is_not_attempt_1_of_another(job_bench):
    """Two installations on one engine, or one whose database was made anew."""
    theirs = job_bench.python(SLEEP, claimed_s=1.5)
    job_bench.begin(theirs)
    ours = job_bench.python("print('ours')\n", job=theirs.job, attempt=theirs.attempt, claimed_s=2.5)

    assert job_bench.runner.look(ours).state == "absent"
    job_bench.runner.stop(ours, 0)
    job_bench.runner.remove(ours)
    assert job_bench.run(ours)[0] == ["ours"]
    job_bench.runner.remove(ours)
    assert job_bench.runner.look(theirs).state == "running"


def test_containers_that_nobody_will_start_are_removed_by_a_probe(job_bench, monkeypatch):
    """The one that runs, and the one that has ended, stay."""
    worker = Worker("hall", "docker", "", {**job_bench.worker.options, "devices": 1})
    forgotten, running, ended = (job_bench.python(text) for text in ("print(1)\n", SLEEP, "print(2)\n"))
    job_bench.runner.create(forgotten)
    job_bench.begin(running)
    job_bench.run(ended)

    DockerRunner(worker, job_bench.store).probe()
    assert len(job_bench.containers()) == 3

    monkeypatch.setattr(docker_probe, "FORGOTTEN_S", -1)
    DockerRunner(worker, job_bench.store).probe()
    assert [job_bench.runner.look(each).state for each in (forgotten, running, ended)] == ["absent", "running", "ended"]


# --- output


def test_a_job_that_prints_hundreds_of_megabytes_fills_no_disk_and_no_memory(job_bench):
    """300 MB in lines of 1000 bytes: 64 MiB at most are kept by the engine, 1 MiB a second is passed on."""
    job = job_bench.python(
        "import sys\nline = 'x' * 999 + '\\n'\nfor n in range(300): sys.stdout.write(line * 1000)\nprint('the end')\n"
    )
    job_bench.begin(job)
    size = count = most = 0
    log = Path(job_bench.inspect(job)["LogPath"])
    left_out, last = [], ""
    for last in job_bench.runner.lines(job):
        count, size = count + 1, size + len(last)
        left_out += [last] if "lines left out here" in last else []
        if log.parent.exists() and count % 100 == 0:
            with contextlib.suppress(FileNotFoundError):  # the engine puts a new one in its place at this moment
                most = max(most, sum(path.stat().st_size for path in log.parent.glob("*.log*")))
    seen = job_bench.runner.look(job)

    assert seen == ("ended", 0, "")
    assert last == "the end"
    assert len(left_out) > 2
    assert size < 60 << 20
    # 2 files of 32 MiB, and what is written while one is turned over.
    assert most <= (2 * 32 + 8) << 20


def test_progress_bars_and_lines_without_end_are_bounded(job_bench):
    """A megabyte without a newline is one line, cut."""
    lines, _ = job_bench.run(job_bench.python("print('y' * (1 << 20), end='')\n"))

    assert [len(line) for line in lines] == [8192 + len(" [eyewall: cut]")]


KEEP = """
import os, pathlib
out = pathlib.Path(os.environ["EYEWALL_OUT"])
(out / "model").mkdir()
(out / "model" / "weights").write_bytes(bytes(range(256)) * 100)
(out / "shadow").symlink_to("/etc/shadow")
(out / "up").symlink_to("../code")
os.mkfifo(out / "pipe")
(out / "a\\nb").write_text("x")
(out / "log").write_text("7")
"""


def test_what_a_job_leaves_comes_to_the_store_and_hostile_things_do_not(job_bench):
    job = job_bench.python(KEEP)
    job_bench.run(job)

    job_bench.runner.keep(job)
    job_bench.another().keep(job)

    top = f"jobs/{job.job}/1/out"
    assert job_bench.store.list_files(top) == [f"{top}/LEFT-OUT.txt", f"{top}/log", f"{top}/model/weights"]
    assert job_bench.store.read_bytes(f"{top}/model/weights") == bytes(range(256)) * 100
    left_out = job_bench.store.read_bytes(f"{top}/LEFT-OUT.txt").decode()
    assert all(name in left_out for name in ("out/shadow", "out/up", "out/pipe", "a\\nb"))


def test_a_job_cannot_fill_the_store(job_bench):
    """A file of 40 GB of holes, where 20 GiB are the limit: it is not even read."""
    job = job_bench.python(
        "import os\nout = os.environ['EYEWALL_OUT']\nopen(out + '/a', 'w').write('7')\n"
        "os.truncate(os.open(out + '/b', os.O_CREAT | os.O_WRONLY), 40 << 30)\n"
    )
    _, seen = job_bench.run(job)
    assert seen.exit_code == 0

    job_bench.runner.keep(job)

    assert b"out/b" in job_bench.store.read_bytes(f"jobs/{job.job}/1/out/LEFT-OUT.txt")


def test_a_job_that_removed_its_output_folder_has_no_output(job_bench):
    """The folder is the volume's, not the program's to keep."""
    job = job_bench.python("import os, shutil\nshutil.rmtree(os.environ['EYEWALL_OUT'], ignore_errors=True)\n")
    job_bench.run(job)

    job_bench.runner.keep(job)

    assert job_bench.store.list_files("jobs") == []


# --- what can never work


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"code": "nowhere"}, "code 'nowhere' is not there", id="no such code"),
        pytest.param({"image": None}, "has no digest", id="no image"),
        pytest.param({"image": "python:3.11"}, "has no digest", id="an image by a tag"),
        pytest.param({"data": ("data/x",)}, "give its option store", id="data that the host cannot see"),
    ],
)
def test_what_can_never_work_says_so_and_leaves_no_container_that_could_start(job_bench, fields, words):
    job = job_bench.assignment("true", **fields)

    with pytest.raises(ContractError, match=words):
        job_bench.runner.create(job)

    job_bench.runner.remove(job)
    assert job_bench.containers() == []


def test_data_that_leads_out_of_the_store_is_not_mounted(job_bench, tmp_path):
    worker = Worker("hall", "docker", "", {**job_bench.worker.options, "store": job_bench.store.root})
    job_bench.store.write_bytes("data/x", b"7")
    (Path(job_bench.store.root) / "data/etc").symlink_to("/etc")

    with pytest.raises(ContractError, match="leads out of the store"):
        DockerRunner(worker, job_bench.store).create(job_bench.assignment("true", data=("data/etc",), worker=worker))


def test_a_folder_of_data_that_the_host_has_not_is_named(job_bench):
    """The store is here; on the host, it is said to be somewhere that is not there."""
    job_bench.store.write_bytes("data/x", b"7")
    worker = Worker("hall", "docker", "", {**job_bench.worker.options, "store": "/nowhere/at/all"})

    with pytest.raises(ContractError, match="/nowhere/at/all/data"):
        DockerRunner(worker, job_bench.store).create(job_bench.assignment("true", data=("data",), worker=worker))


def test_a_registry_that_does_not_answer_may_do_so_later(job_bench):
    """So it is not the user's mistake: another attempt may pull it."""
    job = job_bench.assignment("true", image=f"127.0.0.1:9/nothing@sha256:{'5' * 64}")

    with pytest.raises(ServingError, match="cannot be pulled"):
        job_bench.runner.create(job)


def test_an_engine_that_is_away_tells_nothing_whatever_is_asked(job_bench, tmp_path):
    away = DockerRunner(Worker("hall", "docker", f"unix://{tmp_path}/none.sock", {}), job_bench.store)
    job = job_bench.assignment("true")

    for ask in (away.look, away.create, away.start, away.keep, away.remove, lambda job: list(away.lines(job)),
                lambda job: away.stop(job, 1), lambda job: away.probe(), lambda job: away.answers()):  # fmt: skip
        with pytest.raises(WorkerUnreachable, match=r"no Docker engine answers at unix://.*none\.sock"):
            ask(job)
