"""The link of a machine that allows no network namespaces: a proxy in user space between client and server.

It passes bytes on later, as a wire of the chosen bandwidth and length would: a chunk leaves when its last byte would
have come, half a round trip after that. What it cannot do is be TCP: both connections end on this machine, so that
slow start and windows see no distance. Times over it are a lower bound where messages are long and far.

``python -m eyewall.split.study.proxy HOST PORT`` writes the port that it listens on, then takes the lines of
`eyewall.split.study.delay_line` on stdin; it ends with its stdin.
"""

import asyncio
import contextlib
import selectors
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Self

from eyewall.contracts.errors import EyewallError
from eyewall.split.study.link import Kind, LinkSpec

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1448  # as a segment on a wire, so that the first does not wait for all
_LARGEST_CHUNK_BYTES = 2**16
_CHUNK_S = 0.001
_QUEUED_BYTES = 2**20


class ProxyLink:
    """A link by proxies, one for each port that is asked for; all have ended after the with block."""

    kind: Kind = "proxy"
    server_host: str = _HOST

    def __init__(self, reason: str) -> None:
        """``reason``: why not namespaces, for the report."""
        self._reason = reason
        self._relays: dict[int, tuple[subprocess.Popen[str], int]] = {}
        self._spec = LinkSpec()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for relay, _port in self._relays.values():
            relay.kill()
            relay.wait()
        self._relays.clear()

    def as_client(self, args: Sequence[str]) -> list[str]:
        """As it is."""
        return list(args)

    def as_server(self, args: Sequence[str]) -> list[str]:
        """As it is."""
        return list(args)

    def address(self, port: int) -> str:
        """The proxy's. Raises EyewallError when it does not start."""
        if port not in self._relays:
            args = [sys.executable, "-m", "eyewall.split.study.proxy", _HOST, str(port)]
            relay = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert relay.stdout is not None
            said = relay.stdout.readline().strip()
            if not said.isdigit():
                relay.kill()
                raise EyewallError("the link's proxy did not start: its message is above")
            self._relays[port] = (relay, int(said))
            self._tell(relay)
        return f"{_HOST}:{self._relays[port][1]}"

    def shape(self, spec: LinkSpec) -> None:
        """Tell every proxy."""
        self._spec = spec
        for relay, _port in self._relays.values():
            self._tell(relay)

    def _tell(self, relay: "subprocess.Popen[str]") -> None:
        assert relay.stdin is not None
        assert relay.stdout is not None
        byte_s = 8 / self._spec.bandwidth_bps if self._spec.bandwidth_bps else 0.0
        relay.stdin.write(f"{self._spec.rtt_s / 2:.9f} {byte_s:.12f}\n")
        relay.stdin.flush()
        if relay.stdout.readline().strip() != "ok":
            raise EyewallError("the link's proxy ended: its message is above")

    def describe(self) -> str:
        """What was used, in the report's words."""
        return (
            f"a token-bucket proxy in user space, as there are no network namespaces ({self._reason}): both TCP"
            " connections end on this machine, so that slow start is not in these times"
        )


class Shape:
    """The link as it is now, read by every connection."""

    def __init__(self) -> None:
        self.delay_s, self.byte_s = 0.0, 0.0
        self.free_s = {True: 0.0, False: 0.0}  # when the wire is free again: upwards, downwards

    def chunk_bytes(self) -> int:
        """Bytes to pass on at once."""
        if not self.byte_s:
            return _LARGEST_CHUNK_BYTES
        return max(_CHUNK_BYTES, min(_LARGEST_CHUNK_BYTES, int(_CHUNK_S / self.byte_s)))


async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shape: Shape, up: bool) -> None:
    """Pass on what comes until it ends."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(max(1, _QUEUED_BYTES // _CHUNK_BYTES))

    async def send() -> None:
        """What is queued, each when it is due."""
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()

    sending = asyncio.create_task(send())
    with contextlib.suppress(OSError):
        while not sending.done():
            data = await reader.read(shape.chunk_bytes())
            shape.free_s[up] = max(loop.time(), shape.free_s[up]) + len(data) * shape.byte_s
            await queue.put((shape.free_s[up] + shape.delay_s, data))
            if not data:
                break
    with contextlib.suppress(OSError):
        await sending
    writer.close()


async def _serve(host: str, port: int) -> None:
    shape = Shape()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One of the client's, with one of our own to the server."""
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(one_way(reader, far_writer, shape, True), one_way(far_reader, writer, shape, False))

    server = await asyncio.start_server(connection, _HOST, 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def commands() -> None:
        for line in sys.stdin:
            shape.delay_s, shape.byte_s = map(float, line.split())
            sys.stdout.write("ok\n")
            sys.stdout.flush()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=commands, daemon=True).start()
    await ended.wait()


def main(host: str, port: int) -> None:
    """Relay until stdin ends; select, as epoll knows no fractions of a millisecond."""
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(host, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
