"""Cloud texture: one periodic random field with a power-law spectrum, looked up by bilinear interpolation.

The field is complex: turning its phase makes it change shape as well as drift, while its statistics stay the same.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

SIZE = 512
_SLOPE = 1.45  # of the amplitude spectrum: between the 5/3 and the 3 power laws of cloud fields, halved
_LARGEST = 3.0  # cycles per tile below which there is nothing: no cloud as wide as the tile

Array = npt.NDArray[np.float32]


@lru_cache(maxsize=4)
def tile(seed: int) -> npt.NDArray[np.complex64]:
    """The periodic field of ``seed``, [SIZE, SIZE]; real and imaginary part have mean 0 and standard deviation 1."""
    rng = np.random.default_rng([seed, SIZE])
    k = np.fft.fftfreq(SIZE, 1 / SIZE)
    wave = np.hypot(k[:, None], k[None, :])
    amplitude = np.where(wave >= _LARGEST, np.maximum(wave, 1.0) ** -_SLOPE, 0.0)
    noise = rng.standard_normal((SIZE, SIZE)) + 1j * rng.standard_normal((SIZE, SIZE))
    field = np.fft.ifft2(noise * amplitude)
    field = field / np.sqrt((np.abs(field) ** 2).mean() / 2)
    return np.asarray(field, dtype=np.complex64)


def sample(field: npt.NDArray[np.complex64], row: Array, column: Array, phase_rad: float) -> Array:
    """Real part of the field turned by ``phase_rad``, at fractional rows and columns (any real numbers), same shape."""
    plane = (field * np.complex64(np.exp(1j * phase_rad))).real.astype(np.float32)
    flat = plane.ravel()
    r0, c0 = np.floor(row), np.floor(column)
    fr, fc = row - r0, column - c0
    r0i, c0i = r0.astype(np.int32) % SIZE, c0.astype(np.int32) % SIZE
    r1i, c1i = (r0i + 1) % SIZE, (c0i + 1) % SIZE
    r0i, r1i = r0i * SIZE, r1i * SIZE
    upper = flat[r0i + c0i] * (1 - fc) + flat[r0i + c1i] * fc
    lower = flat[r1i + c0i] * (1 - fc) + flat[r1i + c1i] * fc
    return np.asarray(upper * (1 - fr) + lower * fr, dtype=np.float32)
