"""Counters, gauges and histograms of one edge, as Prometheus' text format and as a snapshot for the live view.

Source of the format: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

#: Upper bounds of the latency buckets, seconds.
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_HELP = {
    "eyewall_edge_frames_total": "Frames by what became of them.",
    "eyewall_edge_bytes_total": "Bytes of messages on the link, without their framing.",
    "eyewall_edge_taken_frames_total": "Frames that the source gave, good and bad.",
    "eyewall_edge_spooled_frames_total": "Frames that went through the spool.",
    "eyewall_edge_requests_total": "Requests by how they ended.",
    "eyewall_edge_switches_total": "Changes of the plan.",
    "eyewall_edge_seconds": "Time of each part, for one request; whole: from intake of a frame to its answer.",
    "eyewall_edge_queue_length": "Frames or packets that wait, or are on their way.",
    "eyewall_edge_spool_bytes": "Bytes on disk.",
    "eyewall_edge_spool_limit_bytes": "Bytes that the spool may take.",
    "eyewall_edge_spool_frames": "Frames that wait on disk.",
    "eyewall_edge_spool_full": "Whether the spool refuses packets: frames then stay at their source.",
    "eyewall_edge_link_up": "Whether the server answers.",
    "eyewall_edge_bandwidth_bits_per_second": "As measured from requests.",
    "eyewall_edge_round_trip_seconds": "As measured with small questions.",
    "eyewall_edge_plan": "1 for the way that frames go now.",
}
_TYPES = {"_total": "counter", "_seconds": "histogram"}
#: These end like histograms and are none.
_GAUGES = frozenset({"eyewall_edge_round_trip_seconds"})

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Thread-safe; gauges are read when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, Labels], float] = {}
        self._histograms: dict[tuple[str, Labels], list[float]] = {}
        self._gauges: list[tuple[str, Labels, Callable[[], float]]] = []

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to ``eyewall_edge_<name>_total``."""
        key = (f"eyewall_edge_{name}_total", tuple(sorted(labels.items())))
        with self._lock:
            self._counters[key] = self._counters.get(key, 0.0) + by

    def took(self, part: str, seconds: float) -> None:
        """Note the time of a part."""
        key = ("eyewall_edge_seconds", (("part", part),))
        with self._lock:
            buckets = self._histograms.setdefault(key, [0.0] * (len(_BOUNDS_S) + 2))
            buckets[bisect_left(_BOUNDS_S, seconds)] += 1
            buckets[-1] += seconds

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """``read`` gives ``eyewall_edge_<name>`` whenever it is asked for."""
        self._gauges.append((f"eyewall_edge_{name}", tuple(sorted(labels.items())), read))

    def value(self, name: str, **labels: str) -> float:
        """A counter's value."""
        with self._lock:
            return self._counters.get((f"eyewall_edge_{name}_total", tuple(sorted(labels.items()))), 0.0)

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        with self._lock:
            counters = sorted(self._counters.items())
            histograms = sorted((key, list(buckets)) for key, buckets in self._histograms.items())
        series: dict[str, list[str]] = {}
        for (name, labels), value in counters:
            series.setdefault(name, []).append(_line(name, labels, value))
        for name, labels, read in self._gauges:
            series.setdefault(name, []).append(_line(name, labels, read()))
        for (name, labels), buckets in histograms:
            series.setdefault(name, []).extend(_histogram(name, labels, buckets))
        lines = []
        for name, values in series.items():
            kind = next((k for end, k in _TYPES.items() if name.endswith(end) and name not in _GAUGES), "gauge")
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}", *values]
        return "\n".join(lines) + "\n"

    def snapshot(self) -> dict[str, Any]:
        """The same for a view: counters and gauges by name and labels, and the mean and count of each part."""
        with self._lock:
            counters, histograms = dict(self._counters), dict(self._histograms)
            parts = {
                dict(labels)["part"]: {"count": sum(b[:-1]), "mean_s": b[-1] / max(1.0, sum(b[:-1]))}
                for (_, labels), b in histograms.items()
            }
        values = {_key(name, labels): value for (name, labels), value in counters.items()}
        values |= {_key(name, labels): float(read()) for name, labels, read in self._gauges}
        return {"values": values, "parts": parts}


def _key(name: str, labels: Labels) -> str:
    return "/".join([name.removeprefix("eyewall_edge_").removesuffix("_total"), *(v for _, v in labels)])


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {value:.10g}" if inside else f"{name} {value:.10g}"


def _histogram(name: str, labels: Labels, buckets: list[float]) -> list[str]:
    lines, total = [], 0.0
    for bound, count in zip((*(f"{b:g}" for b in _BOUNDS_S), "+Inf"), buckets[:-1], strict=True):
        total += count
        lines.append(_line(f"{name}_bucket", (*labels, ("le", bound)), total))
    return [*lines, _line(f"{name}_sum", labels, buckets[-1]), _line(f"{name}_count", labels, total)]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
