"""The Digital Typhoon data set as it is published: its folder is a source, its CSV says where the storms were."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite import ingest as ingest_room
from eyewall.satellite import report
from eyewall.satellite.digital_typhoon import DigitalTyphoon
from eyewall.satellite.frame import Frame, read_frame
from eyewall.satellite.sources import find
from eyewall.simulator.typhoon_archive import make_storms, picture, write_archive, write_picture

FRAMES, HOURS = 14, 5  #: three storms: of 5, 5 and 4 hours, in May and in the seasons after


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one storm a season; read it, never change it."""
    folder = tmp_path_factory.mktemp("published") / "WP"
    write_archive(folder, FRAMES, hours=HOURS, storms_per_season=1)
    return folder


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    import shutil

    return Path(shutil.copytree(published, tmp_path / "WP"))


def rewrite_csv(folder: Path, storm: str, hour: int, column: str, value: str) -> None:
    """Change one cell of a storm's metadata."""
    path = folder / "metadata" / f"{storm}.csv"
    header, *lines = path.read_text().splitlines()
    names, at = header.split(","), 1 + hour
    cells = lines[at - 1].split(",")
    cells[names.index(column)] = value
    lines[at - 1] = ",".join(cells)
    path.write_text("\n".join([header, *lines]) + "\n")


def test_the_whole_folder_is_a_source(ingest: Any, store: Any, published: Path) -> None:
    summary = ingest(reader="digital_typhoon", source=str(published), stream="dt")

    assert (summary["slots_ok"], summary["slots_refused"], summary["strangers"]) == (FRAMES, 0, 4)
    storms = make_storms(FRAMES, hours=HOURS, storms_per_season=1)
    frame = read_frame(store, "frames/dt/1979/05/01/19790501T020000Z__197901.nc")
    np.testing.assert_allclose(frame.data, picture(storms[1], 2), atol=1e-4)
    # the CSV has two decimals
    assert frame.quality["centre_lat_deg"] == pytest.approx(storms[1].lat_deg[2], abs=0.005)
    assert frame.quality["centre_lon_deg"] == pytest.approx(storms[1].lon_deg[2], abs=0.005)


@pytest.mark.parametrize("name", ["infrared", "Infrared", "Data"])
def test_the_picture_has_another_name_in_each_version(ingest: Any, copied: Path, name: str) -> None:
    (path,) = (copied / "image" / "197801").glob("1978050100-*.h5")
    with h5py.File(path, "r+") as file:
        file.move("Infrared", name) if name != "Infrared" else None

    assert ingest(reader="digital_typhoon", files=path)["min"] > 180


def test_the_csv_goes_before_the_tsv_of_the_archive(ingest: Any, store: Any, copied: Path) -> None:
    (copied / "jma").mkdir()
    (copied / "jma" / "197801.tsv").write_text("\t".join(["1978", "05", "01", "00", "2", "50.0", "150.0", "1000", "0"]))
    rewrite_csv(copied, "197801", 0, "lat", "12.25")
    summary = ingest(reader="digital_typhoon", files=next((copied / "image" / "197801").glob("1978050100-*")))

    assert read_frame(store, summary["frame"]).quality["centre_lat_deg"] == 12.25


def test_what_the_data_set_calls_corrupted_is_refused_and_the_file_is_not_called_bad(
    ingest: Any, store: Any, copied: Path
) -> None:
    rewrite_csv(copied, "197801", 1, "mask_1_pct", "1.01")
    rewrite_csv(copied, "197801", 2, "mask_1_pct", "0.99")
    summary = ingest(reader="digital_typhoon", source=str(copied / "image" / "197801"), stream="dt")

    assert (summary["slots_ok"], summary["slots_refused"], summary["quarantined"]) == (4, 1, [])
    (refused,) = summary["refused"]
    assert "metadata call 1.0 % of 1978050101-197801-GMS1-1.h5 corrupted: at most 1 % are taken" in refused["reason"]
    quality = read_frame(store, "frames/dt/1978/05/01/19780501T020000Z__197801.nc").quality
    assert quality["masked_fraction"] == pytest.approx(0.0099)
    assert "masked_fraction" not in read_frame(store, "frames/dt/1978/05/01/19780501T030000Z__197801.nc").quality


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param({"lat": "-1", "lng": "-1"}, id="minus_one_as_the_third_version_has_it"),
        pytest.param({"lat": ""}, id="blank"),
        pytest.param({"hour": "7"}, id="hour_not_there"),
    ],
)
def test_an_hour_without_a_position_is_refused(ingest: Any, store: Any, copied: Path, cells: dict[str, str]) -> None:
    for column, value in cells.items():
        rewrite_csv(copied, "197801", 3, column, value)

    with pytest.raises(InputError, match=r"track 197801.csv has no position at 1978-05-01 03 UTC"):
        ingest(reader="digital_typhoon", files=next((copied / "image" / "197801").glob("1978050103-*")))
    assert store.list_files("quarantine") == []


def test_a_corrupt_picture_in_the_middle_costs_its_neighbours_nothing(ingest: Any, store: Any, copied: Path) -> None:
    storm = make_storms(FRAMES, hours=HOURS, storms_per_season=1)[1]
    banner, cut, none = sorted((copied / "image" / "197901").glob("*.h5"))[1:4]
    values = picture(storm, 1)
    values[200:242] = -19.1  # 42 of 512 lines
    write_picture(banner, values)
    cut.write_bytes(cut.read_bytes()[:50_000])
    none.write_bytes(b"")
    summary = ingest(reader="digital_typhoon", source=str(copied), stream="dt")

    assert (summary["slots_ok"], summary["slots_refused"]) == (FRAMES - 3, 3)
    assert [(each["file"], each["check"]) for each in summary["quarantined"]] == [
        (banner.name, "format"), (cut.name, "format"), (none.name, "size"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("span", "seasons"),
    [
        pytest.param((1978, 1978), {"1978", "1979"}, id="a_year_and_the_next_season"),
        pytest.param((1979, 1979), {"1978", "1979", "1980"}, id="southern_seasons_begin_the_year_before"),
        pytest.param((1990, 1991), set(), id="another_time"),
        pytest.param(None, {"1978", "1979", "1980"}, id="all"),
    ],
)
def test_only_folders_of_seasons_about_the_interval_are_listed(
    published: Path, span: tuple[int, int] | None, seasons: set[str]
) -> None:
    first, last = span or (None, None)
    job = IngestJob(
        reader="digital_typhoon", source=str(published / "image"),
        slot_from=datetime(first, 6, 1, tzinfo=UTC) if first else None,
        slot_to=datetime(last, 7, 1, tzinfo=UTC) if last else None,
    )  # fmt: skip

    listed = {Path(found.place).parent.name[:4] for found in find(job, may_hold=DigitalTyphoon().may_hold)}
    assert listed == seasons


def test_killed_in_the_middle_a_second_run_goes_on_and_does_nothing_again(
    ingest: Any, store: Any, store_url: str, published: Path
) -> None:
    """SIGKILL in the middle of the slots (each is slowed down, so that it is hit for sure)."""
    job = IngestJob(store=store_url, stream="dt", reader="digital_typhoon", source=str(published))
    slow = (
        "import sys, time\n"
        "from eyewall.contracts.jobs import IngestJob\n"
        "from eyewall.satellite import ingest, step\n"
        "write = ingest.write_frame\n"
        "def slowly(*args):\n"
        "    print('writing', flush=True); time.sleep(0.2)\n"
        "    return write(*args)\n"
        "ingest.write_frame = slowly\n"
        "step.run(IngestJob.model_validate_json(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, job.model_dump_json()], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(6):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = {path: store.local(path).stat().st_mtime_ns for path in store.list_files("frames", ".nc")}
    assert len(before) == 5
    time.sleep(0.02)
    summary = ingest(reader="digital_typhoon", source=str(published), stream="dt")

    assert (summary["slots_present"], summary["slots_ok"]) == (5, FRAMES - 5)
    assert {path: store.local(path).stat().st_mtime_ns for path in before} == before


def test_of_a_long_archive_only_counts_are_kept(
    ingest: Any, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """What is listed ends somewhere; the counts do not."""
    for path in sorted((copied / "image" / "197901").glob("*.h5"))[:4]:
        path.write_bytes(b"")
    monkeypatch.setattr(report, "MAX_LISTED", 3)
    summary = ingest(reader="digital_typhoon", source=str(copied), stream="dt")

    assert (summary["slots_ok"], summary["slots_refused"]) == (FRAMES - 4, 4)
    assert {name: len(summary[name]) for name in ("quarantined", "refused")} == {"quarantined": 3, "refused": 3}
    assert summary["unlisted"] == {"frames": FRAMES - 4 - 3, "quarantined": 1, "refused": 1}


def test_one_frame_at_a_time_is_in_memory(ingest: Any, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is kept of a slot holds its picture, or its manifest, longer than until the next one."""
    import weakref

    alive: weakref.WeakSet[object] = weakref.WeakSet()
    counts, write = [], ingest_room.write_frame

    def counting(store: Any, path: str, frame: Frame, *rest: Any) -> Any:
        manifest = write(store, path, frame, *rest)
        alive.add(frame.area)
        counts.append(len(alive))
        return manifest

    monkeypatch.setattr(ingest_room, "write_frame", counting)
    ingest(reader="digital_typhoon", source=str(published))

    assert len(counts) == FRAMES
    assert max(counts) <= 2
