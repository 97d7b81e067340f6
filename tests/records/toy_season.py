"""Storms of three days, two in each season of 2001 to 2004, for the tests of the records step."""

import pandas as pd

from eyewall.besttrack import table as t
from eyewall.besttrack.testing import straight_track

#: 13 fixes: base times need 24 h before and 6 h after, so fixes 4 to 11 are cases: 8 a storm.
FIXES, CASES = 13, 8


def storm(season, number=0, **options):
    """A storm of three days that begins on 1 August (or 10 days later per ``number``)."""
    begin = f"{season}-08-{1 + 10 * number:02d}T00:00"
    values = {"lat_deg": 12.0 + number, "lon_deg": 140.0 - 3 * number, "fixes": FIXES} | options
    return straight_track(f"{season}{213 + 10 * number}N{12 + number}140", season, begin, **values)


def seasons(first=2001, last=2004, storms=2):
    return pd.concat([storm(season, n) for season in range(first, last + 1) for n in range(storms)], ignore_index=True)


def write_tracks(table, path):
    """As IBTrACS' Parquet has it: numbers as text."""
    columns = {"SID": t.STORM_ID, "ISO_TIME": t.TIME_UTC, "LAT": t.LAT_DEG, "LON": t.LON_DEG, "WMO_WIND": t.WIND_KT}
    columns |= {"WMO_PRES": t.PRESSURE_HPA, "NAME": t.NAME, "SEASON": t.SEASON}
    pd.DataFrame({theirs: table[ours].astype(str) for theirs, ours in columns.items()}).to_parquet(path)
    return str(path)
