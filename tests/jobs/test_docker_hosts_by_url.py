"""Docker hosts by URL: what a worker's row may say, and how its engine is reached."""

import shutil

import pytest

from eyewall.contracts.errors import ContractError
from eyewall.jobs.docker.engine import Engine
from eyewall.jobs.docker.options import DockerOptions, bytes_of
from eyewall.jobs.docker.runner import DockerRunner
from eyewall.jobs.runner import Found, Worker, WorkerUnreachable


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"memry": "4Gi"}, "option memry", id="unknown"),
        pytest.param({"memory": "4 GB"}, "give mebibytes or gibibytes, such as 512Mi or 4Gi", id="memory"),
        pytest.param({"user": "0:0"}, "option user = '0:0'", id="root"),
        pytest.param({"user": "root"}, "option user = 'root'", id="root by name"),
        pytest.param({"store": "/a/../b"}, "plain absolute path", id="store"),
        pytest.param({"devices": -1}, "option devices = -1", id="devices"),
        pytest.param({"probe_image": "python:3.11"}, "option probe_image", id="a probe by a tag"),
        pytest.param({"prefix": "a b"}, "option prefix", id="prefix"),
        pytest.param({"network": "--privileged"}, "option network", id="network"),
    ],
)
def test_an_option_that_is_not_valid_is_named_with_its_worker(options, words):
    with pytest.raises(ContractError, match=f"worker hall: .*{words}"):
        DockerOptions.of(Worker("hall", "docker", "", options))


def test_amounts_of_memory():
    assert bytes_of("512Mi") == 512 * 1024 * 1024
    assert bytes_of("4Gi") == 4 * 1024**3


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        pytest.param("http://hall:2375", {}, "none of unix://, tcp:// and ssh://", id="another scheme"),
        pytest.param("tcp://10.1.2.3:2376", {}, "would make everybody on the network root on 10.1.2.3", id="no TLS"),
        pytest.param("tcp://10.1.2.3:2376", {"tls": "/nowhere"}, "/nowhere/ca.pem is not there", id="no certificates"),
        pytest.param("ssh://-oProxyCommand=id", {}, "names no host", id="an option of ssh in place of a host"),
        pytest.param("ssh://-l@hall", {}, "names no host", id="an option of ssh in place of a user"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_is_not_tried(url, options, words):
    pytest.importorskip("paramiko", reason="needs docker[ssh]")
    with pytest.raises(ContractError, match=words):
        _ = Engine(Worker("hall", "docker", url, options)).client


def test_a_port_where_nobody_listens_is_a_host_that_does_not_answer():
    with pytest.raises(WorkerUnreachable, match=r"worker hall: no Docker engine answers at tcp://127\.0\.0\.1:9: "):
        _ = Engine(Worker("hall", "docker", "tcp://127.0.0.1:9", {})).client


@pytest.mark.docker
def test_devices_that_a_worker_declares_are_what_it_has(job_bench):
    options = {**job_bench.worker.options, "devices": 2, "generation": "a100", "memory_mb": 5}

    assert DockerRunner(Worker("hall", "docker", "", options), job_bench.store).probe() == [
        Found(0, "hall-0", "declared", "a100", 5, "ok", "", True),
        Found(1, "hall-1", "declared", "a100", 5, "ok", "", True),
    ]


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """A stand-in for ssh that runs what it is asked to on this machine; its arguments are in the file it names."""
    pytest.importorskip("paramiko", reason="needs docker[ssh]")
    if shutil.which("docker") is None:
        pytest.skip("needs Docker's command line, as the far end of ssh has it")
    folder = tmp_path / "bin"
    folder.mkdir()
    said = tmp_path / "arguments"
    # Without a shell on this side; sshd gives the command to one on the other, as this does.
    (folder / "ssh").write_text(f'#!/bin/sh\nfor each; do echo "$each"; last=$each; done >> {said}\nexec $last\n')
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return said


@pytest.mark.docker
def test_a_host_is_reached_over_ssh(engine, ssh, job_bench):
    """A whole job, from its container to its output."""
    worker = Worker("hall", "docker", "ssh://jobs@hall.example:2222", job_bench.worker.options)
    runner = DockerRunner(worker, job_bench.store)
    job = job_bench.python("import os\nprint('far away')\nopen(os.environ['EYEWALL_OUT'] + '/x', 'w').write('7')\n")
    runner.create(job)
    runner.start(job)

    assert list(runner.lines(job)) == ["far away"]
    assert runner.look(job) == ("ended", 0, "")
    runner.keep(job)
    runner.remove(job)
    assert job_bench.store.read_bytes(f"jobs/{job.job}/1/out/x") == b"7"
    assert ssh.read_text().splitlines()[:6] == [
        "-l", "jobs", "-p", "2222", "--", "hall.example",
    ]  # fmt: skip


@pytest.mark.docker
def test_a_host_that_ssh_does_not_reach_does_not_answer(ssh):
    (ssh.parent / "bin/ssh").write_text("#!/bin/sh\necho no route to host >&2\nexit 255\n")

    with pytest.raises(WorkerUnreachable, match="no Docker engine answers at ssh://hall"):
        _ = Engine(Worker("hall", "docker", "ssh://hall", {})).client


def test_authorities_of_the_environment_are_not_the_hosts(monkeypatch):
    """With REQUESTS_CA_BUNDLE set, requests would verify against that file and not against the worker's own."""
    from eyewall.jobs.docker.engine import _Client

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    client = _Client(base_url="tcp://127.0.0.1:9", version="1.41")

    settings = client.merge_environment_settings("https://10.1.2.3:2376/version", {}, None, "/the/hosts/ca.pem", None)
    assert settings["verify"] == "/the/hosts/ca.pem"
    assert not settings["proxies"]


@pytest.mark.docker
def test_data_of_another_store_goes_to_the_job_as_its_url(job_bench):
    """Nothing of the host is mounted for it."""
    job = job_bench.python("import os\nprint(os.environ['EYEWALL_DATA'])\n", data=("s3://bucket/tracks",))

    assert job_bench.run(job)[0] == ["s3://bucket/tracks"]
    assert [mount["Destination"] for mount in job_bench.inspect(job)["Mounts"]] == ["/work"]
