"""Digital Typhoon frames: kelvin about the storm's centre, with the corrupt ones kept out."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eyewall.besttrack.sphere import distance_km
from eyewall.contracts.errors import InputError
from eyewall.satellite.frame import read_frame
from eyewall.satellite.index import list_frames

NAME = "2007100306-200717-MTS1-1.h5"
#: 200–300 K, another value in every column, warmer to the east.
VALUES = np.tile(np.linspace(200, 300, 512), (512, 1))


def write(root: Path, name: str = NAME, values: np.ndarray = VALUES, dataset: str = "infrared", units: str = "kelvin"):
    path = root / "image" / name[11:17] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[dataset] = values
        file[dataset].attrs["units"] = np.bytes_(units)
    (root / "jma").mkdir(exist_ok=True)
    row = "\t".join(["2007", "10", "03", "06", "2", "21.5", "179.5", "1006.0", "0.0"])
    (root / "jma" / "200717.tsv").write_text(f"a line that is no row\n{row}\n2007\t10\t03\t12\t2\t\t\t\n")
    return path


def test_a_frame_lies_about_the_storm(ingest: Any, store: Any, tmp_path: Path) -> None:
    summary = ingest(reader="digital_typhoon", files=write(tmp_path), stream="dt")

    frame = read_frame(store, summary["frame"])
    assert summary["frame"] == "frames/dt/2007/10/03/20071003T060000Z__200717.nc"
    assert [key.part for key in list_frames(store, "dt")] == ["200717"]
    np.testing.assert_allclose(frame.data, VALUES, atol=1e-4)
    assert (frame.platform, frame.quality["centre_lat_deg"], frame.quality["centre_lon_deg"]) == (
        "MTSAT-1R",
        21.5,
        179.5,
    )
    # The middle of the edge is 1300 km from the centre: on the equal-area map that is 2 R sin(d / 2R), d = 1302.3 km.
    lon, lat = frame.area.get_lonlat(255, 0)
    assert float(distance_km(21.5, 179.5, lat, lon)) == pytest.approx(1302.3 - 2.5, abs=6)


def test_a_storm_at_the_date_line_goes_onto_a_grid_across_it(ingest: Any, store: Any, tmp_path: Path) -> None:
    summary = ingest(reader="digital_typhoon", files=write(tmp_path), area="174,17,186,26,0.5")

    data = read_frame(store, summary["frame"]).data
    assert np.isfinite(data).all()
    assert (np.diff(data[9]) > 0).all()  # warmer to the east, straight through 180°


def wild(count: int) -> np.ndarray:
    values = VALUES.copy()
    values.flat[:count] = -19.1
    return values


def test_speckle_becomes_missing_and_is_counted(ingest: Any, store: Any, tmp_path: Path) -> None:
    summary = ingest(reader="digital_typhoon", files=write(tmp_path, values=wild(262)))  # 0.1 % of 262,144

    quality = read_frame(store, summary["frame"]).quality
    assert quality["pixels_implausible"] == 262
    assert summary["valid_fraction"] == pytest.approx(1 - 262 / 512**2)
    assert summary["min"] >= 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"values": wild(263)}, "0.1 % of the pixels lie outside 140–350 K", id="a small banner"),
        pytest.param({"values": wild(21555)}, "8.2 % of the pixels lie outside", id="a large banner"),
        pytest.param({"values": VALUES - 273.15}, "100.0 % of the pixels lie outside", id="Celsius called kelvin"),
        pytest.param({"values": np.full((512, 512), np.nan)}, "100.0 % of the pixels lie outside", id="all missing"),
        pytest.param({"values": VALUES[:256]}, r"has shape \(256, 512\)", id="half a picture"),
        pytest.param({"dataset": "visible"}, "has no data set 'infrared': it has", id="another data set"),
        pytest.param({"units": "degC"}, "is in 'degC': kelvin is expected", id="another unit"),
    ],
)
def test_what_is_no_picture_in_kelvin_goes_to_quarantine(
    ingest: Any, store: Any, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, **fields)

    with pytest.raises(InputError, match=message):
        ingest(reader="digital_typhoon", files=path)
    (reason,) = store.list_files("quarantine", ".reason.json")
    assert store.read_json(reason)["file"] == NAME


def test_a_truncated_file_goes_to_quarantine(ingest: Any, store: Any, tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:100_000])

    with pytest.raises(InputError, match="HDF5 file cannot be opened"):
        ingest(reader="digital_typhoon", files=path)
    assert len(store.list_files("quarantine", ".reason.json")) == 1


def test_a_flipped_bit_of_a_compressed_file_goes_to_quarantine(ingest: Any, store: Any, tmp_path: Path) -> None:
    path = write(tmp_path)
    with h5py.File(path, "w") as file:
        noise = VALUES + np.random.default_rng(1).normal(0, 1, VALUES.shape)
        data = file.create_dataset("infrared", data=noise, compression="gzip", fletcher32=True)
        data.attrs["units"] = np.bytes_("kelvin")
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    path.write_bytes(spoilt)

    with pytest.raises(InputError, match="cannot be read"):
        ingest(reader="digital_typhoon", files=path)
    assert len(store.list_files("quarantine", ".reason.json")) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("2007100312-200717-MTS1-1.h5", "has no position at 2007-10-03 12 UTC", id="hour not in the track"),
        pytest.param("2007100306-200718-MTS1-1.h5", "no track of storm 200718", id="no track"),
    ],
)
def test_without_a_position_the_slot_is_refused_but_the_file_is_not_bad(
    ingest: Any, store: Any, tmp_path: Path, name: str, message: str
) -> None:
    path = write(tmp_path, name)

    with pytest.raises(InputError, match=message):
        ingest(reader="digital_typhoon", files=path)
    assert store.list_files("quarantine") == []
