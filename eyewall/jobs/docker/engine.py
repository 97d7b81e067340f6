"""The engine of a Docker host by its URL: unix socket, TCP with TLS, or ssh; and what its failures mean.

An engine that does not answer says nothing about its jobs. So whatever goes wrong between here and there becomes
`WorkerUnreachable`, and only what the engine itself answered is ever taken for an answer.
"""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from eyewall.contracts.errors import ContractError, EyewallError, ServingError
from eyewall.jobs.docker.options import DockerOptions
from eyewall.jobs.runner import Worker, WorkerUnreachable

DEFAULT_URL = "unix:///var/run/docker.sock"
#: How long an engine may take to begin an answer, s.
TIMEOUT_S = 30.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
#: Ways in which a connection breaks, at its start or in the middle of an answer.
_BROKEN = (
    DockerException, requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError,
)  # fmt: skip


class _KeptAlive(HTTPAdapter):
    """Connections that the kernel asks every 10 s whether the other end is still there, once it says nothing.

    A job may print nothing for hours, and its host may go without a word: this tells the two apart.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests does it, with these options."""
        options = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):  # Linux
                options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        super().init_poolmanager(*args, socket_options=options, **kwargs)


class _Client(APIClient):  # type: ignore[misc] # docker has no types
    """A client that goes by its URL and certificates alone."""

    @property
    def trust_env(self) -> bool:
        """False: where REQUESTS_CA_BUNDLE is set, requests would not take the worker's own authority."""
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """What requests sets at its start."""


class Engine:
    """Clients of one worker's engine, one for each thread that asks: a session is not made to be shared."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._clients = threading.local()

    @property
    def client(self) -> APIClient:
        """This thread's client. Raises WorkerUnreachable, or ContractError for a URL that cannot be used."""
        found: APIClient | None = getattr(self._clients, "client", None)
        if found is None:
            with self.reached():
                found = _connect(self.worker)
            self._clients.client = found
        return found

    @contextlib.contextmanager
    def reached(self, doing: str = "") -> Iterator[None]:
        """Turn a broken connection into WorkerUnreachable, and an engine's refusal of ``doing`` into EyewallError."""
        try:
            yield
        except (EyewallError, WorkerUnreachable):
            raise
        except APIError as error:
            text = sentence(error)
            if (error.status_code or 500) >= 500:  # it answers, but cannot do its work: nothing is known either
                raise WorkerUnreachable(f"worker {self.worker.name}: its Docker engine fails: {text}") from None
            raise ServingError(
                f"worker {self.worker.name}: {doing or 'the Docker engine'} was refused: {text}"
            ) from None
        except _BROKEN as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise WorkerUnreachable(
                f"worker {self.worker.name}: no Docker engine answers at {self.worker.url or DEFAULT_URL}: {text}"
            ) from None


def sentence(error: APIError) -> str:
    """The engine's own words, on one line."""
    return " ".join(str(error.explanation or error).split())[:500]


def _connect(worker: Worker) -> APIClient:
    url = worker.url or DEFAULT_URL
    parts = urlsplit(url)
    tls: TLSConfig | bool = False
    if parts.scheme == "tcp":
        tls = _tls(worker, parts.hostname or "")
    elif parts.scheme not in ("unix", "ssh"):
        raise ContractError(f"worker {worker.name}: url {url!r} is none of unix://, tcp:// and ssh://")
    if parts.scheme == "ssh":
        _demand_ssh(worker, parts.hostname or "", parts.username or "")
        _let_ssh_end_quietly()
    # "auto": an old engine speaks an older version of the API than the client's own.
    client = _Client(base_url=url, version="auto", timeout=TIMEOUT_S, tls=tls, use_ssh_client=parts.scheme == "ssh")
    if parts.scheme == "tcp":
        client.mount("https://", _KeptAlive())
        client.mount("http://", _KeptAlive())
    return client


def _tls(worker: Worker, host: str) -> TLSConfig | bool:
    folder = DockerOptions.of(worker).tls
    if folder is None:
        if host in _LOOPBACK:
            return False
        raise ContractError(
            f"worker {worker.name}: tcp:// without TLS would make everybody on the network root on {host}:"
            " give tls, a folder with ca.pem, cert.pem and key.pem"
        )
    ca, cert, key = (Path(folder) / name for name in ("ca.pem", "cert.pem", "key.pem"))
    for path in (ca, cert, key):
        if not path.is_file():
            raise ContractError(
                f"worker {worker.name}: {path} is not there: tls names a folder with ca, cert and key.pem"
            )
    return TLSConfig(client_cert=(str(cert), str(key)), ca_cert=str(ca), verify=True)


def _let_ssh_end_quietly() -> None:
    """Closing docker-py's socket raises where its ssh has ended before, at the latest when Python itself ends."""
    from docker.transport import sshconn

    if not issubclass(sshconn.SSHSocket, _Quiet):
        sshconn.SSHSocket = type("QuietSocket", (_Quiet, sshconn.SSHSocket), {})


class _Quiet:
    """Goes before a socket class, whose ``close`` then never fails."""

    def close(self) -> None:
        """Close, whatever is at the other end."""
        with contextlib.suppress(OSError):
            super().close()  # type: ignore[misc]


def _demand_ssh(worker: Worker, host: str, user: str) -> None:
    """The names become arguments of the program ssh: one that begins with - would be an option of it."""
    import docker.transport

    if not hasattr(docker.transport, "SSHHTTPAdapter"):
        raise ContractError(f"worker {worker.name}: ssh:// needs the package paramiko: install docker[ssh]")
    if not host or host.startswith("-") or user.startswith("-"):
        raise ContractError(f"worker {worker.name}: url {worker.url!r} names no host: give ssh://user@host")
