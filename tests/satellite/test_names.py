"""What a name says before a file is opened: slots, spoilt names, strangers, and which of them an inbox gives up."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from satellite_files import SLOT, write_target

from eyewall.contracts.errors import NothingNew
from eyewall.satellite.formats import format_for

GOOD = "HS_H09_20200905_0000_B13_R301_R20_S0101.DAT.bz2"
SPOILT = "HS_H09_2020095_0000_B13_R301_R20_S0101.DAT.bz2"  # the date lacks a digit


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with a good file, a truncated one, one with a spoilt name, and three strangers."""
    folder = tmp_path / "in"
    assert write_target(folder, 21.0, 135.0).name == GOOD
    bad = write_target(folder, 21.0, 135.0, SLOT + timedelta(minutes=10))
    bad.write_bytes(bad.read_bytes()[:1000])
    (folder / SPOILT).write_bytes((folder / GOOD).read_bytes())
    for name in ("README.md", "season.json", GOOD + ".part"):
        (folder / name).write_text(f"{name} is of use to somebody")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("reader", "name", "resembles"),
    [
        pytest.param("ahi_hsd", SPOILT, True, id="a digit is lost"),
        pytest.param("ahi_hsd", "HS_H09_20201305_0000_B13_FLDK_R20_S0110.DAT", True, id="month 13"),
        pytest.param("ahi_hsd", "HS_H09_20200905_0000_B13.DAT", True, id="the end is lost"),
        pytest.param("ahi_hsd", GOOD + ".part", False, id="still under way"),
        pytest.param("ahi_hsd", GOOD + ".md5", False, id="its checksum"),
        pytest.param("ahi_hsd", "README.DAT", False, id="nothing but the extension"),
        pytest.param("ahi_hrit", "IMG_DK01B11_202009201110_010.hrit.bz2", True, id="an extension too many"),
        pytest.param("ahi_hrit", "IMG_DK01VIZ_200906180030", False, id="a channel that the reader does not have"),
        pytest.param("ami_l1b", "gk2a_ami_le1b_ir105_fd020ge_2020095.nc", True, id="GK-2A without its hour"),
        pytest.param("ami_l1b", "gk2a_ami_le2_ctt_fd020ge_202009050000.nc", False, id="another product of GK-2A"),
        pytest.param("digital_typhoon", "2007100399-200717-MTS1-1.h5", True, id="hour 99"),
        pytest.param("digital_typhoon", "statistics.h5", False, id="no date at all"),
        pytest.param("map_picture", "20071003.jpg", True, id="a picture without its hour"),
        pytest.param("map_picture", "overlay_mask_512.png", False, id="a mask beside the pictures"),
    ],
)
def test_a_spoilt_name_is_told_from_a_strangers(reader: str, name: str, resembles: bool) -> None:
    form = format_for(reader)

    assert form.facts(name) is None
    assert form.resembles(name, frozenset()) is resembles


def test_only_the_channel_that_is_read_has_spoilt_names() -> None:
    """A bucket whose names the reader does not know has hundreds of files a slot: none is fetched for its name."""
    form = format_for("ahi_hsd")
    kinds = form.choose([form.facts(GOOD)], None).kinds  # type: ignore[list-item]

    assert form.resembles(SPOILT, kinds)
    assert not form.resembles(SPOILT.replace("B13", "B11"), kinds)


def test_below_a_source_strangers_are_counted_and_named_and_spoilt_names_kept(
    ingest: Any, store: Any, mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(mixed)

    summary = ingest(reader="ahi_hsd", source=str(mixed))

    assert summary["slots_ok"] == 1
    assert (summary["strangers"], summary["stranger_names"]) == (3, [GOOD + ".part", "README.md", "season.json"])
    kept = {entry["file"]: entry for entry in summary["quarantined"]}
    assert {name: entry["check"] for name, entry in kept.items()} == {
        SPOILT: "name",
        GOOD.replace("_0000_", "_0010_"): "compression",
    }
    assert store.read_bytes(kept[SPOILT]["path"]) == (mixed / SPOILT).read_bytes()
    assert "expects names like" in store.read_json(kept[SPOILT]["path"] + ".reason.json")["reason"]
    assert (
        f"3 files are none of reader ahi_hsd by name ({GOOD}.part, README.md, season.json)" in capsys.readouterr().err
    )
    assert names(mixed) == before


def test_an_inbox_gives_up_bad_and_misnamed_files_and_no_strangers(ingest: Any, mixed: Path) -> None:
    summary = ingest(reader="ahi_hsd", source=str(mixed), inbox=True)

    assert names(mixed) == {GOOD, GOOD + ".part", "README.md", "season.json"}
    assert summary["left_in_inbox"] == []


def test_a_glob_over_an_inbox_takes_away_only_what_has_a_satellite_files_name(
    ingest: Any, store: Any, mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``dir/*`` matches whatever lies there: copies go to quarantine, the README stays, and that is said."""
    summary = ingest(reader="ahi_hsd", files=f"{mixed}/*", inbox=True)

    stay = {GOOD + ".part", "README.md", "season.json", SPOILT}
    assert names(mixed) == {GOOD} | stay
    assert {entry["file"] for entry in summary["left_in_inbox"]} == stay
    assert {entry["file"] for entry in summary["quarantined"]} == stay | {GOOD.replace("_0000_", "_0010_")}
    assert summary["strangers"] == 3
    assert "not taken away, since their names are no satellite files'" in capsys.readouterr().err


def test_an_inbox_that_may_not_be_emptied_costs_no_slot(
    ingest: Any, mixed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.parent == mixed:
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        summary = ingest(reader="ahi_hsd", source=str(mixed), inbox=True)

    assert summary["slots_ok"] == 1
    assert {entry["file"] for entry in summary["left_in_inbox"]} == {SPOILT, GOOD.replace("_0000_", "_0010_")}
    assert "cannot be taken away: Permission denied" in capsys.readouterr().err


def test_a_folder_of_strangers_alone_says_so_and_which_names_are_expected(ingest: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("not a satellite file")

    with pytest.raises(NothingNew, match=r"no file in it has a name of reader ahi_hsd: .* expects names"):
        ingest(reader="ahi_hsd", source=str(tmp_path / "in"))


def test_an_interval_beside_the_files_says_when_they_are(ingest: Any, tmp_path: Path) -> None:
    write_target(tmp_path / "in", 21.0, 135.0)

    with pytest.raises(NothingNew, match="the 1 files there are of 2020-09-05 00:00 to 2020-09-05 00:00 UTC"):
        ingest(reader="ahi_hsd", source=str(tmp_path / "in"), slot_from=SLOT + timedelta(days=1))


def test_a_source_without_an_interval_says_how_much_it_will_read_before_it_does(
    ingest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eyewall.satellite.ingest import SlotIngest

    for number in range(3):
        write_target(tmp_path / "in", 21.0, 135.0, SLOT + timedelta(minutes=10 * number))
    said_before = []
    run = SlotIngest.run
    monkeypatch.setattr(SlotIngest, "run", lambda *given: said_before.append(capsys.readouterr().err) or run(*given))

    ingest(reader="ahi_hsd", source=str(tmp_path / "in"))

    assert said_before[0] == (
        f"ingest: no --slot-from and --slot-to: 3 slots of {tmp_path}/in will be read, "
        "2020-09-05 00:00:00 UTC (R3) to 2020-09-05 00:20:00 UTC (R3)\n"
    )
    ingest(reader="ahi_hsd", source=str(tmp_path / "in"), slot_from=SLOT, slot_to=SLOT + timedelta(hours=1))
    assert "will be read" not in capsys.readouterr().err


def test_the_summary_is_plain_json(ingest: Any, mixed: Path) -> None:
    summary = ingest(reader="ahi_hsd", source=str(mixed), inbox=True)

    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
