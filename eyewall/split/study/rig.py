"""The set-up of a measurement, standing: link, server at its far end, limited client at its near end."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self

from eyewall.contracts.errors import EyewallError, ServingError
from eyewall.split.profiler import Probe
from eyewall.split.study.client import ClientSetup, WaySetup
from eyewall.split.study.cpu_limit import CpuLimit
from eyewall.split.study.link import Kind, Link, LinkSpec, open_link
from eyewall.split.study.prepare import CLOUD_KEY, Bench

_START_S = 300.0  # loading dozens of models under load
_PRIORITY = 15  # over the machine's other work, which is not what is measured


@dataclass
class Turn(Probe):
    """A probe, and the bytes that crossed the link meanwhile."""

    link_up: int = 0
    link_down: int = 0


class Rig:
    """Everything of one measurement; all of it has ended after the with block."""

    def __init__(
        self, bench: Bench, link: Kind | Literal["auto"] = "auto", client_cpu: float | None = None, batch: int = 1
    ) -> None:
        """``batch`` frames in each request; ``client_cpu``: the client's share of one core."""
        self._bench, self._kind, self._batch = bench, link, batch
        self._limit = CpuLimit(client_cpu)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self.link: Link = self._stack.enter_context(open_link(self._kind))
            self._stack.enter_context(self._limit)
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="eyewall-rig-")))
            port = self._start_server(folder)
            self._start_client(folder, port)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_server(self, folder: Path) -> int:
        ready = folder / "server.ready"
        args = [
            sys.executable, "-m", "eyewall.cli", "serve", f"--store={self._bench.store}", "--grpc-port=0",
            f"--host={self.link.server_host}", "--rest-port=0", f"--ready-file={ready}", "--poll-s=0",
        ]  # fmt: skip
        server = self._started(self.link.as_server(args), folder / "server.log")
        deadline = time.monotonic() + _START_S
        while not ready.exists():
            self._refuse_ended(server, folder / "server.log")
            if time.monotonic() > deadline:
                raise ServingError(f"the model server is not ready after {_START_S:g} s: see its log, or ask for less")
            time.sleep(0.1)
        return int(json.loads(ready.read_text())["grpc_port"])

    def _start_client(self, folder: Path, port: int) -> None:
        ways = tuple(
            WaySetup(
                name=c.name, place=c.place, folder=self._bench.client_folder(c),
                model=CLOUD_KEY if c.place == "cloud" else c.key,
            )
            for c in self._bench.candidates
        )  # fmt: skip
        setup = ClientSetup(address=self.link.address(port), frames=self._bench.frames, ways=ways, batch=self._batch)
        file = folder / "client.json"
        file.write_text(setup.model_dump_json())
        args = self.link.as_client([sys.executable, "-m", "eyewall.split.study.client", str(file)])
        self._log = folder / "client.log"
        self._client = self._started(args, self._log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answer()  # ready: only now, so that its start is not slowed
        self._limit.add(self._client.pid)

    def _started(self, args: list[str], log: Path, **pipes: Any) -> "subprocess.Popen[str]":
        errors = self._stack.enter_context(log.open("w"))
        environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
        for name in list(environ):
            if name.startswith("EYEWALL_SERVER"):  # a token of another server is none of these two's business
                del environ[name]
        process = subprocess.Popen(args, stderr=errors, text=True, env=environ, **{"stdout": errors, **pipes})
        self._stack.callback(_end, process)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, -_PRIORITY)
        return process

    @staticmethod
    def _refuse_ended(process: "subprocess.Popen[str]", log: Path) -> None:
        if process.poll() is not None:
            said = log.read_text().strip().splitlines()
            raise EyewallError(f"a process of the measurement ended ({process.returncode}): {said[-1] if said else ''}")

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._client.stdout).readline()
        if not line:
            self._client.wait(5)
            self._refuse_ended(self._client, self._log)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServingError(answer["error"])
        return answer

    def ask(self, way: str, requests: int) -> Turn:
        """Some requests by one way on the link as it is now. Raises ServingError when one is not answered."""
        pipe = _pipe(self._client.stdin)
        pipe.write(json.dumps({"way": way, "requests": requests}) + "\n")
        pipe.flush()
        return Turn(**self._answer())

    def shape(self, link: LinkSpec) -> None:
        """Another link, under the same connections."""
        self.link.shape(link)

    def describe(self) -> Iterator[str]:
        """Sentences for the report."""
        yield self.link.describe()
        yield self._limit.describe()
        yield "server free, on the same machine: `eyewall serve`, which speaks TensorFlow Serving's gRPC"


def _pipe(pipe: "IO[str] | None") -> "IO[str]":
    assert pipe is not None
    return pipe


def _end(process: "subprocess.Popen[str]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
