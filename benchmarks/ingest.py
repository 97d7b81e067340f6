"""Slots per second: ``eyewall ingest`` against satpy's plain way, on a synthetic AHI full disk (band 13, ten segments).

    python benchmarks/ingest.py [--repeats 5] [--area 120,5,150,30,0.05] [--bzip2/--no-bzip2]

The plain way: a Scene of all ten segments, load, crop to the box, resample to the same grid by nearest neighbour. Ours
does more for its time: it also checks every file it opens, hashes it, and writes the frame. Both read the same files in
the same process, in turn, with modules imported and without anything remembered from the run before; the table gives
medians and the ratio of each pair. Expect about a minute with bzip2 on two cores.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from eyewall.contracts.fields import parse_area
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite import geometry
from eyewall.satellite.geometry import target_area
from eyewall.satellite.step import run
from eyewall.simulator.disk import disk_segment, lat_lon
from eyewall.simulator.hsd import write_hsd

SLOT = datetime(2020, 9, 5, 0, 0, tzinfo=UTC)


def write_disk(folder: Path, compress: bool) -> list[Path]:
    """Ten segments of a smooth warm disk with some noise, so that bzip2 has as much to do as on a real one."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(1, 11):
        sector = disk_segment(number)
        lat, lon = lat_lon(sector)
        bt_k = 270 + 30 * np.cos(np.radians(2 * lat)) * np.sin(np.radians(7 * lon)) + rng.normal(0, 1.5, lat.shape)
        paths.append(write_hsd(folder, bt_k, sector, SLOT, outside_scan=~np.isfinite(lat), compress=compress))
        sys.stderr.write(f"wrote {paths[-1].name}\n")
    return paths


def plainly(paths: list[Path], area_text: str) -> np.ndarray:
    """Load all, crop, resample: as satpy's documentation shows it."""
    from satpy import Scene

    area = parse_area(area_text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = Scene(filenames=[str(path) for path in paths], reader="ahi_hsd")
        scene.load(["B13"])
        margin = 1.0  # degrees, so that the edge has neighbours
        cropped = scene.crop(
            ll_bbox=(
                area.west_deg - margin,
                area.south_deg - margin,
                area.east_deg + margin,
                area.north_deg + margin,
            )
        )
        return cropped.resample(target_area(area), resampler="nearest")["B13"].values


def ours(folder: Path, area_text: str) -> np.ndarray:
    """The whole step into a store of its own."""
    from eyewall.satellite.frame import read_frame
    from eyewall.storage import Store

    geometry._projected.cache_clear()  # a process of its own would have nothing there
    geometry._pixels.cache_clear()
    with tempfile.TemporaryDirectory() as store:
        receipt = run(
            IngestJob(store=store, reader="ahi_hsd", source=str(folder), area=area_text, slot_from=SLOT,
                      slot_to=datetime(2020, 9, 5, 0, 10, tzinfo=UTC))
        )  # fmt: skip
        return read_frame(Store(store), receipt.summary["frame"]).data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--area", default="120,5,150,30,0.05")
    parser.add_argument("--bzip2", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_disk(Path(folder), options.bzip2)
        a, b = plainly(paths, options.area), ours(Path(folder), options.area)  # imports and caches, both ways
        both = np.isfinite(a) & np.isfinite(b)
        agree = np.mean(np.isclose(a[both], b[both], atol=0.05))
        seconds: dict[str, list[float]] = {"satpy, plain": [], "eyewall ingest": []}
        for _ in range(options.repeats):
            for name, call in (("satpy, plain", lambda: plainly(paths, options.area)),
                               ("eyewall ingest", lambda: ours(Path(folder), options.area))):  # fmt: skip
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    print(f"area {options.area}, {'bzip2' if options.bzip2 else 'uncompressed'}, {options.repeats} alternated runs")
    print(f"{'way':<16}{'s/slot':>10}{'slots/s':>10}")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:<16}{middle:>10.2f}{1 / middle:>10.2f}")
    ratios = [p / o for p, o in zip(seconds["satpy, plain"], seconds["eyewall ingest"], strict=True)]
    print(f"ratio, median of pairs: {statistics.median(ratios):.1f}")
    print(f"same pixel picked: {100 * agree:.1f} % (the rest are ties and neighbours)")


if __name__ == "__main__":
    main()
