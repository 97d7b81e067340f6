"""The whole step: what is printed, what is refused, what a second run does, and how each failure ends."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from satellite_files import SLOT, jma_hrit, write_ami, write_target

from eyewall.contracts.errors import InputError, NothingNew, StillComing, StorageError
from eyewall.satellite.frame import read_frame
from eyewall.satellite.geometry import target_area
from eyewall.simulator import damage, hsd
from eyewall.simulator.disk import target_sector


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def ten_minutes(number: int) -> timedelta:
    return timedelta(minutes=10 * number)


# --- what a run gives ------------------------------------------------------------------------------------------------


def test_a_target_area_file_becomes_a_frame_with_its_times_and_position(
    ingest: Any, store: Any, tmp_path: Path
) -> None:
    write_target(tmp_path / "in", 21.0, 135.0, SLOT, observation=2)

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*", stream="target")

    frame = read_frame(store, summary["frame"])
    assert summary["frame"] == "frames/target/2020/09/05/20200905T000230Z__R3.nc"
    assert (summary["shape"], summary["valid_fraction"], summary["quarantined"]) == ([500, 500], 1.0, [])
    assert (summary["slots_ok"], summary["slots_present"], summary["slots_refused"]) == (1, 0, 0)
    # The second scan of the slot is nominally 00:02:30; the simulator starts it 20.6 s later and scans for 41.3 s.
    assert frame.nominal_time == SLOT + timedelta(seconds=150)
    assert abs(frame.observation_start - SLOT - timedelta(seconds=170.6)) < timedelta(milliseconds=5)
    assert abs(frame.observation_end - SLOT - timedelta(seconds=211.9)) < timedelta(milliseconds=5)
    assert (frame.platform, frame.sensor, frame.reader, frame.dataset) == ("Himawari-9", "ahi", "ahi_hsd", "B13")
    # Projection is from 140.7° E; the satellite itself was at 140.66° (block 4): a number, not the geometry.
    assert frame.quality["satellite_lon_deg"] == pytest.approx(140.66)
    assert "140.7" in frame.area.crs.to_wkt()


def test_the_observed_area_may_move_from_slot_to_slot_on_one_grid(ingest: Any, store: Any, tmp_path: Path) -> None:
    for number in range(3):
        write_target(tmp_path / "in", 15.0 + 4 * number, 150.0 - 4 * number, SLOT + ten_minutes(number))

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*", area="130,5,160,35,0.25")

    assert summary["slots_ok"] == 3
    valid = [np.isfinite(read_frame(store, each["frame"]).data) for each in summary["frames"]]
    rows = [np.nonzero(each)[0].mean() for each in valid]
    columns = [np.nonzero(each)[1].mean() for each in valid]
    # North up at 0.25°: 4° further north are 16 rows less, 4° further west 16 columns less.
    np.testing.assert_allclose(np.diff(rows), -16, atol=1)
    np.testing.assert_allclose(np.diff(columns), -16, atol=1)


def test_the_command_line_prints_one_line_of_json(store_url: str, tmp_path: Path) -> None:
    path = write_target(tmp_path / "in", 21.0, 135.0)
    command = [sys.executable, "-m", "eyewall.cli", "ingest", "--reader=ahi_hsd", f"--files={path}"]

    done = subprocess.run(
        [*command, f"--store={store_url}", "--area=130,16,140,26,0.5", "--json"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert {"frame", "shape", "min", "max", "valid_fraction", "quarantined"} <= set(summary)
    assert summary["shape"] == [20, 20]


# --- bad files -------------------------------------------------------------------------------------------------------


def test_every_kind_of_damage_goes_to_quarantine_and_no_neighbour_fails(
    ingest: Any, store: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    good = write_target(folder, 21.0, 135.0)
    sector = target_sector(21.0, 135.0)
    for number, spoil in enumerate(damage.KINDS.values(), start=1):
        slot = SLOT + timedelta(hours=number)
        content, name = spoil(
            hsd.encode(np.full((500, 500), 251.5), sector, slot), hsd.file_name(sector, slot) + ".bz2"
        )
        (folder / name).write_bytes(content)
    before = snapshot(folder)

    summary = ingest(reader="ahi_hsd", files=f"{folder}/*")

    assert (summary["slots_ok"], summary["slots_refused"]) == (1, len(damage.KINDS))
    assert summary["shape"] == [500, 500]
    refused = {entry["file"] for entry in summary["quarantined"]}
    assert refused == set(before) - {good.name}
    for entry in summary["quarantined"]:
        assert store.read_bytes(entry["path"]) == before[entry["file"]]
        assert store.read_json(entry["path"] + ".reason.json")["reason"] == entry["reason"]
    assert snapshot(folder) == before  # a source is never changed


def test_the_same_segment_twice_is_kept_once(ingest: Any, tmp_path: Path) -> None:
    import bz2

    packed = write_target(tmp_path / "in", 21.0, 135.0)
    packed.with_suffix("").write_bytes(bz2.decompress(packed.read_bytes()))

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*")

    (entry,) = summary["quarantined"]
    assert (entry["file"], entry["check"]) == (packed.name, "duplicate")
    assert "holds the same segment" in entry["reason"]
    assert summary["valid_fraction"] == 1.0


def test_two_satellites_in_one_slot_are_not_mixed(ingest: Any, store: Any, disk_segments: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / disk_segments[3].name).symlink_to(disk_segments[3])
    other = disk_segments[2].read_bytes()
    other = other.replace(b"Himawari-9", b"Himawari-8", 1)
    (tmp_path / "in" / disk_segments[2].name.replace("H09", "H10")).write_bytes(other)
    (tmp_path / "in" / disk_segments[2].name.replace("H09", "H08")).write_bytes(other)

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*", area="130,20,140,40,0.5")

    # H08 comes first by name, so H09's segment is left out; H10's file says in its header that it is not Himawari-10.
    reasons = {entry["file"][:6]: entry["reason"] for entry in summary["quarantined"]}
    assert "is from H08, not H09" in reasons["HS_H09"]
    assert "the name says satellite H10" in reasons["HS_H10"]


def test_a_file_that_only_satpy_finds_bad_is_found_and_the_rest_is_kept(
    ingest: Any, store: Any, disk_segments: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks are switched off, so that a truncated segment reaches satpy, which fails the whole Scene for it."""
    from eyewall.satellite.satpy_format import SatpyFormat

    monkeypatch.setattr(SatpyFormat, "check", lambda self, plain, facts: None)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / disk_segments[3].name).symlink_to(disk_segments[3])
    (tmp_path / "in" / disk_segments[2].name).write_bytes(disk_segments[2].read_bytes()[:2_000_000])

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*", area="130,20,140,40,0.5")

    (entry,) = summary["quarantined"]
    assert (entry["file"], entry["check"]) == (disk_segments[2].name, "reader")
    assert 0.2 < summary["valid_fraction"] < 0.9


def test_a_file_of_another_kind_is_told_which_names_are_expected(ingest: Any, store: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a satellite file")

    with pytest.raises(InputError, match=r"ahi_hsd expects names like HS_\{platform_shortname\}_.*_B13_"):
        ingest(reader="ahi_hsd", files=tmp_path / "notes.txt")
    (reason,) = store.list_files("quarantine", ".reason.json")
    assert store.read_json(reason)["check"] == "name"


# --- again, and with more --------------------------------------------------------------------------------------------


def test_a_second_run_changes_no_byte_and_reads_nothing(
    ingest: Any, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyewall.satellite.satpy_format import SatpyFormat

    write_target(tmp_path / "in", 21.0, 135.0)
    bad = write_target(tmp_path / "in", 21.0, 135.0, SLOT + ten_minutes(1))
    bad.write_bytes(bad.read_bytes()[:1000])
    first = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*")
    before = snapshot(Path(store.root))
    monkeypatch.setattr(SatpyFormat, "read", lambda *_: pytest.fail("the slot was read again"))

    second = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*")

    assert snapshot(Path(store.root)) == before
    assert (second["slots_ok"], second["slots_present"], second["slots_refused"]) == (0, 1, 1)
    assert {**second, "slots_ok": 1, "slots_present": 0} == first


def test_the_same_files_give_the_same_bytes_in_another_store(tmp_path: Path) -> None:
    from eyewall.contracts.jobs import IngestJob
    from eyewall.satellite.step import run

    write_target(tmp_path / "in", 21.0, 135.0)
    for name in ("one", "another"):
        run(IngestJob(store=str(tmp_path / name), reader="ahi_hsd", files=(f"{tmp_path}/in/*",)))

    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "another")


def test_other_settings_make_the_frame_anew(ingest: Any, tmp_path: Path) -> None:
    path = write_target(tmp_path / "in", 21.0, 135.0)
    first = ingest(reader="ahi_hsd", files=path)

    second = ingest(reader="ahi_hsd", files=path, area="130,16,140,26,0.5")

    assert first["frame"] == second["frame"]
    assert (first["shape"], second["shape"]) == ([500, 500], [20, 20])
    assert second["slots_ok"] == 1


def test_a_damaged_frame_is_made_anew(ingest: Any, store: Any, tmp_path: Path) -> None:
    path = write_target(tmp_path / "in", 21.0, 135.0)
    summary = ingest(reader="ahi_hsd", files=path)
    frame = Path(store.full(summary["frame"]))
    whole = frame.read_bytes()
    frame.write_bytes(whole[:1000])

    assert ingest(reader="ahi_hsd", files=path)["slots_ok"] == 1
    assert frame.read_bytes() == whole


def test_a_segment_that_comes_late_completes_the_frame_and_one_that_goes_does_not_spoil_it(
    ingest: Any, store: Any, disk_segments: dict[int, Path], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    late, early = tmp_path / "in" / disk_segments[2].name, tmp_path / "in" / disk_segments[3].name
    early.symlink_to(disk_segments[3])
    fields = {"reader": "ahi_hsd", "files": f"{tmp_path}/in/*", "area": "130,22,140,40,0.5"}

    half = ingest(**fields)
    late.symlink_to(disk_segments[2])
    whole = ingest(**fields)
    early.unlink()
    again = ingest(**fields)

    assert half["valid_fraction"] < whole["valid_fraction"] == 1.0
    assert (again["slots_present"], again["valid_fraction"]) == (1, 1.0)
    assert read_frame(store, again["frame"]).quality["segments_present"] == 2


def test_segments_with_a_gap_between_them_lie_where_they_belong(
    ingest: Any, store: Any, disk_segments: dict[int, Path], tmp_path: Path
) -> None:
    """As scanned, segments 3 and 5 without 4: 1650 lines, the middle third missing."""
    (tmp_path / "in").mkdir()
    for number in (3, 5):
        (tmp_path / "in" / disk_segments[number].name).symlink_to(disk_segments[number])

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*")

    frame = read_frame(store, summary["frame"])
    assert summary["shape"] == [1650, 5500]
    assert np.isnan(frame.data[550:1100]).all()
    assert np.isfinite(frame.data[[300, 1400], 2750]).all()
    assert (frame.quality["segments_wanted"], frame.quality["segments_present"]) == (10, 2)
    # Segment 5 ends at line 2750 of 5500: the equator, so the lower edge of the frame is at y = 0.
    assert frame.area.area_extent[1] == pytest.approx(0, abs=1100)


# --- the gate --------------------------------------------------------------------------------------------------------


def test_a_missing_critical_segment_refuses_the_slot(ingest: Any, disk_segments: dict[int, Path]) -> None:
    with pytest.raises(InputError, match="critical segments 4 are missing"):
        ingest(
            reader="ahi_hsd",
            files=disk_segments[3],
            area="130,12,140,26,0.5",
            critical_segments=[4],
            wanted_segments=[3],
        )


def test_a_young_slot_waits_for_what_is_missing_before_anything_is_read(ingest: Any, tmp_path: Path) -> None:
    """The slot is in the year 2099; the file need not even be good."""
    (tmp_path / "HS_H09_20990905_0000_B13_FLDK_R20_S0310.DAT").write_bytes(b"still being written")

    with pytest.raises(NothingNew, match="they may come until 20 min"):
        ingest(reader="ahi_hsd", files=f"{tmp_path}/*.DAT", timeliness_minutes=20)


def test_a_slot_of_a_source_that_still_arrives_asks_for_another_try(ingest: Any, tmp_path: Path) -> None:
    """A schedule looks at a period once: to skip it would lose the slot (exit 75 is retried, 99 is not)."""
    (tmp_path / "HS_H09_20990905_0000_B13_FLDK_R20_S0310.DAT").write_bytes(b"still being written")

    with pytest.raises(StillComing, match=r"they may come until 20 min.*0 other slots are done") as raised:
        ingest(reader="ahi_hsd", source=str(tmp_path), timeliness_minutes=20)

    assert raised.value.exit_code == 75


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"wanted_segments": [11]}, "segment 11 is asked for, but the slot has 1 to 10", id="segment 11"),
        pytest.param(
            {"wanted_segments": [7, 8]},
            "no file of dataset B13 that shows .* it takes segment 7, 8 of 10, and there is 3",
            id="a segment that is not there",
        ),
        pytest.param({"area": "-60,10,-40,20,0.5"}, "is out of sight of the satellite", id="the other side"),
        pytest.param(
            {"area": "130,22,140,29,0.5", "min_valid_fraction": 1.0, "wanted_segments": [5]},
            "no file of dataset|no valid pixel",
            id="segment beside the area",
        ),
    ],
)
def test_a_slot_that_cannot_be_had_is_one_clear_sentence(
    ingest: Any, disk_segments: dict[int, Path], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ingest(reader="ahi_hsd", files=disk_segments[3], **fields)


def test_too_few_valid_pixels_refuse_a_frame(ingest: Any, store: Any, tmp_path: Path) -> None:
    path = write_target(tmp_path / "in", 21.0, 135.0)

    with pytest.raises(InputError, match=r"only 0\.\d+ of the pixels are valid: min_valid_fraction is 0.9"):
        ingest(reader="ahi_hsd", files=path, area="120,5,150,35,0.5", min_valid_fraction=0.9)
    assert store.list_files("frames") == []


def test_an_interval_takes_its_first_slot_and_leaves_its_last(ingest: Any, tmp_path: Path) -> None:
    for number in range(4):
        write_target(tmp_path / "in", 21.0, 135.0, SLOT + ten_minutes(number))

    summary = ingest(
        reader="ahi_hsd", source=str(tmp_path / "in"), slot_from=SLOT + ten_minutes(1), slot_to=SLOT + ten_minutes(3)
    )

    names = [each["frame"].rsplit("/", 1)[-1] for each in summary["frames"]]
    assert names == ["20200905T001000Z__R3.nc", "20200905T002000Z__R3.nc"]


# --- other satellites ------------------------------------------------------------------------------------------------


def test_mtsat_comes_through_the_same_path(ingest: Any, store: Any, tmp_path: Path) -> None:
    name = "IMG_DK01IR1_200906180030"
    counts = np.arange(64 * 64).reshape(64, 64) % 900 + 20
    (tmp_path / name).write_bytes(jma_hrit(counts, name, offset=32))

    summary = ingest(reader="mtsat2-imager_hrit", files=tmp_path / name)

    # The table is linear: 330 K at 0 and 130 K at 1000, so 0.2 K a count: 20 is 326 K, 919 is 146.2 K.
    assert (summary["max"], summary["min"]) == (pytest.approx(326.0), pytest.approx(146.2))
    assert read_frame(store, summary["frame"]).platform == "MTSAT-2"


def test_gk2a_comes_through_the_same_path(ingest: Any, store: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyspectral", reason="satpy's ami_l1b needs pyspectral, which is not installed")
    counts = np.add.outer(np.arange(110) * 20, np.arange(110)) + 2000
    counts[:10] |= 0b1000000000000000  # outside of the view

    summary = ingest(reader="ami_l1b", files=write_ami(tmp_path, counts))

    frame = read_frame(store, summary["frame"])
    assert (frame.platform, frame.dataset) == ("GEO-KOMPSAT-2A", "IR105")
    assert summary["valid_fraction"] == pytest.approx(100 / 110)
    # Second method, Planck's law by wavelength instead of wave number: L = 2hc²/λ⁵ / (exp(hc/λkT) − 1), with
    # L per wave number in mW m⁻² sr⁻¹ cm → per wavelength in W m⁻² sr⁻¹ m⁻¹: divided by 10⁵ λ².
    h, c, k, wave_m = 6.62607015e-34, 299792458.0, 1.380649e-23, 10.35e-6
    spectral = (-0.0198196 * counts[40, 60] + 161.580139) * 1e-5 / wave_m**2
    planck_k = h * c / (wave_m * k) / np.log1p(2 * h * c**2 / wave_m**5 / spectral)
    assert frame.data[40, 60] == pytest.approx(planck_k, abs=0.05)


def test_a_reader_without_its_package_blames_nobodys_file(
    ingest: Any, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspectral.blackbody", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "satpy.readers.ami_l1b", raising=False)

    with pytest.raises(InputError, match=r"ami_l1b cannot work here: .*pyspectral.*; install that package"):
        ingest(reader="ami_l1b", files=write_ami(tmp_path, np.full((11, 11), 3000)))
    assert store.list_files("quarantine") == []


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tmpfs(tmp_path: Path):
    """Mount a tiny file system with the given options; skipped where that needs more rights than there are."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"tmpfs{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param("size=64k", "free some space", id="full"),
        pytest.param("size=1m,ro", "read-only", id="read-only"),
    ],
)
def test_a_store_that_cannot_take_a_frame_ends_the_step_and_holds_nothing_half_written(
    tmpfs, tmp_path: Path, options: str, message: str
) -> None:
    from eyewall.contracts.jobs import IngestJob
    from eyewall.satellite.step import run

    store = tmpfs(options)
    path = write_target(tmp_path / "in", 21.0, 135.0)

    with pytest.raises(StorageError, match=message) as failure:
        run(IngestJob(store=str(store), reader="ahi_hsd", files=(str(path),)))

    assert failure.value.exit_code == 74
    assert not [p for p in store.rglob("*") if p.suffix in (".nc", ".tmp")]


def test_scratch_space_is_given_back_whatever_happens(ingest: Any, tmp_path: Path, monkeypatch) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = write_target(tmp_path / "in", 21.0, 135.0)
    ingest(reader="ahi_hsd", files=path)
    with pytest.raises(InputError):
        ingest(reader="ahi_hsd", files=path, area="-60,10,-40,20,0.5")

    assert list(scratch.iterdir()) == []


def test_the_date_line_lies_inside_a_frame(ingest: Any, store: Any, tmp_path: Path) -> None:
    write_target(tmp_path / "in", 20.0, 180.0)

    summary = ingest(reader="ahi_hsd", files=f"{tmp_path}/in/*", area="178,18,-178,22,0.1")

    frame = read_frame(store, summary["frame"])
    assert summary["valid_fraction"] == 1.0
    assert frame.area == target_area_of("178,18,182,22,0.1")


def target_area_of(text: str) -> Any:
    from eyewall.contracts.fields import parse_area

    return target_area(parse_area(text))
