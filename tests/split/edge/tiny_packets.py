"""Packets that tell their number, without anything heavy: processes that will be killed import this too."""

import numpy as np

from eyewall.split.edge.packet import FrameKey, Packet


def packet(number: int, frames: int = 1, values: int = 20) -> Packet:
    """A packet whose content tells its number."""
    features = np.arange(frames * values, dtype=np.float32).reshape(frames, values) + number
    keys = tuple(FrameKey(f"frame-{number}-{i}", number * 100 + i, f"{number}.npy", 7, 9) for i in range(frames))
    side = np.full((frames, 2), number % 30_000, np.int16)
    tensors = {"features": features, "side": side}
    return Packet(keys, "pool/4/float32", "tail:stable", "d" * 64, tensors, (1.5,) * frames)
