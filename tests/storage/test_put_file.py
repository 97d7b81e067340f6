"""A file of this machine in the store: whole or not there."""

from pathlib import Path

import pytest

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.storage import Store


@pytest.mark.parametrize("url", ["folder", "memory://put-file"])
def test_a_file_is_put_and_put_again(tmp_path: Path, url: str) -> None:
    store = Store(url if "://" in url else str(tmp_path / url))
    file = tmp_path / "model"
    for content in (b"first" * 1000, b"second"):
        file.write_bytes(content)
        store.put_file(file, "jobs/1/1/out/model")
        assert store.read_bytes("jobs/1/1/out/model") == content
    assert store.list_files("jobs") == ["jobs/1/1/out/model"]


def test_what_cannot_be_put_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    (tmp_path / "model").write_bytes(b"good")
    store.put_file(tmp_path / "model", "out/model")
    with pytest.raises(StorageError, match="out/model"):
        store.put_file(tmp_path / "absent", "out/model")
    with pytest.raises(ContractError):
        store.put_file(tmp_path / "model", "../model")
    assert store.read_bytes("out/model") == b"good"
    assert [path.name for path in (tmp_path / "store/out").iterdir()] == ["model"]
