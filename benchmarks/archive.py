"""A whole archive put in: a stand-in for the Digital Typhoon data set → frames → records → a training.

    .venv/bin/python benchmarks/archive.py --folder /tmp/archive [--frames 20000] [--steps make,ingest,records,train]

Told of each step: seconds and processor seconds a frame, and the largest resident memory of its process (wait4(2)).
`ingest` and `records` are killed (SIGKILL) on the way and started again, and it is checked that the second run touches
nothing that the first one had done, and that the killed records are, byte for byte, those of an undisturbed run.
`records` runs on a quarter of the seasons and on all of them, since memory must not grow with the frames; `train` reads
2,500, 20,000 and 40,000 samples with images, made of toy storms (hourly pictures give a base time every sixth hour).

What is there already is taken as it is, so that a step can be repeated. The results are merged into
``benchmarks/data/archive.json``. On two cores the whole takes about an hour; it wants 20 GB below ``--folder``.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "data" / "archive.json"
WHOLE = 192_956  #: frames of the data set
SEASONS, FIRST = 12, 1978
TRAIN_SAMPLES = 20_000
MAKE_TOYS = """
import sys
from eyewall.contracts.features import ImageSpec
from eyewall.records.testing import tiny_records
from eyewall.storage import Store
tiny_records(Store(sys.argv[1]), storms_per_season=int(sys.argv[2]), images=ImageSpec(frames=3, px=64), shards=4)
"""


@dataclass
class Run:
    """What a process took; ``cpu_s`` and ``rss_mb`` include none of the processes that it started."""

    seconds: float
    cpu_s: float
    rss_mb: float
    code: int
    out: dict[str, Any]


def run(args: list[str], kill_when: Any = None, log: Path | None = None) -> Run:
    """Run ``eyewall`` with ``args``; kill it once ``kill_when()`` is true."""
    start = time.perf_counter()
    with (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "eyewall.cli", *args, "--json"], stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        while kill_when is not None:
            if process.poll() is not None:
                raise SystemExit(f"ended before it could be killed: {args}")
            if kill_when():
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.2)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and kill_when is None:
        raise SystemExit(f"exit {process.returncode}: eyewall {' '.join(args)}")
    return Run(
        seconds=round(time.perf_counter() - start, 2),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        rss_mb=round(usage.ru_maxrss / 1024, 1),
        code=process.returncode,
        out=json.loads(out) if out else {},
    )


def frames_in(store: Path) -> list[Path]:
    """Every frame of the store's stream."""
    return sorted((store / "frames" / "dt").glob("*/*/*/*.nc"))


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# --- steps


def make(folder: Path, frames: int) -> dict[str, Any]:
    """The stand-in, unless it is there."""
    from eyewall.simulator.typhoon_archive import write_archive

    source, start = folder / "WP", time.perf_counter()
    there = (source / "metadata.json").exists()
    if not there:
        write_archive(source, frames)
    seconds = {} if there else {"seconds": round(time.perf_counter() - start, 1)}
    return {"frames": sum(1 for _ in source.glob("image/*/*.h5")), "bytes": size_of(source), **seconds}


def ingest(folder: Path, frames: int) -> dict[str, Any]:
    """Killed after an eighth of what is missing, then to the end, then once more with everything there."""
    store, source = folder / "store", folder / "WP"
    args = ["ingest", f"--store={store}", "--stream=dt", "--reader=digital_typhoon", f"--source={source}"]
    log = folder / "ingest.log"
    before = len(frames_in(store))
    goal = before + (frames - before) // 8
    killed = run(args, lambda: len(frames_in(store)) >= goal, log)
    done = {path: path.stat().st_mtime_ns for path in frames_in(store)}
    second = run(args, log=log)
    touched = [path for path, when in done.items() if path.stat().st_mtime_ns != when]
    third = run(args, log=log)
    made = frames - len(done)
    present_s = third.seconds / frames
    return {
        "frames": frames,
        "killed_with_frames": len(done),
        "frames_made_again": len(touched),
        "second_run": {"made": second.out["slots_ok"], "present": second.out["slots_present"]},
        "seconds_a_frame": round((second.seconds - present_s * len(done)) / made, 4),
        "cpu_s_a_frame": round((second.cpu_s - third.cpu_s / frames * len(done)) / made, 4),
        "seconds_a_frame_that_is_there": round(present_s, 5),
        "rss_mb": {"killed": killed.rss_mb, "second": second.rss_mb, "third": third.rss_mb},
        "refused": second.out["slots_refused"],
        "store_bytes": size_of(store / "frames"),
        "load": os.getloadavg()[0],
    }


def records_args(store: Path, source: Path, last: int, *more: str) -> list[str]:
    """Seasons to ``last``: the last one to test, the one before to validate."""
    spans = (f"--train-from={FIRST}", f"--train-to={last - 2}", f"--val-to={last - 1}", f"--test-to={last}")
    tracks = (f"--tracks={source / 'metadata'}", "--tracks-format=digital_typhoon", "--stream=dt")
    return ["records", f"--store={store}", *tracks, *spans, "--min-frame-gap-h=3", *more]


def linked(store: Path, other: Path, seasons: range) -> Path:
    """Another store with the same frames of some seasons, as links."""
    shutil.rmtree(other, ignore_errors=True)
    for season in seasons:
        target = other / "frames" / "dt" / str(season)
        if (store / "frames" / "dt" / str(season)).is_dir():
            shutil.copytree(store / "frames" / "dt" / str(season), target, copy_function=os.link)
    return other


def records(folder: Path, frames: int) -> dict[str, Any]:
    """A quarter of the seasons, all of them killed and resumed, all undisturbed, by two processes, and found again."""
    store, source, log = folder / "store", folder / "WP", folder / "records.log"
    shutil.rmtree(store / "records", ignore_errors=True)
    last = FIRST + SEASONS - 1
    quarter = run(records_args(linked(store, folder / "quarter", range(FIRST, FIRST + 3)), source, FIRST + 2), log=log)
    parts = -(-frames // 6 // 256)

    def half() -> bool:
        return len(list(store.glob("records/.*/*.json"))) >= parts // 2

    killed = run(records_args(store, source, last), half, log)
    kept = {path: path.stat().st_mtime_ns for path in store.glob("records/.*/*.tfrecord")}
    resumed = run(records_args(store, source, last), log=log)
    found = run(records_args(store, source, last), log=log)
    plain = linked(store, folder / "plain", range(FIRST, last + 1))
    whole = run(records_args(plain, source, last), log=log)
    twice = linked(store, folder / "twice", range(FIRST, last + 1))
    two = run(records_args(twice, source, last, "--processes=2"), log=log)
    same = [subprocess.run(["diff", "-r", store / "records", each / "records"], check=False).returncode == 0
            for each in (plain, twice)]  # fmt: skip
    seconds = whole.seconds / frames
    return {
        "frames": {"quarter": quarter.out["frames"]["in_reach"], "whole": whole.out["frames"]["in_reach"]},
        "samples": {"quarter": sum(quarter.out["samples"].values()), "whole": sum(whole.out["samples"].values())},
        "rss_mb": {"quarter": quarter.rss_mb, "whole": whole.rss_mb, "killed": killed.rss_mb, "resumed": resumed.rss_mb,
                   "found": found.rss_mb},
        "parts_at_the_kill": len(kept),
        "seconds": {"quarter": quarter.seconds, "whole": whole.seconds, "killed": killed.seconds,
                    "resumed": resumed.seconds, "found": found.seconds, "two_processes": two.seconds},
        "cpu_s": {"quarter": quarter.cpu_s, "whole": whole.cpu_s, "found": found.cpu_s},
        "seconds_a_frame": round(seconds, 4),
        "bytes": whole.out["bytes"],
        "resumed_is_byte_identical": same[0],
        "two_processes_are_byte_identical": same[1],
        "load": os.getloadavg()[0],
    }  # fmt: skip


def train(folder: Path, _: int) -> dict[str, Any]:
    """A short training of the image network on some samples, on many and on twice as many: peak memory of each."""
    from eyewall.storage import Store

    found: dict[str, Any] = {}
    for name, samples in (("few", TRAIN_SAMPLES // 8), ("many", TRAIN_SAMPLES), ("more", 2 * TRAIN_SAMPLES)):
        store = Store(str(folder / f"train_{name}"))
        storms = -(-samples // (15 * 4))  # four training seasons, 15 samples a storm
        if not store.list_files("records", "manifest.json"):
            # Elsewhere: what this process once held counts as the memory of those that it starts (getrusage(2)).
            subprocess.run([sys.executable, "-c", MAKE_TOYS, store.url, str(storms)], check=True)
        (manifest_path,) = store.list_files("records", "manifest.json")
        path = manifest_path.rpartition("/")[0]
        manifest = store.read_manifest(path)
        assert manifest is not None
        args = ["train", f"--store={store.url}", f"--records={path}", f"--run=bench-{name}", "--model=image",
                "--steps=20", "--batch=64", "--checkpoint-every=20"]  # fmt: skip
        shutil.rmtree(store.local("runs"), ignore_errors=True)
        shutil.rmtree(store.local("models"), ignore_errors=True)
        done = run(args, log=folder / "train.log")
        counts = manifest.counts
        found[name] = {"samples": counts, "rss_mb": done.rss_mb, "seconds": done.seconds,
                       "bytes": sum(entry.bytes for entry in manifest.files)}  # fmt: skip
    return found


STEPS = {"make": make, "ingest": ingest, "records": records, "train": train}


def main() -> None:
    """Run the steps that are asked for, and merge what they gave into the results."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--frames", type=int, default=20_000)
    options.add_argument("--steps", default="make,ingest,records,train")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in args.steps.split(","):
        found = STEPS[name](args.folder, args.frames)
        results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: found}
        print(json.dumps({name: found}, indent=2), flush=True)
        RESULTS.write_text(json.dumps(results, sort_keys=True, indent=2) + "\n")
    if {"ingest", "records"} <= results.keys():
        hours = {name: round(results[name]["seconds_a_frame"] * WHOLE / 3600, 1) for name in ("ingest", "records")}
        print(f"hours for {WHOLE} frames, extrapolated: {hours}")


if __name__ == "__main__":
    main()
