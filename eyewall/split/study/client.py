"""The client of a measurement, a process of its own at the client's end of the link and under its limit.

``python -m eyewall.split.study.client SETUP.json`` opens every way, writes ``{"ready": …}`` and then answers lines
``{"way": …, "requests": n}`` on stdin with what the requests took (`eyewall.split.profiler.probe`). It ends with stdin.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from eyewall.contracts.errors import EyewallError
from eyewall.contracts.split import Place


class WaySetup(BaseModel):
    """One way to open: a folder of the client, a model of the server, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    place: Place
    folder: Path | None = None
    model: str = ""


class ClientSetup(BaseModel):
    """What the client process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str
    frames: Path
    ways: tuple[WaySetup, ...]
    batch: int = 1
    timeout_s: float = 120.0


def main(path: Path) -> None:
    """Serve the measurement that `eyewall.split.study.rig` makes."""
    from eyewall.serving.access import ClientAccess
    from eyewall.split.edge.link import Link
    from eyewall.split.profiler import probe, read_frames, requests_of

    setup = ClientSetup.model_validate_json(path.read_bytes())
    ways = {way.name: _open(way) for way in setup.ways}
    frames = read_frames(setup.frames)
    link = Link(setup.address, ClientAccess(), lambda: None)
    first = 0
    for request in _requests():
        try:
            chosen = requests_of(frames, request["requests"], setup.batch, first)
            first += len(chosen) * setup.batch
            before = _interface_bytes()
            found = probe(ways[request["way"]], link, chosen, setup.timeout_s)
            crossed = [b - a for a, b in zip(before, _interface_bytes(), strict=True)]
            answer = {**vars(found), "link_up": crossed[0], "link_down": crossed[1]}
        except EyewallError as error:
            answer = {"error": str(error)}
        _say(answer)
    link.close()


def _open(way: WaySetup) -> Any:
    from eyewall.split.edge.ways import ClientWay, CloudWay, SplitWay

    if way.place == "cloud":
        return CloudWay(way.model)
    assert way.folder is not None
    return SplitWay.open(way.folder, way.model) if way.place == "split" else ClientWay.open(way.folder)


def _requests() -> Iterator[dict[str, Any]]:
    _say({"ready": True})
    for line in sys.stdin:
        yield json.loads(line)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _interface_bytes() -> tuple[int, int]:
    """Bytes sent and received by the one interface of a namespace; zeros where there is none of that name."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "wire":
            numbers = counts.split()
            return int(numbers[8]), int(numbers[0])
    return 0, 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
