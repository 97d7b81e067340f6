"""From a job's end to the next start on the same device: the job platform's process backend, and other ways beside it.

    .venv/bin/python benchmarks/handover.py --jobs 60 --devices 2

Every job notes the time at its first and its last moment itself, on one clock, so that all that lies in between counts:
its end is noticed, its log and output are kept, its lease is released, the next job is claimed, made and started, and
that one's shell has started. Nothing else runs on the devices, and the queue is never empty.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import psycopg

from eyewall.db.connect import connected
from eyewall.platform import postgres

#: Writes "start end", seconds since 1970, to $0/<some key>; the work in between takes $1 seconds.
JOB = 'a=$(date +%s.%N); sleep "$1"; echo "$a $(date +%s.%N)" > "$0/$2"'
WORK_S = "0.2"


def gaps_s(devices: Iterable[Iterable[tuple[float, float]]]) -> list[float]:
    """Of each device its jobs' (start, end): the times in between, s."""
    return [after[0] - before[1] for jobs in devices for before, after in pairwise(sorted(jobs))]


def process_gaps_s(jobs: int, devices: int, folder: Path) -> list[float]:
    """Hand-overs of ``eyewall job dispatch`` with the process backend, on an embedded PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="eyewall-handover-") as name:
        server = Path(name) / "postgres"
        url = postgres.uri(postgres.start(server), "eyewall")
        try:
            return _of_dispatcher(url, jobs, devices, folder)
        finally:
            postgres.stop(server)


def _of_dispatcher(url: str, jobs: int, devices: int, folder: Path) -> list[float]:
    from eyewall.contracts.submission import Submission
    from eyewall.jobs import queue
    from eyewall.jobs.installation import add_local_environment

    (folder / "eyewall.toml").write_text(f'[workers.local]\nkind = "process"\ndevices = {devices}\n')
    environ = {
        **os.environ,
        "EYEWALL_DATABASE_URL": url,
        "EYEWALL_SETTINGS": str(folder / "eyewall.toml"),
        "EYEWALL_STORE": str(folder / "store"),
        "EYEWALL_VAR": str(folder / "var"),
    }
    with connected(url) as connection:
        add_local_environment(connection)
        for number in range(jobs):
            command = ("sh", "-c", JOB, str(folder), WORK_S, f"job-{number + 1}")
            queue.submit(connection, Submission(command=command, environment="local", owner="benchmark"))
    dispatcher = [sys.executable, "-m", "eyewall.cli", "job", "dispatch", "--idle-s", "0"]
    subprocess.run(dispatcher, env=environ, check=True, stderr=subprocess.DEVNULL)
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT l.gpu, a.job FROM lease l JOIN attempt a ON a.id = l.attempt").fetchall()
    of_device: dict[int, list[tuple[float, float]]] = {}
    for gpu, job in rows:
        start, end = map(float, (folder / f"job-{job}").read_text().split())
        of_device.setdefault(gpu, []).append((start, end))
    return gaps_s(of_device.values())


#: Each way: (jobs, devices, empty folder) → hand-overs, s.
WAYS: dict[str, Callable[[int, int, Path], list[float]]] = {"process": process_gaps_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    medians = {}
    for way in args.ways:
        with tempfile.TemporaryDirectory(prefix="eyewall-handover-") as name:
            began = time.monotonic()
            gaps = WAYS[way](args.jobs, args.devices, Path(name))
        p95 = statistics.quantiles(gaps, n=20)[-1]
        medians[way] = statistics.median(gaps)
        print(
            f"{way:<10} {len(gaps)} hand-overs on {args.devices} devices in {time.monotonic() - began:.0f} s:"
            f" p50 {medians[way]:.3f} s, p95 {p95:.3f} s, longest {max(gaps):.3f} s"
        )
    for way in args.ways[1:]:
        print(f"{way} / {args.ways[0]}: ×{medians[way] / medians[args.ways[0]]:.1f}")


if __name__ == "__main__":
    main()
