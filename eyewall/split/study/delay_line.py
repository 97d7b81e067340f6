"""The length of a shaped link: Ethernet frames from one interface to the other, each a while later, both ways.

The kernel's own tool for that, tc's netem, is left out of many kernels (of small machines, containers and clouds), so
this is a program of the link's middle namespace: raw sockets on two veth ends, a queue each way. Segmentation stays
the kernel's: large packets pass whole, with the header that says how to cut them (PACKET_VNET_HDR). The bandwidth is
tc's affair, at the veth ends of client and server; but its token bucket lets the first packet after a pause through at
once, where on a wire the last bit of it comes a packet's time after the first. So a frame leaves here when its last bit
would have come over a wire of that bandwidth: the burst of the bucket is made up for, the rate stays the bucket's.

``python -m eyewall.split.study.delay_line A B`` writes ``ready``, then takes lines ``<one-way delay in seconds>
<seconds per byte>`` on stdin and answers each with ``ok``; it ends with its stdin.
"""

import contextlib
import os
import select
import socket
import sys
import time
from collections import deque

# linux/if_packet.h, linux/socket.h, asm-generic/socket.h; Python has no names for them.
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_BUFFER_BYTES = 64 * 2**20
_LARGEST_FRAME = 2**16 + 2**10  # a packet of 64 KiB before it is cut, and its headers
_VNET_HEADER = 10  # bytes before each frame that never were on the wire
_PRIORITY = 20


def end_of_wire(interface: str) -> socket.socket:
    """A raw socket that hears what arrives at ``interface`` and nothing that leaves it."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    for option in (_SO_RCVBUFFORCE, _SO_SNDBUFFORCE):
        end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    end.bind((interface, _ETH_P_ALL))
    end.setblocking(False)
    return end


class DelayLine:
    """Two ends and what is on its way between them."""

    def __init__(self, a: socket.socket, b: socket.socket) -> None:
        self.delay_s, self.byte_s = 0.0, 0.0
        self._ways = [(a, b, deque[tuple[float, bytes]]()), (b, a, deque[tuple[float, bytes]]())]
        self._free_s = {a: 0.0, b: 0.0}  # when the wire behind either end has brought its last bit

    def turn(self, also: int, most_wait_s: float = 1.0) -> bool:
        """Take what has come, pass on what is due, wait for either; True when file descriptor ``also`` can be read."""
        now = time.monotonic()
        due = [queue[0][0] for _, _, queue in self._ways if queue]
        wait_s = max(0.0, min([most_wait_s, *(at - now for at in due)]))
        watched: list[socket.socket | int] = [also, *(end for end, _, _ in self._ways)]
        readable, _, _ = select.select(watched, [], [], wait_s)
        for end, other, queue in self._ways:
            if end in readable:
                self._take(end, queue)
            self._pass_on(queue, other)
        return also in readable

    def _take(self, end: socket.socket, queue: deque[tuple[float, bytes]]) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data = end.recv(_LARGEST_FRAME)
                begun_s = max(time.monotonic(), self._free_s[end])
                self._free_s[end] = begun_s + (len(data) - _VNET_HEADER) * self.byte_s
                queue.append((self._free_s[end] + self.delay_s, data))

    def _pass_on(self, queue: deque[tuple[float, bytes]], other: socket.socket) -> None:
        while queue and queue[0][0] <= time.monotonic():
            with contextlib.suppress(OSError):  # no room, or the interface is down: a wire loses what it cannot carry
                other.send(queue.popleft()[1])


def _be_punctual() -> None:
    """Run before everything else of the machine, where that is allowed: who is late lengthens the link."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    except OSError:
        with contextlib.suppress(OSError):
            os.nice(-_PRIORITY)


def main(interfaces: list[str]) -> None:
    """Relay until stdin ends."""
    line = DelayLine(*(end_of_wire(name) for name in interfaces))
    _be_punctual()
    commands = sys.stdin.fileno()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        if line.turn(commands):
            text = os.read(commands, 4096)
            if not text:
                return
            line.delay_s, line.byte_s = map(float, text.split()[-2:])
            sys.stdout.write("ok\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
