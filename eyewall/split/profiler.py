"""What each way of running the model costs, measured on the client that it will run on against the server's own tail.

The same parts as the edge's do the work: its heads, its messages, its gRPC channel. One request is out at a time;
medians are told, as one slow request says more of the machine than of the model.
"""

import statistics
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eyewall.contracts.errors import InputError, ServingError
from eyewall.contracts.split import Option, Profile
from eyewall.split.edge.link import End, Link
from eyewall.split.edge.packet import Frame, FrameKey
from eyewall.split.edge.ways import ClientWay, SplitWay, Way

#: Frames before the first that counts: threads start, caches fill, HTTP/2 learns the link's bandwidth.
WARM_UP = 3
#: What a message carries besides itself: HTTP/2's frame headers and gRPC's five bytes, then Ethernet, IP and TCP
#: headers (14 + 20 + 32) of each segment of 1448 bytes.
_CALL_BYTES = 64
_SEGMENT_BYTES, _SEGMENT_HEADERS = 1448, 66


@dataclass
class Probe:
    """What some requests by one way took, seconds, and the bytes of one message."""

    head_s: list[float] = field(default_factory=list)  #: on the client, until the message is ready
    total_s: list[float] = field(default_factory=list)  #: until the answer is there
    bytes_up: int = 0
    bytes_down: int = 0

    def median_head_s(self) -> float:
        """Median of the client's part."""
        return statistics.median(self.head_s)

    def median_rest_s(self) -> float:
        """Median of what comes after it: link, server, and what it takes to talk to it."""
        return statistics.median(total - head for head, total in zip(self.head_s, self.total_s, strict=True))


def probe(way: Way, link: Link | None, requests: Iterable[Sequence[Frame]], timeout_s: float = 60.0) -> Probe:
    """Ask for some frames at a time. Raises ServingError, with the server's words, when a request is not answered."""
    found = Probe()
    for frames in requests:
        began_s = time.perf_counter()
        packet = way.pack(frames)
        packed_s = time.perf_counter()
        if not isinstance(way, ClientWay):
            if link is None:
                raise InputError(f"{way.name} needs a model server: give --server")
            call = link.send(packet, timeout_s)
            end, why, _, _ = call.end()
            if end is not End.ANSWERED:
                raise ServingError(f"model server {link.address} did not answer {way.name}: {why}")
            found.bytes_up, found.bytes_down = call.bytes, call.bytes_down
        found.head_s.append(packed_s - began_s)
        found.total_s.append(time.perf_counter() - began_s)
    return found


def on_the_link(message_bytes: int) -> int:
    """Bytes that the link carries for one message: itself, and the headers around it (an estimate)."""
    whole = message_bytes + _CALL_BYTES
    return whole + -(-whole // _SEGMENT_BYTES) * _SEGMENT_HEADERS if message_bytes else 0


def option_of(way: Way, found: Probe, rtt_s: float, loss: float) -> Option:
    """One row of a profile; ``rtt_s`` is that of the link on which it was measured, whose bandwidth is no matter."""
    if isinstance(way, ClientWay):
        return Option(place="client", head_s=found.median_head_s(), tail_s=0, bytes_up=0, bytes_down=0, loss=loss)
    sizes = {"bytes_up": on_the_link(found.bytes_up), "bytes_down": on_the_link(found.bytes_down)}
    tail_s = max(0.0, found.median_rest_s() - rtt_s)
    if isinstance(way, SplitWay):
        contract = way.contract
        channels = contract.shape[-1] if contract.shape else 1
        return Option(
            cut=contract.cut, channels=channels, wire=contract.wire, head_s=found.median_head_s(), tail_s=tail_s,
            loss=loss, **sizes,
        )  # fmt: skip
    return Option(place="cloud", head_s=found.median_head_s(), tail_s=tail_s, loss=loss, **sizes)


def measure(
    ways: Sequence[Way],
    link: Link | None,
    frames: Sequence[Frame],
    *,
    model: str,
    rtt_s: float = 0.0,
    losses: Mapping[str, float] | None = None,
    loss_unit: str = "",
    rounds: int = 5,
) -> Profile:
    """The profile of ``ways``, side by side: in each of ``rounds`` every way has a turn with all frames.

    ``losses`` are by way; those that are not named lose nothing that is known. Raises InputError for a name that is no
    way, and as `probe`.
    """
    losses = losses or {}
    if unknown := sorted(set(losses) - {way.name for way in ways}):
        raise InputError(f"a loss is given for {unknown}: the ways are {', '.join(way.name for way in ways)}")
    found = {way.name: Probe() for way in ways}
    for way in ways:
        probe(way, link, requests_of(frames, WARM_UP))
    for _ in range(rounds):
        for way in ways:
            turn = probe(way, link, requests_of(frames, len(frames)))
            kept = found[way.name]
            kept.head_s += turn.head_s
            kept.total_s += turn.total_s
            kept.bytes_up, kept.bytes_down = turn.bytes_up, turn.bytes_down
    options = [option_of(way, found[way.name], rtt_s, losses.get(way.name, 0.0)) for way in ways]
    return Profile(model=model, loss_unit=loss_unit, options=tuple(options))


def requests_of(frames: Sequence[Frame], count: int, batch: int = 1, first: int = 0) -> list[list[Frame]]:
    """``count`` requests of ``batch`` frames each, in turn from frame ``first`` on, and from the first again."""
    return [[frames[(first + r * batch + i) % len(frames)] for i in range(batch)] for r in range(count)]


def read_frames(path: Path) -> list[Frame]:
    """Frames of an .npz: arrays [n, …] by input name, of equal n. Raises InputError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"no frames in {str(path)!r}: {error}; give an .npz with one array for each input") from None
    sizes = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if not arrays or len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise InputError(f"the arrays of {str(path)!r} hold {sizes} frames: all must hold as many, and at least one")
    return frames_of(arrays)


def frames_of(arrays: Mapping[str, Any]) -> list[Frame]:
    """Arrays [n, …] by input name → n frames."""
    n = len(next(iter(arrays.values())))
    return [Frame(FrameKey(f"frame-{i}", i), {name: a[i] for name, a in arrays.items()}, 0.0) for i in range(n)]


def spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = np.percentile(np.fromiter(values, float), (25, 50, 75))
    return float(low), float(middle), float(high)
