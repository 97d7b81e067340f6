"""A bad file is the file's fault, a full disk is the machine's: only the latter ends the step, and is tried again."""

import errno
import os
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from satellite_files import SLOT, write_target

from eyewall.contracts.errors import EyewallError, InputError, StorageError
from eyewall.satellite.faults import machine_fault, scratch_folder
from eyewall.satellite.satpy_format import SatpyFormat


@pytest.fixture
def two_slots(tmp_path: Path) -> Path:
    """A folder with the good files of two slots."""
    for minutes in (0, 10):
        write_target(tmp_path / "in", 21.0, 135.0, SLOT + timedelta(minutes=minutes))
    return tmp_path / "in"


def on_first_slot(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception) -> None:
    """Let a method of the reader fail for files of 00:00, as a decoder would."""
    proper = getattr(SatpyFormat, method)

    def failing(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        if "_0000_" in str(first):
            raise error
        return proper(self, first, *rest, **named)

    monkeypatch.setattr(SatpyFormat, method, failing)


@pytest.mark.parametrize(
    ("method", "check", "error"),
    [
        pytest.param("check", "format", OSError("Can't read data (inflate() failed)"), id="check, as HDF5 says it"),
        pytest.param("check", "format", OSError(errno.EIO, "Input/output error"), id="check, as the kernel says it"),
        pytest.param("_load", "reader", OSError("Can't read data (inflate() failed)"), id="reader, as HDF5 says it"),
        pytest.param("_load", "reader", OSError(errno.EIO, "Input/output error"), id="reader, as the kernel says it"),
        pytest.param("_load", "reader", EOFError("end of stream"), id="reader, no OSError"),
    ],
)
def test_what_a_decoder_raises_for_a_bad_file_sends_it_to_quarantine_and_its_neighbour_goes_on(
    ingest: Any, two_slots: Path, monkeypatch: pytest.MonkeyPatch, method: str, check: str, error: Exception
) -> None:
    on_first_slot(monkeypatch, method, error)

    summary = ingest(reader="ahi_hsd", files=f"{two_slots}/*")

    assert (summary["slots_ok"], summary["slots_refused"]) == (1, 1)
    (entry,) = summary["quarantined"]
    assert (entry["check"], "_0000_" in entry["file"]) == (check, True)
    assert str(error.args[-1]) in entry["reason"]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), StorageError, 74, id="full"),
        pytest.param(OSError(errno.EMFILE, "Too many open files"), EyewallError, 1, id="open files"),
        pytest.param(MemoryError("Unable to allocate 9 GiB"), EyewallError, 1, id="memory"),
    ],
)
@pytest.mark.parametrize("method", ["check", "_load"])
def test_what_the_machine_lacks_never_sends_a_good_file_to_quarantine(
    ingest: Any, store: Any, two_slots: Path, monkeypatch: pytest.MonkeyPatch, method: str,
    error: Exception, kind: type[EyewallError], code: int,
) -> None:  # fmt: skip
    on_first_slot(monkeypatch, method, error)

    with pytest.raises(kind) as failure:
        ingest(reader="ahi_hsd", files=f"{two_slots}/*", inbox=True)

    assert failure.value.exit_code == code
    assert store.list_files("quarantine") == []
    assert len(list(two_slots.iterdir())) == 2


def test_a_file_that_cannot_be_read_is_reported_with_its_sentence_and_costs_no_neighbour(
    ingest: Any, store: Any, two_slots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad sector: the file opens, and fails while it is read; nothing of it can be kept."""

    def bad_sector(path: Path) -> str:
        if "_0000_" in path.name:
            raise OSError(errno.EIO, "Input/output error")
        return "5" * 64

    monkeypatch.setattr("eyewall.satellite.prepare.sha256_of", bad_sector)

    summary = ingest(reader="ahi_hsd", files=f"{two_slots}/*")

    assert (summary["slots_ok"], summary["slots_refused"], summary["quarantined"]) == (1, 1, [])
    (entry,) = summary["unreadable"]
    assert entry["reason"] == "the file cannot be read: Input/output error"
    assert f"{entry['file']} is passed over" in capsys.readouterr().err
    assert entry["reason"] in summary["refused"][0]["reason"]


def test_a_pipe_among_the_files_is_left_alone_instead_of_waited_for(ingest: Any, two_slots: Path) -> None:
    first = min(two_slots.iterdir())
    first.unlink()
    os.mkfifo(first)
    os.mkfifo(two_slots / "control")

    summary = ingest(reader="ahi_hsd", files=f"{two_slots}/*")

    assert summary["slots_ok"] == 1
    assert {entry["file"] for entry in summary["unreadable"]} == {first.name, "control"}


def test_scratch_space_that_is_full_is_a_storage_error_and_no_file_is_blamed(
    ingest: Any, store: Any, two_slots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real file system of 64 KiB, smaller than an unpacked file of 500 KB."""
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(StorageError, match=r"cannot write scratch files in .*No space left") as failure:
            ingest(reader="ahi_hsd", files=f"{two_slots}/*")
        assert failure.value.exit_code == 74
        assert store.list_files("quarantine") == []
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_scratch_space_that_is_not_there_is_a_storage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(StorageError, match="cannot write scratch files"), scratch_folder():
        pass


@pytest.mark.parametrize(
    "error",
    [OSError("no errno"), FileNotFoundError(2, "gone"), PermissionError(13, "locked"), ValueError("bad")],
    ids=lambda error: type(error).__name__,
)
def test_most_errors_are_no_fault_of_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None


def test_a_track_that_cannot_be_read_is_not_blamed_on_the_picture(
    ingest: Any, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py
    import numpy as np

    folder = tmp_path / "image" / "200717"
    folder.mkdir(parents=True)
    with h5py.File(folder / "2007100300-200717-MTS1-1.h5", "w") as file:
        file["infrared"] = np.linspace(200.0, 300.0, 512 * 512).reshape(512, 512)
    (tmp_path / "jma").mkdir()
    (tmp_path / "jma" / "200717.tsv").write_text("2007\t10\t3\t0\t4\t17.2\t128.3\n")

    def locked(path: Path, changed_ns: int) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("eyewall.satellite.digital_typhoon._track", locked)

    with pytest.raises(InputError, match=r"track 200717.tsv cannot be read: Permission denied"):
        ingest(reader="digital_typhoon", files=f"{folder}/*.h5")
    assert store.list_files("quarantine") == []
