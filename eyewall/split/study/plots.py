"""The study's pictures: accuracy by channels, time by channels at each bandwidth, time by bandwidth, error by bytes.

Equal results give equal bytes: no time stamp, no software version. Colours of Okabe and Ito, safe for colour-blind
eyes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eyewall.split.study.analysis import PAPER, Score, best_split, kind_of
from eyewall.split.study.link import LinkSpec, bandwidth_text
from eyewall.split.study.results import Measurement, leads_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI: Final = 110
_INK: Final = "#333333"
CLIENT, CLOUD, PAPERS = "#009E73", "#0072B2", "#888888"
_LEAD_COLOURS: Final = ("#E69F00", "#000000", "#0072B2", "#009E73", "#D55E00")
_PLACES: Final = 64  # of a channel at the paper's cut
WIRES: Final = {"float32": ("#D55E00", "o"), "float16": ("#E69F00", "s"), "int8": ("#CC79A7", "^")}


def accuracy_by_channels(scores: Sequence[Score], path: Path) -> None:
    """Accuracy of the networks with so many filters at the cut, over each wire, and the paper's."""
    figure, (axes,) = _figure(7.2, 4.4, 1)
    axes.plot(list(PAPER), list(PAPER.values()), "D--", color=PAPERS, markersize=4, label="paper (CIFAR-10, float32)")
    plain = [s for s in scores if kind_of(s) == "plain"]
    for wire, (colour, marker) in WIRES.items():
        if wire == "float16" or not plain:  # as float32's, to the second digit: it would hide it
            continue
        axes.plot(
            [s["channels"] for s in plain], [s["wires"][wire]["accuracy_percent"] for s in plain], marker=marker,
            color=colour, label=f"this study (JPEG copy), {wire}", linewidth=1.4, markersize=5,
        )  # fmt: skip
    for kind, marker, label in (("taught", "P", "taught by 32 filters"), ("squeezed", "*", "squeezed after pool2")):
        if others := [s for s in scores if kind_of(s) == kind]:
            axes.plot(
                [s["values_at_cut"] / _PLACES for s in others],
                [s["wires"]["int8"]["accuracy_percent"] for s in others], marker,
                color="#000000", markersize=10, label=f"this study, {label}, int8",
            )  # fmt: skip
    axes.set_xlabel("values at the cut, in channels of 8 × 8 places (the raw image has 48 times 64 values)")
    axes.set_ylabel("accuracy (%)")
    axes.set_xticks(list(PAPER))
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("Accuracy by channels at the cut", loc="left")
    _save(figure, path)


def time_by_channels(measured: Measurement, rtt_s: float, path: Path) -> None:
    """At each bandwidth: time of the split by its channels and wire, with client and cloud as levels."""
    links = [link for link in measured.links() if link.rtt_s == rtt_s]
    figure, panels = _figure(4.6 * len(links), 4.0, len(links))
    per = 1000 / measured.batch
    for axes, link in zip(panels, links, strict=True):
        for wire, (colour, marker) in WIRES.items():
            found = sorted(
                (c.channels, measured.cell(link, c.name).total_s)
                for c in measured.candidates
                if c.cut == "pool2" and c.wire == wire and c.channels is not None
            )
            _bars(
                axes,
                [n for n, _ in found],
                [t for _, t in found],
                per,
                color=colour,
                marker=marker,
                label=f"split, {wire}",
            )
        for way, colour in (("cloud", CLOUD), ("client", CLIENT)):
            times = measured.cell(link, way).total_s
            axes.axhline(times.median * per, color=colour, linewidth=1.6, label=f"all-{way}")
            axes.axhspan(times.low * per, times.high * per, color=colour, alpha=0.12, linewidth=0)
        axes.set_title(bandwidth_text(link.bandwidth_bps), loc="left")
        axes.set_xlabel("channels at the cut")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("time per frame (ms); quartiles")
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"Time by channels at the cut, round trip {rtt_s * 1000:g} ms, {_frames(measured)} a request")
    _save(figure, path)


def time_by_bandwidth(measured: Measurement, path: Path) -> None:
    """For each round trip: the three places by bandwidth, both axes logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    rtts = sorted({link.rtt_s for link in measured.links()})
    figure, panels = _figure(4.6 * len(rtts), 4.0, len(rtts))
    per = 1000 / measured.batch
    for axes, rtt_s in zip(panels, rtts, strict=True):
        links = sorted((link for link in measured.links() if link.rtt_s == rtt_s), key=_bandwidth)
        x = [_bandwidth(link) / 1e6 for link in links]
        series: dict[str, tuple[str, str, Callable[[LinkSpec], Any]]] = {
            "all-client": (CLIENT, "s", lambda link: measured.cell(link, "client").total_s),
            "all-cloud": (CLOUD, "D", lambda link: measured.cell(link, "cloud").total_s),
            "fastest split": ("#CC79A7", "^", lambda link: best_split(measured, link).total_s),
        }
        for label, (colour, marker, times_of) in series.items():
            _bars(axes, x, [times_of(link) for link in links], per, color=colour, marker=marker, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xticks(x, [bandwidth_text(_bandwidth(link)) for link in links], fontsize=8)
        axes.minorticks_off()
        axes.set_title(f"round trip {rtt_s * 1000:g} ms", loc="left")
    panels[0].set_ylabel("time per frame (ms); quartiles")
    panels[0].legend(frameon=False)
    figure.suptitle(f"{measured.model}: time by bandwidth, {_frames(measured)} a request")
    _save(figure, path)


def error_by_bytes(measured: Measurement, path: Path) -> None:
    """What a cut adds to the mean track error, by the bytes that cross; one colour a lead, one mark a wire."""
    figure, (axes,) = _figure(8.4, 4.6, 1)
    splits = [c for c in (*measured.candidates, *measured.scored) if c.name in measured.quality and c.place == "split"]
    whole = measured.quality["cloud"]
    axes.axhline(0, color=_INK, linewidth=1)
    for lead, colour in zip(leads_of(measured), _LEAD_COLOURS, strict=False):
        label = f"+{lead} h, whole model {whole[lead]:.0f} km"
        for wire, (_, marker) in WIRES.items():
            chosen = [c for c in splits if c.wire == wire]
            axes.scatter(
                [c.payload_bytes for c in chosen], [measured.quality[c.name][lead] - whole[lead] for c in chosen],
                color=colour, marker=marker, s=26, alpha=0.8, linewidths=0, label=label if wire == "int8" else None,
            )  # fmt: skip
    raw = measured.candidate("cloud").payload_bytes
    axes.axvline(raw, color=CLOUD, linewidth=1, linestyle="--", label=f"raw images, {raw} bytes")
    axes.set_xscale("log")
    axes.set_xlabel("bytes of a sample that cross (circle float32, square float16, triangle int8)")
    axes.set_ylabel("mean error above the whole model's (km)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    axes.set_title("Track error by bytes over the link", loc="left")
    _save(figure, path)


def _frames(measured: Measurement) -> str:
    return f"{measured.batch} frames" if measured.batch > 1 else "1 frame"


def _bandwidth(link: LinkSpec) -> float:
    return link.bandwidth_bps or 1e12


def _bars(axes: "Axes", x: Sequence[float], times: Sequence[Any], per: float, **style: Any) -> None:
    middle = [t.median * per for t in times]
    below = [max(0.0, (t.median - t.low) * per) for t in times]
    above = [max(0.0, (t.high - t.median) * per) for t in times]
    axes.errorbar(
        x, middle, yerr=[below, above], linewidth=1.4, elinewidth=0.9, capsize=2, markersize=5, **style
    )  # fmt: skip


def _figure(width_in: float, height_in: float, panels: int) -> tuple[Any, Sequence[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    made = figure.subplots(1, panels, squeeze=False)[0]
    for axes in made:
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, made


def _save(figure: Any, path: Path) -> None:
    """A PNG of 256 colours: half the bytes, and lines of a few colours need no more."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def draw(
    measured: Mapping[str, Measurement], scores: Sequence[Score], folder: Path, prefix: str = "split-"
) -> list[str]:
    """Every picture for which there are results, into ``folder``; their file names."""
    names = []

    def made(name: str, draw_it: Callable[[Path], None]) -> None:
        draw_it(folder / f"{prefix}{name}.png")
        names.append(f"{prefix}{name}.png")

    if scores:
        made("accuracy", lambda path: accuracy_by_channels(scores, path))
    for part, found in measured.items():
        if part == "cifar10":
            for rtt_s in sorted({link.rtt_s for link in found.links()}):
                name = f"cifar10-channels-{rtt_s * 1000:g}ms"
                made(name, lambda path, rtt_s=rtt_s, found=found: time_by_channels(found, rtt_s, path))  # type: ignore[misc]
        made(f"{part}-bandwidth", lambda path, found=found: time_by_bandwidth(found, path))  # type: ignore[misc]
        if found.quality:
            made(f"{part}-error", lambda path, found=found: error_by_bytes(found, path))  # type: ignore[misc]
    return names
