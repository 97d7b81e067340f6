"""Folders laid out by time are found whatever the satellite's cadence is."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.satellite.layouts import fixed_part, folders, is_layout

NINE = datetime(2020, 9, 5, 9, tzinfo=UTC)


class Tree:
    """Folders of a layout at given times, which remembers what was listed of it."""

    def __init__(self, layout: str, times: Collection[datetime]) -> None:
        self.paths = {time.strftime(layout) for time in times}
        self.listed: list[str] = []

    def names_in(self, folder: str) -> set[str]:
        """Names directly in the folder."""
        self.listed.append(folder)
        inside = [path[len(folder) + 1 :] for path in self.paths if path.startswith(folder + "/")]
        return {name.split("/")[0] for name in inside}


def every(minutes: float, hours: int = 24) -> list[datetime]:
    count = int(hours * 60 / minutes)
    return [NINE.replace(hour=0) + number * timedelta(minutes=minutes) for number in range(count)]


@pytest.mark.parametrize(
    ("layout", "minutes", "expected"),
    [
        # 09:00 to 10:00, half open.
        pytest.param("b/%Y/%m/%d/%H%M", 10, ["0900", "0910", "0920", "0930", "0940", "0950"], id="AHI, 10 min"),
        pytest.param("b/%Y/%m/%d/%H%M", 15, ["0900", "0915", "0930", "0945"], id="SEVIRI, 15 min"),
        pytest.param("b/%Y%m%d/%H%M", 30, ["0900", "0930"], id="MTSAT, 30 min"),
        pytest.param("b/%Y%m%d%H%M", 20, ["202009050900", "202009050920", "202009050940"], id="all in one name"),
        pytest.param("b/%Y/%j/%H%M", 30, ["0900", "0930"], id="day of the year"),
        pytest.param("b/%Y/%m/%d/%H", 2, ["09"], id="GK-2A, a folder an hour"),
        pytest.param("b/%Y/%m/%d", 2, ["05"], id="a folder a day"),
        pytest.param("b/%Y/%m/%d/%H/%M", 20, ["00", "20", "40"], id="minutes below hours"),
        pytest.param("b/%Y%m%d/%H%M/B13", 30, ["B13", "B13"], id="a fixed part below"),
    ],
)
def test_an_hour_of_any_cadence_is_found(layout: str, minutes: int, expected: list[str]) -> None:
    tree = Tree(layout, every(minutes))

    found = folders(layout, NINE, NINE + timedelta(hours=1), tree.names_in)

    assert [folder.rsplit("/", 1)[-1] for folder in found] == expected
    assert set(found) <= tree.paths


def test_a_target_area_every_two_and_a_half_minutes_is_found_by_its_seconds() -> None:
    layout = "b/%Y%m%d/%H%M%S"
    tree = Tree(layout, every(2.5))

    found = folders(layout, NINE, NINE + timedelta(minutes=10), tree.names_in)

    assert [folder.rsplit("/", 1)[-1] for folder in found] == ["090000", "090230", "090500", "090730"]


def test_the_folder_that_an_interval_begins_within_belongs_to_it() -> None:
    """AHI's 0900 holds the Target Area scans of 09:00:00 to 09:07:30."""
    tree = Tree("b/%H%M", every(10))

    found = folders("b/%H%M", NINE + timedelta(minutes=5), NINE + timedelta(minutes=12), tree.names_in)

    assert found == ["b/0900", "b/0910"]


def test_only_the_folder_above_the_minutes_is_listed_once_and_nothing_without_minutes() -> None:
    day = Tree("b/%Y/%m/%d/%H%M", every(10))
    folders("b/%Y/%m/%d/%H%M", NINE, NINE + timedelta(hours=3), day.names_in)
    hour = Tree("b/%Y/%m/%d/%H", every(60))
    folders("b/%Y/%m/%d/%H", NINE, NINE + timedelta(hours=3), hour.names_in)

    assert (day.listed, hour.listed) == (["b/2020/09/05"], [])


@given(
    minutes=st.sampled_from([1, 2, 5, 6, 10, 12, 15, 20, 30, 60]),
    start=st.integers(0, 23 * 60),
    length=st.integers(1, 300),
)
def test_what_is_listed_is_what_overlaps_the_interval(minutes: int, start: int, length: int) -> None:
    """Second method: a folder covers [its time, its time + cadence), and those that overlap are wanted."""
    midnight = NINE.replace(hour=0)
    begin = midnight + timedelta(minutes=start)
    end = begin + timedelta(minutes=length)
    times = every(minutes, hours=30)

    found = folders("b/%Y%m%d/%H%M", begin, end, Tree("b/%Y%m%d/%H%M", times).names_in)

    overlapping = [time for time in times if time < end and time + timedelta(minutes=minutes) > begin]
    assert found == [time.strftime("b/%Y%m%d/%H%M") for time in overlapping]


def test_a_path_without_fields_is_no_layout_and_its_fixed_part_is_all_before_the_first_field() -> None:
    assert not is_layout("bucket/AHI-L1b-FLDK")
    assert is_layout("bucket/%Y")
    assert fixed_part("bucket/AHI/%Y/%m") == "bucket/AHI"
    assert fixed_part("bucket/AHI_%Y/%m") == "bucket"
