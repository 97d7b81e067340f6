"""Records as a ``tf.data.Dataset``: ordered, shuffled, shared out and resumed by arithmetic alone.

There is one endless stream of rows for a seed: epoch after epoch, each in an order of its own made from (seed, epoch).
Global batch i is rows i·B … (i+1)·B − 1 of it, and worker w of W takes rows w·B/W … (w+1)·B/W − 1 of each global
batch. So two synchronous workers see together exactly what one alone sees, and a run that stops after n batches goes
on with ``skip_batches=n`` as though it had not stopped. Every worker reads all bytes but parses only its own rows.

TensorFlow is imported inside `load`, so that reading a schema does not wait for it. Nothing but TensorFlow operations
is used in the pipeline: it also runs on a remote worker that has none of this Python.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import BASE_TIME_S, IMAGES, SEASON, STORM_ID, ImageSpec, input_shapes, target_shapes
from eyewall.records.example import COUNTS_PER_UNIT
from eyewall.records.schema import RecordsSchema, Split, read_schema
from eyewall.records.shards import shard_paths

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["RecordsSchema", "load", "read_schema"]

#: Memory for shuffling raw records. A split below it is shuffled perfectly, a larger one in a window of this size.
SHUFFLE_BYTES: Final = 256 * 2**20
_PARSE_ROWS: Final = 64  #: rows parsed at once where the caller wants single samples
_SHUFFLE_SEED: Final = 20260101  #: replaces tf.random.set_seed's value: the order depends on `seed` alone


def load(
    folder: Path,
    split: Split,
    *,
    batch: int | None,
    seed: int | None = None,
    repeat: bool = False,
    shard: tuple[int, int] = (0, 1),
    with_meta: bool = False,
    skip_batches: int = 0,
) -> "tf.data.Dataset":
    """(features, targets) of ``split``, or (features, targets, meta) with ``with_meta``; dicts by feature name.

    ``batch`` is the *global* batch: elements have batch / shard count rows; None gives single samples (and shares
    them out by row number modulo shard count). ``seed`` None keeps the order on disk; otherwise each epoch is shuffled
    by (seed, epoch). ``repeat`` goes on for ever and fills every batch, across the ends of epochs; without it the last
    batch may be short. ``shard`` is (index, count). ``skip_batches`` leaves out the first so many global batches.
    Features and targets are float32 in the shapes of `eyewall.contracts.features`; meta is STORM_ID (bytes), SEASON
    and BASE_TIME_S (int64).

    Raises InputError for a split without samples under ``repeat``, or a batch that cannot be shared out evenly;
    ContractError when ``folder`` holds no records.
    """
    import tensorflow as tf

    schema = read_schema(folder)
    rows = schema.counts[split]
    _check(rows, split, folder, batch, repeat, shard, skip_batches)
    skip_rows = skip_batches * (batch or 1)
    stream = _stream(folder, split, schema, seed, repeat, skip_rows)
    index, count = shard
    if batch is None:
        stream = (stream.shard(count, index) if count > 1 else stream).batch(_PARSE_ROWS)
    else:
        stream = stream.batch(batch, drop_remainder=repeat)
        if count > 1:
            own = slice(index * batch // count, (index + 1) * batch // count)
            stream = stream.map(lambda records: records[own])
            if not repeat:  # a short last batch may leave nothing for this worker
                stream = stream.filter(lambda records: tf.size(records) > 0)
    parsed = stream.map(_parser(schema.images, with_meta), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if batch is None:
        parsed = parsed.unbatch()
    options = tf.data.Options()
    # The rows are shared out above; tf.distribute must not do it again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.deterministic = True
    return parsed.prefetch(tf.data.AUTOTUNE).with_options(options)


def _check(
    rows: int, split: str, folder: Path, batch: int | None, repeat: bool, shard: tuple[int, int], skip: int
) -> None:
    index, count = shard
    if not 0 <= index < count or skip < 0 or (batch is not None and batch < 1):
        raise InputError(f"shard {shard}, batch {batch}, skip_batches {skip}: give 0 <= index < count, batch >= 1")
    if batch is not None and batch % count:
        raise InputError(f"a global batch of {batch} cannot be shared out evenly among {count} workers")
    if repeat and not rows:
        raise InputError(f"split {split!r} of {folder.name} has no sample to repeat: choose other seasons")


def _stream(
    folder: Path, split: Split, schema: RecordsSchema, seed: int | None, repeat: bool, skip_rows: int
) -> "tf.data.Dataset":
    """Raw records [] string, epoch after epoch, without the first ``skip_rows``."""
    import tensorflow as tf

    files = [str(path) for path in shard_paths(folder, split, schema.shards)]
    rows = schema.counts[split]
    record_bytes = max(schema.bytes[split] // max(rows, 1), 1)
    window = max(min(rows, SHUFFLE_BYTES // record_bytes), 1)

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        if seed is None:
            return tf.data.TFRecordDataset(files)
        # Dataset.shuffle mixes in the graph's seed (tf.random.set_seed): fix it for this function's graph alone.
        tf.compat.v1.set_random_seed(_SHUFFLE_SEED)
        pair = tf.stack([tf.constant(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.constant(files), seed=pair)
        mixed = tf.data.Dataset.from_tensor_slices(order).interleave(
            tf.data.TFRecordDataset, cycle_length=min(len(files), 16), block_length=1
        )
        (own_seed,) = tf.unstack(tf.random.stateless_uniform([1], seed=pair, minval=0, maxval=2**62, dtype=tf.int64))
        return mixed.shuffle(window, seed=own_seed, reshuffle_each_iteration=False)

    first = skip_rows // rows if repeat else 0
    numbers = tf.data.Dataset.range(first, 2**62 if repeat else first + 1)
    return numbers.flat_map(epoch).skip(skip_rows - first * rows)


def _parser(spec: ImageSpec, with_meta: bool) -> Any:
    """A function from records [b] string to (features, targets[, meta]), each with b rows."""
    import tensorflow as tf

    inputs, targets = input_shapes(spec), target_shapes()
    wanted = {name: tf.io.FixedLenFeature(shape, tf.float32) for name, shape in (inputs | targets).items()}
    if spec.frames:
        wanted[IMAGES] = tf.io.FixedLenFeature((spec.frames,), tf.string)
    if with_meta:
        wanted[STORM_ID] = tf.io.FixedLenFeature((), tf.string)
        wanted |= {name: tf.io.FixedLenFeature((), tf.int64) for name in (SEASON, BASE_TIME_S)}

    def parse(records: "tf.Tensor") -> tuple[dict[str, "tf.Tensor"], ...]:
        values = tf.io.parse_example(records, wanted)
        if spec.frames:
            # A frame that does not exist is an empty string, which fixed_length pads with zeros.
            counts = tf.io.decode_raw(values[IMAGES], tf.uint16, fixed_length=2 * spec.px * spec.px)
            pixels = tf.cast(counts, tf.float32) / tf.constant(COUNTS_PER_UNIT, tf.float32)
            values[IMAGES] = tf.reshape(pixels, (-1, *inputs[IMAGES]))
            values[IMAGES] = tf.ensure_shape(values[IMAGES], (records.shape[0], *inputs[IMAGES]))
        parts = [{name: values[name] for name in inputs}, {name: values[name] for name in targets}]
        if with_meta:
            parts.append({name: values[name] for name in (STORM_ID, SEASON, BASE_TIME_S)})
        return tuple(parts)

    return parse
