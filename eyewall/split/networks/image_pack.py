"""A pack of small JPEG images with labels in one .npz: what the study of CIFAR-10 reads.

A pack holds, for the parts ``train`` and ``test``, the JPEG files one after the other as bytes, where each begins, and
its label: ``<part>_jpeg`` uint8 [bytes], ``<part>_offsets`` int64 [n + 1], ``<part>_labels`` uint8 [n]. JPEG is lossy:
what is measured on such a pack is measured on a *JPEG copy* of the images and has to be named so.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Any, Literal

import fsspec
import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.progress import counted

Part = Literal["train", "test"]
Array = npt.NDArray[Any]
_MOST_BYTES = 2**31  # a pack is read whole


@dataclass(frozen=True)
class Images:
    """Decoded images uint8 [n, y, x, 3] (RGB) and their labels int64 [n]."""

    pixels: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: slice) -> "Images":
        """Some of them, in their order."""
        return Images(self.pixels[chosen], self.labels[chosen])


class ImagePack:
    """One pack: its sha256, and its parts decoded when asked for."""

    def __init__(self, uri: str) -> None:
        """``uri``: a path or any fsspec URL. Raises InputError when it is absent or no pack."""
        self.uri = uri
        try:
            with fsspec.open(uri, "rb") as stream:
                data: bytes = stream.read(_MOST_BYTES)
        except (OSError, ImportError, ValueError) as error:
            raise InputError(f"cannot read image pack {uri!r}: {error}; give the path of an .npz") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._data = data

    def images(self, part: Part, most: int | None = None) -> Images:
        """The first ``most`` images (all by default) of a part, decoded; 60,000 of 32×32 take about ten seconds.

        Raises InputError naming the first image that is damaged, or of another size than the first one.
        """
        jpeg, offsets, labels = self._arrays(part)
        n = len(labels) if most is None else min(most, len(labels))
        pixels: Array | None = None
        for i in counted(range(n), f"decode {part}", unit="images"):
            image = self._decode(jpeg[offsets[i] : offsets[i + 1]], part, i)
            if pixels is None:
                pixels = np.empty((n, *image.shape), np.uint8)
            if image.shape != pixels.shape[1:]:
                raise InputError(
                    f"image {i} of {part} in {self.uri!r} is {image.shape}, the first is {pixels.shape[1:]}:"
                    " all of a pack must be of one size"
                )
            pixels[i] = image
        if pixels is None:
            raise InputError(f"image pack {self.uri!r} holds no {part} images: give one that does")
        return Images(pixels, labels[:n].astype(np.int64))

    def file_bytes(self, part: Part) -> Array:
        """Bytes of each JPEG file of a part, int64 [n]: what sending the files as they are would cost."""
        return np.diff(self._arrays(part)[1]).astype(np.int64)

    def _arrays(self, part: Part) -> tuple[Array, Array, Array]:
        names = [f"{part}_{name}" for name in ("jpeg", "offsets", "labels")]
        try:
            with np.load(io.BytesIO(self._data), allow_pickle=False) as stored:
                jpeg, offsets, labels = (stored[name] for name in names)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise InputError(
                f"{self.uri!r} is no image pack: {error}; it needs the arrays {', '.join(names)}"
            ) from error
        ordered = (
            offsets.ndim == labels.ndim == jpeg.ndim == 1
            and jpeg.dtype == np.uint8
            and np.issubdtype(offsets.dtype, np.integer)
            and np.issubdtype(labels.dtype, np.integer)
            and len(offsets) == len(labels) + 1
            and offsets[0] == 0
            and offsets[-1] == len(jpeg)
            and bool(np.all(np.diff(offsets) > 0))
        )
        if not ordered:
            raise InputError(
                f"the {part} arrays of image pack {self.uri!r} disagree: {len(labels)} labels, {len(offsets)} offsets"
                f" (one more than labels, rising from 0 to {len(jpeg)}, the JPEG bytes); pack it again"
            )
        return jpeg, offsets, labels

    def _decode(self, jpeg: Array, part: Part, i: int) -> Array:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(jpeg.tobytes()), formats=("JPEG",)) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"image {i} of {part} in {self.uri!r} is damaged: {error}; pack it again") from error
