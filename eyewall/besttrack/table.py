"""The best-track table: one row per fix, flat, with the storm named in a column and units in the names.

    storm_id   season  name     time_utc             lat_deg  lon_deg  wind_kt  pressure_hpa
    1971127N06150 1971 WANDA    1971-05-07 00:00:00      6.0    150.0     25.0        1004.0

`storm_id` is the agency's id (IBTrACS SID, JMA number, ATCF id), `season` the year that names the storm. Times are
naive UTC (datetime64). Longitudes are 0–360. `wind_kt` is the 10-minute sustained wind; NaN where unknown, as is
`pressure_hpa`. Rows are sorted by storm_id and time_utc, one row per storm and time.
"""

from typing import Final

import pandas as pd

STORM_ID: Final = "storm_id"
SEASON: Final = "season"
NAME: Final = "name"
TIME_UTC: Final = "time_utc"
LAT_DEG: Final = "lat_deg"
LON_DEG: Final = "lon_deg"
WIND_KT: Final = "wind_kt"
PRESSURE_HPA: Final = "pressure_hpa"
#: True where the agency interpolated the fix itself (Digital Typhoon's hourly rows between analyses).
INTERPOLATED: Final = "interpolated"

DTYPES: Final = {
    STORM_ID: "object",
    SEASON: "int64",
    NAME: "object",
    TIME_UTC: "datetime64[ns]",
    LAT_DEG: "float64",
    LON_DEG: "float64",
    WIND_KT: "float64",
    PRESSURE_HPA: "float64",
    INTERPOLATED: "bool",
}
COLUMNS: Final = tuple(DTYPES)

Table = pd.DataFrame
