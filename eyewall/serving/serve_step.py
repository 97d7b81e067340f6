"""``eyewall serve``: the embedded model server, from start to graceful stop.

TensorFlow Serving's own server is what production runs; this one exists because no container may be at hand. It
listens on 127.0.0.1 unless told otherwise, wants a bearer token and speaks TLS where it is told to (`access.py`), and
ends with 0 on SIGTERM or SIGINT after the requests that run have had ``grace_s`` to finish.
"""

import contextlib
import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from eyewall import quiet
from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import ServeJob
from eyewall.contracts.manifest import Receipt
from eyewall.serving.access import ServerAccess
from eyewall.storage import Store

_log = logging.getLogger("eyewall.serving")


@dataclass
class RunningServer:
    """A server that answers: its ports, and how to stop it."""

    host: str
    grpc_port: int
    rest_port: int
    manager: Any
    _parts: Any

    @property
    def address(self) -> str:
        """``host:port`` of gRPC."""
        return f"{self.host}:{self.grpc_port}"

    def stop(self, grace_s: float = 10.0) -> None:
        """Take no further request, let those that run finish within ``grace_s``, and free everything."""
        grpc_server, pool, rest, follower = self._parts
        follower.close()
        ended = grpc_server.stop(grace_s)
        rest.stop(grace_s)
        ended.wait(grace_s + 1)
        pool.shutdown(wait=False, cancel_futures=True)
        self.manager.close()


def run(job: ServeJob) -> Receipt:
    """Serve until SIGTERM or SIGINT. Raises InputError when a port is in use or the address is not this machine's."""
    if job.ready_file is not None:
        Path(job.ready_file).unlink(missing_ok=True)  # of a server that was killed: it would speak for this one
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s")
    _log.setLevel(logging.INFO)  # ours only: TensorFlow has much to say at this level
    stop = threading.Event()
    with _signals(stop):
        server = start(job)
        gc.freeze()  # TensorFlow's own objects stay: the collections after each swap need not look at them again
        _log.info(
            "model server: gRPC %s:%d, REST http://%s:%d", server.host, server.grpc_port, server.host, server.rest_port
        )
        _log.info("%s", _what_is_served(server, job.store))
        if job.ready_file is not None:
            _write_ready(Path(job.ready_file), server)
        stop.wait()
        _log.info("stopping: %g s for the requests that run", job.grace_s)
        server.stop(job.grace_s)
    if job.ready_file is not None:
        Path(job.ready_file).unlink(missing_ok=True)
    return Receipt(verb=job.verb, summary={"grpc_port": server.grpc_port, "rest_port": server.rest_port})


def start(job: ServeJob) -> RunningServer:
    """Start the server and return once it answers with what models.json says. Raises InputError, StorageError."""
    store = Store(job.store)
    if not store.is_local:
        raise InputError(
            f"store {job.store!r} is no local folder, which eyewall serve needs: run TensorFlow Serving over it, see"
            " eyewall models config"
        )
    root = store.local("serving")
    # Before TensorFlow is imported, which takes seconds: a bad certificate or a port in use is told at once.
    access = ServerAccess.of(job.tls_cert, job.tls_key, job.token_file)
    for port in (job.grpc_port, job.rest_port):
        _check_free(job.host, port)
    quiet.import_tensorflow()  # before there are threads whose words would be lost
    from eyewall.serving.follow import Follower
    from eyewall.serving.grpc_api import make_server
    from eyewall.serving.manager import ModelManager
    from eyewall.serving.rest_api import RestServer

    manager = ModelManager()
    follower = Follower(manager, store)
    follower.start()
    grpc_server, pool = make_server(manager, root, job.threads, access)
    rest = None
    try:
        rest = RestServer((job.host, job.rest_port), manager, job.threads, access)
        grpc_port = access.add_port(grpc_server, f"{job.host}:{job.grpc_port}")
    except (OSError, RuntimeError) as error:
        if rest is not None:
            rest.server_close()
        manager.close()
        taken = job.rest_port if rest is None else job.grpc_port
        raise _port_error(job.host, taken, error) from None
    grpc_server.start()
    threading.Thread(target=rest.serve_forever, kwargs={"poll_interval": 0.05}, name="rest", daemon=True).start()
    if job.poll_s > 0:
        follower.watch(job.poll_s)
    return RunningServer(job.host, grpc_port, rest.server_address[1], manager, (grpc_server, pool, rest, follower))


def _what_is_served(server: RunningServer, store: str) -> str:
    """For the log: which version each label gives, or where a model was looked for."""
    labels = server.manager.labels()
    if not labels:
        there = "no model is published there yet" if Path(store).is_dir() else "there is no such folder yet"
        return f"nothing to serve in store {store!r}: {there}; it is followed from now on"
    parts = [f"{name} {label} = {n}" for name, of in sorted(labels.items()) for label, n in sorted(of.items())]
    return f"serving {', '.join(parts) or ', '.join(sorted(labels))} of store {store!r}"


def _check_free(host: str, port: int) -> None:
    if port == 0:
        return
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise _port_error(host, port, error) from None


def _port_error(host: str, port: int, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno not in (errno.EADDRINUSE, None):
        return InputError(f"cannot listen on {host}:{port}: {error.strerror}; give --host an address of this machine")
    return InputError(
        f"port {port} on {host} is in use: stop what listens there, or give --grpc-port and --rest-port other ports"
    )


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on SIGTERM and SIGINT while the block runs."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_ready(path: Path, server: RunningServer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    ports = {"host": server.host, "grpc_port": server.grpc_port, "rest_port": server.rest_port, "pid": os.getpid()}
    beside.write_text(json.dumps(ports, sort_keys=True) + "\n")
    beside.replace(path)
