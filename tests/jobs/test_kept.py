"""What a job left, as a tar that nobody trusts: plain files come to the store, and all else is named."""

import io
import tarfile
from pathlib import Path

import pytest

from eyewall.contracts.errors import StorageError
from eyewall.jobs import kept
from eyewall.jobs.kept import keep_folder, take
from eyewall.storage import Store


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """Members: a name with bytes is a file, with text a link there, with "dir" a folder, with "fifo" a pipe."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
                continue
            special = {"dir": tarfile.DIRTYPE, "fifo": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE}
            info.type = special.get(content, tarfile.SYMTYPE)
            if info.type == tarfile.SYMTYPE:
                info.linkname = content
            made.addfile(info)
    return packed.getvalue()


def chunks(data: bytes, size: int = 700):
    """As an engine sends it."""
    return (data[i : i + size] for i in range(0, len(data), size))


def files(folder):
    """Path → content of what came."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_and_folders_come_as_they_were(tmp_path):
    data = tar(("out", "dir"), ("out/model", "dir"), ("out/model/weights", b"\x00\x01" * 999), ("out/log", b"7\n"))

    assert take(chunks(data), tmp_path, 10_000) == []
    assert files(tmp_path) == {"model/weights": b"\x00\x01" * 999, "log": b"7\n"}


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(("out/link", "/etc/passwd"), id="a link out"),
        pytest.param(("out/near", "good"), id="a link within"),
        pytest.param(("/etc/cron.d/x", b"x"), id="absolute"),
        pytest.param(("out/../../x", b"x"), id="leads out"),
        pytest.param(("x", b"x"), id="beside the folder"),
        pytest.param(("out/pipe", "fifo"), id="a pipe, which would block its reader"),
        pytest.param(("out/null", "device"), id="a device"),
        pytest.param(("out/a\nb", b"x"), id="a name of two lines"),
    ],
)
def test_what_is_no_plain_file_is_left_out_and_named(tmp_path, member):
    folder = tmp_path / "in"
    folder.mkdir()

    notes = take(chunks(tar(("out/good", b"1"), member, ("out/also", b"2"))), folder, 100)

    assert len(notes) == 1
    assert repr(member[0]) in notes[0]
    assert files(tmp_path) == {"in/good": b"1", "in/also": b"2"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_file_through_a_link_is_not_written_to_where_it_leads(tmp_path):
    """The link is left out; so the folder in its place is an ordinary one."""
    (tmp_path / "secret").mkdir()
    folder = tmp_path / "in"
    folder.mkdir()

    take(chunks(tar(("out/d", str(tmp_path / "secret")), ("out/d/x", b"1"))), folder, 100)

    assert list((tmp_path / "secret").iterdir()) == []
    assert files(folder) == {"d/x": b"1"}


def test_at_the_limit_the_rest_is_not_even_read(tmp_path):
    """3 bytes, then 8: over 10. A file of a terabyte of holes would come as a terabyte of zeros."""
    asked = []

    def counted():
        for chunk in chunks(
            tar(("out/a", b"123"), ("out/b", b"x" * 8), *[(f"out/{n}", b"y" * 5000) for n in range(9)])
        ):
            asked.append(len(chunk))
            yield chunk

    assert take(counted(), tmp_path, 10) == ["'out/b' and all after it: more than 100000 files or 10 bytes"]
    assert files(tmp_path) == {"a": b"123"}
    assert sum(asked) < 20_000


def test_the_number_of_files_has_a_limit_too(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MAX_FILES", 2)

    notes = take(chunks(tar(*[(f"out/{n}", b"7") for n in range(4)])), tmp_path, 100)

    assert notes == ["'out/2' and all after it: more than 2 files or 100 bytes"]


def test_a_stream_that_breaks_off_is_an_error(tmp_path):
    data = tar(("out/a", b"x" * 5000))

    with pytest.raises(tarfile.TarError):
        take(chunks(data[:2000]), tmp_path, 10_000)


def test_a_full_disk_is_no_hosts_silence(tmp_path, monkeypatch):
    """What fails is said to be the writing, and not the engine's answer: nobody waits for the engine then."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    real = Path.open

    def opened(path, *args, **kwargs):
        return real(full, "wb", *args[1:], **kwargs) if path == tmp_path / "x" else real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(StorageError, match="No space left on device"):
        take(chunks(tar(("out/x", b"7"))), tmp_path, 100)


def test_keeping_again_replaces_what_an_interrupted_dispatcher_kept(tmp_path):
    store = Store(str(tmp_path / "store"))
    for content in (b"half", b"whole"):
        folder = tmp_path / content.decode()
        (folder / "m").mkdir(parents=True)
        (folder / "m/weights").write_bytes(content)
        keep_folder(store, "jobs/3/1/out", folder)

    assert store.list_files("jobs") == ["jobs/3/1/out/m/weights"]
    assert store.read_bytes("jobs/3/1/out/m/weights") == b"whole"
