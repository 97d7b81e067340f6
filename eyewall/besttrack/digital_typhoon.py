"""Digital Typhoon's tracks (Kitamoto et al. 2023): one file per storm, named by it, in one of two layouts.

    200717.tsv   no header:  2007  10  03  01  2  19.984387  146.898117  1007.666667  0.000000  …  1
    200717.csv   the data set's metadata:  year,month,day,hour,grade,lat,lng,pressure,wind,…,intp,file_1,mask_1,…

Both have year, month, day, hour, grade, latitude, longitude, pressure (hPa), 10-minute wind (kt; 0: unknown), gust and
wind radii. The TSV ends with 1 where the archive interpolated between RSMC Tokyo's analyses; the CSV says so in
``intp``, has columns by name, and of its second and third version −1 where nothing is known. Its columns on the picture
of the hour are for `eyewall.satellite.digital_typhoon`. The storm id, the international number with the year in full,
is the file's name; its year is the season.

RSMC Tokyo gives no wind below 35 kt: an interpolated wind under that was drawn from an unknown one, so it is unknown.
"""

import csv
import re
from typing import Any, Final

import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.rows import LINE, RawRows, Rejected
from eyewall.contracts.errors import TrackError

_MIN_FIELDS: Final = 10
_LEAST_WIND_KT: Final = 35.0
_COLUMNS: Final = (LINE, t.TIME_UTC, t.LAT_DEG, t.LON_DEG, t.PRESSURE_HPA, t.WIND_KT, t.INTERPOLATED)
#: The metadata's columns that are read, in the order of `_COLUMNS` after the line; the time takes the first four.
CSV_COLUMNS: Final = ("year", "month", "day", "hour", "lat", "lng", "pressure", "wind", "intp")


def parse(data: bytes, source: str) -> RawRows:
    """The bytes of one storm's track → raw rows. Raises TrackError when the file's name gives no storm number."""
    number = re.match(r"((?:19|20)\d{2})\d{2}\b", source.rsplit("/", 1)[-1])
    if not number:
        raise TrackError(
            f"{source}: a Digital Typhoon track is named by its storm, such as 200717.tsv; rename the file"
        )
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    rejected = Rejected()
    header = [name.strip().lower() for name in lines[0].split(",")] if lines else []
    rows = _from_csv(lines, header, rejected) if set(CSV_COLUMNS) <= set(header) else _from_tsv(lines, rejected)
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    wind = pd.to_numeric(frame[t.WIND_KT], errors="coerce")
    frame[t.WIND_KT] = wind.mask(frame[t.INTERPOLATED].astype(bool) & (wind < _LEAST_WIND_KT))
    frame[t.STORM_ID], frame[t.SEASON], frame[t.NAME] = number[0], int(number[1]), ""
    return RawRows(frame, rejected)


def _from_tsv(lines: list[str], rejected: Rejected) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for line, text in enumerate(lines, start=1):
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
        rows.append((line, _time(fields[:4]), *fields[5:9], fields[-1] == "1"))
    return rows


def _from_csv(lines: list[str], header: list[str], rejected: Rejected) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    at = [header.index(name) for name in CSV_COLUMNS]
    for line, cells in enumerate(csv.reader(lines[1:]), start=2):
        if not any(cells):
            continue
        values = [cells[i].strip().removesuffix(".0") if i < len(cells) else "" for i in at]
        if not all(value.isdigit() for value in values[:4]) or values[-1] not in ("0", "1"):
            rejected.add(line, f"{','.join(cells)[:40]!r} has no year, month, day and hour, or no intp of 0 or 1")
            continue
        if values[4:6] == ["-1", "-1"]:
            values[4:6] = "", ""
        rows.append((line, _time(values[:4]), *values[4:8], values[-1] == "1"))
    return rows


def _time(fields: list[str]) -> str:
    """Year, month, day and hour, all digits → ISO."""
    year, month, day, hour = map(int, fields)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:00:00"
