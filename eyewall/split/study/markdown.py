"""The study's report in Markdown: what was asked, what was found, with what."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eyewall.contracts.split import Option
from eyewall.split.study.analysis import PAPER, Score, best_split, kind_of, pair, trials, whole_accuracy
from eyewall.split.study.claims import SMALL_CLIENT, Claim, all_claims, option_sets
from eyewall.split.study.link import LinkSpec, bandwidth_text
from eyewall.split.study.results import Measurement, leads_of

_TITLES = {
    "cifar10": "1. The paper's CIFAR-10 network",
    "caffenet": "2. A network of ImageNet's size",
    "typhoon": "3. The project's own model on real frames",
}


def report(
    measured: Mapping[str, Measurement],
    scores: Sequence[Score],
    privacy: Sequence[Mapping[str, Any]],
    images: Sequence[str],
    image_folder: str = "",
) -> str:
    """The whole report; ``images`` are the names of the pictures, which lie in ``image_folder`` from where it is."""
    lines = [
        "# The split study",
        "",
        "A convolutional network is cut between two layers: the client computes the head and sends features, the cloud",
        "computes the tail (Ichinose et al., HPDC '16). Everything here was written by `eyewall split study`.",
        "",
        "## What was to be shown",
        "",
        *_claims(all_claims(measured, scores)),
        "",
    ]
    for part, title in _TITLES.items():
        if part == "cifar10" and scores:
            lines += [
                f"## {title}",
                "",
                *_accuracy(scores, measured.get(part)),
                *_picture(images, image_folder, "split-accuracy"),
            ]
        if part not in measured:
            continue
        if not (part == "cifar10" and scores):
            lines += [f"## {title}", ""]
        lines += _part(measured[part], scores)
        lines += _picture(images, image_folder, f"split-{part}")
    if privacy:
        lines += ["## Privacy", "", *_privacy(privacy)]
    return "\n".join(lines).rstrip() + "\n"


def _claims(claims: Iterable[Claim]) -> list[str]:
    words = {True: "yes", False: "**no**", None: "–"}
    return _table(
        ("claim", "shown", "figures"), [(claim.sentence, words[claim.holds], claim.figures) for claim in claims]
    )


def _accuracy(scores: Sequence[Score], measured: Measurement | None) -> list[str]:
    whole = whole_accuracy(scores)
    rows = []
    for score in scores:
        wires, kind = score["wires"], kind_of(score)
        lost = "–" if whole is None else f"{whole - wires['int8']['accuracy_percent']:+.2f}"
        rows.append(
            (
                f"{score['bottleneck'] or score['channels']}{'' if kind == 'plain' else f' ({kind})'}",
                f"{PAPER.get(score['channels'], '–')}" if kind == "plain" else "–",
                *(f"{wires[wire]['accuracy_percent']:.2f}" for wire in ("float32", "float16", "int8")),
                lost,
                f"{score['values_at_cut']} ({100 * score['values_at_cut'] / score['raw_image_bytes']:.0f} %)",
                *(f"{wires[w]['bytes']} ({100 * wires[w]['share_of_raw_bytes']:.0f} %)" for w in ("float32", "int8")),
            )
        )
    heads = (
        "channels", "paper, %", "float32, %", "float16, %", "int8, %", "int8 loses", "values", "float32 bytes",
        "int8 bytes",
    )  # fmt: skip
    note = [
        "",
        "*taught*: trained by the answers of the unchanged 32 filters as well as by labels, for twice the epochs, with",
        "mirrored images; *squeezed*: a bottleneck behind its 32 filters, taught by them too.",
        f"Accuracy on the {scores[0]['images']} test images of a **JPEG copy** of CIFAR-10; head, wire and tail apart.",
        "Values and bytes are of one frame at the cut, beside the raw image's 3072 values of one byte: the paper's",
        '"one sixth" (8 filters) counts values; as float32 they are two thirds of the raw bytes, as int8 one sixth.',
    ]
    if measured is not None and measured.jpeg_bytes:
        note += [
            f"The JPEG copy of an image is {measured.jpeg_bytes:.0f} bytes on average. All-cloud sends the raw image,",
            "as in the paper; where a station may compress its pictures, the JPEG is the rival to beat.",
        ]
    return [*_table(heads, rows), *note, ""]


def _part(measured: Measurement, scores: Sequence[Score]) -> list[str]:
    lines = [
        f"Frame: {measured.frame}. Measured: {'; '.join(measured.set_up)}.",
        f"{measured.batch} {'frames' if measured.batch > 1 else 'frame'} a request; times are of one frame, medians",
        f"and quartiles of {min(cell.requests for cell in measured.cells)} requests or more, all ways in turn.",
        "",
        *_places(measured),
        "",
        *_bytes(measured),
        "",
        *_plans(measured, scores),
        "",
    ]
    if measured.quality:
        lines += [*_quality(measured), ""]
    return lines


def _places(measured: Measurement) -> list[str]:
    per = 1000 / measured.batch
    rows = []
    for link in measured.links():
        split = best_split(measured, link)
        cells = [measured.cell(link, "client"), measured.cell(link, "cloud"), split]
        times = [f"{c.total_s.median * per:.2f} ({c.total_s.low * per:.2f}–{c.total_s.high * per:.2f})" for c in cells]
        ratio = cells[1].total_s.median / split.total_s.median
        rows.append((link.name, *times, split.way, f"×{ratio:.2f}"))
    return _table(("link", "all-client, ms", "all-cloud, ms", "fastest split, ms", "which", "split over cloud"), rows)


def _bytes(measured: Measurement) -> list[str]:
    slow = min(measured.links(), key=lambda link: (link.bandwidth_bps or 1e12, link.rtt_s))
    rows = []
    for candidate in measured.candidates:
        if candidate.place == "client":
            continue
        cell = measured.cell(slow, candidate.name)
        rows.append(
            (
                candidate.name,
                str(candidate.values),
                str(candidate.payload_bytes),
                f"{cell.message_up / measured.batch:.0f}",
                f"{cell.link_up / measured.batch:.0f}",
                f"{cell.link_down / measured.batch:.0f}",
            )
        )
    heads = ("way", "values", "bytes of them", "message, bytes", "on the link up, bytes", "down, bytes")
    return ["<details><summary>Bytes of one frame, by way</summary>", "", *_table(heads, rows), "", "</details>"]


def _plans(measured: Measurement, scores: Sequence[Score]) -> list[str]:
    options = option_sets(measured, scores)[SMALL_CLIENT]
    found = trials(measured, options)
    per = 1000 / measured.batch
    rows = [
        (
            trial.link.name,
            trial.chosen,
            f"{trial.expected_s * per:.2f}",
            f"{trial.measured_s * per:.2f}",
            f"{trial.best} {trial.best_s * per:.2f}",
            f"{100 * (trial.ratio - 1):+.0f} %",
        )
        for trial in found
    ]
    heads = ("link", "planned", "expected, ms", "measured, ms", "fastest there, ms", "slower by")
    return [
        "The plan, made from times on the unshaped link alone, where the client cannot hold the whole model:",
        "",
        *_table(heads, rows),
        "",
        *_break_evens(measured, options),
    ]


def _break_evens(measured: Measurement, options: Sequence[Option]) -> list[str]:
    """Where the fastest split of the slowest link and all-cloud change places, by round trip."""
    lines = []
    for rtt_s in sorted({link.rtt_s for link in measured.links()}):
        links = [link for link in measured.links() if link.rtt_s == rtt_s]
        slow = min(links, key=lambda link: link.bandwidth_bps or 1e12)
        split = best_split(measured, slow, [option.name for option in options])
        changes = pair(options, "cloud", split.way, rtt_s)
        told = ", ".join(f"{bandwidth_text(round(c.bandwidth_bps, -3))} ({c.above} above)" for c in changes)
        lines.append(
            f"* Round trip {rtt_s * 1000:g} ms: {split.way} and all-cloud break even at {told or 'no bandwidth'} by the"
            f" formula; measured {_bracket(measured, links, split.way)}."
        )
    return lines


def _bracket(measured: Measurement, links: Sequence[LinkSpec], way: str) -> str:
    """Between which measured bandwidths the faster of a split and all-cloud changes."""
    ordered = sorted(links, key=lambda link: link.bandwidth_bps or 1e12)
    faster = [measured.cell(link, "cloud").total_s.median < measured.cell(link, way).total_s.median for link in ordered]
    for (one, a), (two, b) in zip(
        zip(ordered, faster, strict=True), zip(ordered[1:], faster[1:], strict=True), strict=False
    ):
        if a != b:
            return f"between {bandwidth_text(one.bandwidth_bps)} and {bandwidth_text(two.bandwidth_bps)}"
    return f"{'all-cloud' if faster[0] else 'the split'} is the faster at every bandwidth"


def _quality(measured: Measurement) -> list[str]:
    leads, whole = leads_of(measured), measured.quality["cloud"]
    raw = measured.candidate("cloud").payload_bytes
    rows = [("cloud (whole model)", str(raw), "100 %", *(f"{whole[lead]:.1f}" for lead in leads))]
    for candidate in (*measured.candidates, *measured.scored):
        if candidate.place != "split" or candidate.wire == "float16":
            continue
        figures = measured.quality[candidate.name]
        share = f"{100 * candidate.payload_bytes / raw:.1f} %"
        rows.append((candidate.name, str(candidate.payload_bytes), share, *(f"{figures[lead]:.1f}" for lead in leads)))
    rows[1:] = sorted(rows[1:], key=lambda row: int(row[1]))
    heads = ("way", "bytes", "of raw", *(f"+{lead} h, km" for lead in leads))
    return [
        "Mean great-circle error against bytes of one sample's features:",
        "",
        "<details><summary>Every cut, by bytes</summary>",
        "",
        *_table(heads, rows),
        "",
        "</details>",
    ]


def _privacy(privacy: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (str(p.get("channels", "–")), str(name), *(f"{value:.2f}" for value in _numbers(found)))
        for p in privacy
        for name, found in p.get("cuts", {}).items()
    ]
    return [*_table(("channels", "cut", "PSNR, dB", "SSIM"), rows), ""] if rows else ["No figures.", ""]


def _numbers(found: Mapping[str, Any]) -> tuple[float, float]:
    psnr = next(float(value) for name, value in found.items() if "psnr" in name)
    ssim = next(float(value) for name, value in found.items() if "ssim" in name)
    return psnr, ssim


def _picture(images: Sequence[str], folder: str, prefix: str) -> list[str]:
    lines = []
    for name in images:
        if name.startswith(prefix):
            lines += [f"![{name.removesuffix('.png').replace('-', ' ')}]({folder}{name})", ""]
    return lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|" + " --- |" * len(heads),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
