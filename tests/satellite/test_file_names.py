"""Nominal time, sector, band and segment are told from file names alone, each format's own way."""

from datetime import UTC, datetime

import pytest

from eyewall.contracts.errors import InputError
from eyewall.satellite.formats import NameFacts, format_for
from eyewall.satellite.satpy_names import facts_of


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("reader", "name", "expected"),
    [
        pytest.param(
            "ahi_hsd",
            "HS_H09_20200905_0010_B13_FLDK_R20_S0310.DAT.bz2",
            NameFacts(utc(2020, 9, 5, 0, 10), "", "hsd_b13", "H09", 3, 10),
            id="AHI full disk, segment 3 of 10",
        ),
        pytest.param(
            "ahi_hsd",
            "HS_H08_20200905_0010_B13_R302_R20_S0101.DAT.bz2",
            # second of four scans of 150 s: 00:10:00 + 2.5 min
            NameFacts(utc(2020, 9, 5, 0, 12, 30), "R3", "hsd_b13", "H08", 1, 1),
            id="AHI Target Area, second scan of the slot",
        ),
        pytest.param(
            "ahi_hsd",
            "HS_H08_20200905_2350_B14_JP04_R20_S0101.DAT",
            NameFacts(utc(2020, 9, 5, 23, 57, 30), "JP", "hsd_b14", "H08", 1, 1),
            id="AHI Japan, fourth scan of the slot",
        ),
        pytest.param(
            "ahi_hrit",
            "IMG_DK01B11_202009201110_010.bz2",
            NameFacts(utc(2020, 9, 20, 11, 10), "", "hrit_b11_seg", "", 10, 10),
            id="AHI HRIT",
        ),
        pytest.param(
            "mtsat2-imager_hrit",
            "HRIT_MTSAT2_20110312_0530_DK02IR1",
            NameFacts(utc(2011, 3, 12, 5, 30), "DK02", "hrit_ir1", "", None, None),
            id="MTSAT-2, northern hemisphere",
        ),
        pytest.param(
            "seviri_l1b_hrit",
            "H-000-MSG2__-MSG2________-IR_108___-000004___-201010111400-__",
            NameFacts(utc(2010, 10, 11, 14, 0), "", "HRIT_IR_108", "MSG2", 4, 8),
            id="SEVIRI",
        ),
        pytest.param(
            "seviri_l1b_hrit",
            "H-000-MSG2__-MSG2________-_________-PRO______-201010111400-__",
            NameFacts(utc(2010, 10, 11, 14, 0), "", "HRIT_PRO", "MSG2", None, None),
            id="SEVIRI prologue",
        ),
        pytest.param(
            "ami_l1b",
            "gk2a_ami_le1b_ir105_ela020ge_202009050000.nc",
            NameFacts(utc(2020, 9, 5), "el", "ir105", "gk2a", None, None),
            id="GK-2A, a sector",
        ),
        pytest.param(
            "abi_l1b",
            "OR_ABI-L1b-RadF-M6C13_G16_s20202490000205_e20202490009525_c20202490009571.nc",
            # day 249 of 2020 is September 5
            NameFacts(utc(2020, 9, 5, 0, 0, 20, 500000), "", "c13", "G16", None, None),
            id="ABI",
        ),
        pytest.param(
            "digital_typhoon",
            "2007100306-200717-MTS1-1.h5",
            NameFacts(utc(2007, 10, 3, 6), "200717", "channel-1", "MTS1", None, None),
            id="Digital Typhoon",
        ),
        pytest.param(
            "map_picture",
            "Satellite_IR1_LCC.199808030200.jpg",
            NameFacts(utc(1998, 8, 3, 2), "", "picture", "", None, None),
            id="map picture",
        ),
    ],
)
def test_the_name_tells_what_is_in_the_file(reader: str, name: str, expected: NameFacts) -> None:
    assert format_for_names(reader, name) == expected


def format_for_names(reader: str, name: str) -> NameFacts | None:
    """Facts without asking whether the reader's own packages are installed (GK-2A's needs pyspectral)."""
    if reader in ("digital_typhoon", "map_picture"):
        return format_for(reader).facts(name)
    return facts_of(reader, name)


def test_chunks_of_fci_are_one_slot_by_their_repeat_cycle() -> None:
    head = "W_XX-EUMETSAT-Darmstadt,IMG+SAT,MTI1+FCI-1C-RRAD-FDHSI-FD--CHK-BODY--DIS-NC4E_C_EUMT_20240115001000"
    first = facts_of("fci_l1c_nc", f"{head}_IDPFI_OPE_20240115000007_20240115000100_N__O_0001_0001.nc")
    last = facts_of("fci_l1c_nc", f"{head}_IDPFI_OPE_20240115000850_20240115000924_N__O_0001_0040.nc")

    assert first is not None
    assert last is not None
    assert first.time == last.time == utc(2024, 1, 15)
    assert (first.segment, last.segment, last.segments) == (1, 40, 40)


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        pytest.param("ahi_hsd", "HS_H09_20200905_0010_B13_FLDK_R20_S0310.DAT.hrit.bz2", id="another ending"),
        pytest.param("ahi_hrit", "IMG_DK01B11_202009201110_010.hrit.bz2", id="known trap of .hrit.bz2"),
        pytest.param("mtsat2-imager_hrit", "IMG_DK01IR1_200906180030.bz2", id="MTSAT takes no bzip2"),
        pytest.param("ahi_hsd", "HS_H09_20201305_0010_B13_FLDK_R20_S0310.DAT", id="month 13"),
        pytest.param("ahi_hsd", "../../HS_H09_20200905_0010_B13_FLDK_R20_S0310.DAT", id="a path"),
        pytest.param("ahi_hsd", "HS_$(reboot).DAT", id="shell text"),
        pytest.param("ahi_hsd", "", id="empty"),
        pytest.param("digital_typhoon", "2007100326-200717-MTS1-1.h5", id="hour 26"),
        pytest.param("digital_typhoon", "2007100306-200717-MTS1-1.h5.part", id="half-downloaded"),
        pytest.param("map_picture", "199808032500.jpg", id="hour 25"),
        pytest.param("map_picture", "1998080302001.jpg", id="thirteen digits"),
        pytest.param("map_picture", "199808030200.gif", id="another format"),
    ],
)
def test_other_names_are_no_files_of_the_reader(reader: str, name: str) -> None:
    assert format_for_names(reader, name) is None


def test_an_unknown_reader_is_answered_with_what_comes_near() -> None:
    with pytest.raises(InputError, match="reader 'ahi_hds' is not known: did you mean ahi_hsd"):
        format_for("ahi_hds")


# --- Without --dataset, the thermal channel among the files that is nearest to the window ---


def chosen(*kinds: str, dataset: str | None = None, reader: str = "ahi_hsd") -> str:
    present = [NameFacts(utc(2020, 9, 5), kind=kind) for kind in kinds]
    return format_for(reader).choose(present, dataset).dataset


@pytest.mark.parametrize(
    ("reader", "kinds", "expected"),
    [
        pytest.param("ahi_hsd", [f"hsd_b{n:02d}" for n in range(1, 17)], "B13", id="all bands of AHI"),
        pytest.param("ahi_hsd", ["hsd_b14", "hsd_b03"], "B14", id="AHI without band 13"),
        pytest.param("ahi_hrit", ["hrit_b11_seg"], "B11", id="one band only"),
        pytest.param("seviri_l1b_hrit", ["HRIT_IR_108", "HRIT_IR_120", "HRIT_PRO"], "IR_108", id="SEVIRI"),
        pytest.param("mtsat2-imager_hrit", ["hrit_ir1", "hrit_ir2"], "IR1", id="MTSAT-2"),
        pytest.param("abi_l1b", ["c13", "c14"], "C13", id="ABI"),
    ],
)
def test_the_window_channel_is_taken(reader: str, kinds: list[str], expected: str) -> None:
    assert chosen(*kinds, reader=reader) == expected


def test_seviri_needs_its_prologue_and_epilogue() -> None:
    choice = format_for("seviri_l1b_hrit").choose([NameFacts(utc(2020, 1, 1), kind="HRIT_IR_108")], None)

    assert choice.companions == {"HRIT_PRO", "HRIT_EPI"}


def test_files_of_sunlight_alone_are_refused() -> None:
    with pytest.raises(InputError, match="no thermal channel among the files of reader ahi_hsd: they hold hsd_b03"):
        chosen("hsd_b03")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        pytest.param("B31", "has no dataset 'B31': did you mean", id="unknown"),
        pytest.param("B03", "is not in kelvin", id="reflected sunlight"),
        pytest.param("B14", "no file holds dataset 'B14'", id="not among the files"),
    ],
)
def test_a_dataset_that_cannot_be_had_is_one_sentence(dataset: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen("hsd_b13", "hsd_b03", dataset=dataset)
