"""The code of a job, from a folder, an archive or a file; hostile ones are refused, by name."""

import io
import os
import tarfile
import zipfile

import pytest

from eyewall.contracts.errors import ContractError
from eyewall.jobs import code_files
from eyewall.jobs.code_files import code_tar, plain_path
from eyewall.storage import Store


@pytest.fixture
def store(store_url):
    """A store with a folder of code in it."""
    store = Store(store_url)
    store.write_bytes("code/train.py", b"print(7)\n")
    store.write_bytes("code/lib/net.py", b"LAYERS = 3\n")
    store.local("code/train.py").chmod(0o755)
    return store


def read(store, url):
    """Path → (content, is a program)."""
    return {file.path: (file.content.read(), file.executable) for file in code_files.code_files(store, url)}


CODE = {"train.py": (b"print(7)\n", True), "lib/net.py": (b"LAYERS = 3\n", False)}


def archive(kind, members):
    """A tar or zip of name → content; a content of None is a link to /etc/passwd."""
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as made:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o120777 if content is None else 0o100755) << 16
                made.writestr(info, content or "/etc/passwd")
        return packed.getvalue()
    with tarfile.open(fileobj=packed, mode=f"w:{kind}") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            made.addfile(info, io.BytesIO(content or b""))
    return packed.getvalue()


def test_a_folder_is_read_file_by_file(store):
    assert read(store, "code") == CODE


def test_one_file_is_code_too(store):
    assert read(store, "code/lib/net.py") == {"net.py": (b"LAYERS = 3\n", False)}


@pytest.mark.parametrize(
    ("kind", "name"), [("gz", "c.tar.gz"), ("gz", "c.tgz"), ("xz", "c.tar.xz"), ("", "c.tar"), ("zip", "c.zip")]
)
def test_an_archive_is_what_is_in_it(store, kind, name):
    store.write_bytes(name, archive(kind, {"train.py": b"print(7)\n", "./lib/net.py": b"LAYERS = 3\n"}))

    assert {path: content for path, (content, _) in read(store, name).items()} == {
        "train.py": b"print(7)\n", "lib/net.py": b"LAYERS = 3\n",
    }  # fmt: skip
    assert read(store, name)["train.py"][1]


@pytest.mark.parametrize("kind", ["gz", "zip"])
@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"../out.py": b"x"}, id="leads out"),
        pytest.param({"/etc/cron.d/x": b"x"}, id="absolute"),
        pytest.param({"a/../../b": b"x"}, id="leads out on a way"),
        pytest.param({"fine.py": b"x", "link": None}, id="a link"),
        pytest.param({"a\nb": b"x"}, id="a control character"),
    ],
)
def test_a_hostile_archive_is_refused(store, kind, members):
    name = f"hostile.{'zip' if kind == 'zip' else 'tar.gz'}"
    store.write_bytes(name, archive(kind, members))

    with pytest.raises(ContractError, match="hostile"):
        read(store, name)


@pytest.mark.parametrize("name", ["cut.tar.gz", "cut.zip"])
def test_a_damaged_archive_is_the_callers_mistake(store, name):
    whole = archive("zip" if name.endswith("zip") else "gz", {"a.py": b"print(7)\n" * 5000})
    store.write_bytes(name, whole[: len(whole) // 2])

    with pytest.raises(ContractError, match="damaged archive"):
        read(store, name)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("nowhere", "is not there", id="absent"),
        pytest.param("../code", "leave the store", id="outside"),
        pytest.param("file:///etc", "give a path of the store", id="the dispatcher's own files"),
        pytest.param("local:///etc", "give a path of the store", id="by another name"),
        pytest.param("zip://x::file:///etc/a.zip", "give a path of the store", id="chained"),
    ],
)
def test_code_that_is_not_to_be_had_is_refused(store, url, words):
    with pytest.raises(ContractError, match=words):
        read(store, url)


def test_an_empty_folder_is_no_code(store):
    store.local("empty").mkdir()

    with pytest.raises(ContractError, match="is empty"):
        read(store, "empty")


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_its_file(store):
    folder = store.local("code")
    (folder / "same.py").symlink_to("lib/net.py")
    assert read(store, "code")["same.py"] == (b"LAYERS = 3\n", False)

    (folder / "out.py").symlink_to("/etc/passwd")
    with pytest.raises(ContractError, match=r"out\.py.*leads out"):
        read(store, "code")


def test_a_folder_that_is_itself_a_link_out_is_refused(store):
    store.local("etc").symlink_to("/etc")

    with pytest.raises(ContractError, match="leads out"):
        read(store, "etc")


def test_too_much_code_is_refused_before_it_is_read(store, monkeypatch):
    """20 bytes in all: 9 of train.py, 11 of net.py."""
    monkeypatch.setattr(code_files, "MAX_CODE_BYTES", 19)

    with pytest.raises(ContractError, match="give large files as data"):
        read(store, "code")


def test_the_tar_has_the_jobs_folders_and_its_owner_and_no_times(store):
    def packed():
        with code_tar(store, "code", ("code", "out"), (10001, 7)) as stream:
            return stream.read()

    first = packed()
    os.utime(store.local("code/train.py"), (5, 5))

    assert packed() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert [(m.name, m.mode, m.uid, m.gid, m.mtime) for m in tar] == [
            ("code", 0o755, 10001, 7, 0), ("out", 0o755, 10001, 7, 0), ("code/lib", 0o755, 10001, 7, 0),
            ("code/lib/net.py", 0o644, 10001, 7, 0), ("code/train.py", 0o755, 10001, 7, 0),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a/b"), ("./a//b/", "a/b"), ("/a", None), ("..", None), ("a/../b", None), ("a\\b", None), ("", None),
        ("a\x00b", None), ("x" * 256, None), ("é" * 127, "é" * 127), ("é" * 128, None), ("\udc80", None),
    ],
)  # fmt: skip
def test_plain_paths(name, path):
    assert plain_path(name) == path
