"""ATCF b-decks (best tracks of JTWC, NHC and CPHC; the ATCF "best track file" format page).

    WP, 31, 2018102412,   , BEST,   0, 149N, 1455E, 155,  905, ST,  34, NEQ,  125, …, YUTU, …

Comma-separated with padding, latitude and longitude in tenths with a hemisphere letter, one row per wind radius
(34, 50, 64 kt): rows of the same time are one fix. The wind is a 1-minute mean and is converted to 10 minutes (×0.93),
so a storm is a gale here from 37 kt of its own on. Vmax 0 and pressure 0 are unknown.

The storm id is the ATCF id (WP312018). Its year comes from the file's name (bwp312018.dat); elsewhere it is the year of
the storm's first fix, from July on in the south the next one.
"""

import re
from typing import Any, Final

import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.rows import LINE, TEN_MINUTE_PER_ONE_MINUTE_WIND, RawRows, Rejected

_FILE_NAME: Final = re.compile(r"b([a-z]{2})(\d{2})(\d{4})\b", re.IGNORECASE)
_BASIN_NUMBER, _TIME = "_basin_number", "_time"
_NAME_FIELD: Final = 27
_SOUTHERN: Final = ("SH", "SP", "SI", "SL")
# Numbers start again every year: a new storm when the same one falls silent for so long.
_SAME_STORM_GAP: Final = pd.Timedelta(days=30)
# Placeholders of a system that has no name yet.
_NO_NAME: Final = frozenset({"INVEST", "NAMELESS", "UNNAMED", "GENESIS"})


def parse(data: bytes, source: str) -> RawRows:
    """The bytes of one b-deck, or of several after each other → raw rows."""
    rows: list[tuple[Any, ...]] = []
    rejected = Rejected()
    for line, text in enumerate(data.decode("ascii", errors="replace").splitlines(), start=1):
        fields = [field.strip() for field in text.split(",")]
        if not any(fields):
            continue
        if len(fields) < 10 or not re.fullmatch(r"[A-Z]{2}\d{1,2}", fields[0].upper() + fields[1]):
            rejected.add(line, f"{text[:40]!r} is not basin, number, time, …, latitude, longitude, wind, pressure")
        elif fields[4] == "BEST":
            rows.append(_row(line, fields))
    columns = [LINE, _BASIN_NUMBER, t.TIME_UTC, t.LAT_DEG, t.LON_DEG, t.WIND_KT, t.PRESSURE_HPA, t.NAME]
    frame = pd.DataFrame(rows, columns=columns)
    frame = _named_storms(frame, source)
    frame[t.WIND_KT] = pd.to_numeric(frame[t.WIND_KT], errors="coerce") * TEN_MINUTE_PER_ONE_MINUTE_WIND
    frame[t.NAME] = frame.groupby(t.STORM_ID)[t.NAME].transform(_last_name)
    return RawRows(frame.drop(columns=[_BASIN_NUMBER]), rejected)


def _row(line: int, fields: list[str]) -> tuple[Any, ...]:
    digits = fields[2]
    minutes = fields[3].zfill(2) if fields[3].isdigit() else "00"  # rare: best tracks between the hours
    time = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{minutes}:00" if len(digits) == 10 else digits
    lat, lon = _degrees(fields[6], "NS"), _degrees(fields[7], "EW")
    if lat == 0.0 and lon == 0.0:
        lat = lon = ""  # 0N 0W stands for no position
    name = fields[_NAME_FIELD] if len(fields) > _NAME_FIELD else ""
    return line, f"{fields[0].upper()}{int(fields[1]):02d}", time, lat, lon, fields[8], fields[9], name


def _degrees(text: str, letters: str) -> float | str:
    """``1455E`` → 145.5, ``41S`` → −4.1; anything else stays text, to be shown when it is refused."""
    match = re.fullmatch(rf"(\d{{1,4}})([{letters}])", text.upper())
    if not match:
        return text
    return int(match[1]) / 10.0 * (1.0 if match[2] == letters[0] else -1.0)


def _named_storms(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """The rows with STORM_ID and SEASON."""
    match = _FILE_NAME.search(source.rsplit("/", 1)[-1])
    if match:
        # A storm that crosses into another basin changes its rows' basin, not its file.
        storm_id = f"{match[1].upper()}{match[2]}{match[3]}"
        return frame.assign(**{t.STORM_ID: storm_id}, **{t.SEASON: int(match[3])})
    time = pd.to_datetime(frame[t.TIME_UTC], errors="coerce", format="ISO8601")
    order = frame.assign(**{_TIME: time}).sort_values([_BASIN_NUMBER, _TIME], kind="stable")
    begins = (order[_BASIN_NUMBER] != order[_BASIN_NUMBER].shift()) | (order[_TIME].diff() > _SAME_STORM_GAP)
    first = order.groupby(begins.cumsum())[_TIME].transform("min")
    south = order[_BASIN_NUMBER].str[:2].isin(_SOUTHERN) & (first.dt.month >= 7)
    season = first.dt.year + south
    storm_ids = order[_BASIN_NUMBER] + season.astype("Int64").astype(str)
    return frame.assign(**{t.STORM_ID: storm_ids, t.SEASON: season})


def _last_name(names: "pd.Series[str]") -> str:
    """The name a storm ended with: INVEST and the number as a word come before it."""
    real = [name for name in names if name and name.upper() not in _NO_NAME]
    return real[-1] if real else ""
