"""Which segments of a full disk show the wanted box, told from the satellite's nominal projection before any is opened.

A full disk comes in strips of equal height. The box is sampled, its points are projected, and the strips between the
northernmost and the southernmost of them are needed. The sub-satellite longitude in the files differs by nothing from
the nominal one used here (it is the *projection* longitude, not the satellite's actual position); line offsets and
ellipsoids of the formats differ by a pixel or two, hence the margin.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from eyewall.contracts.fields import Area
from eyewall.satellite.formats import WrongRequest
from eyewall.satellite.geometry import project

_MARGIN_M: Final = 15_000.0
_SAMPLES: Final = 181


@dataclass(frozen=True)
class FullDisk:
    """A segmented full disk: where the satellite is projected from, its height in metres, and which end is number 1."""

    sub_lon_deg: float
    height_m: float
    first: Literal["north", "south"] = "north"

    @property
    def projection(self) -> str:
        """The normalized geostationary projection (CGMS LRIT/HRIT Global Specification, 4.4) for PROJ."""
        return f"+proj=geos +lon_0={self.sub_lon_deg} +h=35785863 +a=6378137 +b=6356752.3 +units=m"


#: By satpy reader; SEVIRI's longitude is in its files, since its satellites move between services.
FULL_DISKS: Final = {
    "ahi_hsd": FullDisk(140.7, 11_000_000.0),
    "ahi_hrit": FullDisk(140.7, 11_000_000.0),
    "jami_hrit": FullDisk(140.0, 11_000_000.0),
    "mtsat2-imager_hrit": FullDisk(145.0, 11_000_000.0),
    "seviri_l1b_hrit": FullDisk(0.0, 3712 * 3000.403165817, first="south"),
}


def needed(disk: FullDisk, count: int, area: Area) -> frozenset[int]:
    """Numbers (from 1) of the ``count`` segments that show ``area``. Raises WrongRequest when none of them can."""
    lat_deg, lon_deg = np.meshgrid(
        np.linspace(area.south_deg, area.north_deg, _SAMPLES),
        np.linspace(area.west_deg, area.east_deg, _SAMPLES),
        indexing="ij",
    )
    _, y_m = project(disk.projection, lat_deg, lon_deg)
    seen = y_m[np.isfinite(y_m)]
    if not seen.size:
        raise WrongRequest(
            f"area {area.west_deg:g}–{area.east_deg:g} E, {area.south_deg:g}–{area.north_deg:g} N is out of sight of "
            f"the satellite at {disk.sub_lon_deg:g} E: give an area on its side of the Earth"
        )
    strip_m = disk.height_m / count
    from_top = disk.height_m / 2 - np.array([seen.max() + _MARGIN_M, seen.min() - _MARGIN_M])
    first, last = np.clip(np.floor(from_top / strip_m).astype(int), 0, count - 1)
    numbers = range(first + 1, last + 2)
    return frozenset(numbers if disk.first == "north" else (count + 1 - number for number in numbers))
