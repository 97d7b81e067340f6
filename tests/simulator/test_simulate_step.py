"""`eyewall simulate` writes a whole season or nothing, the same bytes each time, and says which files it spoilt."""

import bz2
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from eyewall.contracts.errors import InputError, StorageError
from eyewall.contracts.jobs import SimulateJob
from eyewall.simulator import damage, step

SMALL: dict[str, Any] = {
    "seed": 4, "first_season": 2005, "last_season": 2006, "storms_per_season": 6, "imaged_seasons": (2006,),
    "imaged_storms": 1, "imaged_hours": 54, "bad_files": 8,
}  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    """Relative path → sha256 of every file."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small season: 10 slots (54 h / 6 h + 1) and a damaged file of every kind."""
    out = tmp_path_factory.mktemp("simulated") / "season"
    step.run(SimulateJob(out=str(out), **SMALL))
    return out


def test_the_summary_counts_what_is_there(season: Path):
    """10 good files and 8 damaged ones, in one storm of twelve."""
    summary = step.run(SimulateJob(out=str(season), **SMALL)).summary
    assert (summary["slots"], summary["files"], summary["damaged"]) == (10, 18, 8)
    assert (summary["storms"], summary["imaged_storms"]) == (12, 1)
    assert len(list((season / "hsd").rglob("HS_*"))) == 18
    assert Path(summary["tracks"]).read_text().startswith("SID,SEASON,NUMBER,BASIN")
    assert summary["slot_from"] < summary["slot_to"]


def test_a_second_run_changes_nothing(season: Path):
    """Found before any work: not a byte, not a time stamp differs."""
    before = {p: p.stat().st_mtime_ns for p in season.rglob("*")}
    step.run(SimulateJob(out=str(season), **SMALL))
    assert before == {p: p.stat().st_mtime_ns for p in season.rglob("*")}


def test_equal_arguments_give_equal_bytes_elsewhere(season: Path, tmp_path: Path):
    """In another folder, by another process pool."""
    step.run(SimulateJob(out=str(tmp_path / "again"), **SMALL))
    assert digests(season) == digests(tmp_path / "again")


def test_other_arguments_for_the_same_folder_are_refused(season: Path):
    """The sentence names what differs; the season stays."""
    before = digests(season)
    with pytest.raises(InputError, match=r"made with other arguments \(seed = 4\): remove it or give another --out"):
        step.run(SimulateJob(out=str(season), **{**SMALL, "seed": 5}))
    assert digests(season) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    """A folder with a stranger's file is no place for a season."""
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and is no simulated season"):
        step.run(SimulateJob(out=str(tmp_path), **SMALL))
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_every_good_file_is_read_by_satpy_and_every_damaged_one_is_bad(season: Path):
    """Good ones decompress to 1523 header bytes and 500 × 500 counts; each damage does what its name says."""
    facts = json.loads((season / "season.json").read_text())
    spoilt = {entry["kind"]: season / entry["file"] for entry in facts["damaged"]}
    assert set(spoilt) == set(damage.KINDS)
    good = sorted(set((season / "hsd").rglob("HS_*")) - set(spoilt.values()))
    assert len(good) == 10
    whole = 1523 + 500 * 500 * 2
    assert all(len(bz2.decompress(path.read_bytes())) == whole for path in good)

    with pytest.raises(ValueError, match="end-of-stream"):
        bz2.decompress(spoilt["truncated"].read_bytes())
    for kind in ("bit_flip", "not_bzip2", "error_page"):
        with pytest.raises(OSError, match="Invalid data"):
            bz2.decompress(spoilt[kind].read_bytes())
    assert spoilt["empty"].stat().st_size == 0
    header = bz2.decompress(spoilt["header_block_length"].read_bytes())
    # Block 3 begins after 282 + 50 bytes; its length should be 127.
    assert (header[332], int.from_bytes(header[333:335], "little")) == (3, 140)
    content = bz2.decompress(spoilt["wrong_name"].read_bytes())
    inner = content[114:242].split(b"\0")[0].decode()  # block 1, field 16: the name it was written under
    assert inner.startswith("HS_H09_2006")
    assert spoilt["wrong_name"].name != inner + ".bz2"
    assert len(bz2.decompress(spoilt["short_data"].read_bytes())) < whole


def test_no_regular_slot_is_damaged(season: Path):
    """The damaged files belong to times between the slots of the storm."""
    facts = json.loads((season / "season.json").read_text())
    slots = set(facts["imaged"][0]["slots"])
    assert len(slots) == 10
    assert not slots & {entry["slot"] for entry in facts["damaged"]}


def test_satpy_finds_the_storm_under_its_best_track(season: Path):
    """The mean within 100 km of the best track is below 250 K, a tenth of the scene above 280 K; no warning."""
    from datetime import datetime

    import numpy as np
    from satpy import Scene

    from eyewall.besttrack.sphere import distance_km

    facts = json.loads((season / "season.json").read_text())["imaged"][0]
    slot = facts["slots"][-1]
    stamp = datetime.fromisoformat(slot)
    row = next(
        line.split(",")
        for line in (season / "besttrack.csv").read_text().splitlines()
        if line.startswith(facts["sid"]) and f"{stamp:%Y-%m-%d %H:%M}" in line
    )
    path = next((season / "hsd").rglob(f"HS_H09_{stamp:%Y%m%d_%H%M}_*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scene = Scene([str(path)], reader="ahi_hsd")
        scene.load(["B13"])
        band = scene["B13"].compute()
    lons, lats = band.attrs["area"].get_lonlats()
    near = distance_km(lats, lons, float(row[8]), float(row[9])) < 100
    assert 5_000 < near.sum() < 10_000  # pi 100² km² / (2 km · 2 km and more) = 7,850 and less
    assert band.values[near].mean() < 250
    assert np.nanquantile(band.values, 0.9) > 280


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"first_season": 2007}, "first_season = 2007 is after last_season = 2006", id="years reversed"),
        pytest.param({"imaged_seasons": (1999,)}, "imaged_seasons = 1999 is not within 2005 to 2006", id="season"),
        pytest.param({"cadence_minutes": 10}, "leaves no time between slots for damaged files", id="cadence"),
        pytest.param({"imaged_hours": 12}, "bad_files = 8 is more than the 2 gaps between slots", id="bad files"),
        pytest.param({"out": "s3://bucket/season"}, "is not a local folder", id="bucket"),
    ],
)
def test_unusable_arguments_leave_nothing_behind(tmp_path: Path, change: dict[str, Any], message: str):
    """A clear sentence, and no folder, not even a hidden one."""
    with pytest.raises(InputError, match=message):
        step.run(SimulateJob(**{"out": str(tmp_path / "season"), **SMALL, **change}))
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path: Path):
    """Nothing can be made below a file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write 'season'"):
        step.run(SimulateJob(out=str(tmp_path / "file" / "season"), **SMALL))


def test_a_write_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up after the images: the staged folder goes away, the error says what to do."""
    import errno

    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step.ibtracs, "to_csv", full)
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        step.run(SimulateJob(out=str(tmp_path / "season"), **{**SMALL, "bad_files": 0, "imaged_hours": 6}))
    assert list(tmp_path.iterdir()) == []


def test_killed_in_the_middle_it_leaves_no_season_and_the_next_run_makes_one(tmp_path: Path):
    """Kill -9 while files are being written: the place of the season stays empty, and the step still works."""
    import os
    import signal
    import subprocess
    import sys
    import time

    out = tmp_path / "season"
    job = SimulateJob(out=str(out), **{**SMALL, "imaged_hours": 96, "cadence_minutes": 60})
    process = subprocess.Popen(
        [sys.executable, "-m", "eyewall.cli", *job.to_args()], start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        while not list(tmp_path.glob(".season.*.tmp/hsd/*/HS_*")):
            assert process.poll() is None, "the step ended before it could be killed"
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not out.exists()
    step.run(SimulateJob(out=str(out), **SMALL))
    assert json.loads((out / "season.json").read_text())["files"] == 18
