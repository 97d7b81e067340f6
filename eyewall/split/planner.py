"""Which way of running the model is fastest on a link: in the client, cut in two, or all in the cloud.

Pure arithmetic on what was measured (`eyewall.contracts.split.Profile`), cheap enough to be asked for every frame:

    time = head + up·8/b + down·8/b + rtt + stalls + tail         b: bandwidth, bit/s

The *stalls* are beside the paper's formula (Ichinose et al., HPDC '16): a sender may have only a window of bytes on its
way; the window doubles each round trip, and until it covers bandwidth × rtt the sender waits for an acknowledgement in
each. On a connection in use the windows have grown and nothing stalls; where each frame finds it idle, TCP begins anew.
As a function of 1/b every option's time is a chain of straight lines, so that the bandwidths at which the best option
changes come exactly, not by search.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from eyewall.contracts.errors import ContractError
from eyewall.contracts.split import BreakEven, Option, Plan, Profile

#: Bytes that may be on their way before the first acknowledgement, on a connection in use: TCP's window and gRPC's own
#: have grown to the messages that went before. Measured: none of up to 280 kB stalls at 200 ms (docs/split-study.md).
WINDOW_BYTES = 2**20
#: The same where each frame finds the connection idle: TCP begins anew with ten segments (RFC 6928) of 1448 bytes.
IDLE_WINDOW_BYTES = 14_480
#: Break-evens outside of these bandwidths are of no link, and are not told.
LEAST_BPS, MOST_BPS = 1e3, 1e12


@dataclass(frozen=True)
class Line:
    """A straight line in x = 1/bandwidth (s/bit): at + slope·x, seconds."""

    at: float
    slope: float


def plan(
    profile: Profile,
    bandwidth_bps: float,
    rtt_s: float,
    max_accuracy_loss: float = math.inf,
    *,
    window_bytes: int = WINDOW_BYTES,
) -> Plan:
    """The fastest option of ``profile`` on a link, of those that lose at most ``max_accuracy_loss``.

    ``bandwidth_bps`` is of each direction; ``max_accuracy_loss`` is in the profile's unit. Options of equal time are
    told apart by loss, then bytes, then name. Raises ContractError for a link that is none, or when no option is as
    good as is asked for.
    """
    if not (math.isfinite(bandwidth_bps) and bandwidth_bps > 0 and math.isfinite(rtt_s) and rtt_s >= 0):
        raise ContractError(f"no link has {bandwidth_bps:g} bit/s and a round trip of {rtt_s:g} s: measure it again")
    options = allowed(profile, max_accuracy_loss)

    def rank(option: Option) -> tuple[float, float, int, str]:
        return (frame_s(option, bandwidth_bps, rtt_s, window_bytes), option.loss, option.bytes_up, option.name)

    best = min(options, key=rank)
    return Plan(
        option=best,
        bandwidth_bps=bandwidth_bps,
        rtt_s=rtt_s,
        # JSON has no infinity: the loosest limit that says the same.
        max_accuracy_loss=min(max_accuracy_loss, max(option.loss for option in profile.options)),
        expected_s=frame_s(best, bandwidth_bps, rtt_s, window_bytes),
        interval_s=interval_s(best, bandwidth_bps),
        break_evens=break_evens(options, rtt_s, window_bytes),
    )


def allowed(profile: Profile, max_accuracy_loss: float) -> list[Option]:
    """The options that lose at most so much. Raises ContractError when there is none, with what the best one loses."""
    options = [option for option in profile.options if option.loss <= max_accuracy_loss]
    if not options:
        least = min(profile.options, key=lambda option: option.loss)
        raise ContractError(
            f"no option loses at most {max_accuracy_loss:g} {profile.loss_unit}: {least.name} loses least,"
            f" {least.loss:g} {profile.loss_unit}; allow that much or train a better cut"
        )
    return options


def frame_s(option: Option, bandwidth_bps: float, rtt_s: float, window_bytes: int = WINDOW_BYTES) -> float:
    """From a frame to its answer, one frame at a time, seconds."""
    time_s = option.head_s + option.tail_s + (option.bytes_up + option.bytes_down) * 8 / bandwidth_bps
    if not sends(option):
        return time_s
    # Small answers never stall; large ones would, like large requests.
    waits = (stall_s(size, bandwidth_bps, rtt_s, window_bytes) for size in (option.bytes_up, option.bytes_down))
    return time_s + rtt_s + sum(waits)


def interval_s(option: Option, bandwidth_bps: float) -> float:
    """Between two answers when head, sending, tail and receiving overlap: the slowest of the four, seconds."""
    return max(option.head_s, option.tail_s, option.bytes_up * 8 / bandwidth_bps, option.bytes_down * 8 / bandwidth_bps)


def sends(option: Option) -> bool:
    """Whether anything crosses the link at all."""
    return option.bytes_up + option.bytes_down > 0


def stall_s(size_bytes: int, bandwidth_bps: float, rtt_s: float, window_bytes: int = WINDOW_BYTES) -> float:
    """What a message waits for acknowledgements: each window that is short of bandwidth × rtt waits for the rest."""
    return sum(
        max(0.0, rtt_s - window * 8 / bandwidth_bps) for window in _windows_before_the_last(size_bytes, window_bytes)
    )


def _windows_before_the_last(size_bytes: int, window_bytes: int) -> list[int]:
    """The windows, each twice the one before, that are filled before the one that takes the message's end, bytes."""
    windows, window, left = [], window_bytes, size_bytes
    while left > window:
        windows.append(window)
        left -= window
        window *= 2
    return windows


def break_evens(options: Sequence[Option], rtt_s: float, window_bytes: int = WINDOW_BYTES) -> tuple[BreakEven, ...]:
    """Every bandwidth at which another of ``options`` becomes the fastest, rising; exact.

    The kinks of all options' lines part the bandwidths into stretches; on each the fastest options are the lower
    envelope of straight lines, walked from crossing to crossing.
    """
    kinks = sorted({1 / MOST_BPS, 1 / LEAST_BPS, *_kinks(options, rtt_s, window_bytes)})
    changes: list[tuple[float, str, str]] = []  # (x, above in bandwidth, below), x rising
    best: Option | None = None
    for left, right in itertools.pairwise(kinks):
        lines = {option: _line(option, rtt_s, window_bytes, (left + right) / 2) for option in options}
        here = min(options, key=lambda option: (_at(lines[option], left), lines[option].slope, option.name))
        if best is not None and _at(lines[best], left) <= _at(lines[here], left) * (1 + 1e-12):
            here = best  # no change at a kink unless one is truly faster
        elif best is not None and here is not best:
            changes.append((left, best.name, here.name))
        x = left
        while True:
            step = _next_crossing(lines, here, x, right)
            if step is None:
                break
            x, following = step
            changes.append((x, here.name, following.name))
            here = following
        best = here
    return tuple(BreakEven(bandwidth_bps=1 / x, below=below, above=above) for x, above, below in reversed(changes))


def pair_break_even(
    one: Option, other: Option, rtt_s: float, window_bytes: int = WINDOW_BYTES
) -> tuple[BreakEven, ...]:
    """The bandwidths at which the faster of two options changes, rising; empty where one is always the faster."""
    return break_evens([one, other], rtt_s, window_bytes)


def _kinks(options: Sequence[Option], rtt_s: float, window_bytes: int) -> set[float]:
    """The x = 1/bandwidth at which some window just covers bandwidth × rtt."""
    sizes = [size for option in options for size in (option.bytes_up, option.bytes_down)]
    windows = {window for size in sizes for window in _windows_before_the_last(size, window_bytes)}
    return {x for window in windows if 1 / MOST_BPS < (x := rtt_s / (8 * window)) < 1 / LEAST_BPS}


def _line(option: Option, rtt_s: float, window_bytes: int, x: float) -> Line:
    """The straight line that is the option's time around ``x``, where that is no kink."""
    at, slope = option.head_s + option.tail_s, 8.0 * (option.bytes_up + option.bytes_down)
    if sends(option):
        at += rtt_s
    for size in (option.bytes_up, option.bytes_down):
        for window in _windows_before_the_last(size, window_bytes):
            if rtt_s - 8 * window * x > 0:
                at, slope = at + rtt_s, slope - 8 * window
    return Line(at, slope)


def _at(line: Line, x: float) -> float:
    return line.at + line.slope * x


def _next_crossing(lines: dict[Option, Line], here: Option, after: float, until: float) -> tuple[float, Option] | None:
    """The first x in (after, until) at which a flatter line becomes lower than that of ``here``."""
    mine = lines[here]
    found: tuple[float, float, str, Option] | None = None
    for option, line in lines.items():
        if line.slope >= mine.slope:
            continue
        x = max(after, (line.at - mine.at) / (mine.slope - line.slope))
        if x < until and (found is None or (x, line.slope, option.name) < found[:3]):
            found = (x, line.slope, option.name, option)
    return (found[0], found[3]) if found else None
