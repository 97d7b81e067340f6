"""Every way on every link, side by side: in each round all ways have a turn, in an order drawn anew.

A link is measured in as many rounds as were asked for, and in more while it is quick: medians of near times want many
requests. The unshaped link, from which every plan is made, has the longest turn.
"""

import random
import time
from collections.abc import Callable, Iterable, Sequence

from eyewall.split.profiler import WARM_UP, spread
from eyewall.split.study.link import LinkSpec
from eyewall.split.study.prepare import Bench
from eyewall.split.study.results import Cell, Times
from eyewall.split.study.rig import Rig, Turn

UNSHAPED = LinkSpec()
#: Requests of one way before it is another's turn.
_REQUESTS_A_TURN = 3
#: A link is measured for at least so long, but in no more than so many times the rounds that were asked for.
_LEAST_S, _UNSHAPED_LEAST_S, _MOST_TIMES = 40.0, 120.0, 10
#: The first of a turn still feels the way before: it is not counted.
_SKIPPED = 1


def links_of(bandwidths_mbps: Iterable[float], rtts_ms: Iterable[float]) -> list[LinkSpec]:
    """Every combination, the fastest link first."""
    rtts = sorted(rtts_ms)
    return [
        LinkSpec(bandwidth_bps=mbps * 1e6, rtt_s=rtt / 1000)
        for mbps in sorted(bandwidths_mbps, reverse=True)
        for rtt in rtts
    ]


def measure_link(
    rig: Rig, bench: Bench, link: LinkSpec, requests: int, seed: int, advance: Callable[..., None]
) -> list[Cell]:
    """At least ``requests`` requests by every way on ``link``, one cell each, in the bench's order."""
    rig.shape(link)
    names = [candidate.name for candidate in bench.candidates]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    rounds = rounds_of(requests)
    least_s = _UNSHAPED_LEAST_S if link == UNSHAPED else _LEAST_S
    order = random.Random(f"{seed} {link.name}")  # noqa: S311 - no secret
    for name in names:
        rig.ask(name, WARM_UP)
    began_s = time.monotonic()
    for done in range(_MOST_TIMES * rounds):
        if done >= rounds and time.monotonic() - began_s >= least_s:
            break
        order.shuffle(names)
        for name in names:
            turns[name].append(rig.ask(name, _SKIPPED + _REQUESTS_A_TURN))
            advance(1 if done < rounds else 0, f"{link.name}: {name}")
    return [cell_of(link, candidate.name, turns[candidate.name]) for candidate in bench.candidates]


def rounds_of(requests: int) -> int:
    """Rounds in which each way has at least so many requests that count."""
    return max(1, -(-requests // _REQUESTS_A_TURN))


def turns_of(bench: Bench, links: int, requests: int) -> int:
    """How often `measure_link` will count a turn on so many links."""
    return links * len(bench.candidates) * rounds_of(requests)


def cell_of(link: LinkSpec, way: str, turns: Sequence[Turn]) -> Cell:
    """The turns of one way as a cell; the first request of each is left out of the times."""
    total_s = [value for turn in turns for value in turn.total_s[_SKIPPED:]]
    head_s = [value for turn in turns for value in turn.head_s[_SKIPPED:]]
    rest_s = [total - head for total, head in zip(total_s, head_s, strict=True)]
    asked = sum(len(turn.total_s) for turn in turns)
    return Cell(
        link=link,
        way=way,
        requests=len(total_s),
        total_s=_times(total_s),
        head_s=_times(head_s),
        rest_s=spread(rest_s)[1],
        message_up=turns[0].bytes_up,
        message_down=turns[0].bytes_down,
        link_up=round(sum(turn.link_up for turn in turns) / asked, 1),
        link_down=round(sum(turn.link_down for turn in turns) / asked, 1),
    )


def _times(values: Sequence[float]) -> Times:
    low, median, high = (round(value, 7) for value in spread(values))
    return Times(low=low, median=median, high=high)
