"""IBTrACS (Knapp et al. 2010, doi:10.1175/2009BAMS2755.1): the official CSV, and the same columns as Parquet.

The CSV has a second row of units, blanks for what is not known, and some 170 columns, of which a few are read. WMO_WIND
is the wind of the agency responsible: a 10-minute mean except from the United States' centres, whose 1-minute wind is
converted where WMO_AGENCY names them. A file without WMO_WIND gives TOKYO_WIND, or USA_WIND (1-minute, converted).
The season is the year in the SID, that of the storm's first fix; in the south from July on the next one, as SEASON has
it: a southern summer would be cut in two at New Year, half of it trained on and half judged.
"""

import codecs
import csv
import io
from typing import Final

import numpy as np
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.rows import LINE, TEN_MINUTE_PER_ONE_MINUTE_WIND, RawRows, Rejected
from eyewall.contracts.errors import TrackError

_REQUIRED: Final = ("SID", "ISO_TIME", "LAT", "LON")
# Wind and pressure come from the first of these columns that the file has.
_WINDS: Final = ("WMO_WIND", "TOKYO_WIND", "USA_WIND")
_PRESSURES: Final = ("WMO_PRES", "TOKYO_PRES", "USA_PRES")
_COLUMNS: Final = frozenset({*_REQUIRED, *_WINDS, *_PRESSURES, "SEASON", "NAME", "WMO_AGENCY"})
#: WMO_AGENCY of those who report a 1-minute wind (IBTrACS v04 column documentation).
_ONE_MINUTE_AGENCIES: Final = frozenset({"hurdat_atl", "hurdat_epa", "hurdat_cpa", "cphc", "nhc", "atcf", "tcvitals"})


def parse_csv(data: bytes, source: str) -> RawRows:
    """The bytes of an official CSV, all basins or one. Raises TrackError when the columns are not there."""
    lines_of_text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", errors="replace", newline="")
    # IBTrACS quotes nothing; a stray quote must not swallow the lines after it. A file saved again may quote all.
    quoted = data[:16].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b'"')
    reader = csv.reader(lines_of_text, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    header = [name.strip().upper() for name in next(reader, [])]
    _demand(header, source)
    wanted = [(at, name) for at, name in enumerate(header) if name in _COLUMNS]
    columns: dict[str, list[str]] = {name: [] for _, name in wanted}
    lines: list[int] = []
    lat = header.index("LAT")
    rejected = Rejected()
    try:
        for row in reader:
            if not any(map(str.strip, row)) or (len(row) > lat and row[lat].strip().startswith("degrees")):
                continue  # a blank line, or the units
            if len(row) < len(header) or any(map(str.strip, row[len(header) :])):
                rejected.add(reader.line_num, f"{len(row)} fields, the header has {len(header)}")
                continue
            lines.append(reader.line_num)
            for at, name in wanted:
                columns[name].append(row[at].strip())
    except csv.Error as error:
        raise TrackError(f"{source} line {reader.line_num} is not CSV ({error}): download it again") from None
    return _raw(pd.DataFrame({LINE: lines, **columns}), rejected)


def parse_parquet(data: bytes, source: str) -> RawRows:
    """The bytes of a Parquet file with IBTrACS' columns, numbers perhaps as text; a line is a row, from 1."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        names = [name for name in file.schema_arrow.names if name.strip().upper() in _COLUMNS]
        frame: pd.DataFrame = file.read(columns=names).to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TrackError(f"{source} is not a readable Parquet file ({_one_line(error)}): copy it again") from None
    frame.columns = frame.columns.str.strip().str.upper()
    _demand(list(frame.columns), source)
    return _raw(frame.assign(**{LINE: np.arange(len(frame)) + 1}), Rejected())


def _demand(columns: list[str], source: str) -> None:
    missing = [name for name in _REQUIRED if name not in columns]
    if missing:
        raise TrackError(f"{source} has no column {', '.join(missing)}: IBTrACS has {', '.join(_REQUIRED)} at least")


def _raw(frame: pd.DataFrame, rejected: Rejected) -> RawRows:
    sid = frame["SID"].astype(str).str.strip()
    year = pd.to_numeric(sid.str.extract(r"^(\d{4})", expand=False), errors="coerce")
    year = year.where(year.between(1800, 2100))
    year += _southern_summer(sid)
    if "SEASON" in frame:
        year = year.fillna(pd.to_numeric(frame["SEASON"], errors="coerce"))
    columns = {
        LINE: frame[LINE],
        t.STORM_ID: sid,
        t.SEASON: year,
        t.NAME: frame["NAME"].astype(str).str.strip() if "NAME" in frame else "",
        t.TIME_UTC: frame["ISO_TIME"],
        t.LAT_DEG: frame["LAT"],
        t.LON_DEG: frame["LON"],
        t.WIND_KT: _wind_kt(frame),
        t.PRESSURE_HPA: _first_column(frame, _PRESSURES),
    }
    return RawRows(pd.DataFrame(columns), rejected)


def _southern_summer(sid: "pd.Series[str]") -> "pd.Series[int]":
    """1 for storms born in the south (``2001340S12170``: year, day of the year, hemisphere) from July on, else 0."""
    south = sid.str.match(r"\d{7}S")
    born = pd.to_datetime(sid.str[:7].where(south), format="%Y%j", errors="coerce")
    return (born.dt.month >= 7).astype(int)


def _wind_kt(frame: pd.DataFrame) -> "pd.Series[float]":
    """10-minute wind, kt: the responsible agency's, converted where that one is known to report the 1-minute wind."""
    wind = pd.to_numeric(_first_column(frame, _WINDS), errors="coerce")
    one_minute = pd.Series("WMO_WIND" not in frame and "TOKYO_WIND" not in frame, index=frame.index)
    if "WMO_WIND" in frame and "WMO_AGENCY" in frame:
        one_minute = frame["WMO_AGENCY"].astype(str).str.strip().str.lower().isin(_ONE_MINUTE_AGENCIES)
    return wind.where(~one_minute, wind * TEN_MINUTE_PER_ONE_MINUTE_WIND)


def _first_column(frame: pd.DataFrame, names: tuple[str, ...]) -> "pd.Series[float]":
    return next((frame[name] for name in names if name in frame), pd.Series(np.nan, index=frame.index))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
