"""What the link gives, from the requests themselves: bytes over the time in which something was on its way.

Requests overlap, so the time of one says little: HTTP/2 shares the link among all that are out, and the answers come
in a bunch. Counted are the bytes of answered requests and the time during which at least one was out, in slices from
one answer to the next. A slice that began with an idle link holds a round trip and a tail's work besides, which are
taken off. The median of the last slices of some length is the estimate: one stall does not change a plan.

Where the server's work is slower than the link, the estimate is that of the server: too low, never too high.
"""

import statistics
import threading
from collections import deque

_SLICES = 9
_LEAST_SLICE_S = 0.02  # below it, clocks and threads are what is measured
_SLICE_PACKETS = 4
_MOST_BPS = 1e11


class Bandwidth:
    """Call `sent` and `answered` for every request; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()
        self.rtt_s = 0.0  #: shortest round trip of the last measurements
        self._rtts: deque[float] = deque(maxlen=20)

    def reset(self) -> None:
        """The link was away: what was measured before says nothing."""
        with self._lock:
            self._out = 0
            self._last_s = 0.0
            self._idle_start = False
            self._bits, self._time_s, self._count = 0.0, 0.0, 0
            self._slices: deque[float] = deque(maxlen=_SLICES)

    def round_trip(self, seconds: float) -> None:
        """A small question was answered in this time."""
        with self._lock:
            self._rtts.append(seconds)
            self.rtt_s = min(self._rtts)

    def sent(self, now_s: float) -> None:
        """A request went out."""
        with self._lock:
            if self._out == 0:
                self._last_s, self._idle_start = now_s, True
            self._out += 1

    def answered(self, request_bytes: int, now_s: float, tail_s: float = 0.0) -> None:
        """A request of so many bytes was answered; ``tail_s`` is the server's known work on it."""
        with self._lock:
            if self._out == 0:  # sent before a reset
                return
            self._out -= 1
            self._time_s += now_s - self._last_s - ((self.rtt_s + tail_s) if self._idle_start else 0.0)
            self._last_s, self._idle_start = now_s, False
            self._bits += 8.0 * request_bytes
            self._count += 1
            # A batch of answers that come together is one slice; so is a single slow one.
            if (self._count >= _SLICE_PACKETS and self._time_s >= _LEAST_SLICE_S) or self._time_s >= 1.0:
                self._slices.append(min(_MOST_BPS, self._bits / self._time_s))
                self._bits, self._time_s, self._count = 0.0, 0.0, 0

    def failed(self) -> None:
        """A request ended without an answer."""
        with self._lock:
            self._out = max(0, self._out - 1)

    @property
    def bps(self) -> float | None:
        """Bits per second; None before anything was measured."""
        with self._lock:
            if self._slices:
                return statistics.median(self._slices)
            if self._count and self._time_s > 0:
                return min(_MOST_BPS, self._bits / self._time_s)
            return None
