"""TensorFlow as a training replica wants it: quiet, seeded, repeatable, and with its share of the cores."""

import contextlib
import os

from eyewall.quiet import import_tensorflow, quiet_stderr

THREADS_VARIABLE = "EYEWALL_THREADS"  #: cores of this replica; unset: all of them


def prepare(seed: int) -> None:
    """Import TensorFlow (seconds), before any of its operations has run in this process or after, as may be.

    Weights start from ``seed`` alone, and operations on the same machine give the same bits each time.
    """
    import_tensorflow()
    with quiet_stderr():
        import tensorflow as tf
        import tf_keras

    tf.get_logger().setLevel("ERROR")
    threads = int(os.environ.get(THREADS_VARIABLE, "0"))
    if threads:
        with contextlib.suppress(RuntimeError):  # the runtime has started: its threads are what they are
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf_keras.utils.set_random_seed(seed)
    if tf.config.list_physical_devices("GPU"):
        # On CPUs our operations are repeatable as they are, and this would take tf.data's parallel parsing away.
        tf.config.experimental.enable_op_determinism()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
