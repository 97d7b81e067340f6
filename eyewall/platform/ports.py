"""The three ports of a local installation, and a clear word when one of them is taken."""

import socket
from typing import NamedTuple

from eyewall.contracts.errors import InputError
from eyewall.contracts.settings import Settings

HOST = "127.0.0.1"


class Ports(NamedTuple):
    """Airflow's web page and API, the model server's gRPC, and its REST."""

    airflow: int
    grpc: int
    rest: int

    @classmethod
    def of(cls, settings: Settings) -> "Ports":
        """As the settings have them."""
        return cls(settings.airflow_port, settings.grpc_port, settings.rest_port)

    @classmethod
    def free(cls) -> "Ports":
        """Three ports that nothing listens on now."""
        sockets = [socket.socket() for _ in cls._fields]
        try:
            for each in sockets:
                each.bind((HOST, 0))
            return cls(*(each.getsockname()[1] for each in sockets))
        finally:
            for each in sockets:
                each.close()


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of this machine's loopback address now."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to a server
        try:
            attempt.bind((HOST, port))
        except OSError:
            return False
    return True


def demand_free(ports: Ports, names: tuple[str, ...] = Ports._fields) -> None:
    """Raise InputError naming the first taken port of ``names`` and the setting that moves it."""
    for name in names:
        port = getattr(ports, name)
        if not is_free(port):
            raise InputError(
                f"port {port} ({name}) on {HOST} is in use by another process: "
                f"set EYEWALL_{name.upper()}_PORT, or {name}_port in the settings file, to a free one"
            )
    if len(set(ports)) < len(ports):
        raise InputError(f"two of the ports {ports._asdict()} are the same: give each its own")
