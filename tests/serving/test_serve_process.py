"""``eyewall serve`` as a process: ports, readiness, graceful stop; and ``eyewall models``."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tiny_models import INPUTS, decide, put_model, slow_saved_model

from eyewall import cli
from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import PublishJob, ServeJob
from eyewall.serving import publish_step
from eyewall.serving.client import Client
from eyewall.serving.serve_step import start


def eyewall(*arguments: str, **fields: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "eyewall.cli", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **fields
    )


@pytest.fixture
def process(repository, tmp_path):
    """A served repository with a quick and a slow model; yields the process and its ready file's content."""
    repository.publish(2.0)
    slow = decide(repository.store, put_model(repository.store, 0.0, slow_saved_model()))
    publish_step.run(PublishJob(store=repository.url, decision_ref=slow, name="slow"))
    ready = tmp_path / "run" / "ready.json"
    arguments = ["--grpc-port=0", "--rest-port=0", f"--ready-file={ready}", "--grace-s=30", "--json"]
    process = eyewall("serve", f"--store={repository.url}", *arguments)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.05)
        yield process, json.loads(ready.read_text()), ready
    finally:
        process.kill()
        process.communicate()


def duration_of(client: Client, rounds: int) -> float:
    before = time.perf_counter()
    client.predict({"x": np.float32([[rounds]])}, "slow", timeout_s=60)
    return time.perf_counter() - before


def test_on_sigterm_a_running_request_is_finished_new_ones_are_refused_and_the_exit_is_0(process):
    server, ports, ready = process
    address = f"127.0.0.1:{ports['grpc_port']}"
    assert ports["pid"] == server.pid
    with Client(address) as client:
        assert client.predict(INPUTS, "track", label="stable").version == 1
        answers: list[object] = []
        seconds_of_50 = min(duration_of(client, 50) for _ in range(2))
        rounds = round(50 * 2.0 / seconds_of_50)  # about two seconds, whatever the machine

        def ask_grpc() -> None:
            with Client(address) as slow:
                answers.append(slow.predict({"x": np.float32([[rounds]])}, "slow", timeout_s=60).outputs["y"])

        def ask_rest() -> None:
            url = f"http://127.0.0.1:{ports['rest_port']}/v1/models/slow:predict"
            with urllib.request.urlopen(url, json.dumps({"inputs": [[rounds]]}).encode(), timeout=60) as response:
                answers.append(np.float32(json.load(response)["outputs"]))

        asking = [threading.Thread(target=ask) for ask in (ask_grpc, ask_rest)]
        for thread in asking:
            thread.start()
        time.sleep(0.5)  # both are in the graph's loop now
        assert answers == []
        server.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join(60)
        assert [float(a[0, 0]) for a in answers] == [pytest.approx(400.0, rel=1e-3)] * 2
    out, err = server.communicate(timeout=30)
    assert server.returncode == 0, err
    assert json.loads(out) == {"grpc_port": ports["grpc_port"], "rest_port": ports["rest_port"]}
    assert "stopping" in err
    assert not ready.exists()
    with socket.socket() as closed:
        assert closed.connect_ex(("127.0.0.1", ports["grpc_port"])) != 0


@pytest.mark.parametrize("option", ["--grpc-port", "--rest-port"])
def test_a_port_in_use_is_named_with_the_remedy_before_tensorflow_is_even_imported(repository, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = {"--grpc-port": "--rest-port", "--rest-port": "--grpc-port"}[option]
        server = eyewall("serve", f"--store={repository.url}", f"{option}={port}", f"{other}=0")
        out, err = server.communicate(timeout=60)
    assert (server.returncode, out) == (65, "")
    assert err.startswith(f"eyewall: port {port} on 127.0.0.1 is in use: ")
    assert "--grpc-port" in err
    assert err.count("\n") == 1  # one sentence, and not a word of TensorFlow's


def test_two_servers_never_share_a_port(repository, serve):
    Path(repository.url).mkdir()
    first = serve(repository.url)
    for fields in ({"grpc_port": first.grpc_port}, {"rest_port": first.rest_port}):
        with pytest.raises(InputError, match="is in use"):
            start(ServeJob(store=repository.url, **({"grpc_port": 0, "rest_port": 0} | fields)))


def test_an_address_that_is_not_this_machines_is_refused(repository):
    with pytest.raises(InputError, match=r"cannot listen on 192\.0\.2\.1:8500"):
        start(ServeJob(store=repository.url, host="192.0.2.1"))


def test_a_store_that_is_no_folder_is_refused_with_what_to_run_instead():
    with pytest.raises(InputError, match="run TensorFlow Serving over it"):
        start(ServeJob(store="memory://x"))


def test_a_server_that_was_killed_is_started_again_by_the_same_command(process, repository):
    """Its ready file stays behind, and must not speak for the next one; its lock and its ports are free."""
    first, told, ready = process
    first.kill()
    first.wait(10)
    assert ready.exists()
    ports = [f"--grpc-port={told['grpc_port']}", f"--rest-port={told['rest_port']}"]
    broken = eyewall("serve", f"--store={repository.url}", *ports, f"--ready-file={ready}", "--host=192.0.2.1")
    assert broken.wait(60) == 65
    broken.communicate()
    assert not ready.exists()  # it never was ready

    again = eyewall("serve", f"--store={repository.url}", *ports, f"--ready-file={ready}")
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert again.poll() is None, again.stderr.read()
            assert time.monotonic() < deadline, "the server never became ready"
            time.sleep(0.05)
        assert json.loads(ready.read_text())["pid"] == again.pid
        with Client(f"127.0.0.1:{told['grpc_port']}") as client:
            assert client.predict(INPUTS, "track", label="stable").version == 1
        again.terminate()
        _, log = again.communicate(timeout=60)
    finally:
        again.kill()
    lines = [line.split(" ", 2)[2] for line in log.splitlines()]  # after date and time; nothing of TensorFlow's own
    assert f"serving slow stable = 1, track stable = 1 of store {repository.url!r}" in lines


def test_an_empty_repository_is_served_and_healthy(repository, serve):
    server = serve(repository.url)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/healthz", timeout=10) as response:
        assert response.status == 200
    with Client(server.address) as client:
        assert client.status("track") == {}


# --- eyewall models


def run_cli(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["eyewall", *arguments])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_models_are_listed_for_people_and_for_programs(repository, monkeypatch, capsys):
    store = f"--store={repository.url}"
    assert "it is not there: check --store" in run_cli(monkeypatch, capsys, "models", "list", store)[1]
    Path(repository.url).mkdir()
    assert "publish one with eyewall publish" in run_cli(monkeypatch, capsys, "models", "list", store)[1]
    repository.publish(2.0)
    repository.publish(3.0)
    _, out, _ = run_cli(monkeypatch, capsys, "models", "list", store)
    assert [line.split() for line in out.splitlines()] == [
        ["track", "2", "stable", "good", "models/gain3.0"],
        ["track", "1", "previous", "good", "models/gain2.0"],
    ]
    _, out, _ = run_cli(monkeypatch, capsys, "models", "list", store, "--json")
    assert json.loads(out)["track"]["labels"] == {"stable": 2, "previous": 1}


def test_a_rollback_by_command_and_its_refusals(repository, monkeypatch, capsys):
    store = f"--store={repository.url}"
    code, _, err = run_cli(monkeypatch, capsys, "models", "rollback", "nope", store)
    assert (code, err) == (65, "eyewall: no served model 'nope': there is none; publish one with eyewall publish\n")
    assert not Path(repository.url).exists()  # no lock is made in a store that is not there
    repository.publish(2.0)
    repository.publish(3.0)
    code, out, _ = run_cli(monkeypatch, capsys, "models", "rollback", "track", store, "--reason=drifts", "--json")
    assert (code, json.loads(out)) == (0, {"name": "track", "from": 2, "version": 1})
    code, _, err = run_cli(monkeypatch, capsys, "models", "rollback", "track", store, "--to=x")
    assert code == 65
    assert "--to" in err


def test_the_config_for_tensorflows_own_server_is_what_its_format_says(repository, monkeypatch, capsys):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    repository.publish(2.0)
    repository.publish(3.0)
    _, out, _ = run_cli(monkeypatch, capsys, "models", "config", f"--store={repository.url}", "--base=/models")
    (config,) = text_format.Parse(out, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("track", "/models/track", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [1, 2]
    assert dict(config.version_labels) == {"stable": 2, "previous": 1}


def test_a_rollback_on_a_server_that_is_away_changes_nothing_and_keeps_its_time(repository, monkeypatch, capsys):
    repository.publish(2.0)
    repository.publish(3.0)
    before = repository.store.read_bytes("serving/models.json")
    options = (f"--store={repository.url}", "--server=127.0.0.1:1", "--timeout-s=0.5")
    code, _, err = run_cli(monkeypatch, capsys, "models", "rollback", "track", *options)
    assert code == 69
    assert err.startswith("eyewall: model server 127.0.0.1:1 does not answer within 0.5 s")  # not 30 s for each call
    assert repository.store.read_bytes("serving/models.json") == before


@pytest.mark.parametrize("command", [("list",), ("rollback", "track"), ("config", "--base=/models")])
def test_a_models_json_that_is_lost_is_not_taken_for_a_repository_without_models(
    repository, monkeypatch, capsys, command
):
    repository.publish(2.0)
    repository.store.remove("serving/models.json")
    code, out, err = run_cli(monkeypatch, capsys, "models", *command, f"--store={repository.url}")
    assert (code, out) == (65, "")
    assert "serving/models.json is missing although serving/track/1 are there: restore it from a copy" in err


@pytest.mark.parametrize("base", ["", " ", "/models\n}"])
def test_a_base_that_is_no_folder_is_refused(repository, monkeypatch, capsys, base):
    repository.publish(2.0)
    code, out, err = run_cli(monkeypatch, capsys, "models", "config", f"--store={repository.url}", f"--base={base}")
    assert (code, out) == (65, "")
    assert "is no folder: give serving/ of the store" in err


def test_the_store_of_the_settings_file_is_the_one_that_is_listed(repository, monkeypatch, capsys, tmp_path):
    repository.publish(2.0)
    (tmp_path / "eyewall.toml").write_text(f'store = "{repository.url}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EYEWALL_STORE", raising=False)
    monkeypatch.delenv("EYEWALL_SETTINGS", raising=False)
    assert "gain2.0" in run_cli(monkeypatch, capsys, "models", "list")[1]
    (tmp_path / "eyewall.toml").write_text("store = [")
    monkeypatch.setenv("EYEWALL_STORE", repository.url)
    assert "gain2.0" in run_cli(monkeypatch, capsys, "models", "list")[1]  # a damaged file is in nobody's way


def test_the_store_is_taken_from_the_environment_too(repository, monkeypatch, capsys):
    repository.publish(2.0)
    monkeypatch.setenv("EYEWALL_STORE", repository.url)
    assert "gain2.0" in run_cli(monkeypatch, capsys, "models", "list")[1]


def test_listing_the_steps_and_groups_imports_no_tensorflow():
    code = "import sys; from eyewall import cli; cli.main(); "
    check = "import sys, atexit; atexit.register(lambda: sys.stderr.write(str('tensorflow' in sys.modules))); "
    done = subprocess.run([sys.executable, "-c", check + code, "--help"], capture_output=True, text=True, check=False)
    assert "models" in done.stdout
    assert done.stderr.endswith("False")
