"""Best tracks in the official IBTrACS CSV: its column names and order, its row of units, a blank for what is missing.

Of its 160-odd columns those of the WMO, Tokyo and motion blocks are written; readers take columns by name. Format:
"IBTrACS v04r01 column documentation", NOAA NCEI. As RSMC Tokyo does, depressions get a position and a pressure but no
wind.
"""

import csv
import io
from collections.abc import Iterable, Iterator

import numpy as np

from eyewall.besttrack.sphere import bearing_rad, distance_km
from eyewall.simulator.storm import FIX_H, STORM_KT, Storm

#: Column → its unit in the second row.
COLUMNS = {
    "SID": "", "SEASON": "Year", "NUMBER": "", "BASIN": "", "SUBBASIN": "", "NAME": "", "ISO_TIME": "", "NATURE": "",
    "LAT": "degrees_north", "LON": "degrees_east", "WMO_WIND": "kts", "WMO_PRES": "mb", "WMO_AGENCY": "",
    "TRACK_TYPE": "", "DIST2LAND": "km", "LANDFALL": "km", "IFLAG": "", "TOKYO_LAT": "degrees_north",
    "TOKYO_LON": "degrees_east", "TOKYO_GRADE": "", "TOKYO_WIND": "kts", "TOKYO_PRES": "mb", "TOKYO_R50_DIR": "",
    "TOKYO_R50_LONG": "nmile", "TOKYO_R50_SHORT": "nmile", "TOKYO_R30_DIR": "", "TOKYO_R30_LONG": "nmile",
    "TOKYO_R30_SHORT": "nmile", "TOKYO_LAND": "", "STORM_SPEED": "kts", "STORM_DIR": "degrees",
}  # fmt: skip
_BLANK = " "
_EXTRATROPICAL_LAT_DEG = 38.0
#: Longitudes of the file are -180…180, as IBTrACS has them.
_KM_PER_NMILE = 1.852


def _grade(wind_kt: float, nature: str) -> str:
    """RSMC Tokyo's grade: 2 depression, 3 tropical storm, 4 severe tropical storm, 5 typhoon, 6 extratropical."""
    if nature == "ET":
        return "6"
    return str(2 + int(np.searchsorted((STORM_KT, 47.5, 63.5), wind_kt)))


def _motion(storm: Storm, i: int) -> tuple[str, str]:
    """Speed (kt) and direction (degrees) between the neighbouring fixes, as IBTrACS derives them."""
    a, b = max(i - 1, 0), min(i + 1, len(storm.times) - 1)
    ends = storm.lat_deg[a], storm.lon_deg[a], storm.lat_deg[b], storm.lon_deg[b]
    speed_kt = float(distance_km(*ends)) / (FIX_H * (b - a)) / _KM_PER_NMILE
    return f"{speed_kt:.0f}", f"{np.degrees(float(bearing_rad(*ends))) % 360:.0f}"


def rows(storm: Storm, number: int) -> Iterator[dict[str, str]]:
    """One row a fix; ``number`` counts the storms of the file, as NUMBER does."""
    for i, time in enumerate(storm.times):
        wind = float(storm.wind_kt[i])
        lat, lon = float(storm.lat_deg[i]), (float(storm.lon_deg[i]) + 180.0) % 360.0 - 180.0
        nature = "ET" if lat > _EXTRATROPICAL_LAT_DEG else "TS"
        wind_text = f"{wind:.0f}" if wind >= STORM_KT else _BLANK
        speed, direction = _motion(storm, i)
        yield {
            "SID": storm.sid,
            "SEASON": str(storm.season),
            "NUMBER": str(number),
            "BASIN": "WP" if lon >= 0 else "EP",
            "SUBBASIN": "MM",
            "NAME": storm.name,
            "ISO_TIME": f"{time:%Y-%m-%d %H:%M:%S}",
            "NATURE": nature,
            "LAT": f"{lat:.4f}",
            "LON": f"{lon:.4f}",
            "WMO_WIND": wind_text,
            "WMO_PRES": f"{storm.pressure_hpa[i]:.0f}",
            "WMO_AGENCY": "tokyo",
            "TRACK_TYPE": "main",
            "IFLAG": "_O____________",
            "TOKYO_LAT": f"{lat:.4f}",
            "TOKYO_LON": f"{lon:.4f}",
            "TOKYO_GRADE": _grade(wind, nature),
            "TOKYO_WIND": wind_text,
            "TOKYO_PRES": f"{storm.pressure_hpa[i]:.0f}",
            "STORM_SPEED": speed,
            "STORM_DIR": direction,
        }


def to_csv(storms: Iterable[Storm]) -> str:
    """The whole file: header, units, and the fixes of all storms in the order given."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(COLUMNS), restval=_BLANK, lineterminator="\n")
    writer.writeheader()
    writer.writerow({column: unit or _BLANK for column, unit in COLUMNS.items()})
    for number, storm in enumerate(storms, start=1):
        writer.writerows(rows(storm, number))
    return text.getvalue()
