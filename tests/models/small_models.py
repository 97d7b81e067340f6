"""Sizes of models for tests: networks of a few hundred weights on the toy records' images."""

from typing import Any

from eyewall.contracts.features import ImageSpec

IMAGES = ImageSpec(frames=2, px=16, km_per_px=80.0)
SMALL: dict[str, dict[str, Any]] = {
    "track": {"widths": (8,), "members": 2, "difficulty": (4,)},
    "image": {"channels": (4, 4), "width": 4},
    "fusion": {
        "track": {"widths": (8,), "members": 2, "difficulty": (4,)},
        "image": {"channels": (4, 4), "width": 4},
    },
}
