"""How large the networks of `eyewall train --size` are, and what a device must hold of them.

    .venv/bin/python benchmarks/model_sizes.py                  # counts, nothing is allocated
    .venv/bin/python benchmarks/model_sizes.py --held 2048      # trains a GRU of that width on two virtual devices

Weights, gradients and AdamW's two slots are float32: 16 bytes a weight, of which `--strategy model_parallel` gives each
device of the model axis its part. Activations come on top and are small here. The second command is what the first
says, in small: it shares out a network, takes a step, and reads what each device really holds.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from eyewall.contracts.features import ImageSpec
from eyewall.models.sizes import Size, image_sizes, track_sizes

BYTES_A_WEIGHT = 16
ROWS = (("track", "perceptron"), ("track", "gru"), ("track", "lstm"), ("track", "attention"), ("image", "cnn"),
        ("image", "convlstm"))  # fmt: skip
SIZES: tuple[Size, ...] = ("small", "medium", "large")
FIXES, TRACK_INPUTS, FIX_INPUTS = 9, 88, 10
IMAGES = ImageSpec(frames=3, px=64, km_per_px=20.0)


def main() -> None:
    """Count, or train in small."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--held", type=int, help="width of a GRU that is really shared out over two devices")
    width = options.parse_args().held
    if width:
        held(width)
        return
    print("| model | size | weights, million | GB with gradients and slots | on each of 2 devices |")
    print("| --- | --- | --- | --- | --- |")
    for kind, name in ROWS:
        for size in SIZES:
            whole, part = weights(kind, name, size)
            gb = BYTES_A_WEIGHT / 1e9
            print(f"| {kind}, {name} | {size} | {whole / 1e6:.3g} | {whole * gb:.3g} | {part * gb:.3g} |")


def network_of(kind: str, sizes: dict[str, Any]) -> tuple[Any, Sequence[Any]]:
    """A network that has no weights yet, and inputs of one row."""
    import tensorflow as tf

    from eyewall.models.image import ImageNetwork
    from eyewall.models.track import TrackEnsemble

    if kind == "track":
        network = TrackEnsemble(name="network", **sizes)
        fixes = (tf.zeros((1, FIXES, FIX_INPUTS)), tf.ones((1, FIXES))) if network.reads_fixes else ()
        return network, (tf.zeros((1, TRACK_INPUTS)), *fixes)
    k, px = IMAGES.frames, IMAGES.px
    return ImageNetwork(name="network", **sizes), (
        tf.zeros((1, 2)), tf.zeros((1, k, px, px, 2)), tf.zeros((1, k)), tf.ones((1, k)),
    )  # fmt: skip


def weights(kind: str, name: str, size: Size) -> tuple[int, int]:
    """Weights in all, and what one of two devices holds of them; by shapes alone, in a graph that is not run."""
    import tensorflow as tf

    from eyewall.training.model_parallel import axes_of

    sizes = track_sizes(size, name) if kind == "track" else image_sizes(size, name)  # type: ignore[arg-type]
    with tf.Graph().as_default():
        network, inputs = network_of(kind, sizes)
        network(*inputs)
        whole = part = 0
        for variable in network.weights:
            count = int(variable.shape.num_elements())
            whole += count
            shared = any(axes_of(f"{kind}/{variable.name}", tuple(variable.shape), 2))
            part += count // 2 if shared else count
    return whole, part


def held(width: int) -> None:
    """Share a GRU network out over two virtual devices, take a step, and read off what each holds."""
    from eyewall.training import tensorflow_setup

    tensorflow_setup.prepare(0)
    from eyewall.contracts.jobs import TrainJob
    from eyewall.training.mesh import join_mesh

    job = TrainJob.parse({"records_ref": "-", "run": "held", "strategy": "model_parallel", "devices": 2})
    devices = join_mesh(job, None)
    import tensorflow as tf
    from tensorflow.experimental import dtensor

    from eyewall.training.loop import ADAMW
    from eyewall.training.model_parallel import share_out
    from eyewall.training.sharded_adamw import ShardedAdamW

    network, inputs = network_of("track", track_sizes("large", "gru", width))
    network(*inputs)
    share_out(network, devices)
    trained = network.trainable_variables
    optimizer = ShardedAdamW(devices, trained, lambda _: 1e-3, weight_decay=0.02, **ADAMW)

    @tf.function(autograph=False)
    def step(*placed: Any) -> Any:
        with tf.GradientTape() as tape:
            learned = network(*placed)
            loss = tf.reduce_sum(tf.square(learned.correction - 1.0)) + tf.reduce_sum(tf.square(learned.log_difficulty))
        slopes = tape.gradient(loss, trained)
        optimizer.apply(slopes)
        return loss

    placed = [devices.place_batch(tf.repeat(values, 2, axis=0)) for values in inputs]
    losses = [float(step(*placed).numpy()) for _ in range(2)]
    whole = [0, 0, 0]
    for variable in [*trained, *optimizer.variables[1:]]:
        parts = [part.numpy().nbytes for part in dtensor.unpack(variable.read_value())]
        whole = [whole[0] + 4 * int(variable.shape.num_elements()), whole[1] + parts[0], whole[2] + parts[1]]
    mb = [value / 1e6 for value in whole]
    print(f"GRU of {width}: loss {losses[0]:.4g}, then {losses[1]:.4g}; weights and slots {mb[0]:.1f} MB,"
          f" on the devices {mb[1]:.1f} and {mb[2]:.1f} MB ({100 * mb[1] / mb[0]:.1f} % each)")  # fmt: skip


if __name__ == "__main__":
    main()
