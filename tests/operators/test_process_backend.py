"""The process backend, with real processes: output, environment, and an end that reaches every child."""

# NOTE: injected by pytest, defined in conftest: program
import os
import signal
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from eyewall.contracts.settings import Settings
from operators.process import ProcessBackend, step_environment


def backend(say) -> ProcessBackend:
    """One whose task's log is ``say``."""
    return ProcessBackend(Settings(), SimpleNamespace(log=SimpleNamespace(info=say)))


def test_the_real_command_line_runs_and_its_end_is_told():
    said: list[str] = []

    outcome = backend(said.append).run_command(["--version"])

    assert outcome.code == 0
    assert said[0].startswith("eyewall 0.")


def test_bad_input_comes_back_as_65_with_its_sentence():
    outcome = backend(lambda line: None).run_command(["gate", "--min-cases=many"])

    assert outcome.code == 65
    assert "min_cases" in outcome.sentence


def test_lines_arrive_one_by_one_and_the_last_json_line_is_the_summary(program):
    program("""
        import sys
        print("first"); sys.stderr.write("second\\n"); print('{"n": 3, "path": "a/b"}'); print("{not json")
    """)
    said: list[str] = []

    outcome = backend(said.append).run_command([])

    assert sorted(said) == sorted(["first", "second", '{"n": 3, "path": "a/b"}', "{not json"])
    assert outcome.summary == {"n": 3, "path": "a/b"}


def test_a_failed_step_has_no_summary_even_if_it_printed_one(program):
    program("print('{\"n\": 3}'); print('eyewall: no storm'); raise SystemExit(99)")

    outcome = backend(lambda line: None).run_command([])

    assert outcome == (99, {}, "no storm")


def test_output_that_is_not_text_does_not_break_the_task(program):
    program("import sys; sys.stdout.buffer.write(b'\\xff\\xfe ok\\n')")
    said: list[str] = []

    assert backend(said.append).run_command([]).code == 0
    assert said[0].endswith(" ok")


def test_a_step_sees_its_own_variables_and_none_of_airflows(program, monkeypatch):
    program("import json, os; print(json.dumps(dict(os.environ)))")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_DB", "postgresql://u:p@h/d")
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://u:p@h/d")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("EYEWALL_STORE", "s3://bucket")
    monkeypatch.setenv("AWS_PROFILE", "sat")

    seen = backend(lambda line: None).run_command([]).summary

    assert (seen["EYEWALL_STORE"], seen["AWS_PROFILE"]) == ("s3://bucket", "sat")
    assert not [name for name in seen if name.startswith("AIRFLOW") or "TOKEN" in name]
    assert "EYEWALL_DATABASE_URL" not in seen


def test_the_allow_list_is_all_that_passes():
    environ = {"PATH": "/bin", "TF_CONFIG": "{}", "LD_PRELOAD": "x", "DATABASE_URL": "y", "eyewall_x": "z"}

    assert step_environment(environ) == {"PATH": "/bin", "TF_CONFIG": "{}"}


PARENT = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; {}; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    "obedience",
    [
        pytest.param("pass", id="obedient"),
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_IGN)", id="deaf to SIGTERM"),
    ],
)
def test_stop_ends_the_step_and_the_workers_it_has_started(program, obedience):
    program(PARENT.format(obedience))
    started: list[str] = []
    running = backend(started.append)
    thread = threading.Thread(target=lambda: running.run_command([]))
    thread.start()
    _until(lambda: started)
    child = psutil.Process(int(started[0]))
    time.sleep(0.3)  # for the child to set its signal handler

    running.stop()

    thread.join(10)
    assert not thread.is_alive()
    _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_an_exception_while_waiting_leaves_nothing_behind(program):
    """A timeout of the task is raised in the middle of reading a line."""
    program(PARENT.format("pass"))
    pids: list[int] = []

    def say(line):
        pids.append(int(line))
        raise TimeoutError("the task's time is up")

    with pytest.raises(TimeoutError):
        backend(say).run_command([])

    _until(lambda: not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE)


def test_a_step_that_was_killed_comes_back_with_the_signal(program):
    program("import os; os.kill(os.getpid(), 9)")

    outcome = backend(lambda line: None).run_command([])

    assert outcome.code == -signal.SIGKILL
    assert outcome.sentence == "ended with exit code -9"


def test_a_step_has_a_process_group_of_its_own(program):
    program("import os, json; print(json.dumps({'group': os.getpgid(0)}))")

    assert backend(lambda line: None).run_command([]).summary["group"] != os.getpgid(0)


def _until(true, seconds=10.0):
    """Wait for something that is about to be true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
