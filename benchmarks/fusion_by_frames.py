r"""How much better images make the track model, by how many frames there are to learn from: what more data gives.

    .venv/bin/python benchmarks/fusion_by_frames.py --store STORE --records RECORDS --track TRACK \
        --out benchmarks/data/fusion_by_frames.json --plot docs/images/fusion-by-frames.png

RECORDS hold cases with frames of a wide scene (`include/experiments/fusion.yaml`), TRACK is a track-only model that has
seen none of their seasons. Storms of the train and val splits are dealt into folds; of the storms outside a fold a
share is drawn, the ring network of `--encoder rings` learns from their frames to correct the track model, by the loss,
optimizer and schedule of `eyewall train`, and is judged on the storms of the fold, as learned (no shrinkage). Every
storm is judged once a seed. The test split is not read.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from eyewall.contracts import features as f
from eyewall.storage import Store, resolve

SHARES = (0.25, 0.5, 0.75, 1.0)
FOLDS = 8
BATCH = 64
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Cases:
    """All cases with frames: what the ring network makes of them, and what is left to correct."""

    storm: Array  #: [n] numbers
    vectors: Array  #: [n, p, 2] of `eyewall.models.rings`
    residual: Array  #: [n, l, 2] target minus the track model's answer, in units of the lead's scale
    valid: Array  #: [n, l]
    frame_s: Array  #: [n, k] time of each frame, seconds since 1970; -1 where there is none
    scale_km: Array  #: [l]


def main() -> None:
    """Learn, judge, write, draw."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--store", required=True)
    options.add_argument("--records", required=True)
    options.add_argument("--track", required=True)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--learning-rate", type=float, default=3e-3)
    options.add_argument("--weight-decay", type=float, default=0.02)
    options.add_argument("--shares", type=float, nargs="+", default=SHARES)
    options.add_argument("--out", type=Path)
    options.add_argument("--plot", type=Path)
    args = options.parse_args()
    cases = read(args)
    rows = []
    for share in args.shares:
        gains, frames, storms = [], [], []
        for seed in range(args.seeds):
            gain, used, drawn = judge(cases, share, seed, args)
            gains.append(gain)
            frames.append(used)
            storms.append(drawn)
        rows.append(
            {"share": share, "frames": round(float(np.mean(frames)), 1), "storms": round(float(np.mean(storms)), 1)}
        )
        rows[-1] |= summary(cases, gains)
        print(json.dumps(rows[-1]), flush=True)
    values = {
        "command": "python benchmarks/fusion_by_frames.py",
        "settings": {k: getattr(args, k) for k in ("seeds", "steps", "learning_rate", "weight_decay")},
        "cases": len(cases.storm),
        "storms": len(np.unique(cases.storm)),
        "folds": FOLDS,
        "rows": rows,
    }
    if args.out:
        args.out.write_text(json.dumps(values, indent=1) + "\n")
    if args.plot:
        draw(values, args.plot)


def read(args: argparse.Namespace) -> Cases:
    """Cases of the train and val splits, by the layers that `eyewall train` uses."""
    from eyewall.models.inputs import heading, image_planes
    from eyewall.models.rings import RingsNetwork
    from eyewall.models.trained import restore
    from eyewall.records.dataset import load, read_schema
    from eyewall.training.plan import _normalisation

    store = Store(args.store)
    folder = resolve(store, args.records, "records").folder()
    track, _ = restore(resolve(store, args.track, "model").folder())
    schema = read_schema(folder)
    network = RingsNetwork(schema.images)
    normalisation = _normalisation(schema)
    parts: dict[str, list[Array]] = {}
    for split in ("train", "val"):
        for features, targets, meta in load(folder, split, batch=64, with_meta=True).as_numpy_iterator():
            answer = track(features)
            planes = image_planes(features, normalisation)
            ahead = heading(answer[f.OUT_CLIPER_DISPLACEMENT_KM])
            valid = features[f.IMAGE_VALID]
            time = meta[f.BASE_TIME_S][:, None] - np.round(features[f.IMAGE_AGE_H] * 3600)
            found = {
                "storm": meta[f.STORM_ID],
                "vectors": network.vectors(ahead, planes, valid).numpy(),
                "km": targets[f.TARGET_DISPLACEMENT_KM] - answer[f.OUT_DISPLACEMENT_KM].numpy(),
                "valid": targets[f.TARGET_VALID],
                "frame_s": np.where(valid > 0, time, -1),
            }
            for name, values in found.items():
                parts.setdefault(name, []).append(values)
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    scale_km = np.array(track._scale_km[:, 0], np.float64)
    _, storm = np.unique(whole["storm"], return_inverse=True)
    return Cases(storm, whole["vectors"], whole["km"] / scale_km[:, None], whole["valid"], whole["frame_s"], scale_km)


def judge(cases: Cases, share: float, seed: int, args: argparse.Namespace) -> tuple[Array, float, float]:
    """Gain in km of each case [n, l] (NaN without a target) by a network that has not seen its storm.

    And how many frames and storms a network has learned from, in the mean.
    """
    rng = np.random.default_rng([seed, 1])
    storms = rng.permutation(np.unique(cases.storm))
    corrected = np.zeros_like(cases.residual)
    frames, drawn = [], []
    for fold in range(FOLDS):
        kept = storms[fold::FOLDS]
        others = np.setdiff1d(storms, kept)
        chosen = np.random.default_rng([seed, fold]).permutation(others)[: max(1, round(share * len(others)))]
        learn, held = np.isin(cases.storm, chosen), np.isin(cases.storm, kept)
        kernel = train(cases, learn, seed, args)
        corrected[held] = np.einsum("npc,pl->nlc", cases.vectors[held], kernel)
        times = np.unique(cases.frame_s[learn])
        frames.append((times >= 0).sum())
        drawn.append(len(chosen))
    before, after = (np.linalg.norm(r, axis=-1) for r in (cases.residual, cases.residual - corrected))
    gain = np.where(cases.valid > 0, (before - after) * cases.scale_km, np.nan)
    return gain, float(np.mean(frames)), float(np.mean(drawn))


def train(cases: Cases, learn: Array, seed: int, args: argparse.Namespace) -> Array:
    """The ring network's weights [p, l] after its steps on the cases ``learn`` [n]."""
    import tensorflow as tf
    import tf_keras

    from eyewall.models.rings import PENALTY
    from eyewall.training.loop import ADAMW, WarmCosine
    from eyewall.training.loss import loss_sum

    rows = np.flatnonzero(learn)
    count = cases.valid[rows].sum(axis=0)
    weight = (len(rows) / np.maximum(count, 1)).astype(np.float32)
    vectors, residual, valid = (
        tf.constant(values[rows].astype(np.float32)) for values in (cases.vectors, cases.residual, cases.valid)
    )
    kernel = tf.Variable(tf.zeros((vectors.shape[1], residual.shape[1])))
    schedule = WarmCosine(args.learning_rate, args.steps)
    optimizer = tf_keras.optimizers.AdamW(schedule, weight_decay=args.weight_decay, jit_compile=False, **ADAMW)
    optimizer.build([kernel])
    leads = len(f.LEADS_H)

    @tf.function(autograph=False)
    def steps(batches: Any) -> None:
        def one(_: Any, chosen: Any) -> Any:
            with tf.GradientTape() as tape:
                said = tf.einsum("bpc,pl->blc", tf.gather(vectors, chosen), kernel)
                target, counts = tf.gather(residual, chosen), tf.gather(valid, chosen)
                loss = loss_sum(said, target, counts, np.ones(leads, np.float32), weight) / (BATCH * leads)
                loss += PENALTY * tf.reduce_sum(tf.square(kernel)) / leads
            optimizer.apply_gradients([(tape.gradient(loss, kernel), kernel)])
            return tf.constant(0.0)

        tf.scan(one, batches, initializer=tf.constant(0.0))

    rng = np.random.default_rng([seed, 2])
    stream = np.concatenate([rng.permutation(len(rows)) for _ in range(args.steps * BATCH // len(rows) + 1)])
    steps(tf.constant(stream[: args.steps * BATCH].reshape(args.steps, BATCH).astype(np.int32)))
    return np.asarray(kernel.numpy())


def summary(cases: Cases, gains: list[Array]) -> dict[str, Any]:
    """Per lead: skill over the track model in per cent, mean of the seeds, with its 95 % interval by resampling storms.

    And each seed's own.
    """
    km = np.linalg.norm(cases.residual, axis=-1) * cases.scale_km
    mean_gain = np.mean(gains, axis=0)
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"skill": {}, "low": {}, "high": {}, "seeds": {}}
    for number, lead in enumerate(f.LEADS_H):
        known = cases.valid[:, number] > 0
        storms, index = np.unique(cases.storm[known], return_inverse=True)
        gain_sum, km_sum = (np.bincount(index, v[known, number]) for v in (mean_gain, km))
        draws = rng.integers(0, len(storms), (2000, len(storms)))
        resampled = 100 * gain_sum[draws].sum(1) / km_sum[draws].sum(1)
        name = str(lead)
        found["skill"][name] = round(100 * gain_sum.sum() / km_sum.sum(), 2)
        found["low"][name], found["high"][name] = (round(float(v), 2) for v in np.quantile(resampled, (0.025, 0.975)))
        found["seeds"][name] = [round(100 * float(g[known, number].sum() / km_sum.sum()), 2) for g in gains]
    return found


def draw(values: dict[str, Any], path: Path) -> None:
    """Skill over the track model by the number of frames, at 12 and 24 h."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True, layout="constrained")
    rows = values["rows"]
    frames = [row["frames"] for row in rows]
    for axis, lead, colour in zip(axes, ("12", "24"), ("tab:blue", "tab:orange"), strict=True):
        low, high, skill = ([row[name][lead] for row in rows] for name in ("low", "high", "skill"))
        axis.fill_between(frames, low, high, color=colour, alpha=0.18, lw=0, label="95 % by storms")
        for row in rows:
            axis.plot([row["frames"]] * values["settings"]["seeds"], row["seeds"][lead], ".", color=colour, alpha=0.4)
        axis.plot(frames, skill, "o-", color=colour, label="mean of the seeds")
        axis.axhline(0, color="0.4", lw=0.8)
        axis.set_title(f"{lead} h")
        axis.set_xlabel("frames learned from")
        axis.set_xlim(0, None)
        axis.legend(frameon=False, loc="lower right", fontsize=8)
    axes[0].set_ylabel("error below the track model's, %")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
