"""Real files that nobody here wrote: their known temperatures, and the corrupt one."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyewall.contracts.errors import InputError
from eyewall.contracts.fields import parse_area
from eyewall.satellite.frame import read_frame
from eyewall.satellite.geometry import grid, resample, target_area
from eyewall.satellite.map_picture import Fit

pytestmark = pytest.mark.shared_data


def test_himawari_hrit_has_its_known_temperatures(ingest: Any, shared_data: Path) -> None:
    summary = ingest(reader="ahi_hrit", files=shared_data / "hrit/IMG_DK01B11_202009201110_010.bz2")

    # As its README gives them: 195.0–276.4 K, 63.7 % of it space.
    assert summary["shape"] == [275, 2750]
    assert (round(summary["min"], 1), round(summary["max"], 1)) == (195.0, 276.4)
    assert round(100 * (1 - summary["valid_fraction"]), 1) == 63.7
    assert summary["frame"] == "frames/adhoc/2020/09/20/20200920T111000Z.nc"


def test_seviri_has_its_known_temperatures_on_its_grid_and_on_another(
    ingest: Any, store: Any, shared_data: Path
) -> None:
    files = f"{shared_data}/hrit/H-000-MSG2*"

    summary = ingest(reader="seviri_l1b_hrit", files=files)

    assert summary["shape"] == [928, 3712]
    assert (round(summary["min"], 1), round(summary["max"], 1)) == (182.7, 313.8)
    frame = read_frame(store, summary["frame"])
    assert (frame.platform, frame.dataset, frame.quality["segments_present"]) == ("Meteosat-9", "IR_108", 2)
    left, bottom, right, top = frame.area.area_extent
    assert left < right  # turned from the scan order
    assert bottom < top
    # Second method: this place through satpy's own projection of the scan, by pyresample.
    column, row = frame.area.get_array_indices_from_lonlat(15.05, 5.05)
    on_grid = ingest(reader="seviri_l1b_hrit", files=files, area="0,0,30,10,0.1")
    data = read_frame(store, on_grid["frame"]).data
    assert data[49, 150] == frame.data[row, column]  # 10 − 5.05 is 49.5 pixels down, 15.05 is 150.5 across


def test_without_its_prologue_seviri_is_refused_and_no_file_is_blamed(
    ingest: Any, store: Any, shared_data: Path
) -> None:
    with pytest.raises(InputError, match="HRIT_EPI, HRIT_PRO is missing: no segment can be read without it"):
        ingest(reader="seviri_l1b_hrit", files=f"{shared_data}/hrit/H-000-MSG2*00000?___*")
    assert store.list_files("quarantine") == []


def test_a_truncated_seviri_segment_goes_and_the_other_stays(ingest: Any, shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "hrit").glob("H-000*"):
        shutil.copyfile(path, tmp_path / path.name)
    (bad,) = tmp_path.glob("*000005___*")
    bad.write_bytes(bad.read_bytes()[:1_000_000])

    summary = ingest(reader="seviri_l1b_hrit", files=f"{tmp_path}/H-*")

    assert [entry["file"] for entry in summary["quarantined"]] == [bad.name]
    assert summary["shape"] == [464, 3712]


def test_podul_is_whole_and_the_corrupt_frame_of_198702_is_kept_out(ingest: Any, store: Any, shared_data: Path) -> None:
    summary = ingest(reader="digital_typhoon", files=f"{shared_data}/digital_typhoon/image/*/*.h5")

    assert (summary["slots_ok"], summary["slots_refused"]) == (24 + 5, 1)
    (entry,) = summary["quarantined"]
    assert entry["file"] == "1987041204-198702-GMS3-1.h5"
    assert "of the pixels lie outside 140–350 K" in entry["reason"]
    assert all(each["min"] > 170 and each["max"] < 320 for each in summary["frames"])


def test_podul_fits_the_fixed_map_of_the_same_scans_at_the_archives_scale(
    ingest: Any, store: Any, shared_data: Path
) -> None:
    """Two archives, two projections, one satellite: where they overlap, cold is bright in the same places."""
    typhoon = ingest(
        reader="digital_typhoon", files=f"{shared_data}/digital_typhoon/image/200717/2007100412*.h5", stream="dt"
    )
    picture = ingest(reader="map_picture", files=f"{shared_data}/cwb_ir1_lcc/frames256/200710041133.jpg", stream="map")
    centred, mapped = read_frame(store, typhoon["frame"]), read_frame(store, picture["frame"])
    lat, lon = centred.quality["centre_lat_deg"], centred.quality["centre_lon_deg"]
    box = target_area(parse_area(f"{lon - 9},{lat - 7},{lon + 9},{lat + 7},0.1"))
    levels = resample(mapped.data, mapped.area, box)

    def likeness(half_width_m: float) -> float:
        extent = (-half_width_m, -half_width_m, half_width_m, half_width_m)
        kelvin = resample(centred.data, grid("other scale", centred.area.crs, (512, 512), extent), box)
        both = np.isfinite(kelvin) & np.isfinite(levels)
        return -float(np.corrcoef(kelvin[both], levels[both])[0, 1])

    ours = likeness(float(centred.area.area_extent[2]))
    assert ours > 0.85
    assert ours > likeness(1_250_000.0) + 0.05
    assert ours > likeness(1_400_000.0) + 0.05


def test_the_fixed_map_shows_each_labelled_storm_where_the_labels_say(shared_data: Path) -> None:
    """labels.csv has the best-track centre of each storm as position and as pixel of both sizes."""
    folder = shared_data / "cwb_ir1_lcc"
    fit = Fit.model_validate(json.loads((folder / "projection.json").read_text()))
    rows = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()]
    names, rows = rows[0], rows[1:]
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}

    for px in (256, 512):
        area = fit.area(px, px)
        from pyproj import Proj

        x_m, y_m = Proj(area.crs)(columns["lon"].astype(float), columns["lat"].astype(float))
        left, bottom, right, top = area.area_extent
        column = (x_m - left) / (right - left) * px - 0.5
        row = (top - y_m) / (top - bottom) * px - 0.5
        # The labels are written to 0.1 pixel.
        assert np.abs(column - columns[f"x{px}"].astype(float)).max() < 0.05 + 0.051
        assert np.abs(row - columns[f"y{px}"].astype(float)).max() < 0.05 + 0.051


def test_map_pictures_become_frames_of_grey_levels(ingest: Any, store: Any, shared_data: Path) -> None:
    summary = ingest(reader="map_picture", files=f"{shared_data}/cwb_ir1_lcc/frames256/1998080302*.jpg")

    frame = read_frame(store, summary["frame"])
    assert (summary["shape"], frame.quantity, summary["valid_fraction"]) == ([256, 256], "grey_level", 1.0)
    assert 0 <= summary["min"] < summary["max"] <= 255
    assert frame.observation_end - frame.observation_start == timedelta(0)
