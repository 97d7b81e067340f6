"""Geometry of the imager's fixed grid: which pixel of the full disk shows which place, and where a sector lies on it.

The full disk at 2 km is 5500 × 5500 pixels about the sub-satellite point 140.7° E, in the normalized geostationary
projection of CGMS LRIT/HRIT (section 4.4 of the Global Specification). A sector is a window of that grid: a full-disk
segment, or the Target Area that follows a typhoon. Columns and lines are counted from 0 here, from 1 in the files.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.simulator import hsd_layout as hsd

Floats = npt.NDArray[np.float64]

TARGET_PX = 500
SEGMENTS = 10
SEGMENT_LINES = hsd.DISK_PX // SEGMENTS
_RAD_PER_PX = np.radians(2.0**16 / hsd.FACTOR_2KM)


@dataclass(frozen=True)
class Sector:
    """A window of the full disk; ``area`` is the observation area as its file names it: FLDK, or R301 … R304."""

    area: str
    first_column: int
    first_line: int
    columns: int
    lines: int
    segment: int = 1
    segments: int = 1

    @property
    def coff(self) -> float:
        """COFF of its file: the column of the sub-satellite point, counted from 1 at the file's own first column."""
        return hsd.DISK_OFFSET - self.first_column

    @property
    def loff(self) -> float:
        """LOFF of its file; the segments of one image share the LOFF of the whole image."""
        return hsd.DISK_OFFSET - (0 if self.segments > 1 else self.first_line)


def pixel_of(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Full-disk line and column (fractional, from 0) that show a place; NaN where the satellite cannot see it."""
    lat = np.arctan(np.tan(np.radians(np.asarray(lat_deg, dtype=np.float64))) * hsd.POLAR_TO_EQUATORIAL_SQUARED)
    lon = np.radians(np.asarray(lon_deg, dtype=np.float64) - hsd.SUB_LON_DEG)
    radius = hsd.POLAR_RADIUS_KM / np.sqrt(1 - hsd.ECCENTRICITY_SQUARED * np.cos(lat) ** 2)
    r1 = hsd.SATELLITE_DISTANCE_KM - radius * np.cos(lat) * np.cos(lon)
    r2 = -radius * np.cos(lat) * np.sin(lon)
    r3 = radius * np.sin(lat)
    # The place is in view where the ray to it leaves the ellipsoid outwards.
    seen = r1 * (r1 - hsd.SATELLITE_DISTANCE_KM) + r2**2 + r3**2 * hsd.EQUATORIAL_TO_POLAR_SQUARED < 0
    x = np.arctan2(-r2, r1)
    y = np.arcsin(-r3 / np.sqrt(r1**2 + r2**2 + r3**2))
    line = np.where(seen, y / _RAD_PER_PX + hsd.DISK_OFFSET - 1, np.nan)
    column = np.where(seen, x / _RAD_PER_PX + hsd.DISK_OFFSET - 1, np.nan)
    return line, column


def lat_lon(sector: Sector) -> tuple[Floats, Floats]:
    """Latitude and longitude (60–221° E, not wrapped) of a sector's pixels, [y, x] degrees; NaN off the disk."""
    x = (sector.first_column + np.arange(sector.columns) + 1 - hsd.DISK_OFFSET)[None, :] * _RAD_PER_PX
    y = (sector.first_line + np.arange(sector.lines) + 1 - hsd.DISK_OFFSET)[:, None] * _RAD_PER_PX
    along = np.cos(x) * np.cos(y)
    flattened = np.cos(y) ** 2 + hsd.EQUATORIAL_TO_POLAR_SQUARED * np.sin(y) ** 2
    root = (hsd.SATELLITE_DISTANCE_KM * along) ** 2 - flattened * hsd.SD_COEFFICIENT_KM2
    with np.errstate(invalid="ignore"):
        distance = (hsd.SATELLITE_DISTANCE_KM * along - np.sqrt(root)) / flattened
    s1 = hsd.SATELLITE_DISTANCE_KM - distance * along
    s2 = distance * np.sin(x) * np.cos(y)
    s3 = -distance * np.sin(y)
    lat = np.degrees(np.arctan(hsd.EQUATORIAL_TO_POLAR_SQUARED * s3 / np.hypot(s1, s2)))
    return lat, np.degrees(np.arctan2(s2, s1)) + hsd.SUB_LON_DEG


def target_sector(lat_deg: float, lon_deg: float, observation: int = 1) -> Sector:
    """The Target Area of 500 × 500 pixels centred on a place; ``observation`` 1–4 of its ten-minute slot.

    Raises InputError where the satellite cannot see the place, or the area would leave the grid.
    """
    if not 1 <= observation <= 4:
        raise InputError(
            f"observation {observation} of the Target Area is not 1 to 4: a slot holds four of 150 seconds"
        )
    line, column = pixel_of(lat_deg, lon_deg)
    half = (TARGET_PX - 1) / 2
    inside = np.isfinite(line) and all(half <= v <= hsd.DISK_PX - 1 - half for v in (line, column))
    if not inside:
        raise InputError(f"no Target Area about {lat_deg:.2f}, {lon_deg:.2f}: the place is not well inside the disk")
    return Sector(f"R30{observation}", round(float(column) - half), round(float(line) - half), TARGET_PX, TARGET_PX)


def disk_segment(segment: int) -> Sector:
    """Segment 1 (north) to 10 (south) of the full disk, 5500 × 550 pixels. Raises InputError for another number."""
    if not 1 <= segment <= SEGMENTS:
        raise InputError(f"segment {segment} of the full disk is not 1 to {SEGMENTS}")
    return Sector("FLDK", 0, (segment - 1) * SEGMENT_LINES, hsd.DISK_PX, SEGMENT_LINES, segment, SEGMENTS)
