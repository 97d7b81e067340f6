"""The store: a thing is whole or not there, stays inside, and never changes once committed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.storage import Store, resolve

MANIFEST = Manifest(kind="records", code_version="1")


def make(store: Store, path: str, content: bytes) -> Manifest:
    with store.staging(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "data").write_bytes(content)
        return store.commit(folder, path, MANIFEST)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store in a folder, and one on a file system that is not local."""
    return Store(str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path.name}")


def test_another_program_gets_an_address_with_its_scheme(tmp_path: Path) -> None:
    assert Store(str(tmp_path)).uri("serving") == f"{tmp_path}/serving"
    assert Store("memory://bucket/prefix").uri("serving") == "memory:///bucket/prefix/serving"


def test_a_committed_artifact_lists_every_file_with_its_sum(store: Store) -> None:
    manifest = make(store, "records/ab", b"abc")

    assert [(f.path, f.bytes) for f in manifest.files] == [("sub/data", 3)]
    # sha256("abc"), FIPS 180-2 appendix B.1
    assert manifest.files[0].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (store.fetch("records/ab") / "sub" / "data").read_bytes() == b"abc"


def test_the_first_of_two_writers_wins(store: Store) -> None:
    first = make(store, "records/ab", b"abc")
    second = make(store, "records/ab", b"something else")

    assert second == first
    assert (store.fetch("records/ab") / "sub" / "data").read_bytes() == b"abc"


def test_an_artifact_without_its_manifest_is_not_there(store: Store) -> None:
    store.write_bytes("records/ab/sub/data", b"half")

    assert store.read_manifest("records/ab") is None
    with pytest.raises(ContractError, match="no artifact 'records/ab'"):
        resolve(store, "records/ab")


def test_debris_without_a_manifest_gives_way_to_the_real_thing(store: Store) -> None:
    store.write_bytes("records/ab/sub/other", b"half")

    make(store, "records/ab", b"whole")

    assert (store.fetch("records/ab") / "sub" / "data").read_bytes() == b"whole"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("../x", id="up"),
        pytest.param("a/../../x", id="up-later"),
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("a\\..\\b", id="backslash"),
        pytest.param("a\nb", id="newline"),
        pytest.param("", id="empty"),
    ],
)
def test_no_path_leaves_the_store(store: Store, path: str) -> None:
    with pytest.raises(ContractError, match="would leave the store"):
        store.write_bytes(path, b"x")


def test_a_writer_killed_half_way_leaves_nothing_visible(tmp_path: Path) -> None:
    """A kill -9 while an artifact is being staged: no artifact, no visible file, and the next writer succeeds."""
    code = (
        "import sys, time; from eyewall.storage import Store\n"
        "with Store(sys.argv[1]).staging('records/ab') as folder:\n"
        "    (folder / 'data').write_bytes(b'x' * 1000); print('staged', flush=True); time.sleep(60)\n"
    )
    url = str(tmp_path / "store")
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"staged\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = Store(url)

    assert store.list_files("records") == []
    assert store.read_manifest("records/ab") is None
    make(store, "records/ab", b"whole")
    assert store.list_files("records") == ["records/ab/manifest.json", "records/ab/sub/data"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_store_is_one_sentence_and_leaves_no_half_file(tmp_path: Path) -> None:
    mount = tmp_path / "full"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        store = Store(str(mount))
        store.write_bytes("kept", b"1" * 1000)
        with pytest.raises(StorageError, match="free some space"):
            store.write_bytes("big", b"2" * 200_000)
        with pytest.raises(StorageError, match="free some space"):
            make(store, "records/ab", b"3" * 200_000)
        assert sorted(p.name for p in mount.rglob("*") if p.is_file()) == ["kept"]
        assert store.read_bytes("kept") == b"1" * 1000
    finally:
        subprocess.run(["umount", mount], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only file system needs root")
def test_a_read_only_store_is_one_sentence(tmp_path: Path) -> None:
    mount = tmp_path / "ro"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        with pytest.raises(StorageError, match="read-only"):
            Store(str(mount)).write_bytes("x", b"1")
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_receipt_leads_to_its_artifact_and_a_changed_one_is_refused(store: Store) -> None:
    make(store, "records/ab", b"abc")
    artifact = resolve(store, "records/ab", "records")
    receipt = Receipt(verb="records", result=artifact.reference)
    store.write_json("receipts/r.json", receipt.model_dump(mode="json"))

    assert resolve(store, "receipts/r.json").path == "records/ab"

    other = artifact.manifest.model_copy(update={"code_version": "2"})
    store.write_bytes("records/ab/manifest.json", other.to_bytes())
    with pytest.raises(ContractError, match="differs from what receipt"):
        resolve(store, "receipts/r.json")


def test_the_kind_of_an_artifact_is_checked(store: Store) -> None:
    make(store, "records/ab", b"abc")

    with pytest.raises(ContractError, match="is of kind 'records': give one of kind 'model'"):
        resolve(store, "records/ab", "model")


def test_readers_never_see_a_file_half_written(tmp_path: Path) -> None:
    """A reader polling while a file is replaced 200 times sees one whole version or another, never a mixture."""
    store = Store(str(tmp_path))
    store.write_bytes("f", b"0" * 50_000)
    code = (
        "import sys; from eyewall.storage import Store\n"
        "s = Store(sys.argv[1])\n"
        "for i in range(200): s.write_bytes('f', str(i % 10).encode() * 50_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    reads = 0
    while writer.poll() is None:
        data = store.read_bytes("f")
        assert len(data) == 50_000
        assert len(set(data)) == 1
        reads += 1
        time.sleep(0.001)

    assert writer.returncode == 0
    assert reads > 10


def test_an_object_store_that_refuses_is_one_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client has errors of its own: without credentials botocore's NoCredentialsError is no OSError."""
    import fsspec.implementations.memory

    class NoCredentialsError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    store = Store("memory://refusing")
    for name in ("cat_file", "exists", "find", "pipe_file"):
        monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, name, refuse)
    for call in (
        lambda: store.read_bytes("a"),
        lambda: store.exists("a"),
        lambda: store.list_files("a"),
        lambda: store.write_bytes("a", b"x"),
        lambda: store.read_manifest("a"),
    ):
        with pytest.raises(StorageError, match="Unable to locate credentials; check its URL, credentials and network"):
            call()
