"""Training steps per second: one process against two synchronous workers, the same global batch and records.

    .venv/bin/python benchmarks/training.py [--model fusion] [--batch 64] [--steps 200] [--repeats 3]

Each figure is the median over the repeats of a run's steady rate: the steps after the first, over their time, by the
lines that the chief prints; starting up, tracing, validation and export are left out (the only checkpoint is the last).
Two workers on one machine share its cores, so a ratio above 1 needs a model that one process cannot spread over them;
what the figure shows is the price of synchronising, to be weighed against other machines' cores.
Takes about three minutes on two cores. Prints one line of JSON last.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from eyewall.contracts.features import ImageSpec
from eyewall.contracts.jobs import TrainJob
from eyewall.records.testing import tiny_records
from eyewall.storage import Store


def steps_per_second(job: TrainJob) -> float:
    """Run the training in processes of its own; its rate from step 1 to the last."""
    command = [sys.executable, "-m", "eyewall.cli", *job.to_args()]
    first, last = (f"eyewall train: step {step}/{job.steps}  loss" for step in (1, job.steps))
    times: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            for marker in (first, last):
                if line.startswith(marker):
                    times[marker] = time.monotonic()
    if process.returncode:
        raise SystemExit(f"training failed: {' '.join(command)}")
    return (job.steps - 1) / (times[last] - times[first])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fusion", choices=["track", "image", "fusion"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        images = ImageSpec(frames=0) if options.model == "track" else ImageSpec()
        records = tiny_records(store, train_to=2010, val_to=2011, test_to=2012, storms_per_season=8, images=images)
        rates: dict[int, list[float]] = {1: [], 2: []}
        for repeat in range(options.repeats):
            for workers in rates:
                job = TrainJob(
                    store=folder, records_ref=records.path, run=f"b{workers}-{repeat}", model=options.model,
                    strategy="single" if workers == 1 else "multi_worker", workers=workers,
                    steps=options.steps, batch=options.batch, checkpoint_every=options.steps, seed=repeat,
                )  # fmt: skip
                rates[workers].append(steps_per_second(job))
                print(f"{workers} process(es), repeat {repeat}: {rates[workers][-1]:.1f} steps/s", file=sys.stderr)
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    result = {"model": options.model, "batch": options.batch, "cores": os.cpu_count()}
    result |= {"steps_per_s_1": round(one, 1), "steps_per_s_2": round(two, 1), "ratio": round(two / one, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
