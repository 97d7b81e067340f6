"""Records written and read per second, against the plain TensorFlow way, in one run.

    .venv/bin/python benchmarks/records.py [--samples 2000] [--px 64] [--frames 3] [--repeats 5]

The plain way is what a first draft does: ``tf.train.Example`` messages of float32 lists through
``tf.io.TFRecordWriter``; ``TFRecordDataset`` → ``parse_single_example`` → ``batch`` on the way back. Ours:
`eyewall.records.writer` (with statistics and the check of everything written) and `eyewall.records.dataset.load` (in
order, and shuffled). Both write the same toy samples; rates are the best of the repeats; sizes are of the files.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from eyewall.contracts.features import IMAGE_VALID, IMAGES, SEASON, STORM_ID, ImageSpec, input_shapes, target_shapes
from eyewall.records.dataset import load
from eyewall.records.example import encode
from eyewall.records.shards import frame_record, read_records
from eyewall.records.split import SplitYears
from eyewall.records.testing import toy_samples
from eyewall.records.writer import RecordsWriter

YEARS = SplitYears(2001, 2001, 2001, 2001)


def main() -> None:
    """Run everything and print one table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=2000)
    options.add_argument("--px", type=int, default=64)
    options.add_argument("--frames", type=int, default=3)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--batch", type=int, default=64)
    args = options.parse_args()
    spec = ImageSpec(frames=args.frames, px=args.px, km_per_px=20.0)
    toys = [sample for _, sample in toy_samples(YEARS, 3, spec, seed=0)]
    samples = [toys[i % len(toys)] for i in range(args.samples)]
    for name in (IMAGES, IMAGE_VALID):  # every frame there: the largest records
        full = next(s[name] for s in toys if np.all(s[IMAGE_VALID]))
        samples = [sample | {name: full} for sample in samples]

    with tempfile.TemporaryDirectory() as scratch:
        ours, plain = Path(scratch) / "ours", Path(scratch) / "plain.tfrecord"
        ours.mkdir()
        actions: list[tuple[str, Callable[[], object]]] = [
            ("write, plain TensorFlow", lambda: write_plain(plain, samples)),
            ("write, ours: encode and frame", lambda: write_bare(ours / "bare", samples, spec)),
            ("write, ours: with statistics and check", lambda: write_ours(ours, samples, spec)),
            ("read in order, plain TensorFlow", lambda: read_plain(plain, spec, args.batch, 0)),
            ("read in order, ours", lambda: read_ours(ours, args.batch, None)),
            ("read shuffled, plain TensorFlow", lambda: read_plain(plain, spec, args.batch, args.samples)),
            ("read shuffled, ours", lambda: read_ours(ours, args.batch, 1)),
            ("read without TensorFlow, checksums only", lambda: read_bare(ours)),
        ]
        seconds = [np.inf] * len(actions)
        for _ in range(args.repeats):  # by turns, so that a busy minute of the machine strikes all of them
            for i, (_, action) in enumerate(actions):
                start = time.perf_counter()
                action()
                seconds[i] = min(seconds[i], time.perf_counter() - start)
        rows = [(label, args.samples / best) for (label, _), best in zip(actions, seconds, strict=True)]
        sizes = [plain.stat().st_size, sum(p.stat().st_size for p in ours.glob("train-*"))]
    print(f"{args.samples} samples, {args.frames} frames of {args.px}x{args.px}; {os.cpu_count()} cores")
    base = 1.0
    for label, per_second in rows:
        base = per_second if "plain" in label else base
        print(f"{label:<44} {per_second:>9.0f} records/s   x{per_second / base:.2f}")
    print(f"bytes a record: plain {sizes[0] / args.samples:.0f}, ours {sizes[1] / args.samples:.0f}")
    print(f"import of the writer: {import_seconds('eyewall.records.writer'):.2f} s, of tensorflow: "
          f"{import_seconds('tensorflow'):.2f} s")  # fmt: skip


def import_seconds(module: str) -> float:
    """Seconds that a fresh interpreter takes for ``module`` over one that imports nothing."""
    seconds = []
    for code in ("pass", f"import {module}"):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1] - seconds[0]


def write_plain(path: Path, samples: list[dict[str, Any]]) -> None:
    """Float lists through TensorFlow's own classes."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for sample in samples:
            features = {}
            for name, value in sample.items():
                if name == STORM_ID:
                    features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
                elif isinstance(value, int):
                    features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
                else:
                    features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString(deterministic=True))


def write_bare(path: Path, samples: list[dict[str, Any]], spec: ImageSpec) -> None:
    """The bytes alone: what `write_plain` is to be compared with."""
    with path.open("wb") as file:
        for sample in samples:
            file.write(frame_record(encode(sample, spec)))


def write_ours(folder: Path, samples: list[dict[str, Any]], spec: ImageSpec) -> None:
    """As the step does it: statistics on the way, everything read back at the end."""
    with RecordsWriter(folder, spec, YEARS, 4) as writer:
        for sample in samples:
            writer.append("train", sample[STORM_ID], io.BytesIO(writer.encode("train", sample)))
        writer.finish()


def read_plain(path: Path, spec: ImageSpec, batch: int, window: int) -> None:
    """Parsed one sample at a time; shuffled in a window of so many, if any."""
    import tensorflow as tf

    wanted = {n: tf.io.FixedLenFeature(s, tf.float32) for n, s in (input_shapes(spec) | target_shapes()).items()}
    wanted[SEASON] = tf.io.FixedLenFeature((), tf.int64)
    dataset = tf.data.TFRecordDataset(str(path))
    dataset = dataset.shuffle(window) if window else dataset
    dataset = dataset.map(lambda record: tf.io.parse_single_example(record, wanted))
    for _ in dataset.batch(batch).prefetch(1):
        pass


def read_ours(folder: Path, batch: int, seed: int | None) -> None:
    """Batches as training gets them."""
    for _ in load(folder, "train", batch=batch, seed=seed):
        pass


def read_bare(folder: Path) -> None:
    """The Python reader."""
    for path in sorted(folder.glob("train-*")):
        for _ in read_records(path):
            pass


if __name__ == "__main__":
    main()
