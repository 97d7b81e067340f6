"""Digital Typhoon's hourly tracks (Kitamoto et al. 2023, the data set's track files): one TSV per storm, no header.

    2007  10  03  01  2  19.984387  146.898117  1007.666667  0.000000  …  1

Year, month, day, hour, grade, latitude, longitude, pressure (hPa), 10-minute wind (kt; 0: unknown), gust and wind
radii, and at the end 1 where the archive interpolated between RSMC Tokyo's analyses. The storm id, the international
number with the year in full, is the file's name (200717.tsv); its year is the season.

RSMC Tokyo gives no wind below 35 kt: an interpolated wind under that was drawn from an unknown one, so it is unknown.
"""

import re
from typing import Any, Final

import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.rows import LINE, RawRows, Rejected
from eyewall.contracts.errors import TrackError

_MIN_FIELDS: Final = 10
_LEAST_WIND_KT: Final = 35.0
_COLUMNS: Final = (LINE, t.TIME_UTC, t.LAT_DEG, t.LON_DEG, t.PRESSURE_HPA, t.WIND_KT, t.INTERPOLATED)


def parse(data: bytes, source: str) -> RawRows:
    """The bytes of one storm's TSV → raw rows. Raises TrackError when the file's name gives no storm number."""
    number = re.match(r"((?:19|20)\d{2})\d{2}\b", source.rsplit("/", 1)[-1])
    if not number:
        raise TrackError(
            f"{source}: a Digital Typhoon track is named by its storm, such as 200717.tsv; rename the file"
        )
    rows: list[tuple[Any, ...]] = []
    rejected = Rejected()
    for line, text in enumerate(data.decode("ascii", errors="replace").splitlines(), start=1):
        fields = [field.strip() for field in text.split("\t")]
        if not any(fields):
            continue
        if (
            len(fields) < _MIN_FIELDS
            or not all(field.isdigit() for field in fields[:4])
            or fields[-1] not in ("0", "1")
        ):
            rejected.add(line, f"{text[:40]!r} is not year, month, day, hour, grade, latitude, longitude, …, 0 or 1")
            continue
        year, month, day, hour = (int(field) for field in fields[:4])
        time = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:00:00"
        rows.append((line, time, *fields[5:9], fields[-1] == "1"))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    wind = pd.to_numeric(frame[t.WIND_KT], errors="coerce")
    frame[t.WIND_KT] = wind.mask(frame[t.INTERPOLATED].astype(bool) & (wind < _LEAST_WIND_KT))
    frame[t.STORM_ID], frame[t.SEASON], frame[t.NAME] = number[0], int(number[1]), ""
    return RawRows(frame, rejected)
