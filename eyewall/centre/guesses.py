"""First guesses from a file: CSV with the columns time_utc, storm_id, lat_deg, lon_deg."""

import hashlib
import io
from typing import Final

import fsspec
import pandas as pd

from eyewall.besttrack import table as t
from eyewall.contracts.errors import InputError

_COLUMNS: Final = (t.TIME_UTC, t.STORM_ID, t.LAT_DEG, t.LON_DEG)


def read_guesses(path: str) -> tuple[pd.DataFrame, str]:
    """The guesses (naive UTC times) and the sha256 of the file. Raises InputError with the first row that is wrong."""
    try:
        with fsspec.open(path, "rb") as stream:
            content: bytes = stream.read()
        table = pd.read_csv(io.BytesIO(content), dtype={t.STORM_ID: str})
    except (OSError, ValueError) as error:
        raise InputError(
            f"first guesses {path!r} cannot be read: {error}; give a CSV of {', '.join(_COLUMNS)}"
        ) from None
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"first guesses {path!r} have no column {missing[0]}: give {', '.join(_COLUMNS)}")
    table[t.TIME_UTC] = pd.to_datetime(table[t.TIME_UTC], utc=True, errors="coerce").dt.tz_localize(None)
    for name in (t.LAT_DEG, t.LON_DEG):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    bad = table[list(_COLUMNS)].isna().any(axis=1) | ~table[t.LAT_DEG].between(-90, 90)
    bad |= ~table[t.LON_DEG].between(-180, 360)
    if bad.any():
        line = int(bad.to_numpy().argmax()) + 2
        raise InputError(f"line {line} of first guesses {path!r} has no valid time, storm or position: correct it")
    return table, hashlib.sha256(content).hexdigest()
