"""Part 1: the CIFAR-10 network cut after each pool, with each number of filters, over each wire.

Weights are random: what a layer computes takes as long whatever its weights are, so times need no training to have
ended. Accuracies come from `eyewall score-network`; the report puts both together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.contracts.split import WIRES, Wire
from eyewall.split.networks import cifar10
from eyewall.split.networks.image_pack import ImagePack
from eyewall.split.partition import split
from eyewall.split.study.prepare import Bench

#: Of the unchanged network: a cut before that of the paper, and one behind it, over these wires.
OTHER_CUTS: dict[str, tuple[Wire, ...]] = {"pool1": ("int8",), "pool3": ("float32", "int8")}
_CALIBRATION = 100
_FRAMES = 64


def prepare(bench: Bench, images: str, channels: Sequence[int], bottlenecks: Sequence[int], seed: int) -> float:
    """Fill ``bench``; the mean bytes of a frame as the pack's JPEG. Raises InputError."""
    from eyewall.training.tensorflow_setup import prepare as seeded

    if cifar10.FULL_CHANNELS not in channels:
        raise InputError(f"channels {list(channels)} lack {cifar10.FULL_CHANNELS}, the unchanged network: add it")
    pack = ImagePack(images)
    test = pack.images("test", _FRAMES).pixels
    calibration = pack.images("train", _CALIBRATION).pixels
    for number in channels:
        seeded(seed)
        model = cifar10.build(number)
        if number == cifar10.FULL_CHANNELS:
            bench.add_whole(model, {"image": test[:1]}, ("image",))
            for cut, wires in OTHER_CUTS.items():
                _add(bench, model, cut, wires, calibration)
        _add(bench, model, cifar10.cut_of(None), WIRES, calibration)
    for number in bottlenecks:
        seeded(seed)
        model = cifar10.build(cifar10.FULL_CHANNELS, number)
        bench.add_split(split(model, cifar10.cut_of(number), wire="int8", calibration=calibration))
    bench.finish({"image": test})
    return mean_jpeg_bytes(pack)


def _add(bench: Bench, model: Any, cut: str, wires: Sequence[Wire], calibration: Any) -> None:
    for wire in wires:
        bench.add_split(split(model, cut, wire=wire, calibration=calibration))


def mean_jpeg_bytes(pack: ImagePack) -> float:
    """Of the pack's test images, as they are published."""
    return round(float(np.mean(pack.file_bytes("test"))), 1)
