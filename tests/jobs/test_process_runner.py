"""The process backend: hostile arguments, floods, deaf programs, killed shims; with real processes and no database."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dispatching import wait_until

from eyewall.contracts.errors import InputError
from eyewall.jobs.log_reader import MAX_LINE_BYTES, LogReader
from eyewall.jobs.process import shim
from eyewall.jobs.process.machine import as_registered, is_in_reach
from eyewall.jobs.process.runner import ProcessRunner
from eyewall.jobs.runner import Assignment, Gpu, Seen, Worker, WorkerUnreachable
from eyewall.jobs.runners import runner_for
from eyewall.storage import Store

Make = Callable[..., Assignment]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A worker with a folder of its own."""
    return Worker("desk", "process", "", {"folder": str(tmp_path / "scratch"), "devices": 2, "memory_mb": 7})


@pytest.fixture
def runner(worker: Worker, tmp_path: Path) -> ProcessRunner:
    """Its runner."""
    return ProcessRunner(worker, Store(str(tmp_path / "store")))


@pytest.fixture
def make(worker: Worker) -> Make:
    """Makes the assignment of a command."""

    def made(*command: str, **values: object) -> Assignment:
        plain = Assignment(
            attempt=5, job=3, number=2, token=1, worker=worker, gpus=(Gpu(0, "desk-0", True),), command=command,
            owner="tester", environment="local", image=None, folder=None, code=None, data=(), variables={}, max_s=None,
        )  # fmt: skip
        return replace(plain, **values)  # type: ignore[arg-type]

    return made


def run(runner: ProcessRunner, assignment: Assignment) -> tuple[list[str], Seen]:
    """Output and end of a whole run."""
    runner.create(assignment)
    runner.start(assignment)
    return list(runner.lines(assignment)), runner.look(assignment)


def folder_of(assignment: Assignment) -> Path:
    """The attempt's folder."""
    (found,) = Path(assignment.worker.options["folder"]).glob(f"{assignment.name}-*")
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- what a job gets


def test_arguments_arrive_as_they_were_given(runner: ProcessRunner, make: Make) -> None:
    hostile = ["two words", "; touch /tmp/owned", "$(id)", "`id`", "a\nb", "'\"\\", "*", "", "-rf", "ü→𝔘", "&& false"]
    program = "import sys, json; print(json.dumps(sys.argv[1:]))"
    lines, seen = run(runner, make("python", "-c", program, *hostile))
    assert json.loads(lines[0]) == hostile
    assert seen == Seen("ended", 0, "")


def test_its_environment_is_its_variables_and_the_platforms_and_no_secret(
    runner: ProcessRunner, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    gpus = (Gpu(0, "GPU-aa", False), Gpu(1, "GPU-bb", False))
    program = "import os, json; print(json.dumps(dict(os.environ)))"
    variables = {"LR": "0.1", "EYEWALL_JOB": "99"}
    lines, _ = run(runner, make("python", "-c", program, gpus=gpus, variables=variables))
    got = json.loads(lines[0])
    assert not {"EYEWALL_DATABASE_URL", "AWS_SECRET_ACCESS_KEY"} & set(got)
    assert {name: got[name] for name in ("LR", "EYEWALL_JOB", "EYEWALL_ATTEMPT", "EYEWALL_GPUS", "EYEWALL_DATA")} == {
        "LR": "0.1", "EYEWALL_JOB": "3", "EYEWALL_ATTEMPT": "2", "EYEWALL_GPUS": "2", "EYEWALL_DATA": "",
    }  # fmt: skip
    assert got["CUDA_VISIBLE_DEVICES"] == "GPU-aa,GPU-bb"


def test_a_declared_device_shows_no_gpu_to_the_job(runner: ProcessRunner, make: Make) -> None:
    lines, _ = run(runner, make("sh", "-c", 'echo "<$CUDA_VISIBLE_DEVICES>"'))
    assert lines == ["<>"]


def test_it_runs_in_its_own_copy_of_the_code_beside_its_data(runner: ProcessRunner, make: Make, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "code/mine/lib").mkdir(parents=True)
    (store / "code/mine/go.sh").write_text('#!/bin/sh\ncat lib/word "$EYEWALL_DATA/x"; echo changed > lib/word\n')
    (store / "code/mine/go.sh").chmod(0o755)
    (store / "code/mine/lib/word").write_text("from code, ")
    (store / "records").mkdir()
    (store / "records/x").write_text("from data")
    lines, seen = run(runner, make("./go.sh", code="code/mine", data=("records",)))
    assert (lines, seen.exit_code) == (["from code, from data"], 0)
    assert (store / "code/mine/lib/word").read_text() == "from code, "


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"code": "nowhere"}, "'nowhere' is not there", id="no-code"),
        pytest.param({"code": "file:///etc"}, "file:///etc", id="code-of-the-machine"),
        pytest.param({"data": ("nowhere",)}, "put it there first", id="no-data"),
        pytest.param({"data": ("link",)}, "leads out of the store", id="data-of-the-machine"),
        pytest.param({"environment": "x", "folder": "/no/such"}, "has no folder on this machine", id="no-environment"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence_and_leaves_nothing(
    runner: ProcessRunner, make: Make, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/link").symlink_to("/etc")
    with pytest.raises(InputError, match=said):
        runner.create(make("true", **values))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert runner.look(make("true")) == Seen("absent")


# ---- how it ends


@pytest.mark.parametrize(
    ("command", "exit_code", "said"),
    [
        pytest.param(("sh", "-c", "exit 3"), 3, "", id="fails"),
        pytest.param(("no-such-program",), 127, "'no-such-program': No such file", id="not-found"),
        pytest.param(("/etc/passwd",), 126, "'/etc/passwd': Permission denied", id="no-program"),
        pytest.param(("sh", "-c", "kill -9 $$"), 137, "killed by SIGKILL", id="killed"),
    ],
)
def test_its_end_is_told_as_it_was(
    runner: ProcessRunner, make: Make, command: tuple[str, ...], exit_code: int, said: str
) -> None:
    _, seen = run(runner, make(*command))
    assert (seen.state, seen.exit_code) == ("ended", exit_code)
    assert said in seen.reason


def test_what_it_leaves_running_ends_with_it(runner: ProcessRunner, make: Make) -> None:
    program = "sleep 300 & echo $!; setsid sleep 300 & echo $!; (setsid sh -c 'sleep 300 & echo $!; wait' &); sleep 0.2"
    lines, seen = run(runner, make("sh", "-c", program))
    assert (len(lines), seen.exit_code) == (3, 0)
    assert [pid for pid in lines if is_alive(int(pid))] == []


@pytest.mark.parametrize(
    ("program", "grace_s", "exit_code"),
    [
        pytest.param("sleep 300", 60.0, 143, id="obedient"),
        pytest.param("trap 'echo saved; exit 0' TERM; while :; do sleep 0.05; done", 60.0, 0, id="complies"),
        pytest.param("trap '' TERM; while :; do sleep 0.05; done", 0.3, 137, id="deaf"),
        pytest.param("kill -STOP $$", 0.3, 137, id="stopped"),
    ],
)
def test_stop_is_sigterm_then_a_grace_then_sigkill(
    runner: ProcessRunner, make: Make, program: str, grace_s: float, exit_code: int
) -> None:
    assignment = make("sh", "-c", f"echo up; {program}")
    runner.create(assignment)
    runner.start(assignment)
    lines = runner.lines(assignment)
    assert next(lines) == "up"
    runner.stop(assignment, grace_s)
    assert (runner.look(assignment).state, runner.look(assignment).exit_code) == ("ended", exit_code)
    runner.stop(assignment, grace_s)  # again: harmless


def test_a_machine_that_goes_down_ends_a_job_without_a_verdict(runner: ProcessRunner, make: Make) -> None:
    """A SIGTERM that nobody here asked for: a job that complies ends with 0, as if it had finished."""
    assignment = make("sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done")
    runner.create(assignment)
    runner.start(assignment)
    lines = runner.lines(assignment)
    assert next(lines) == "up"
    os.kill(json.loads((folder_of(assignment) / "begun.json").read_text())["pid"], signal.SIGTERM)
    list(lines)
    assert runner.look(assignment) == Seen("ended", None, "ended from outside, as when its machine goes down")


def test_what_was_stopped_before_it_began_never_begins(runner: ProcessRunner, make: Make, tmp_path: Path) -> None:
    assignment = make("touch", str(tmp_path / "began"))
    runner.create(assignment)
    assert runner.look(assignment) == Seen("created")
    runner.stop(assignment, 0.0)
    runner.start(assignment)
    assert runner.look(assignment).reason == "stopped before it began"
    assert not (tmp_path / "began").exists()


# ---- again, and by others


def test_many_may_create_and_start_it_at_once_and_it_runs_once(
    runner: ProcessRunner, make: Make, tmp_path: Path
) -> None:
    assignment = make("sh", "-c", 'echo ran >> "$0"; sleep 0.3', str(tmp_path / "ran"))
    runner.create(assignment)
    runner.create(assignment)
    shims = [
        subprocess.Popen([sys.executable, "-I", "-S", shim.__file__, str(folder_of(assignment))]) for _ in range(6)
    ]
    runner.start(assignment)
    assert [process.wait() for process in shims] == [0] * 6
    list(runner.lines(assignment))
    runner.start(assignment)  # after its end
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_another_runner_finds_it_running_and_reads_it_from_the_first_line(
    runner: ProcessRunner, make: Make, worker: Worker, tmp_path: Path
) -> None:
    assignment = make("sh", "-c", "echo first; sleep 0.5; printf last")
    runner.create(assignment)
    runner.start(assignment)
    another = runner_for(worker, Store(str(tmp_path / "store")))
    assert another.look(assignment) == Seen("running")
    assert list(another.lines(assignment)) == ["first", "last"]
    assert list(runner.lines(assignment)) == ["first", "last"]


def test_a_killed_shim_takes_its_job_along_and_says_that_nobody_knows(runner: ProcessRunner, make: Make) -> None:
    assignment = make("sh", "-c", "sleep 300 & echo $!; setsid sleep 300 & echo $!; echo $$; wait")
    runner.create(assignment)
    runner.start(assignment)
    lines = runner.lines(assignment)
    pids = [int(next(lines)) for _ in range(3)]
    os.kill(json.loads((folder_of(assignment) / "begun.json").read_text())["pid"], signal.SIGKILL)
    assert list(lines) == []
    seen = runner.look(assignment)
    assert (seen.state, seen.exit_code) == ("ended", None)
    assert [pid for pid in pids if is_alive(pid)] == []
    runner.start(assignment)
    assert runner.look(assignment) == seen


def test_job_one_of_another_database_is_another_job(runner: ProcessRunner, make: Make) -> None:
    run(runner, make("true", claimed_s=1000.5))
    assert runner.look(make("true", claimed_s=2000.5)) == Seen("absent")


def test_nothing_is_concluded_of_jobs_on_another_machine(make: Make, tmp_path: Path) -> None:
    here = as_registered(Worker("desk", "process", "", {"folder": str(tmp_path / "here")}))
    there = as_registered(Worker("desk", "process", "", {"folder": str(tmp_path / "there")}))
    elsewhere = replace(there, options=here.options)  # its folder is here another one
    assert is_in_reach(here)
    assert is_in_reach(there)
    assert not is_in_reach(elsewhere)
    with pytest.raises(WorkerUnreachable):
        ProcessRunner(elsewhere, Store(str(tmp_path / "store"))).look(make("true"))


# ---- what it leaves


def test_its_output_folder_is_kept_but_for_links_and_odd_names_and_its_own_is_removed(
    runner: ProcessRunner, make: Make, tmp_path: Path
) -> None:
    program = (
        'cd "$EYEWALL_OUT"; mkdir -p a/b; echo weights > a/b/model; ln -s /etc/passwd link;'
        "ln -s /etc dir; mkfifo pipe;"
        "touch 'new\nline' \"$(printf 'not\\377text')\"; mkdir closed; echo x > closed/x; chmod 000 closed/x closed"
    )
    assignment = make("sh", "-c", program)
    _, seen = run(runner, assignment)
    assert seen.exit_code == 0
    runner.keep(assignment)
    runner.keep(assignment)
    store = Store(str(tmp_path / "store"))
    kept = {path.removeprefix("jobs/3/2/out/") for path in store.list_files("jobs")}
    assert kept == {"a/b/model", "closed/x", "LEFT-OUT.txt"}
    left_out = store.read_bytes("jobs/3/2/out/LEFT-OUT.txt").decode().splitlines()
    names = ["'dir'", "'link'", "'new\\nline'", "'not\\udcfftext'", "'pipe'"]
    assert sorted(line.partition(":")[0] for line in left_out) == names
    runner.remove(assignment)
    runner.remove(assignment)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_declared_devices_are_found_as_the_worker_declares_them(runner: ProcessRunner) -> None:
    found = runner.probe()
    assert [(gpu.number, gpu.uuid, gpu.memory_mb, gpu.state, gpu.declared) for gpu in found] == [
        (0, "desk-0", 7, "ok", True),
        (1, "desk-1", 7, "ok", True),
    ]


# ---- floods


def test_a_flood_costs_bounded_disk_and_keeps_its_first_and_last_lines_and_its_reports(
    runner: ProcessRunner, make: Make
) -> None:
    # 2000 blocks of 100 kB: 200 MB, a report among each 500 of them; read after the end, when most of it is gone.
    program = (
        "import os\n"
        "os.write(1, b'first\\n')\n"
        "block = (b'x' * 99 + b'\\n') * 1000\n"
        "for n in range(2000):\n"
        '    if n % 500 == 250: os.write(1, b\'eyewall-report {"step": %d, "metric": "m", "value": 1}\\n\' % n)\n'
        "    os.write(1, block)\n"
        "os.write(1, b'last\\n')\n"
    )
    assignment = make("python", "-c", program)
    runner.create(assignment)
    runner.start(assignment)
    wait_until(lambda: runner.look(assignment).state == "ended")
    on_disk = sum(path.stat().st_size for path in folder_of(assignment).rglob("*") if path.is_file())
    assert on_disk <= (2 + shim.TAIL_SEGMENTS) * shim.SEGMENT_BYTES
    lines = list(runner.lines(assignment))
    assert (lines[0], lines[-1]) == ("first", "last")
    reports = [line for line in lines if line.startswith("eyewall-report")]
    assert [json.loads(line.partition(" ")[2])["step"] for line in reports] == [250, 750, 1250, 1750]
    (gap,) = [line for line in lines if "left out" in line]
    # Every byte that was printed is in a line, is its newline, or is left out; the line that the gap begins in has one
    # newline more. The reports were in the gap, so that they are counted in it.
    printed = len("first\n") + 2000 * 100_000 + sum(len(line) + 1 for line in reports) + len("last\n")
    kept = sum(len(line) + 1 for line in lines if line != gap and line not in reports)
    assert kept + int(gap.split()[1]) == printed + 1


def test_a_line_without_an_end_comes_in_pieces(runner: ProcessRunner, make: Make) -> None:
    lines, _ = run(runner, make("python", "-c", "print('y' * 3_000_000)"))
    assert max(map(len, lines)) < MAX_LINE_BYTES + 100
    assert all("bytes more" in line for line in lines[:-1])


def test_a_full_disk_costs_output_and_not_the_job(tmp_path: Path) -> None:
    output = shim.Output(str(tmp_path / "no" / "such" / "folder"))  # every write fails
    for _ in range(3):
        output.take(b"eyewall-report {}\n" + b"z" * shim.SEGMENT_BYTES)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_keeps_up_sees_every_line_of_a_flood(tmp_path: Path) -> None:
    output, reader = shim.Output(str(tmp_path)), LogReader(tmp_path)
    seen: list[str] = []
    for start in range(0, 200_000, 1000):  # 200,000 lines of 101 bytes: 20 segments
        output.take(b"".join(b"%0100d\n" % n for n in range(start, start + 1000)))
        seen += reader.new_lines()
    assert seen == [f"{n:0100d}" for n in range(200_000)]
    assert len(list(tmp_path.glob("*.log"))) == 1 + shim.TAIL_SEGMENTS


def test_a_job_that_is_silent_does_not_keep_a_stop_waiting(runner: ProcessRunner, make: Make) -> None:
    """A shim without a signal, as of another container's count of processes, looks for the request by itself."""
    assignment = make("sleep", "300")
    runner.create(assignment)
    runner.start(assignment)
    shim.write_json(str(folder_of(assignment) / "stop.json"), {"grace_s": 60.0})
    wait_until(lambda: runner.look(assignment).state == "ended")
    assert runner.look(assignment).exit_code == 143
