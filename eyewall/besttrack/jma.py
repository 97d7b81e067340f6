"""RSMC Tokyo's best-track text (its format page: "RSMC Best Track Data (Text)"), storms from 1951 on.

    66666 1501  032 0001 1501 0 6             MEKKHALA              20150217
    15011300 002 2 087 1429 1006     000

A header per storm (international number, count of fixes, name), then its fixes: yymmddhh, 002, grade, latitude and
longitude in tenths of a degree, pressure in hPa, 10-minute wind in kt (000: below 35 kt and not given). The storm id is
the number with the year in full (201501, as Digital Typhoon has it), whose year is the season.
"""

import re
from typing import Any, Final

import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.rows import LINE, RawRows, Rejected

_HEADER: Final = "66666"
_FIRST_YEAR: Final = 51  # two-digit years mean 1951 to 2050
_COLUMNS: Final = (
    LINE,
    t.STORM_ID,
    t.SEASON,
    t.NAME,
    t.TIME_UTC,
    t.LAT_DEG,
    t.LON_DEG,
    t.WIND_KT,
    t.PRESSURE_HPA,
)
_MIN_FIELDS: Final = 6  # up to the pressure; early storms have no wind at all


def parse(data: bytes, source: str) -> RawRows:
    """The bytes of the text → raw rows; what follows a broken header is refused with it, up to the next header.

    ``source`` is not asked: all parsers are called alike, and this format says everything inside.
    """
    rows: list[tuple[Any, ...]] = []
    rejected = Rejected()
    storm: tuple[str, int, str] | None = None
    promised = seen = header_line = 0
    for line, text in enumerate(data.decode("ascii", errors="replace").splitlines(), start=1):
        fields = text.split()
        if not fields:
            continue
        if fields[0] == _HEADER:
            _compare(rejected, header_line, promised, seen)
            storm, promised = _header(fields)
            seen, header_line = 0, line
            if storm is None:
                rejected.add(line, f"header {text[:30]!r} has no international number of four digits")
            continue
        seen += 1
        if storm is None:
            rejected.add(line, f"fix {text[:24]!r} stands under no valid 66666 header")
        elif len(fields) < _MIN_FIELDS or not re.fullmatch(r"\d{8}", fields[0]):
            rejected.add(line, f"{text[:40]!r} is not time, 002, grade, latitude, longitude, pressure")
        else:
            rows.append((line, *storm, _time(fields[0]), _tenths(fields[3]), _tenths(fields[4]), *_intensity(fields)))
    _compare(rejected, header_line, promised, seen)
    return RawRows(pd.DataFrame(rows, columns=list(_COLUMNS)), rejected)


def _header(fields: list[str]) -> tuple[tuple[str, int, str] | None, int]:
    """Storm id, season and name of a header's fields, and how many fixes it promises (0: it does not say)."""
    if len(fields) < 2 or not re.fullmatch(r"\d{4}", fields[1]):
        return None, 0
    season = _full_year(fields[1][:2])
    count = int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else 0
    # The name is the only field that begins with a letter; unnamed storms have none.
    name = next((field for field in fields[3:] if field[0].isalpha()), "")
    return (f"{season}{fields[1][2:]}", season, name), count


def _compare(rejected: Rejected, header_line: int, promised: int, seen: int) -> None:
    """A storm cut short (or run on) is told, its fixes stay."""
    if promised and promised != seen:
        rejected.add(header_line, f"header promises {promised} fixes, {seen} follow: is the file complete?")


def _full_year(two_digits: str) -> int:
    year = int(two_digits)
    return 1900 + year if year >= _FIRST_YEAR else 2000 + year


def _time(text: str) -> str:
    return f"{_full_year(text[:2])}-{text[2:4]}-{text[4:6]}T{text[6:8]}:00:00"


def _tenths(text: str) -> float | str:
    """``0872`` → 87.2; what is no number stays text, to be shown when it is refused."""
    return int(text) / 10.0 if text.isdigit() else text


def _intensity(fields: list[str]) -> tuple[str, str]:
    """Wind and pressure as text. Wind 000 is unknown; a field longer than three digits is already a wind radius."""
    wind = fields[6] if len(fields) > 6 and re.fullmatch(r"\d{1,3}", fields[6]) else ""
    return wind, fields[5]
