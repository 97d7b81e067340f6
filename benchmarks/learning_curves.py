"""A table of real learning curves, made once: what `benchmarks/search.py` replays instead of training.

    .venv/bin/python benchmarks/learning_curves.py --seed 1 --out benchmarks/data/learning_curves.csv

324 small networks with settings drawn at random learn to correct persistence on a simulated typhoon archive (20
seasons, `eyewall simulate`; 14 to learn from, 6 to validate on), 27 epochs each. A row of the table is one network: its
settings, and the mean track error on the validation seasons (km, over leads of 6 to 72 h) after each epoch. Plain NumPy
and Adam, one core, some ten minutes.
"""

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.baselines import persistence_km
from eyewall.besttrack.cases import Cases, SampleRules, build_cases
from eyewall.besttrack.read import read_tracks
from eyewall.contracts import features as f
from eyewall.contracts.jobs import SimulateJob
from eyewall.simulator.step import TRACKS_NAME
from eyewall.simulator.step import run as simulate

EPOCHS = 27
Array = npt.NDArray[np.float64]


def main() -> None:
    """Simulate, train, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--networks", type=int, default=324)
    options.add_argument("--out", type=Path, required=True)
    args = options.parse_args()
    learn, judge = archive(args.seed)
    draw = np.random.default_rng(args.seed)
    lines = [
        f"# python benchmarks/learning_curves.py --seed {args.seed} --networks {args.networks}",
        f"# mean track error, km, on {len(judge)} validation cases after each of {EPOCHS} epochs on {len(learn)} cases",
        "rate,width,layers,batch,decay,dropout," + ",".join(f"km_{epoch}" for epoch in range(1, EPOCHS + 1)),
    ]
    began = time.monotonic()
    inputs = Inputs(learn, judge)
    for number in range(args.networks):
        settings = {
            "rate": float(10 ** draw.uniform(-4.5, -0.5)),
            "width": int(2 ** draw.integers(2, 8)),
            "layers": int(draw.integers(1, 4)),
            "batch": int(2 ** draw.integers(4, 9)),
            "decay": float(10 ** draw.uniform(-6, -1)),
            "dropout": float(draw.choice([0.0, 0.0, 0.2, 0.5])),
        }
        with np.errstate(all="ignore"):  # some diverge: that is what a search has to find out
            curve = train(settings, inputs, np.random.default_rng([args.seed, number]))
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in settings.values()]
        lines.append(",".join([*shown, *(f"{km:.6g}" for km in curve)]))
        if number % 20 == 0:
            left = (time.monotonic() - began) / (number + 1) * (args.networks - number - 1)
            sys.stderr.write(f"{number + 1} of {args.networks}, {left:.0f} s left\n")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(lines) + "\n")


def archive(seed: int) -> tuple[Cases, Cases]:
    """(cases to learn from, cases to validate on) of a simulated archive."""
    with tempfile.TemporaryDirectory() as scratch:
        simulate(SimulateJob(store=scratch, out=f"{scratch}/season", seed=seed, imaged_storms=0, bad_files=0))
        table = read_tracks(f"{scratch}/season/{TRACKS_NAME}")
    rules = SampleRules()
    return build_cases(table, rules, 2001, 2014), build_cases(table, rules, 2015, 2020)


class Inputs:
    """Standardised arrays: x [n, d], what persistence misses y [n, 2 l] and where it is known m [n, 2 l]."""

    def __init__(self, learn: Cases, judge: Cases) -> None:
        raw = _columns(learn)
        self.mean, self.scale = raw.mean(axis=0), raw.std(axis=0) + 1e-9
        self.leads = np.repeat(np.array(f.LEADS_H, np.float64), 2)
        self.learn, self.judge = self._of(learn), self._of(judge)

    def _of(self, cases: Cases) -> tuple[Array, Array, Array]:
        x = (_columns(cases) - self.mean) / self.scale
        missed = cases.targets[f.TARGET_DISPLACEMENT_KM] - persistence_km(cases.features, 12)
        known = np.repeat(cases.targets[f.TARGET_VALID] > 0, 2, axis=1)
        y = np.where(known, missed.reshape(len(cases), -1), 0.0) / (10.0 * self.leads)  # of order one at each lead
        return x, y, known.astype(np.float64)

    def error_km(self, predicted: Array) -> float:
        """Mean over leads of the mean distance between forecast and truth."""
        _, y, m = self.judge
        apart = ((predicted - y) * 10.0 * self.leads).reshape(len(y), -1, 2)
        known = m.reshape(len(y), -1, 2)[..., 0] > 0
        distance = np.sqrt(np.square(apart).sum(axis=-1))
        return float(np.mean([distance[known[:, lead], lead].mean() for lead in range(known.shape[1])]))


def _columns(cases: Cases) -> Array:
    """What was known at the base time, [n, d]."""
    features = cases.features
    base_lat, base_lon = features[f.PAST_LAT_DEG][:, -1:], features[f.PAST_LON_DEG][:, -1:]
    there = features[f.PAST_FIX_VALID]
    angle = 2 * np.pi * features[f.DAY_OF_YEAR].reshape(-1, 1) / 365.25
    parts: list[Any] = [base_lat, base_lon, np.sin(angle), np.cos(angle)]
    parts += [(features[f.PAST_LAT_DEG] - base_lat) * there, (features[f.PAST_LON_DEG] - base_lon) * there]
    parts += [features[f.PAST_WIND_KT], features[f.PAST_PRESSURE_HPA] / 10, there]
    return np.concatenate(parts, axis=1).astype(np.float64)


def train(settings: dict[str, Any], inputs: Inputs, draw: np.random.Generator) -> list[float]:
    """Validation errors in km after each epoch: a network of ReLUs, Adam (Kingma and Ba 2015), decoupled decay."""
    x, y, m = inputs.learn
    sizes = [x.shape[1], *[settings["width"]] * settings["layers"], y.shape[1]]
    weights = [draw.normal(0, np.sqrt(2 / a), (a, b)) for a, b in itertools.pairwise(sizes)]
    weights[-1] *= 0.1
    values = [*weights, *(np.zeros(b) for b in sizes[1:])]
    first, second = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    layers, step, curve = len(weights), 0, []
    for _ in range(EPOCHS):
        order = draw.permutation(len(x))
        for start in range(0, len(x), settings["batch"]):
            rows = order[start : start + settings["batch"]]
            slopes = _slopes(values, layers, x[rows], y[rows], m[rows], settings["dropout"], draw)
            step += 1
            rate = settings["rate"] * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for i, slope in enumerate(slopes):
                first[i] += 0.1 * (slope - first[i])
                second[i] += 0.001 * (slope * slope - second[i])
                decay = settings["decay"] * settings["rate"] if i < layers else 0.0
                values[i] = values[i] * (1 - decay) - rate * first[i] / (np.sqrt(second[i]) + 1e-8)
        curve.append(inputs.error_km(_forward(values, layers, inputs.judge[0])[-1]))
    return curve


def _forward(
    values: list[Array], layers: int, x: Array, dropout: float = 0.0, draw: np.random.Generator | None = None
) -> list[Array]:
    """Activations of every layer, the inputs first."""
    outputs = [x]
    for i in range(layers):
        z = outputs[-1] @ values[i] + values[layers + i]
        if i < layers - 1:
            z = np.maximum(z, 0.0)
            if dropout and draw is not None:
                z = z * (draw.random(z.shape) >= dropout) / (1 - dropout)
        outputs.append(z)
    return outputs


def _slopes(
    values: list[Array], layers: int, x: Array, y: Array, m: Array, dropout: float, draw: np.random.Generator
) -> list[Array]:
    """Gradients of half the mean squared error, in the order of ``values``."""
    outputs = _forward(values, layers, x, dropout, draw)
    back = (outputs[-1] - y) * m / max(m.sum(), 1.0)
    weights: list[Array] = []
    offsets: list[Array] = []
    for i in reversed(range(layers)):
        weights.insert(0, outputs[i].T @ back)
        offsets.insert(0, back.sum(axis=0))
        if i:  # a dropped or idle unit has output 0; the others were scaled up by 1 / (1 - dropout)
            back = (back @ values[i].T) * (outputs[i] > 0) / (1 - dropout)
    return [*weights, *offsets]


if __name__ == "__main__":
    main()
