"""How far centre finding is from the best tracks, by number of training frames, with and without pretraining.

    python benchmarks/centre_by_frames.py --store STORE --stream cwb --tracks TRACKS --pretrained encoder.json

Each point is one ``eyewall train-centre`` on whole storms of the training seasons, judged on the validation seasons
about first guesses that are up to 300 km off. A point that was trained before is read, so it may be stopped and
started again. Writes benchmarks/data/centre_by_frames.csv and docs/images/centre-by-frames.png.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "benchmarks" / "data" / "centre_by_frames.csv"
PICTURE = ROOT / "docs" / "images" / "centre-by-frames.png"
COLUMNS = ("pretrained", "share", "seed", "storms", "frames", "cases", "median_km", "low_km", "high_km", "mean_km")


def point(options: argparse.Namespace, pretrained: bool, share: float, seed: int) -> dict[str, Any]:
    """Train one network, or find it, and score it on its validation cases."""
    from eyewall.centre.card import SCORES_NAME, CentreCard
    from eyewall.centre.scores import median_with_interval
    from eyewall.cli import run_job
    from eyewall.contracts.jobs import TrainCentreJob
    from eyewall.storage import Store, resolve

    job = TrainCentreJob(
        store=options.store, stream=options.stream, tracks=options.tracks, train_from=options.train_from,
        train_to=options.train_to, val_to=options.val_to, storm_share=share, steps=options.steps, seed=seed,
        pretrained_ref=options.pretrained if pretrained else None,
    )  # fmt: skip
    made = run_job(job)
    assert made.result is not None
    folder = resolve(Store(options.store), made.result.uri, "centre").folder()
    card = CentreCard.read(folder)
    with (folder / SCORES_NAME).open() as stream:
        rows = list(csv.DictReader(stream))
    errors = np.array([float(row["error_km"]) for row in rows])
    scores = median_with_interval(errors, [row["storm_id"] for row in rows], 1000)
    return {
        "pretrained": int(pretrained), "share": share, "seed": seed, "storms": card.storms["train"],
        "frames": card.frames["train"], "cases": card.cases["train"], "median_km": scores["median_km"],
        "low_km": scores["interval_95_km"][0], "high_km": scores["interval_95_km"][1], "mean_km": scores["mean_km"],
    }  # fmt: skip


def draw(rows: list[dict[str, Any]]) -> None:
    """Medians by number of frames: a point a network, a line through the mean of seeds, and their mean interval."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for pretrained, colour, label, aside in ((0, "#dd6b20", "from scratch", -6), (1, "#2b6cb0", "pretrained", 6)):
        mine = [row for row in rows if int(row["pretrained"]) == pretrained]
        shares = sorted({float(row["share"]) for row in mine})
        by_share = [[row for row in mine if float(row["share"]) == share] for share in shares]
        frames = np.array([np.mean([float(row["frames"]) for row in some]) for some in by_share])
        medians = np.array([np.mean([float(row["median_km"]) for row in some]) for some in by_share])
        low = medians - [np.mean([float(row["low_km"]) for row in some]) for some in by_share]
        high = [np.mean([float(row["high_km"]) for row in some]) for some in by_share] - medians
        axes.errorbar(frames + aside, medians, (low, high), color=colour, fmt="-", capsize=3, elinewidth=0.8)
        axes.plot([float(r["frames"]) + aside for r in mine], [float(r["median_km"]) for r in mine], "o",
                  color=colour, label=label)  # fmt: skip
    axes.set(xlabel="training frames with a storm in view", xlim=(0, None), ylim=(0, None),
             ylabel="median distance to the best track, km")  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


def main() -> None:
    """Every point, the table and the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--stream", default="cwb")
    parser.add_argument("--tracks", required=True)
    parser.add_argument("--pretrained", required=True, help="encoder artifact or its receipt")
    parser.add_argument("--train-from", type=int, default=1998)
    parser.add_argument("--train-to", type=int, default=2006)
    parser.add_argument("--val-to", type=int, default=2008)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.5, 0.25])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        for share in options.shares:
            for pretrained in (True, False):
                rows.append(point(options, pretrained, share, seed))
                sys.stderr.write(f"{rows[-1]}\n")
                TABLE.parent.mkdir(parents=True, exist_ok=True)
                with TABLE.open("w", newline="") as stream:
                    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
                    table.writeheader()
                    table.writerows(rows)
    draw(rows)


if __name__ == "__main__":
    main()
