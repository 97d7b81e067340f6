"""The supervisor, with real processes: started once, found again, ended with all that they have started."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from eyewall.contracts.errors import InputError
from eyewall.platform.processes import MARKER, Service, Supervisor, birth_of

SLEEP = "import time; time.sleep(60)"
FAMILY = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); {SLEEP}"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
RUNAWAY = (
    "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', "
    f"{SLEEP!r}], start_new_session=True).pid, flush=True)"
)


@pytest.fixture
def supervisor(tmp_path):
    """One of its own; whatever a test leaves running is ended."""
    (tmp_path / "log").mkdir()
    made = Supervisor(tmp_path / "run", tmp_path / "log", str(tmp_path))
    (tmp_path / "run").mkdir()
    yield made
    made.stop(["a", "b"], grace_s=0.2)


def service(code: str, name: str = "a") -> Service:
    return Service(name, [sys.executable, "-c", code], {"PATH": os.environ["PATH"]})


def printed(supervisor: Supervisor, name: str = "a") -> str:
    """What a service prints first, once it has."""
    return until(lambda: (supervisor.log / f"{name}.log").read_text().strip())


def until(value, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (found := value()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return found


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_service_is_found_by_its_name_until_it_is_stopped(supervisor, tmp_path):
    pid = supervisor.start(service(SLEEP), tmp_path)

    assert supervisor.pid_of("a") == pid
    assert supervisor.stop(["a"]) == 1
    assert supervisor.pid_of("a") is None
    assert is_gone(pid)


def test_starting_what_runs_starts_nothing(supervisor, tmp_path):
    pid = supervisor.start(service(SLEEP), tmp_path)

    assert supervisor.start(service(SLEEP), tmp_path) == pid


def test_another_supervisor_of_the_same_folder_knows_what_runs(supervisor, tmp_path):
    pid = supervisor.start(service(SLEEP), tmp_path)

    assert Supervisor(supervisor.run, supervisor.log, supervisor.marker).pid_of("a") == pid


def test_children_end_with_their_parent(supervisor, tmp_path):
    supervisor.start(service(FAMILY), tmp_path)
    child = int(printed(supervisor))

    assert supervisor.stop(["a"]) == 2
    assert is_gone(child)


def test_what_is_deaf_to_sigterm_is_killed(supervisor, tmp_path):
    pid = supervisor.start(service(DEAF), tmp_path)
    assert printed(supervisor) == "deaf"

    supervisor.stop(["a"], grace_s=0.3)

    assert is_gone(pid)


def test_an_orphan_whose_parent_was_killed_is_found_by_its_environment(supervisor, tmp_path):
    pid = supervisor.start(service(FAMILY), tmp_path)
    child = int(printed(supervisor))
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.pid_of("a") is None)

    supervisor.stop(["a"])

    assert is_gone(child)


def test_an_orphan_in_a_session_of_its_own_is_found_too(supervisor, tmp_path):
    """As a step is, whose task was killed."""
    supervisor.start(service(RUNAWAY), tmp_path)
    child = int(printed(supervisor))

    supervisor.stop(["a"])

    assert is_gone(child)


def test_an_orphan_that_has_lost_its_environment_is_found_by_its_session(supervisor, tmp_path):
    """As a worker of Airflow's, whose title overwrites its environment."""
    child = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env={{}})"
    family = f"import subprocess, sys; print({child}.pid, flush=True); {SLEEP}"
    pid = supervisor.start(service(family), tmp_path)
    child = int(printed(supervisor))
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.pid_of("a") is None)

    supervisor.stop(["a"])

    assert is_gone(child)


def test_stopping_one_service_leaves_the_others_and_their_children_alone(supervisor, tmp_path):
    supervisor.start(service(SLEEP), tmp_path)
    other = supervisor.start(service(FAMILY, "b"), tmp_path)
    child = int(printed(supervisor, "b"))

    assert supervisor.stop(["a"]) == 1

    assert supervisor.pid_of("b") == other
    assert not is_gone(child)


def test_another_installations_processes_are_left_alone(supervisor, tmp_path):
    other = subprocess.Popen([sys.executable, "-c", SLEEP], env={**os.environ, MARKER: str(tmp_path / "other")})
    try:
        supervisor.start(service(SLEEP), tmp_path)
        supervisor.stop(["a"])

        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_pid_file_whose_pid_belongs_to_another_program_by_now_is_stale(supervisor):
    """This test's own process: it must not be taken for the service, let alone be ended."""
    birth = birth_of(os.getpid())
    assert birth is not None
    (supervisor.run / "a.pid").write_text(json.dumps({"pid": os.getpid(), "birth": birth - 1}))

    assert supervisor.pid_of("a") is None
    assert supervisor.stop(["a"]) == 0
    assert not (supervisor.run / "a.pid").exists()


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", '{"pid": 1}', '{"pid": "x", "birth": 1}', '{"pid": 999999999, "birth": 1}']
)
def test_a_damaged_pid_file_means_that_nothing_runs(supervisor, text):
    (supervisor.run / "a.pid").write_text(text)

    assert supervisor.pid_of("a") is None


def test_a_service_that_has_ended_but_was_not_waited_for_does_not_run(supervisor, tmp_path):
    supervisor.start(service("print('bye')"), tmp_path)

    until(lambda: supervisor.pid_of("a") is None)

    assert "bye" in supervisor.tail("a")


def test_a_service_gets_exactly_the_environment_it_was_given_and_the_mark(supervisor, tmp_path):
    supervisor.start(service("import os; print(sorted(os.environ))"), tmp_path)

    names = printed(supervisor)

    assert MARKER in names
    assert "HOME" not in names


def test_two_commands_at_once_are_refused(supervisor):
    with supervisor.lock(), pytest.raises(InputError, match="another eyewall platform command"), supervisor.lock():
        pass


def test_birth_of_tells_processes_apart_and_knows_none_of_a_pid_that_is_free():
    assert birth_of(os.getpid()) == birth_of(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", SLEEP])  # born well after this process; a parent may share its tick
    try:
        assert birth_of(child.pid) not in (None, birth_of(os.getpid()))
    finally:
        child.kill()
        child.wait()
    assert birth_of(2**22 + 12345) is None
