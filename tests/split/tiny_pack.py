"""Small image packs: gratings of ten directions, for a network to learn, as JPEG files in one .npz."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_ROWS, _COLUMNS = np.mgrid[0:32, 0:32]


def grating(label: int, draw: np.random.Generator, px: int = 32) -> Any:
    """An image uint8 [px, px, 3] whose waves run in the direction of its label."""
    angle = np.pi * label / 10
    wave = np.sin((np.cos(angle) * _COLUMNS + np.sin(angle) * _ROWS) * 0.8 + draw.uniform(0, 6.3))
    colours = draw.uniform(40, 90, 3)
    image = 128 + wave[..., None] * colours + draw.normal(0, 8, (32, 32, 3))
    return np.clip(image, 0, 255).astype(np.uint8)[:px, :px]


def images(n: int, seed: int = 0) -> tuple[Any, Any]:
    """Pixels uint8 [n, 32, 32, 3] and labels [n], each class in turn."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    return np.stack([grating(int(label), draw) for label in labels]), labels.astype(np.uint8)


def jpeg(image: Any) -> bytes:
    """The image as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pack_arrays(files: list[bytes], labels: Any, part: str) -> dict[str, Any]:
    """The three arrays of a part."""
    return {
        f"{part}_jpeg": np.frombuffer(b"".join(files), np.uint8),
        f"{part}_offsets": np.concatenate([[0], np.cumsum([len(f) for f in files])]).astype(np.int64),
        f"{part}_labels": labels,
    }


def write_pack(path: Path, train: int = 60, test: int = 20, **other: Any) -> Path:
    """A pack of so many gratings; ``other`` arrays replace those of their name."""
    arrays: dict[str, Any] = {}
    for seed, (part, n) in enumerate((("train", train), ("test", test))):
        pixels, labels = images(n, seed)
        arrays |= pack_arrays([jpeg(image) for image in pixels], labels, part)
    np.savez(path, **(arrays | other))
    return path
