# /// script
# requires-python = ">=3.11"
# dependencies = ["global-land-mask==1.0.0", "numpy", "scipy"]
# ///
"""Make ``eyewall/models/coast.z``: signed distance to the nearest coast on a half-degree grid of the globe.

    uv run include/coast/make.py eyewall/models/coast.z        (half a minute; equal bytes each time)

The land mask is that of the package global-land-mask (MIT), which is where the digital elevation model GLOBE (National
Geophysical Data Center 1999, public domain) has a height. It is thinned to 1/12°: a block of 10 x 10 is land where at
least half of it is. The distance is the great circle to the nearest block of the other kind, over sea > 0, over land
< 0, rounded to 8 km and cut off at 1016 km. Lakes are sea. What the file holds is in `eyewall.models.coast`.
"""

import sys
import zlib
from pathlib import Path

import global_land_mask
import numpy as np
from scipy.spatial import cKDTree

BLOCK = 10
STEP_DEG, UNIT_KM, RADIUS_KM = 0.5, 8.0, 6371.0


def main() -> None:
    """Write the file that the one argument names."""
    stored = np.load(Path(global_land_mask.__path__[0]) / "globe_combined_mask_compressed.npz")
    rows, columns = (n // BLOCK for n in stored["mask"].shape)
    land = stored["mask"].reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)) <= 0.5  # the mask is of the sea
    lat, lon = (stored[name].reshape(-1, BLOCK).mean(axis=1) for name in ("lat", "lon"))
    shore = np.zeros_like(land)
    for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
        shore |= land != np.roll(land, shift, axis=axis)
    grid_lat, grid_lon = np.arange(-90.0, 90.1, STEP_DEG), np.arange(0.0, 360.0, STEP_DEG)
    points = directions(*np.meshgrid(grid_lat, grid_lon, indexing="ij")).reshape(-1, 3)
    chord = {kind: nearest(points, lat, lon, shore & (land == kind)) for kind in (False, True)}
    row = np.clip(np.round((grid_lat - lat[0]) / (lat[1] - lat[0])).astype(int), 0, rows - 1)
    column = np.round((np.mod(grid_lon + 180, 360) - 180 - lon[0]) / (lon[1] - lon[0])).astype(int) % columns
    on_land = land[np.ix_(row, column)].ravel()
    km = np.where(on_land, -arc_km(chord[False]), arc_km(chord[True])).reshape(len(grid_lat), len(grid_lon))
    units = np.round(np.clip(km / UNIT_KM, -127, 127)).astype(np.int16)
    steps = np.diff(units, axis=1, prepend=0).astype(np.int8)  # neighbours are alike, so that this packs well
    Path(sys.argv[1]).write_bytes(zlib.compress(steps.tobytes(), 9))


def directions(lat_deg: np.ndarray, lon_deg: np.ndarray) -> np.ndarray:
    """Unit vectors [..., 3]."""
    lat, lon = np.radians(lat_deg), np.radians(lon_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def nearest(points: np.ndarray, lat: np.ndarray, lon: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Chord from each point to the nearest of the wanted blocks."""
    row, column = np.nonzero(wanted)
    return cKDTree(directions(lat[row], lon[column])).query(points)[0]


def arc_km(chord: np.ndarray) -> np.ndarray:
    """Great-circle distance of a chord of the unit sphere."""
    return 2 * RADIUS_KM * np.arcsin(chord / 2)


if __name__ == "__main__":
    main()
