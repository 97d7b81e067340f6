"""Part 2: the network of ImageNet's size, random weights, cut after pool1 and pool2: timing only."""

import numpy as np

from eyewall.contracts.split import WIRES
from eyewall.split.networks import caffenet
from eyewall.split.partition import split
from eyewall.split.study.prepare import Bench

_FRAMES = 8


def prepare(bench: Bench, seed: int) -> None:
    """Fill ``bench``."""
    from eyewall.training.tensorflow_setup import prepare as seeded

    seeded(seed)
    model = caffenet.build(seed=seed)
    frames = np.random.default_rng(seed).integers(0, 256, (_FRAMES, *caffenet.IMAGE_SHAPE), np.uint8)
    bench.add_whole(model, {"image": frames[:1]}, ("image",))
    for cut in caffenet.CUTS:
        for wire in WIRES:
            bench.add_split(split(model, cut, wire=wire, calibration=frames))
    bench.finish({"image": frames})
