"""The live terminal view: what an edge's ``/status`` says, drawn with rich."""

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_PARTS = (("head", "head"), ("queue", "waiting"), ("link", "link and tail"), ("record", "record"), ("whole", "whole"))


def rates(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, float]:
    """Frames and bytes per second between two statuses of one edge; zeros without the earlier one."""
    names = {"frames": ("frames/cloud", "frames/edge"), "up": ("bytes/up",), "down": ("bytes/down",)}
    if before is None or now["pid"] != before["pid"] or now["up_s"] <= before["up_s"]:
        return dict.fromkeys(names, 0.0)
    seconds = now["up_s"] - before["up_s"]
    return {
        key: sum(now["values"].get(n, 0.0) - before["values"].get(n, 0.0) for n in of) / seconds
        for key, of in names.items()
    }


def view(status: dict[str, Any], before: dict[str, Any] | None = None) -> RenderableType:
    """One picture of a status; ``before`` is an earlier one, for rates."""
    values, speed = status["values"], rates(status, before)
    if status["away_s"] is None:
        link = Text(f"up  {status['server']}", style="green")
    else:
        link = Text(
            f"away for {status['away_s']:.0f} s  {status['server']}  {status['why_away'][:120]}", style="bold red"
        )
    facts = Table.grid(padding=(0, 2))
    facts.add_row("link", link)
    facts.add_row(
        "",
        f"{values.get('bandwidth_bits_per_second', 0) / 1e6:.2f} Mbit/s,"
        f" round trip {1e3 * values.get('round_trip_seconds', 0):.1f} ms",
    )
    facts.add_row("plan", f"{status['plan']}  of {', '.join(status['ways'])}")
    facts.add_row(
        "frames",
        f"{_whole(values, 'frames/cloud')} by the cloud, {_whole(values, 'frames/edge')} here,"
        f" {_whole(values, 'frames/quarantined')} in quarantine; {speed['frames']:.1f} a second",
    )
    facts.add_row(
        "bytes",
        f"{_bytes(values.get('bytes/up', 0))} up, {_bytes(values.get('bytes/down', 0))} down;"
        f" {_bytes(speed['up'])} and {_bytes(speed['down'])} a second",
    )
    facts.add_row(
        "queues",
        f"{_whole(values, 'queue_length/frames')} frames, {_whole(values, 'queue_length/packets')} packets,"
        f" {_whole(values, 'queue_length/link')} on the link",
    )
    spool = (
        f"{_whole(values, 'spool_frames')} frames, {_bytes(values.get('spool_bytes', 0))}"
        f" of {_bytes(values.get('spool_limit_bytes', 0))}"
    )
    full = bool(values.get("spool_full"))
    facts.add_row(
        "spool", Text(spool + ("  FULL: frames stay at their source" if full else ""), "bold red" if full else "")
    )
    parts = Table("part", "requests", "mean ms", box=None, padding=(0, 2))
    for part, name in _PARTS:
        if part in status["parts"]:
            of = status["parts"][part]
            parts.add_row(name, f"{of['count']:.0f}", f"{1e3 * of['mean_s']:.1f}")
    return Panel(Group(facts, "", parts), title=f"edge {status['pid']}, up {status['up_s']:.0f} s", expand=False)


def _whole(values: dict[str, float], name: str) -> str:
    return f"{values.get(name, 0.0):.0f}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
