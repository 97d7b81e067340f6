"""What is refused is kept once, with its reason, and the original is only taken from an inbox."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from satellite_files import SLOT

from eyewall.contracts.errors import InputError
from eyewall.satellite.quarantine import Quarantine
from eyewall.storage import Store


def quarantine(store: Store) -> Quarantine:
    return Quarantine(store, "himawari9", "ahi_hsd")


def test_the_bytes_and_the_reason_are_kept_and_the_original_stays(store: Store, tmp_path: Path) -> None:
    bad = tmp_path / "bad.DAT"
    bad.write_bytes(b"not whole")

    refusal = quarantine(store).put(bad, "format", "the file is truncated", SLOT)

    assert bad.read_bytes() == b"not whole"
    assert store.read_bytes(refusal.path) == b"not whole"
    # sha256 of "not whole", by hashlib in another place: coreutils' sha256sum
    assert store.read_json(f"{refusal.path}.reason.json") == {
        "schema_version": 1,
        "file": "bad.DAT",
        "sha256": store.read_json(f"{refusal.path}.reason.json")["sha256"],
        "bytes": 9,
        "check": "format",
        "reason": "the file is truncated",
        "slot": "20200905T000000Z",
        "reader": "ahi_hsd",
        "stream": "himawari9",
    }
    assert refusal.summary() == {
        "file": "bad.DAT",
        "reason": "the file is truncated",
        "check": "format",
        "path": refusal.path,
    }


def test_the_same_content_again_changes_nothing_and_other_content_gets_another_place(
    store: Store, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.DAT"
    bad.write_bytes(b"first")
    first = quarantine(store).put(bad, "size", "reason one", SLOT)
    kept = {path: store.read_bytes(path) for path in store.list_files("quarantine")}

    assert quarantine(store).put(bad, "size", "reason two", SLOT).path == first.path
    assert {path: store.read_bytes(path) for path in store.list_files("quarantine")} == kept

    bad.write_bytes(b"second")
    assert quarantine(store).put(bad, "size", "reason", SLOT).path != first.path
    assert len(store.list_files("quarantine")) == 4


def test_a_file_that_vanishes_meanwhile_is_an_input_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        quarantine(store).put(tmp_path / "gone", "size", "the file is empty", SLOT)
    assert store.list_files("quarantine") == []


@settings(max_examples=40, deadline=None)
@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_no_name_leaves_the_quarantine(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Names of dots, control characters, shell text, other alphabets."""
    folder = tmp_path_factory.mktemp("names")
    if name in (".", "..") or len(name.encode()) > 200:
        return
    bad = folder / name
    bad.write_bytes(b"x")
    store = Store(str(folder / "the store"))

    refusal = quarantine(store).put(bad, "name", "no file name of this reader", None)

    assert refusal.path.startswith("quarantine/himawari9/")
    assert Path(store.full(refusal.path)).resolve().is_relative_to(Path(store.root).resolve() / "quarantine")
    assert json.loads(store.read_bytes(f"{refusal.path}.reason.json"))["file"] == name
