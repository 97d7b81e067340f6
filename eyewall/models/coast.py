"""How far it is to the coast, anywhere: a small grid that goes with the package, looked up inside the graph.

``coast.z`` holds signed distances, over sea > 0, over land < 0, on a grid of half a degree from 90° S, 0° E; units of
8 km, cut off at 127 of them. It is zlib over int8 differences along each row. ``include/coast/make.py`` made it, of
public-domain data; a test compares it with places that everybody knows.
"""

import functools
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

PER_DEG: Final = 2  #: points of the grid
UNIT_KM: Final = 8.0
CUT_OFF_KM: Final = 127 * UNIT_KM
_ROWS, _COLUMNS = 180 * PER_DEG + 1, 360 * PER_DEG


@functools.cache
def grid_units() -> npt.NDArray[np.int8]:
    """The grid [361, 720] in units of `UNIT_KM`, south first, from 0° E eastwards."""
    steps = np.frombuffer(zlib.decompress((Path(__file__).parent / "coast.z").read_bytes()), np.int8)
    return np.cumsum(steps.reshape(_ROWS, _COLUMNS), axis=1, dtype=np.int16).astype(np.int8)


def distance_km(lat_deg: Any, lon_deg: Any) -> Any:
    """Signed distance to the coast, km, of float tensors of one shape; any longitude. Bilinear, so without steps."""
    row = tf.clip_by_value((lat_deg + 90.0) * PER_DEG, 0.0, _ROWS - 1.001)
    column = tf.math.floormod(lon_deg, 360.0) * PER_DEG
    south, west = tf.floor(row), tf.floor(column)
    up, right = row - south, column - west
    i, j = tf.cast(south, tf.int32), tf.cast(west, tf.int32) % _COLUMNS
    east = (j + 1) % _COLUMNS
    # One row of numbers: a graph holds it once, as int8.
    flat = tf.constant(grid_units().reshape(-1))

    def at(rows: Any, columns: Any) -> Any:
        return tf.cast(tf.gather(flat, rows * _COLUMNS + columns), tf.float32)

    below = at(i, j) * (1 - right) + at(i, east) * right
    above = at(i + 1, j) * (1 - right) + at(i + 1, east) * right
    return UNIT_KM * (below * (1 - up) + above * up)
