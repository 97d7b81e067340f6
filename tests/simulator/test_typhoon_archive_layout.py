"""The stand-in for the Digital Typhoon data set has its folders, names, columns and types."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from eyewall.besttrack.sphere import distance_km
from eyewall.simulator.typhoon_archive import make_storms, picture, write_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven hours of two storms of one season, pictures of every second one."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, 7, hours=4, every_h=2)
    return folder


def test_files_are_named_and_placed_as_in_the_data_set(archive: Path) -> None:
    names = sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file())

    # the second of ten storms of a season begins 18 days after the first, on day 120 (1 May)
    assert names == [
        "image/197801/1978050100-197801-GMS1-1.h5",
        "image/197801/1978050102-197801-GMS1-1.h5",
        "image/197802/1978051900-197802-GMS1-1.h5",
        "image/197802/1978051902-197802-GMS1-1.h5",
        "metadata.json",
        "metadata/197801.csv",
        "metadata/197802.csv",
    ]
    about = json.loads((archive / "metadata.json").read_text())
    assert about["197802"] == {
        "id": "197802", "year": 1978, "number": 2, "name": "", "start": "1978-05-19", "end": "1978-05-19", "images": 2,
    }  # fmt: skip


def test_a_picture_is_kelvin_in_float64_with_the_storm_in_the_middle(archive: Path) -> None:
    with h5py.File(archive / "image/197801/1978050102-197801-GMS1-1.h5") as file:
        data = file["Infrared"]
        assert (data.shape, data.dtype, data.chunks, data.compression) == ((512, 512), np.float64, (256, 256), "gzip")
        assert data.attrs["units"] == b"kelvin"
        values = data[()]
    assert 180 < values.min() < 290 < values.max() < 305
    assert values[216:296, 216:296].mean() < values.mean() - 5
    assert (values * 2 == np.rint(values * 2)).all()


def test_every_hour_has_a_line_and_every_sixth_is_an_analysis(archive: Path) -> None:
    with (archive / "metadata/197801.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    (storm, _) = make_storms(7, hours=4)

    assert [row["hour"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["intp"] for row in rows] == ["0", "1", "1", "1"]
    assert [row["file_1"] for row in rows] == ["1978050100-197801-GMS1-1.h5", "", "1978050102-197801-GMS1-1.h5", ""]
    assert [row["mask_1_pct"] for row in rows] == ["0.0", "", "0.0", ""]
    assert [float(row["lat"]) for row in rows] == pytest.approx(storm.lat_deg, abs=0.005)


def test_storms_move_and_no_two_hours_look_alike() -> None:
    (storm,) = make_storms(100)
    step_km = distance_km(storm.lat_deg[:-1], storm.lon_deg[:-1], storm.lat_deg[1:], storm.lon_deg[1:])

    assert len(storm.lat_deg) == 100
    assert (step_km > 11).all()
    assert (step_km < 23).all()
    assert not np.array_equal(picture(storm, 3), picture(storm, 4))


def test_equal_arguments_give_equal_bytes_however_many_processes(archive: Path, tmp_path: Path) -> None:
    write_archive(tmp_path, 7, hours=4, every_h=2, processes=2)

    for path in sorted(path for path in archive.rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(archive)).read_bytes(), path.name
