"""A real link on one machine: client and server in network namespaces of their own, veth pairs between them.

    client ── veth ══ delay line (a third namespace) ══ veth ── server

tc's token bucket (tbf) at the veth end of either side gives the bandwidth of its direction; the delay line
(`eyewall.split.study.delay_line`) adds half of the round trip each way. Everything between the two programs is the
kernel's real TCP: slow start, windows, acknowledgements.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from eyewall.contracts.errors import EyewallError
from eyewall.split.study.link import Kind, LinkSpec

_CLIENT_IP: Final = "10.111.0.1"
_SERVER_IP: Final = "10.111.0.2"
_CLIENT_MAC: Final = "02:00:00:00:00:01"
_SERVER_MAC: Final = "02:00:00:00:00:02"
#: What the bucket lets through at once: a full packet, or 0.1 ms of the bandwidth; more would hide small messages.
_LEAST_BURST_BYTES: Final = 1600
_BURST_S: Final = 1e-4
#: Room in the queue before the bucket, more than any message here: a frame waits, it is not thrown away.
_QUEUE_BYTES: Final = 16 * 2**20
#: What most systems run, and what every kernel allows: both double their window in slow start, as the planner reckons.
#: A kernel's own default (bbr on some) would pace by its memory of the link before.
_CONGESTION_CONTROLS: Final = ("cubic", "reno")


def why_not() -> str | None:
    """Why no such link can be made here; None when it can: a namespace is made, shaped and removed to find out."""
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return f"{' and '.join(missing) or 'Linux'} not found"
    name = f"eyewall-{secrets.token_hex(4)}"
    try:
        _run("ip", "netns", "add", name)
    except EyewallError as error:
        return str(error)
    try:
        _run("ip", "-n", name, "link", "add", "wire-a", "type", "veth", "peer", "name", "wire-b")
        _run("tc", "-n", name, "qdisc", "add", "dev", "wire-a", "root", *_bucket(1e6))
    except EyewallError as error:
        return str(error)
    finally:
        _run("ip", "netns", "del", name)
    return None


class NamespaceLink:
    """The link; all of it is gone after the with block."""

    kind: Kind = "namespaces"
    server_host: str = _SERVER_IP

    def __init__(self) -> None:
        key = secrets.token_hex(3)
        self._client, self._middle, self._server = (f"eyewall-{key}-{end}" for end in ("client", "link", "server"))
        self._line: subprocess.Popen[str] | None = None
        self._tcp = "as the kernel has it"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _build(self) -> None:
        for name in (self._client, self._middle, self._server):
            _run("ip", "netns", "add", name)
            _set(name, "net.ipv6.conf.all.disable_ipv6", "1")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        ends = ((self._client, "wire-a", _CLIENT_IP, _CLIENT_MAC), (self._server, "wire-b", _SERVER_IP, _SERVER_MAC))
        for name, end, ip, mac in ends:
            peer = ("peer", "name", end, "netns", self._middle)
            _run("ip", "-n", name, "link", "add", "wire", "address", mac, "type", "veth", *peer)
            _run("ip", "-n", name, "addr", "add", f"{ip}/24", "dev", "wire")
            _run("ip", "-n", name, "link", "set", "wire", "up")
            _run("ip", "-n", self._middle, "link", "set", "dev", end, "up")
            self._tcp = _set(name, "net.ipv4.tcp_congestion_control", *_CONGESTION_CONTROLS)
            # As on a wire that was in use a while ago: no memory of earlier links' windows and round trips.
            _set(name, "net.ipv4.tcp_no_metrics_save", "1")
        for name, ip, mac in ((self._client, _SERVER_IP, _SERVER_MAC), (self._server, _CLIENT_IP, _CLIENT_MAC)):
            _run("ip", "-n", name, "neigh", "add", ip, "lladdr", mac, "dev", "wire", "nud", "permanent")
        line = [sys.executable, "-m", "eyewall.split.study.delay_line", "wire-a", "wire-b"]
        in_the_middle = ["ip", "netns", "exec", self._middle, *line]
        self._line = subprocess.Popen(in_the_middle, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self._line is not None
        assert self._line.stdout is not None
        said = self._line.stdout.readline().strip()
        if said != word:
            raise EyewallError(f"the link's delay line ended ({said or 'its message is above'}): take --link proxy")

    def _remove(self) -> None:
        if self._line is not None:
            assert self._line.stdin is not None
            with contextlib.suppress(OSError):
                self._line.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._line.wait(5)
            self._line.kill()
            self._line.wait()
            self._line = None
        for name in (self._client, self._middle, self._server):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def as_client(self, args: Sequence[str]) -> list[str]:
        """In the client's namespace."""
        return ["ip", "netns", "exec", self._client, *args]

    def as_server(self, args: Sequence[str]) -> list[str]:
        """In the server's namespace."""
        return ["ip", "netns", "exec", self._server, *args]

    def address(self, port: int) -> str:
        """The server's own."""
        return f"{_SERVER_IP}:{port}"

    def shape(self, spec: LinkSpec) -> None:
        """Set both buckets and the delay. What is on its way keeps the delay it had."""
        for name in (self._client, self._server):
            if spec.bandwidth_bps is None:
                subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", "wire", "root"], capture_output=True)
            else:
                _run("tc", "-n", name, "qdisc", "replace", "dev", "wire", "root", *_bucket(spec.bandwidth_bps))
        assert self._line is not None
        assert self._line.stdin is not None
        byte_s = 8 / spec.bandwidth_bps if spec.bandwidth_bps else 0.0
        self._line.stdin.write(f"{spec.rtt_s / 2:.9f} {byte_s:.12f}\n")
        self._line.stdin.flush()
        self._expect("ok")

    def describe(self) -> str:
        """What was used, in the report's words."""
        return (
            "two network namespaces joined by veth pairs; bandwidth by tc's token bucket (tbf) at both ends, delay by"
            f" a delay line in a third namespace between them, TCP {self._tcp}"
        )


def _bucket(bandwidth_bps: float) -> list[str]:
    burst = max(_LEAST_BURST_BYTES, round(bandwidth_bps * _BURST_S / 8))
    return ["tbf", "rate", f"{round(bandwidth_bps)}bit", "burst", str(burst), "limit", str(_QUEUE_BYTES)]


def _run(*args: str) -> None:
    done = subprocess.run(args, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EyewallError(f"{' '.join(args[:4])} … failed: {said[0] if said else done.returncode}; run as root")


def _set(namespace: str, key: str, *values: str) -> str:
    """Give a kernel setting of one namespace the first of ``values`` that the kernel takes; what it is then."""
    path = str(Path("/proc/sys") / key.replace(".", "/"))
    inside = ["ip", "netns", "exec", namespace]
    for value in values:
        if not subprocess.run([*inside, "tee", path], input=value, text=True, capture_output=True).returncode:
            break
    return subprocess.run([*inside, "cat", path], text=True, capture_output=True).stdout.strip()
