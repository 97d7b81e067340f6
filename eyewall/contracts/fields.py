"""Field types that jobs share: names, areas, URIs, times. Each refuses what could leave the store or reach a shell."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator, Field

#: Names of streams, runs and served models: they become folder names, so nothing that could climb out of one.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.=-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _no_control_characters(value: str) -> str:
    if _CONTROL.search(value) or not value.strip():
        raise ValueError(f"{value!r} is empty or holds control characters: give a plain path or URL")
    return value


#: A path or fsspec URL; relative paths are relative to the working directory of the step.
Uri = Annotated[str, AfterValidator(_no_control_characters)]


def _to_utc(value: datetime) -> datetime:
    """Naive times are UTC by contract; aware ones are converted."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


UtcTime = Annotated[datetime, AfterValidator(_to_utc)]


class Area(NamedTuple):
    """A longitude–latitude box with its grid step: west, south, east, north in degrees, and degrees per pixel.

    West is in 0–360; east may exceed 360 when the box crosses Greenwich, so that east > west always holds.
    """

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float
    deg_per_px: float


def parse_area(text: str) -> Area:
    """``"lon0,lat0,lon1,lat1,deg_per_px"`` → Area; the corners may come in any order of latitude, longitudes any way.

    Raises ValueError with the offending text when it is not five numbers, or describes no pixel, or too many.
    """
    try:
        lon0, lat0, lon1, lat1, step = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"area {text!r} is not five numbers: give lon0,lat0,lon1,lat1,deg_per_px") from None
    south, north = sorted((lat0, lat1))
    west = lon0 % 360.0
    east = west + ((lon1 - lon0) % 360.0 or 360.0)
    if not (-90 <= south < north <= 90) or not (0 < step <= 10):
        raise ValueError(f"area {text!r} is outside -90..90 degrees north, flat, or has a step outside 0..10 degrees")
    if (east - west) * (north - south) / step**2 > 1e8:
        raise ValueError(f"area {text!r} has more than 1e8 pixels: take a coarser deg_per_px")
    if min(east - west, north - south) < step:
        raise ValueError(f"area {text!r} is smaller than one pixel: take a finer deg_per_px")
    return Area(west, south, east, north, step)


def _is_area(text: str) -> str:
    parse_area(text)
    return text


#: ``lon0,lat0,lon1,lat1,deg_per_px`` as text, checked; `parse_area` gives its numbers.
AreaText = Annotated[str, AfterValidator(_is_area)]


class Box(NamedTuple):
    """A longitude–latitude box, closed on all sides: west, south, east, north in degrees.

    West is in 0–360; east may exceed 360 when the box crosses Greenwich, so that east > west always holds.
    """

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float


def parse_box(text: str) -> Box:
    """``"west,south,east,north"`` → Box; longitudes any way (a box goes *eastward* from west), latitudes in any order.

    ``170,-30,-130,0`` crosses the date line, ``-100,0,10,60`` Greenwich; ``0,-40,360,0`` goes all the way round.
    Raises ValueError with the offending text when it is not four numbers, or has no extent.
    """
    try:
        lon0, lat0, lon1, lat1 = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"box {text!r} is not four numbers: give west,south,east,north in degrees") from None
    # A millionth of a degree is 0.1 m: finer differences are rounding, not meaning.
    south, north = sorted((round(lat0, 6), round(lat1, 6)))
    between = all(-180 <= lon <= 720 for lon in (lon0, lon1))
    if not (-90 <= south < north <= 90) or not between or not round(lon1 - lon0, 6):
        raise ValueError(
            f"box {text!r} has no extent, latitudes outside -90..90 or longitudes outside -180..720: give"
            " west,south,east,north in degrees, such as 100,0,180,60"
        )
    west, width = round(lon0 % 360.0, 6) % 360.0, round((lon1 - lon0) % 360.0, 6) or 360.0
    return Box(west, south, round(west + width, 6), north)


def box_text(box: Box) -> str:
    """The inverse of `parse_box`: one text for one box, so that no digest depends on how its numbers were written."""
    return ",".join(f"{value + 0.0:.10g}" for value in box)  # no minus zero


def _canonical_box(text: str) -> str:
    return box_text(parse_box(text))


#: ``west,south,east,north`` as text, checked, in one form; `parse_box` gives its numbers.
BoxText = Annotated[str, AfterValidator(_canonical_box)]
#: The western North Pacific: the box of our check table, and what is meant where none is named.
DEFAULT_BOX: Final = "100,0,180,60"
