"""Folders laid out by time, as strftime fields in their path: which of them can hold an interval's slots.

    %Y/%m/%d/%H%M      NOAA's Himawari buckets: a folder for each slot
    %Y%m/%d/%H         NOAA's GK-2A bucket: a folder for each hour
    %Y/%j/%H           NOAA's GOES buckets: day of the year

A folder down to the hour is filled in. What *minutes* there are depends on the satellite (10 for AHI, 15 or 5 for
SEVIRI, 2.5 for a Target Area …), so a part of the path that names minutes or seconds is not guessed: the folder above
it is listed, and what a minute (a second) of the interval would be called is taken.

A folder named by minutes holds the slots up to the next one: AHI's 0000 has the Target Area scans of 00:00:00 to
00:07:30. So the last folder at or before the interval's start belongs to it, within the same hour.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

_HOUR, _MINUTE, _SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
_SAMPLE: Final = datetime(2001, 2, 3, 4)  # noqa: DTZ001 - its text alone is looked at


def is_layout(path: str) -> bool:
    """Whether ``path`` has strftime fields."""
    return _SAMPLE.strftime(path) != path


def fixed_part(layout: str) -> str:
    """The folders of ``layout`` above its first field."""
    return layout.split("%", 1)[0].rpartition("/")[0]


def folders(
    layout: str, start: datetime, end: datetime, names_in: Callable[[str], Collection[str]]
) -> list[str]:  # fmt: skip
    """Folders of ``layout`` that can hold slots from ``start`` (inclusive) to ``end`` (exclusive), in order of time.

    ``names_in`` lists the names in a folder, none when it is not there; it is asked once for each folder.
    """
    hours = list(_times(start.replace(minute=0, second=0, microsecond=0), end, _HOUR))
    parent_layout, part = _finer_than_hours(layout)
    if not part:
        return list(dict.fromkeys(hour.strftime(layout) for hour in hours))
    step = _SECOND if _changes(layout, _SECOND) else _MINUTE
    listed: dict[str, Collection[str]] = {}
    there: dict[str, datetime] = {}
    for hour in hours:
        parent = hour.strftime(parent_layout)
        if parent not in listed:
            listed[parent] = names_in(parent)
        for time in _times(hour, min(hour + _HOUR, end), step) if listed[parent] else ():
            if time.strftime(part) in listed[parent]:
                there.setdefault(time.strftime(layout), time)
    first = max((time for time in there.values() if time <= start), default=start)
    return [folder for folder, time in there.items() if time >= first]


def _finer_than_hours(layout: str) -> tuple[str, str]:
    """The first part of the path that names minutes or seconds, after what is above it; "" when there is none."""
    parts = layout.split("/")
    for number, part in enumerate(parts):
        if _changes(part, _MINUTE) or _changes(part, _SECOND):
            above = "/".join(parts[:number])
            return above or ("/" if number else "."), part
    return layout, ""


def _changes(layout: str, step: timedelta) -> bool:
    return _SAMPLE.strftime(layout) != (_SAMPLE + step).strftime(layout)


def _times(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += step
