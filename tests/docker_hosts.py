"""Docker hosts of a test's own: engines in network namespaces of their own, reached over TCP with TLS.

Each has its own containerd, data, bridge and address at the end of a pair of virtual cables: nothing is shared with
this machine's own engine, or with each other, but the kernel.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from eyewall.jobs.docker.engine import Engine
from eyewall.jobs.runner import Worker, WorkerUnreachable

NEEDED = ("ip", "nsenter", "dockerd", "openssl", "mount", "umount")


def demand_engines_of_our_own() -> None:
    """Skip with the reason where a namespace cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    for program in NEEDED:
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"needs the program {program}")
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"may not make network namespaces: {probe.stderr.strip()}")


def run(*command: str, **options) -> subprocess.CompletedProcess[str]:
    """A command that has to work."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done


class Certificates:
    """An authority of this test's own, and what it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        # Elliptic curves: a key in a millisecond.
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=eyewall test authority", "-keyout", str(folder / "ca-key.pem"),
            "-out", str(folder / "ca.pem"))  # fmt: skip

    def sign(self, name: str, address: str = "") -> Path:
        """A folder with ca.pem, cert.pem and key.pem: a server's at ``address``, a client's without one."""
        made = self.folder / name
        made.mkdir()
        shutil.copy(self.folder / "ca.pem", made)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-keyout", str(made / "key.pem"), "-out", str(made / "request.pem"))  # fmt: skip
        (made / "extensions").write_text(
            f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n"
            if address
            else "extendedKeyUsage=clientAuth\n"
        )
        run("openssl", "x509", "-req", "-days", "2", "-in", str(made / "request.pem"), "-CA", str(made / "ca.pem"),
            "-CAkey", str(self.folder / "ca-key.pem"), "-CAcreateserial", "-extfile", str(made / "extensions"),
            "-out", str(made / "cert.pem"))  # fmt: skip
        return made


class DockerHost:
    """One engine in one network namespace."""

    def __init__(
        self,
        name: str,
        folder: Path,
        certificates: Certificates,
        client_tls: Path,
        number: int,
        environ: dict[str, str],
    ) -> None:
        self.name, self.folder, self.tls, self._environ = name, folder, client_tls, environ
        folder.mkdir()
        tag = uuid.uuid4().hex[:6]
        self.namespace = f"eyewall-{name}-{tag}"
        self.cable = f"ew{tag}{number}"  # at most 15 characters
        third = int(tag[:2], 16)
        # Of 198.18.0.0/15, which is set apart for such set-ups (RFC 2544).
        self.address, self._here = f"198.18.{third}.{4 * number + 2}", f"198.18.{third}.{4 * number + 1}"
        self.url = f"tcp://{self.address}:2376"
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        self._server_tls = certificates.sign(f"{name}-server", self.address)

    def up(self) -> None:
        """Make the disk, the namespace and the cable, and start the engine."""
        # In memory: quickly filled with an image, and gone in a moment.
        run("mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tmpfs", str(self.folder))
        within = ("nsenter", f"--net=/run/netns/{self.namespace}")
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "address", "add", f"{self._here}/30", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        for what in (("link", "set", "lo", "up"), ("address", "add", f"{self.address}/30", "dev", "eth0"),
                     ("link", "set", "eth0", "up")):  # fmt: skip
            run(*within, "ip", *what)
        self.start()

    def start(self, *flags: str) -> None:
        """Start the engine, again perhaps, and wait until it answers."""
        (self.folder / "daemon.json").write_text("{}")
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                # nsenter and not `ip netns exec`, which would hide the control groups from it.
                ["nsenter", f"--net=/run/netns/{self.namespace}", "dockerd",
                 "--config-file", str(self.folder / "daemon.json"), "--data-root", str(self.folder / "data"),
                 "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"),
                 "--cgroup-parent", f"/{self.namespace}", "--iptables=false", "--ip-masq=false",
                 "-H", self.url, "--tlsverify", "--tlscacert", str(self._server_tls / "ca.pem"),
                 "--tlscert", str(self._server_tls / "cert.pem"), "--tlskey", str(self._server_tls / "key.pem"),
                 *flags],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self._environ},
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self._process.poll() is None, f"{self.name} did not start: {self.log()}"
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.log()}"
            time.sleep(0.1)

    def take_image(self, file: Path) -> None:
        """Load an image from a file, as on a host that no registry reaches."""
        with file.open("rb") as stream:
            list(self.client(timeout=300).load_image(stream))

    def containers(self) -> list[str]:
        """Names of all containers, running or not."""
        return [each["Names"][0].lstrip("/") for each in self.client().containers(all=True)]

    def log(self) -> str:
        """The end of the engine's own log."""
        return (self.folder / "dockerd.log").read_text(errors="replace")[-2000:]

    @property
    def pid(self) -> int:
        """Of the engine."""
        return int((self.folder / "pid").read_text())

    def worker(self, **options) -> Worker:
        """The host as a worker."""
        return Worker(self.name, "docker", self.url, {"tls": str(self.tls), **options})

    def client(self, timeout: float = 60) -> "docker.APIClient":
        """A client as dispatchers have it."""
        client = Engine(self.worker()).client
        client.timeout = timeout
        return client

    def answers(self) -> bool:
        """Whether it does."""
        try:
            self.client().close()
        except WorkerUnreachable:
            return False
        return True

    def kill(self) -> None:
        """``kill -9`` of the engine alone; its containerd dies with it, its containers live on."""
        containerd = Path(f"/proc/{(self.folder / 'exec/containerd/containerd.pid').read_text()}")
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(30)
        deadline = time.monotonic() + 30
        while containerd.exists():  # a new engine would take one that nobody has reaped yet for a living one
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def pull_cable(self) -> None:
        """Nothing goes through any more, in either direction, and nobody is told."""
        run("ip", "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        """As before."""
        run("ip", "link", "set", self.cable, "up")

    def lose_power(self) -> None:
        """Everything on the host ends at once, as when its power goes."""
        deadline = time.monotonic() + 30
        while pids := self._pids():
            assert time.monotonic() < deadline, pids
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        if self._process is not None:
            self._process.wait(30)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (target := line.split()[1]).startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", target], capture_output=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)  # /run is empty after a reboot

    def _pids(self) -> list[int]:
        """The engine, its containerd, its shims, and all processes of its containers; not those that are dead."""
        marks = (str(self.folder / "exec").encode(), str(self.folder / "data").encode())
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = path.joinpath("cmdline").read_bytes()
                ours = f"/{self.namespace}" in path.joinpath("cgroup").read_text() or any(m in command for m in marks)
                if ours and path.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    found.append(int(path.name))
        return found

    def down(self) -> None:
        """End everything of it and leave nothing on the machine."""
        self.lose_power()
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True)
        if not any(Path("/run/netns").glob("*")):
            subprocess.run(["umount", "/run/netns"], capture_output=True)  # which the first `ip netns add` has mounted
        for groups in Path("/sys/fs/cgroup").glob(f"**/{self.namespace}"):
            for folder, _, _ in os.walk(groups, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def docker_hosts(folder: Path, **names: dict[str, str]) -> Iterator[list[DockerHost]]:
    """Running engines, gone afterwards: name → variables that the engine is started with."""
    certificates = Certificates(folder / "tls")
    client_tls = certificates.sign("dispatcher")
    made: list[DockerHost] = []
    try:
        for number, (name, environ) in enumerate(names.items()):
            made.append(DockerHost(name, folder / name, certificates, client_tls, number, environ))
            made[-1].up()
        yield made
    finally:
        for host in made:
            host.down()
