"""Pictures of one fixed map: the fitted formula is a proper projection, and grey levels stay as they are."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyproj import Proj

from eyewall.contracts.errors import InputError
from eyewall.satellite.frame import read_frame
from eyewall.satellite.map_picture import Fit

# A map like the real one: cone constant, middle meridian, scale and pole in pixels of a 512 picture.
FIT = {"cone_constant": 0.715, "lon0": 128.5, "scale_px": 1038.0, "pole_x_px": 341.0, "pole_y_px": -489.0}


def formula(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """Pixel of the 512 picture by the formula that comes with the fit."""
    n = FIT["cone_constant"]
    rho = FIT["scale_px"] * math.tan(math.pi / 4 - math.radians(lat_deg) / 2) ** n
    theta = n * math.radians(lon_deg - FIT["lon0"])
    return FIT["pole_x_px"] + rho * math.sin(theta), FIT["pole_y_px"] + rho * math.cos(theta)


@settings(max_examples=60, deadline=None)
@given(lat=st.floats(-5, 60), lon=st.floats(95, 175), px=st.sampled_from([512, 256, 1024]))
def test_proj_and_the_formula_agree_within_a_twentieth_of_a_pixel(lat: float, lon: float, px: int) -> None:
    area = Fit.model_validate(FIT).area(px, px)
    left, bottom, right, top = area.area_extent
    x_m, y_m = Proj(area.crs)(lon, lat)
    column = (x_m - left) / (right - left) * px - 0.5
    row = (top - y_m) / (top - bottom) * px - 0.5

    x512, y512 = formula(lat, lon)
    # Edges scale, centres move by half a pixel: x of the smaller picture = (x512 + 0.5) · px/512 − 0.5.
    assert column == pytest.approx((x512 + 0.5) * px / 512 - 0.5, abs=0.05)
    assert row == pytest.approx((y512 + 0.5) * px / 512 - 0.5, abs=0.05)


def write_picture(path: Path, levels: np.ndarray, fit: Any = FIT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8)).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    if fit is not None:
        (path.parent.parent / "projection.json").write_text(fit if isinstance(fit, str) else json.dumps(fit))
    return path


LEVELS = np.add.outer(np.arange(64) * 2, np.arange(64))


def test_grey_levels_are_kept_on_the_fitted_map(ingest: Any, store: Any, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "in/frames/199808030200.png", LEVELS)

    summary = ingest(reader="map_picture", files=picture)

    frame = read_frame(store, summary["frame"])
    np.testing.assert_array_equal(frame.data, LEVELS)
    assert (frame.quantity, summary["shape"], summary["min"], summary["max"]) == ("grey_level", [64, 64], 0.0, 189.0)
    assert f"{frame.nominal_time:%Y%m%d%H%M}" == "199808030200"
    assert frame.observation_start == frame.nominal_time


def test_a_picture_goes_onto_a_latitude_longitude_grid(ingest: Any, store: Any, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "in/frames/199808030200.png", LEVELS)

    summary = ingest(reader="map_picture", files=picture, area="120,15,130,25,1")

    data = read_frame(store, summary["frame"]).data
    x512, y512 = formula(24.5, 120.5)  # the first pixel's centre
    row, column = round((y512 + 0.5) / 8 - 0.5), round((x512 + 0.5) / 8 - 0.5)
    assert data[0, 0] == LEVELS[row, column]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda b: b[: len(b) * 2 // 3], "does not decode to its end", id="truncated"),
        pytest.param(lambda b: b[:-2], "end|decode", id="without its end marker"),
        pytest.param(lambda b: b"<html>503</html>", "neither JPEG nor PNG", id="a web page"),
    ],
)
def test_a_broken_picture_goes_to_quarantine_and_its_neighbour_does_not(
    ingest: Any, tmp_path: Path, spoil, message: str
) -> None:
    bad = write_picture(tmp_path / "in/frames/199808030200.jpg", LEVELS)
    bad.write_bytes(spoil(bad.read_bytes()))
    write_picture(tmp_path / "in/frames/199808030300.jpg", LEVELS)

    summary = ingest(reader="map_picture", files=f"{tmp_path}/in/frames/*")

    (entry,) = summary["quarantined"]
    assert entry["file"] == "199808030200.jpg"
    assert any(word in entry["reason"] for word in message.split("|"))
    assert (summary["slots_ok"], summary["slots_refused"]) == (1, 1)


def test_a_blank_picture_is_refused(ingest: Any, tmp_path: Path) -> None:
    blank = write_picture(tmp_path / "in/frames/199808030200.png", np.full((64, 64), 17))

    with pytest.raises(InputError, match="every pixel has the grey level 17"):
        ingest(reader="map_picture", files=blank)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        pytest.param(None, r"no projection.json beside or above 199808030200.png", id="missing"),
        pytest.param("{", r"projection.json is not valid JSON", id="not JSON"),
        pytest.param({**FIT, "cone_constant": 2.0}, "cone_constant: Input should be less than 1", id="no such cone"),
        pytest.param({"lon0": 1}, "cone_constant: Field required", id="incomplete"),
    ],
)
def test_without_a_map_the_slot_is_refused_but_the_picture_is_not_bad(
    ingest: Any, store: Any, tmp_path: Path, fit: Any, message: str
) -> None:
    picture = write_picture(tmp_path / "in/frames/199808030200.png", LEVELS, fit)

    with pytest.raises(InputError, match=message):
        ingest(reader="map_picture", files=picture)
    assert store.list_files("quarantine") == []
