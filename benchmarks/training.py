"""Samples a second of one training process against two synchronous workers, each pinned to a core of its own.

    .venv/bin/python benchmarks/training.py [--model fusion] [--batch 64] [--scaling weak] [--steps 300] [--repeats 5]

Efficiency is the rate of two over twice the rate of one. Two cores of a virtual machine are often two threads of one
real core, and then no program doubles its rate; so two *independent* trainings at once, which wait for nothing, are
measured as well: ``ceiling`` is what they reach of twice the rate of one, and ``of_ceiling`` the part of it that is
left when the two are synchronised: the cost of training together, whatever the machine.

``weak`` scaling gives each worker ``--batch`` samples a
step, so two take twice the global batch, as is usual when workers are added; ``strong`` shares one global batch of
``--batch`` out. The rate is that of the steps after a warm-up, by the times at which the chief prints its lines;
starting up, tracing, validation and export are left out (the only checkpoint is the last). Each process has one
thread pool of one core; the three ways take turns, and the medians over the repeats are compared. Beside them stand the
ratios of each turn, whose spread says how quiet the machine was.
Takes about ten minutes. Prints one line of JSON last.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eyewall.contracts.features import ImageSpec
from eyewall.contracts.jobs import TrainJob
from eyewall.records.testing import tiny_records
from eyewall.storage import Store
from eyewall.training.launcher import local_cluster

WARM_UP_STEPS = 30


def samples_per_second(job: TrainJob, cores: list[int]) -> float:
    """Run the training, each replica on its own core; the chief's rate after the warm-up."""
    cluster = local_cluster(job)
    processes = [
        subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, "-m", "eyewall.cli", *job.to_args()],
            env=os.environ | {"EYEWALL_THREADS": "1", "OMP_NUM_THREADS": "1"}
            | (cluster.environment(replica, job.strategy) if job.workers > 1 else {}),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for replica, core in zip(cluster.replicas(), cores, strict=True)
    ]  # fmt: skip
    for worker in processes[1:]:
        threading.Thread(target=worker.communicate, daemon=True).start()
    assert processes[0].stderr is not None
    first, last = warm_span(processes[0].stderr)
    if any(process.wait() for process in processes):
        raise SystemExit(f"training failed: {job.to_args()}")
    return job.batch * (last[0] - first[0]) / (last[1] - first[1])


def independent_samples_per_second(jobs: list[TrainJob], cores: list[int]) -> float:
    """Trainings of one process each, at once, each on its own core; their rates together."""
    with ThreadPoolExecutor() as pool:
        return sum(pool.map(lambda job, core: samples_per_second(job, [core]), jobs, cores))


def warm_span(lines: Iterable[str]) -> tuple[tuple[int, float], tuple[int, float]]:
    """(step, seconds) of the chief's first line after the warm-up, and of its last."""
    spans = [
        (int(match[1]), time.monotonic())
        for line in lines
        if (match := re.match(r"eyewall train: step (\d+)/\d+  loss", line))
    ]
    warm = [span for span in spans if span[0] >= WARM_UP_STEPS]
    if len(warm) < 2:
        raise SystemExit(f"only {len(warm)} lines after the warm-up: give more --steps")
    return warm[0], warm[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fusion", choices=["track", "image", "fusion"])
    parser.add_argument("--batch", type=int, default=64, help="a worker (weak) or in all (strong)")
    parser.add_argument("--scaling", default="weak", choices=["weak", "strong"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two workers need two cores")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        images = ImageSpec(frames=0) if options.model == "track" else ImageSpec()
        records = tiny_records(store, train_to=2010, val_to=2011, test_to=2012, storms_per_season=8, images=images)
        rates: dict[str, list[float]] = {"one": [], "independent": [], "synchronous": []}
        together = options.batch * (2 if options.scaling == "weak" else 1)
        for repeat in range(options.repeats):

            def job(run: str, **values: Any) -> TrainJob:
                return TrainJob(
                    store=folder, records_ref=records.path, run=f"{run}-{repeat}", model=options.model,  # noqa: B023
                    steps=options.steps, checkpoint_every=options.steps, batch=options.batch,
                ).model_copy(update=values)  # fmt: skip

            seed = 3 * repeat  # another one for each run: the same training would be found, not done
            rates["one"].append(samples_per_second(job("one", seed=seed), cores[:1]))
            alone = [job("a", seed=seed + 1), job("b", seed=seed + 2)]
            rates["independent"].append(independent_samples_per_second(alone, cores))
            two = job("two", seed=seed, strategy="multi_worker", workers=2, batch=together)
            rates["synchronous"].append(samples_per_second(two, cores))
            shown = ", ".join(f"{way} {found[-1]:.0f}" for way, found in rates.items())
            print(f"repeat {repeat}, samples/s: {shown}", file=sys.stderr)
    one, independent, synchronous = (statistics.median(found) for found in rates.values())
    result = {"model": options.model, "scaling": options.scaling, "batch": options.batch}
    result |= {f"samples_per_s_{way}": round(statistics.median(found)) for way, found in rates.items()}
    result |= {"efficiency": round(synchronous / one / 2, 3), "ceiling": round(independent / one / 2, 3)}
    result |= {"of_ceiling": round(synchronous / independent, 3)}
    turns = [round(b / a, 2) for a, b in zip(rates["independent"], rates["synchronous"], strict=True)]
    print(json.dumps(result | {"of_ceiling_by_turn": turns, "load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
