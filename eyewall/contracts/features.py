"""Feature keys, shapes and units of one storm-centred sample: what records write, models read and servers accept.

Axes: b batch, f past fix (oldest first), k past frame (oldest first), y/x image row/column (row 0 is north), l lead.
A value that is missing is 0 with its mask at 0; NaN never enters a record or a request.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

#: Forecast leads, hours after the base time (axis l).
LEADS_H: Final = (6, 12, 24, 48, 72)
#: Ages of the past fixes in hours before the base time (axis f), oldest first; the last one is the base fix itself.
FIX_AGES_H: Final = (48, 42, 36, 30, 24, 18, 12, 6, 0)
#: Ages at which the sample rule demands a fix.
REQUIRED_FIX_AGES_H: Final = (6, 12, 24)

PAST_LAT_DEG: Final = "past_lat_deg"  # [f] degrees north
PAST_LON_DEG: Final = "past_lon_deg"  # [f] degrees east, 0–360
PAST_WIND_KT: Final = "past_wind_kt"  # [f] knots, 10-minute sustained
PAST_PRESSURE_HPA: Final = "past_pressure_hpa"  # [f] hPa at the centre
PAST_FIX_VALID: Final = "past_fix_valid"  # [f] 1 where a fix exists
PAST_WIND_VALID: Final = "past_wind_valid"  # [f] 1 where the wind is known
PAST_PRESSURE_VALID: Final = "past_pressure_valid"  # [f] 1 where the pressure is known
DAY_OF_YEAR: Final = "day_of_year"  # [] 1.0–366.99, of the base time, UTC, with its fraction of a day
IMAGES: Final = "images"  # [k, y, x, 1] kelvin or grey level (the schema says which); a pixel of 0 is missing
IMAGE_AGE_H: Final = "image_age_h"  # [k] hours before the base time, >= 0
IMAGE_VALID: Final = "image_valid"  # [k] 1 where a frame exists

TRACK_FEATURES: Final = (
    PAST_LAT_DEG,
    PAST_LON_DEG,
    PAST_WIND_KT,
    PAST_PRESSURE_HPA,
    PAST_FIX_VALID,
    PAST_WIND_VALID,
    PAST_PRESSURE_VALID,
)
IMAGE_FEATURES: Final = (IMAGES, IMAGE_AGE_H, IMAGE_VALID)

STORM_ID: Final = "storm_id"  # [] bytes; never a model input
SEASON: Final = "season"  # [] int64, the year that names the storm; never a model input
BASE_TIME_S: Final = "base_time_s"  # [] int64, seconds since 1970-01-01 UTC; never a model input

TARGET_DISPLACEMENT_KM: Final = "target_displacement_km"  # [l, 2] east, north; see eyewall.besttrack.sphere
TARGET_LAT_DEG: Final = "target_lat_deg"  # [l]
TARGET_LON_DEG: Final = "target_lon_deg"  # [l] 0–360
TARGET_VALID: Final = "target_valid"  # [l] 1 where the storm has a fix at that lead

#: Outputs of the serving signature ``serving_default``.
OUT_DISPLACEMENT_KM: Final = "displacement_km"  # [b, l, 2] east, north of the base position
OUT_LAT_DEG: Final = "lat_deg"  # [b, l]
OUT_LON_DEG: Final = "lon_deg"  # [b, l] 0–360
OUT_CLIPER_DISPLACEMENT_KM: Final = "cliper_displacement_km"  # [b, l, 2]
OUT_RADIUS_68_KM: Final = "radius_68_km"  # [b, l] of the circle about the position that holds 68 % of the outcomes
OUT_RADIUS_95_KM: Final = "radius_95_km"  # [b, l] and 95 %
OUT_SOURCE: Final = "source"  # [b] what the answer rests on: an index of SOURCES
#: What an answer may rest on; CLIPER alone where inputs are missing or unlike everything in the training.
SOURCES: Final = ("cliper", "track", "fusion", "image")


class ImageSpec(BaseModel):
    """Geometry and quantity of the storm-centred images of one data set (``frames`` 0 means: none at all)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = 3  #: k, past frames a sample holds at most
    px: int = 64  #: rows and columns
    km_per_px: float = 20.0
    quantity: Literal["brightness_temperature_k", "grey_level"] = "brightness_temperature_k"


def input_shapes(images: ImageSpec) -> dict[str, tuple[int, ...]]:
    """Shape without the batch axis of every model input, all float32, in a fixed order."""
    shapes: dict[str, tuple[int, ...]] = {name: (len(FIX_AGES_H),) for name in TRACK_FEATURES}
    shapes[DAY_OF_YEAR] = ()
    if images.frames:
        shapes[IMAGES] = (images.frames, images.px, images.px, 1)
        shapes[IMAGE_AGE_H] = (images.frames,)
        shapes[IMAGE_VALID] = (images.frames,)
    return shapes


def target_shapes() -> dict[str, tuple[int, ...]]:
    """Shape without the batch axis of every target, all float32, in a fixed order."""
    leads = len(LEADS_H)
    return {
        TARGET_DISPLACEMENT_KM: (leads, 2),
        TARGET_LAT_DEG: (leads,),
        TARGET_LON_DEG: (leads,),
        TARGET_VALID: (leads,),
    }
