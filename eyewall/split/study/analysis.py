"""From measurements and scores to what the study says: profiles, the planner put to the test, claims with figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eyewall.contracts.split import BreakEven, Option, Profile
from eyewall.split.planner import break_evens, frame_s
from eyewall.split.profiler import on_the_link
from eyewall.split.study.link import LinkSpec
from eyewall.split.study.results import Candidate, Cell, Measurement

#: The paper's Table 1: filters at the cut → accuracy, % (Ichinose et al., HPDC '16).
PAPER = {1: 56.6, 4: 73.4, 8: 76.6, 12: 77.2, 16: 77.1, 20: 77.7, 24: 77.6, 28: 78.0, 32: 78.1}
#: A planned option this much slower than the measured best still counts as right.
TOLERANCE = 0.10

Score = Mapping[str, Any]


#: How the network of a score was trained.
Trained = Literal["plain", "taught", "squeezed"]
KINDS: tuple[Trained, ...] = get_args(Trained)


@dataclass(frozen=True)
class Trial:
    """The planner on one link: what it chose, what was the fastest there, and how much slower the choice was."""

    link: LinkSpec
    chosen: str
    expected_s: float
    measured_s: float
    best: str
    best_s: float

    @property
    def ratio(self) -> float:
        """1: the choice was the fastest."""
        return self.measured_s / self.best_s

    @property
    def right(self) -> bool:
        """Within `TOLERANCE` of the fastest."""
        return self.ratio <= 1 + TOLERANCE


def profile_of(measured: Measurement, losses: Mapping[str, float] | None = None) -> Profile:
    """What the planner is told: the cells of the unshaped link, of all ways, or of those whose loss is given.

    Times are of a request. On the unshaped link a message takes no time to speak of: all that is not the client's own
    part is the server's.
    """
    options = []
    for cell in measured.unshaped:
        if losses is not None and cell.way not in losses:
            continue
        candidate = measured.candidate(cell.way)
        options.append(_option(candidate, cell, 0.0 if losses is None else losses[cell.way]))
    return Profile(model=measured.model, loss_unit=measured.loss_unit, options=tuple(options))


def _option(candidate: Candidate, cell: Cell, loss: float) -> Option:
    if candidate.place == "client":
        return Option(place="client", head_s=cell.total_s.median, tail_s=0, bytes_up=0, bytes_down=0, loss=loss)
    return Option(
        place=candidate.place,
        cut=candidate.cut,
        channels=candidate.channels,
        wire=candidate.wire,
        head_s=cell.head_s.median,
        tail_s=max(0.0, cell.rest_s),
        bytes_up=on_the_link(cell.message_up),
        bytes_down=on_the_link(cell.message_down),
        loss=loss,
    )


def trials(measured: Measurement, options: Sequence[Option]) -> list[Trial]:
    """The planner's choice among ``options`` on every link, against what was measured there."""
    found = []
    for link in measured.links():
        bandwidth_bps = link.bandwidth_bps or 1e12
        chosen = min(options, key=lambda option: frame_s(option, bandwidth_bps, link.rtt_s))
        cells = [measured.cell(link, option.name) for option in options]
        best = min(cells, key=lambda cell: cell.total_s.median)
        own = measured.cell(link, chosen.name)
        expected_s = frame_s(chosen, bandwidth_bps, link.rtt_s)
        found.append(Trial(link, chosen.name, expected_s, own.total_s.median, best.way, best.total_s.median))
    return found


def share_right(found: Iterable[Trial]) -> float:
    """Of some trials, those within the tolerance, %."""
    results = [trial.right for trial in found]
    return 100.0 * sum(results) / len(results)


def pair(options: Iterable[Option], one: str, other: str, rtt_s: float) -> tuple[BreakEven, ...]:
    """The bandwidths at which the faster of two options changes."""
    by_name = {option.name: option for option in options}
    return break_evens([by_name[one], by_name[other]], rtt_s)


def best_split(measured: Measurement, link: LinkSpec, ways: Iterable[str] | None = None) -> Cell:
    """The fastest cut on a link, of ``ways`` or all."""
    names = set(ways) if ways is not None else None
    splits = [
        cell
        for cell in measured.cells
        if cell.link == link and measured.candidate(cell.way).place == "split" and (names is None or cell.way in names)
    ]
    return min(splits, key=lambda cell: cell.total_s.median)


def way_of_score(score: Score, wire: str) -> str:
    """The way that a network's score over one wire is of."""
    return f"{score['cut']}/{score['bottleneck'] or score['channels']}/{wire}"


def kind_of(score: Score) -> Trained:
    """Filters as the paper varies them, trained alone or by the answers of the unchanged network; or a bottleneck."""
    if score["bottleneck"] is not None:
        return "squeezed"
    return "taught" if score["taught"] else "plain"


def whole_accuracy(scores: Iterable[Score]) -> float | None:
    """Of the unchanged network, uncut but for float32, which loses nothing, %."""
    for score in scores:
        if score["channels"] == max(PAPER) and kind_of(score) == "plain":
            return float(score["wires"]["float32"]["accuracy_percent"])
    return None


def losses_of(measured: Measurement, scores: Sequence[Score]) -> dict[str, float]:
    """Way → points lost against the unchanged network, for the ways that were scored; empty without its score.

    Only the CIFAR-10 network has scores of networks; a part that scores itself says its losses in its measurement.
    """
    whole = whole_accuracy(scores)
    if whole is None or measured.part != "cifar10":
        return {}
    losses = {"client": 0.0, "cloud": 0.0}
    for score in scores:
        for wire, result in score["wires"].items():
            way, loss = way_of_score(score, wire), round(whole - float(result["accuracy_percent"]), 4)
            losses[way] = min(loss, losses.get(way, loss))  # one would serve the better of two such networks
    return {way: loss for way, loss in losses.items() if any(c.name == way for c in measured.candidates)}
