"""Epochs that early stopping saves: searches replayed on a table of real learning curves, with our own Optuna set-up.

    .venv/bin/python benchmarks/search.py [--seeds 20] [--trials 64] [--parallel 8]

For each seed, a random search trains ``--trials`` networks of benchmarks/data/learning_curves.csv to their end. ASHA,
with the same seed and so with the same networks in the same order, may use a third of those epochs. Told is at which
part of random search's epochs it had a network within 1 % of random search's best. Nothing is trained: a trial's epoch
is a row's next number, and eight trials take turns, as eight devices would. Also TPE with ASHA, Hyperband, and the
median rule.
"""

import argparse
import csv
import heapq
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from eyewall.tuning.space import Space
from eyewall.tuning.study import Study

TABLE = Path(__file__).parent / "data" / "learning_curves.csv"
WITHIN = 1.01
NEVER = float("inf")
SETTINGS = {
    "ASHA": {"sampler": "random", "pruner": {"kind": "asha", "min_resource": 1, "reduction_factor": 3}},
    "TPE with ASHA": {"sampler": "tpe", "pruner": {"kind": "asha", "min_resource": 1, "reduction_factor": 3}},
    "Hyperband": {"sampler": "random", "pruner": {"kind": "hyperband", "min_resource": 1, "max_resource": 27}},
    "median": {"sampler": "random", "pruner": {"kind": "median", "startup_trials": 5, "warmup_steps": 1}},
}


class Reached(NamedTuple):
    """(epochs spent, best error so far, km) at each improvement: at any epoch, and of trials that ran to their end."""

    any_epoch: list[tuple[int, float]]
    to_the_end: list[tuple[int, float]]
    epochs: int
    trials: int


def main() -> None:
    """Replay and print one table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--trials", type=int, default=64)
    options.add_argument("--parallel", type=int, default=8)
    args = options.parse_args()
    curves = read_curves()
    epochs = args.trials * len(curves[0])
    print(f"{len(curves)} curves of {len(curves[0])} epochs; random search: {args.trials} trials, {epochs} epochs")
    best = []
    for seed in range(args.seeds):
        whole = replay(curves, space(seed, len(curves), "random", "none", args.trials), args.parallel, epochs)
        best.append(whole.any_epoch[-1][1])
    print(f"random search's best, km: median {statistics.median(best):.2f}, {min(best):.2f} to {max(best):.2f}\n")
    print(f"{'':<16}{'within 1 % at this part of the epochs':<84}{'within ⅓':>8}   best / random's best")
    for name, setting in SETTINGS.items():
        parts, ends, ratios = [], [], []
        for seed in range(args.seeds):
            asked = space(seed, len(curves), setting["sampler"], setting["pruner"], 100 * args.trials)
            got = replay(curves, asked, args.parallel, epochs // 3)
            parts.append(part(got.any_epoch, WITHIN * best[seed], epochs))
            ends.append(part(got.to_the_end, WITHIN * best[seed], epochs))
            ratios.append(got.any_epoch[-1][1] / best[seed])
        inside = sum(value <= 1 / 3 for value in parts)
        shown = f"median {statistics.median(parts):.3f}, worst {max(parts):.3f}"
        shown += f" (by trials run to the end: {statistics.median(ends):.3f}, {sum(e <= 1 / 3 for e in ends)} seeds)"
        against = f"{statistics.median(ratios):.4f}, worst {max(ratios):.4f}"
        print(f"{name:<16}{shown:<84}{inside:>3} of {args.seeds}   {against}")


def read_curves() -> list[list[float]]:
    """The table's curves, km."""
    with TABLE.open() as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return [[float(row[name]) for name in row if name.startswith("km_")] for row in rows]


def space(seed: int, networks: int, sampler: str, pruner: Any, trials: int) -> Space:
    """A search over the rows of the table, as a user would write it."""
    return Space.parse(
        {
            "job": {"environment": "local", "command": ["train", "{network}"]},
            "parameters": {"network": {"type": "int", "low": 0, "high": networks - 1}},
            "objective": {"metric": "km", "value": "best"},
            "sampler": sampler,
            "pruner": pruner,
            "budget": {"trials": trials},
            "seed": seed,
        }
    )


def replay(curves: list[list[float]], asked: Space, parallel: int, epochs: int) -> Reached:
    """The search on ``parallel`` devices until ``epochs`` are spent or its trials are used up; an epoch takes 1."""
    study = Study(optuna.storages.InMemoryStorage(), "replay", asked)
    any_epoch: list[tuple[int, float]] = []
    to_the_end: list[tuple[int, float]] = []
    started = spent = 0
    turns: list[tuple[int, int, int, int]] = []  # time, trial, epochs done, network
    for _ in range(parallel):
        number, point = study.ask()
        heapq.heappush(turns, (1, number, 0, point["network"]))
        started += 1
    while turns and spent < epochs:
        now, number, done, network = heapq.heappop(turns)
        curve, spent = curves[network], spent + 1
        value, done = curve[done], done + 1
        _improve(any_epoch, spent, value)
        study.report(number, done, value)
        if study.should_prune(number):
            study.tell(number, None, pruned=True)
        elif done == len(curve):
            _improve(to_the_end, spent, min(curve))
            study.tell(number, min(curve))
        else:
            heapq.heappush(turns, (now + 1, number, done, network))
            continue
        if started < asked.max_trials:
            number, point = study.ask()
            heapq.heappush(turns, (now + 1, number, 0, point["network"]))
            started += 1
    return Reached(any_epoch, to_the_end, spent, started)


def _improve(reached: list[tuple[int, float]], spent: int, value: float) -> None:
    if value == value and (not reached or value < reached[-1][1]):
        reached.append((spent, value))


def part(reached: list[tuple[int, float]], wanted: float, epochs: int) -> float:
    """At which part of ``epochs`` the error was ``wanted`` or less; infinite: it never was."""
    return next((spent / epochs for spent, value in reached if value <= wanted), NEVER)


if __name__ == "__main__":
    main()
