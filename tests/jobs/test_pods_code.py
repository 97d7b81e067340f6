"""Code, data and output on their way into a pod and out of it, without a cluster: both ends of each way."""

import base64
import io
import os
import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from eyewall.contracts.errors import ContractError, EyewallError
from eyewall.jobs.inside import demand_inside
from eyewall.jobs.pods import keeper as pods_keeper
from eyewall.jobs.pods import place as pods_place
from eyewall.jobs.pods.code import PART_BYTES, close_out, data_places, open_out, parts_of
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.out import MAX_PACKED_BYTES, take_out
from eyewall.jobs.runner import Assignment, Worker
from eyewall.storage import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with some code: a program in a folder of its own, and bytes that do not get smaller."""
    folder = tmp_path / "store" / "code" / "lab"
    (folder / "lib").mkdir(parents=True)
    (folder / "train.py").write_text("print('trains')")
    (folder / "lib" / "big.bin").write_bytes(os.urandom(2 * PART_BYTES))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return Store(str(tmp_path / "store"))


def _job(**fields: object) -> Assignment:
    values = {
        "attempt": 7, "job": 3, "number": 1, "token": 1, "worker": Worker("cluster", "kubernetes"), "gpus": (),
        "command": ("x",), "owner": "ada", "environment": "e", "image": "i", "folder": None, "code": None, "data": (),
        "variables": {}, "max_s": None,
    }  # fmt: skip
    return Assignment(**(values | fields))  # type: ignore[arg-type]


# Code


def test_code_arrives_as_it_left_in_as_many_parts_as_it_takes(store: Store, tmp_path: Path) -> None:
    """Packed by the dispatcher, put in its place by the script as the pod runs it: a Python without the project."""
    mounted, target = tmp_path / "mounted", tmp_path / "work"
    mounted.mkdir()
    target.mkdir()
    parts = parts_of(store, "code/lab")
    assert len(parts) == 3  # two parts of random bytes, and the rest
    for number, data in enumerate(parts):
        (mounted / f"part-{number:03d}").write_bytes(base64.b64decode(data))
    (mounted / "place.py").write_text(Path(pods_place.__file__).read_text())

    script = [sys.executable, "-I", str(mounted / "place.py"), str(mounted), str(target), "lab"]
    subprocess.run(script, check=True, cwd="/", env={})

    assert (target / "train.py").read_text() == "print('trains')"
    assert (target / "lib" / "big.bin").read_bytes() == (Path(store.root) / "code/lab/lib/big.bin").read_bytes()
    assert os.access(target / "run.sh", os.X_OK)
    assert not os.access(target / "train.py", os.X_OK)


def test_the_same_code_is_the_same_parts(store: Store) -> None:
    os.utime(store.full("code/lab/train.py"), (5, 5))
    first = parts_of(store, "code/lab")
    os.utime(store.full("code/lab/train.py"), (9, 9))

    assert parts_of(store, "code/lab") == first


def test_code_that_is_too_large_is_refused_with_the_remedy(store: Store) -> None:
    Path(store.full("code/lab/huge.bin")).write_bytes(os.urandom(13 * PART_BYTES))

    with pytest.raises(ContractError, match="give the worker the option store"):
        parts_of(store, "code/lab")


@pytest.mark.parametrize("kind", ["folder", "tar.gz", "zip", "file"])
def test_stored_code_of_each_kind_is_put_in_its_place(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "stored", tmp_path / "work"
    target.mkdir()
    if kind == "folder":
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "a.py").write_text("a")
        (source / ".env").write_text("x")
    elif kind == "zip":
        with zipfile.ZipFile(source, "w") as packed:
            packed.writestr("sub/a.py", "a")
            packed.writestr("../../out.py", "hostile")
    elif kind == "tar.gz":
        with tarfile.open(source, "w:gz") as tar:
            entry = tarfile.TarInfo("sub/a.py")
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"a"))
    else:
        source.write_text("a")

    pods_place.place(source, target, "a.py")

    assert (target / ("a.py" if kind == "file" else "sub/a.py")).read_text() == "a"
    assert not (tmp_path / "out.py").exists()
    assert not (tmp_path.parent / "out.py").exists()


def test_the_scripts_of_a_pod_need_no_package_and_no_new_python() -> None:
    """They run in whatever image a job names: standard library alone, and syntax of Python 3.7."""
    import ast

    for module in (pods_place, pods_keeper):
        tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 7))
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


# Data


def test_data_of_a_common_store_is_mounted_by_its_number_and_urls_are_left_to_the_job(store: Store) -> None:
    job = _job(data=("data/tracks", "data/other/tracks", "s3://b/x", "data/ä ☃"))

    places = data_places(store, PodOptions(store="claim:c"), job)

    assert places == (
        ("/work/data/0-tracks", "data/tracks"),
        ("/work/data/1-tracks", "data/other/tracks"),
        ("s3://b/x", None),
        ("/work/data/3--", "data/ä ☃"),
    )


def test_data_that_a_cluster_cannot_see_is_refused_with_the_remedy(store: Store) -> None:
    with pytest.raises(ContractError, match=r"worker cluster cannot see data 'data/x': give its option store"):
        data_places(store, PodOptions(), _job(data=("data/x",)))


def test_a_link_out_of_the_store_is_no_way_into_the_nodes_files(store: Store) -> None:
    Path(store.full("code/out")).symlink_to("/etc")
    Path(store.full("code/in")).symlink_to(store.full("code/lab"))

    demand_inside(store, "code/in", "data")
    with pytest.raises(ContractError, match="leads out of the store"):
        demand_inside(store, "code/out", "data")
    with pytest.raises(ContractError, match="is not in the store"):
        demand_inside(store, "code/none", "data")


# Output


def test_an_output_folder_is_open_while_the_job_runs_and_holds_plain_files_afterwards(store: Store) -> None:
    open_out(store, "jobs/3/1/out")
    folder = Path(store.full("jobs/3/1/out"))
    assert folder.stat().st_mode & 0o777 == 0o777
    (folder / "sub").mkdir()
    (folder / "sub" / "model.bin").write_bytes(b"w")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "sub" / "away").symlink_to("/etc")
    os.mkfifo(folder / "pipe")

    close_out(store, "jobs/3/1/out")
    close_out(store, "jobs/3/9/out")  # harmless

    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) == ["sub", "sub/model.bin"]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert Path("/etc/passwd").exists()


def _kept(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the keeper prints of ``folder``, once nothing else runs in its pod."""
    monkeypatch.setattr(pods_keeper, "others", list)
    monkeypatch.setattr(pods_keeper.signal, "signal", lambda *_: None)
    pods_keeper.main(folder, MAX_PACKED_BYTES)
    return capsys.readouterr().out.splitlines()


def test_output_arrives_in_the_store_as_it_was_left(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "model.bin").write_bytes(data := os.urandom(200_000))
    (out / "link").symlink_to("/etc/passwd")

    lines = _kept(out, capsys, monkeypatch)
    assert max(map(len, lines)) <= pods_keeper.LINE_CHARACTERS
    take_out(lines, store, "jobs/3/1/out")

    assert store.list_files("jobs/3/1/out") == ["jobs/3/1/out/deep/model.bin"]
    assert store.read_bytes("jobs/3/1/out/deep/model.bin") == data


def test_a_job_that_leaves_nothing_has_nothing_kept(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "empty").mkdir(parents=True)

    assert _kept(tmp_path / "out", capsys, monkeypatch) == []
    take_out([], store, "jobs/3/1/out")
    assert not store.exists("jobs/3/1")


def test_too_much_output_is_said_instead_of_cut(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_bytes(os.urandom(MAX_PACKED_BYTES + 1000))

    lines = _kept(tmp_path / "out", capsys, monkeypatch)

    assert lines == [pods_keeper.TOO_MUCH]
    with pytest.raises(EyewallError, match="give the worker the option store"):
        take_out(lines, store, "jobs/3/1/out")


def _tar(*entries: tuple[tarfile.TarInfo, bytes]) -> list[str]:
    """What a hostile keeper would print."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return [pods_keeper.BEGIN, base64.b64encode(buffer.getvalue()).decode(), pods_keeper.END]


def test_a_hostile_archive_gets_nowhere_but_into_its_own_folder(store: Store) -> None:
    link = tarfile.TarInfo("out/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    entries = [(tarfile.TarInfo(name), b"hostile") for name in ("../up", "out/../../up", "/abs", "out/fine")]

    take_out(_tar((link, b""), *entries), store, "jobs/3/1/out")

    assert store.list_files("jobs/3/1/out") == ["jobs/3/1/out/LEFT-OUT.txt", "jobs/3/1/out/fine"]
    assert not Path(store.full("jobs/3/up")).exists()
    assert "link" in store.read_bytes("jobs/3/1/out/LEFT-OUT.txt").decode()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda lines: lines[:-1], id="no end"),
        pytest.param(lambda lines: [lines[0], lines[1][: len(lines[1]) // 8 * 4], lines[2]], id="half of it"),
        pytest.param(lambda lines: [lines[0], "!!" + lines[1], lines[2]], id="no Base64"),
        pytest.param(lambda lines: [lines[0], base64.b64encode(b"x" * 99).decode(), lines[2]], id="no archive"),
        pytest.param(lambda lines: ["Traceback", *lines], id="an error of the keeper"),
    ],
)
def test_output_that_did_not_come_whole_is_an_error_and_nothing_of_it_is_kept(store: Store, spoil: object) -> None:
    lines = _tar((tarfile.TarInfo("out/a"), b"weights" * 1000), (tarfile.TarInfo("out/b"), os.urandom(5000)))

    with pytest.raises(EyewallError):
        take_out(spoil(lines), store, "jobs/3/1/out")  # type: ignore[operator]

    assert not store.exists("jobs/3/1/out/a")


def test_the_keeper_waits_as_long_as_another_process_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([[7], [7], []])
    waited: list[float] = []
    monkeypatch.setattr(pods_keeper, "others", lambda: next(seen))
    monkeypatch.setattr(pods_keeper.time, "sleep", waited.append)
    monkeypatch.setattr(pods_keeper.signal, "signal", lambda *_: None)

    pods_keeper.main(Path("/none"), 1)

    assert len(waited) == 2


def test_other_processes_are_all_but_the_first_and_itself() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = pods_keeper.others()
        child.communicate(b"\n")

    assert child.pid in found
    assert not {1, os.getpid()} & set(found)


def test_the_script_that_places_code_does_nothing_on_import() -> None:
    assert "place" in runpy.run_path(pods_place.__file__, run_name="imported")
