"""Which segments show a box: agrees with a projection of every point, and nothing else is ever opened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from satellite_files import SLOT, jma_hrit, warm_disk

from eyewall.contracts.errors import InputError
from eyewall.contracts.fields import Area, parse_area
from eyewall.satellite.formats import format_for
from eyewall.satellite.segments import FULL_DISKS, FullDisk, needed
from eyewall.simulator.disk import SEGMENT_LINES, pixel_of


@settings(max_examples=80, deadline=None)
@given(west=st.floats(80, 200), south=st.floats(-60, 55), width=st.floats(0.5, 40), height=st.floats(0.5, 30))
def test_no_segment_that_shows_a_point_of_the_box_is_left_out(
    west: float, south: float, width: float, height: float
) -> None:
    """Second method: the simulator's own projection of a fine grid of points, counted by line."""
    area = Area(west, south, west + width, min(south + height, 85.0), 0.1)
    lat, lon = np.meshgrid(np.linspace(area.south_deg, area.north_deg, 60), np.linspace(west, west + width, 60))
    line, _ = pixel_of(lat, lon)
    assume(np.isfinite(line).any())
    shown = set((np.rint(line[np.isfinite(line)]) // SEGMENT_LINES + 1).astype(int))

    chosen = needed(FULL_DISKS["ahi_hsd"], 10, area)

    assert shown <= chosen
    # At most one more at each end, for the margin.
    assert len(chosen) <= len(shown) + 2


def test_a_typhoon_box_needs_three_of_ten_segments() -> None:
    """20° × 20° about the Philippine Sea; the README of satpy's users would read all ten."""
    # 30° N is line 1206 and 10° N line 2202 (simulator's projection): segments of 550 lines, so 3 to 5.
    assert needed(FULL_DISKS["ahi_hsd"], 10, parse_area("125,10,145,30,0.05")) == {3, 4, 5}


def test_seviri_counts_from_the_south() -> None:
    north = needed(FullDisk(0.0, 3712 * 3000.4, "south"), 8, parse_area("-10,40,10,60,0.1"))
    south = needed(FullDisk(0.0, 3712 * 3000.4, "south"), 8, parse_area("-10,-60,10,-40,0.1"))

    # A strip is 1392 km of 5569: 60° N is 4.9 Mm above the middle (strip 8), 40° N 3.9 Mm (strip 7).
    assert north == {7, 8}
    assert south == {1, 2}


def test_a_box_across_the_date_line_is_one_box() -> None:
    assert needed(FULL_DISKS["ahi_hsd"], 10, parse_area("175,10,-175,20,0.1")) == needed(
        FULL_DISKS["ahi_hsd"], 10, parse_area("175,10,185,20,0.1")
    )


def test_the_other_side_of_the_earth_is_one_clear_error() -> None:
    with pytest.raises(InputError, match=r"area 300–320 E, 10–20 N is out of sight of the satellite at 140.7 E"):
        needed(FULL_DISKS["ahi_hsd"], 10, parse_area("-60,10,-40,20,0.1"))


def test_formats_without_segments_take_everything() -> None:
    area = parse_area("120,0,150,30,0.05")

    assert format_for("abi_l1b").segments(area, 1, lambda: []) is None
    assert format_for("ahi_hsd").segments(area, 1, lambda: []) is None


def test_seviri_takes_its_longitude_from_the_files() -> None:
    head = jma_hrit(np.arange(4).reshape(2, 2), "x", sub_lon_deg=45.5)
    area = parse_area("80,10,100,20,0.1")  # in view from 45.5 E, not from 0

    assert format_for("seviri_l1b_hrit").segments(area, 8, lambda: [b"garbage", head]) is not None
    assert format_for("seviri_l1b_hrit").segments(area, 8, lambda: []) is None


# --- On a synthetic full disk whose other segments are garbage ---


def folder_with_garbage(tmp_path: Path, disk_segments: dict[int, Path]) -> Path:
    for number in range(1, 11):
        name = f"HS_H09_20200905_0000_B13_FLDK_R20_S{number:02d}10.DAT"
        if number == 3:
            (tmp_path / name).symlink_to(disk_segments[number])
        else:
            (tmp_path / name).write_bytes(b"unreadable garbage")
    return tmp_path


def test_garbage_elsewhere_is_neither_read_nor_checked_nor_missed(
    ingest: Any, store: Any, tmp_path: Path, disk_segments: dict[int, Path]
) -> None:
    from eyewall.satellite.frame import read_frame

    (tmp_path / "in").mkdir()
    folder = folder_with_garbage(tmp_path / "in", disk_segments)

    summary = ingest(
        reader="ahi_hsd", files=f"{folder}/*.DAT", area="130,22,140,29,0.1"
    )  # lines 1250 to 1593: segment 3

    assert summary["quarantined"] == []
    assert summary["valid_fraction"] == 1.0
    frame = read_frame(store, summary["frame"])
    assert (frame.quality["segments_wanted"], frame.quality["segments_present"]) == (1, 1)
    # Cross-check with the field that was written: pixel centres are 0.05° inside the edges.
    lat, lon = np.meshgrid(29 - 0.05 - 0.1 * np.arange(70), 130.05 + 0.1 * np.arange(100), indexing="ij")
    # A source pixel is 2.0–2.5 km; the field changes by at most 1.5 K/degree, 0.02 K a pixel; counts are 0.1 K.
    np.testing.assert_allclose(frame.data, warm_disk(lat, lon), atol=0.15)
    assert frame.nominal_time == SLOT


def test_a_needed_segment_that_is_bad_is_missing_and_said_so(
    ingest: Any, store: Any, tmp_path: Path, disk_segments: dict[int, Path]
) -> None:
    from eyewall.satellite.frame import read_frame

    (tmp_path / "in").mkdir()
    folder = folder_with_garbage(tmp_path / "in", disk_segments)

    summary = ingest(
        reader="ahi_hsd", files=f"{folder}/*.DAT", area="130,22,140,40,0.1"
    )  # from line 800: segments 2 and 3

    assert [entry["file"] for entry in summary["quarantined"]] == ["HS_H09_20200905_0000_B13_FLDK_R20_S0210.DAT"]
    quality = read_frame(store, summary["frame"]).quality
    assert (quality["segments_wanted"], quality["segments_present"], quality["files_refused"]) == (2, 1, 1)
    assert 0.3 < summary["valid_fraction"] < 0.9
