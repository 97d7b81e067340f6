"""Tidying a store removes what nobody needs, shows it first, and touches nothing else."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eyewall.contracts import layout
from eyewall.contracts.errors import ContractError, InputError, ServingError
from eyewall.contracts.layout import CONTENT_NAMED
from eyewall.contracts.manifest import Manifest, Receipt, Reference
from eyewall.serving.index import Index, ServedModel, Version, write_index
from eyewall.serving.lock import repository_lock
from eyewall.storage import Store
from eyewall.storage.tidy import Tidying, tidy

NOW_S = 1_700_000_000.0
DAY_S = 86400.0


@pytest.fixture
def store(store_url):
    """An empty store."""
    Path(store_url).mkdir()
    return Store(store_url)


def age(store: Store, days: float, path: str = ".") -> None:
    """Make everything below ``path`` so many days old."""
    top = Path(store.root) / path
    for each in [top, *top.rglob("*")]:
        os.utime(each, (NOW_S - days * DAY_S,) * 2, follow_symlinks=False)


def name(kind: str, what: str) -> str:
    return f"{kind}/{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def put(store: Store, kind: str, what: str, days: float = 90, **fields: object) -> tuple[str, str]:
    """A committed artifact, so many days old: its path and the sha256 of its manifest."""
    path = name(kind, what)
    with store.staging(path) as folder:
        (folder / "data").write_text(f"{what}\n" * 3)
        singular = {"studies": "study"}.get(kind, kind if kind in ("records", "positions") else kind.removesuffix("s"))
        manifest = store.commit(folder, path, Manifest(kind=singular, code_version="t", **fields))
    age(store, days, path)
    return path, manifest.sha256()


def lineage(store: Store, what: str, days: float = 90) -> dict[str, str]:
    """Records, a model made of them, its evaluation and the decision, as the steps name them in each other."""
    records, records_sha256 = put(store, "records", what, days)
    model, model_sha256 = put(store, "models", what, days, inputs={"records": records_sha256})
    inputs = {"truth": "cd" * 32, "candidate": model_sha256, "records": records_sha256}
    evaluation, evaluation_sha256 = put(store, "evaluations", what, days, inputs=inputs)
    extra = {"verdict": "yes", "candidate": {"uri": model, "sha256": model_sha256}}
    decision, _ = put(store, "decisions", what, days, inputs={evaluation: evaluation_sha256}, extra=extra)
    return {"records": records, "models": model, "evaluations": evaluation, "decisions": decision}


def served(store: Store, model: str, state: str = "good", **fields: object) -> None:
    version = Version(model=model, model_sha256="ab" * 32, state=state)
    write_index(store, Index(models={"track": ServedModel(versions={4: version}, **fields)}))


def found(tidying: Tidying) -> set[str]:
    return {item.path for item in tidying.items}


def files(store: Store) -> set[str]:
    return {p.relative_to(store.root).as_posix() for p in Path(store.root).rglob("*") if p.is_file()}


def sweep(store: Store, days: float | None = 30.0, *, remove: bool = True) -> Tidying:
    return tidy(store, days, remove=remove, now_s=NOW_S)


# --- leftovers

KILLED = """
import os, signal, sys
from eyewall.contracts.manifest import Manifest
from eyewall.storage import Store
store = Store(sys.argv[1])
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "staging":
    with store.staging("records/0123456789abcdef") as folder:
        (folder / "sub").mkdir(); (folder / "sub" / "data").write_bytes(b"12345")
        die()
if sys.argv[2] == "file":
    os.fsync = die
    store.write_bytes(sys.argv[3], b"1234567")
if sys.argv[2] == "stale":
    store.write_bytes("models/0123456789abcdef/junk", b"123")
    with store.staging("models/0123456789abcdef") as folder:
        import eyewall.storage.store as module, pathlib
        rename = pathlib.Path.rename
        pathlib.Path.rename = lambda self, to: (rename(self, to), die())
        store.commit(folder, "models/0123456789abcdef", Manifest(kind="model", code_version="t"))
"""


def killed(store: Store, *how: str) -> None:
    """A real step's writing, ended by kill -9 in the middle."""
    done = subprocess.run([sys.executable, "-c", KILLED, store.url, *how], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("how", "freed"),
    [
        pytest.param(("staging",), 5, id="an artifact in the making"),
        pytest.param(("file", "runs/r/step-00000100.npz"), 7, id="a checkpoint in the making"),
        # 3 bytes of junk that gave way, and the staged folder with a manifest of some hundred bytes
        pytest.param(("stale",), None, id="a folder without a manifest that gave way"),
    ],
)
def test_what_a_killed_step_left_goes_after_a_day_and_not_before(store, how, freed):
    killed(store, *how)
    left = files(store)
    assert left
    age(store, 0.9)
    assert found(sweep(store)) == set()
    age(store, 1.1)
    tidying = sweep(store, remove=False)
    assert files(store) == left  # a dry run removes nothing
    assert freed is None or tidying.bytes == freed
    assert sweep(store) == tidying
    assert files(store) == set()


def test_a_staging_folder_that_is_still_written_to_is_young_whatever_its_own_time(store):
    killed(store, "staging")
    age(store, 3)
    (data,) = Path(store.root).rglob("data")
    os.utime(data, (NOW_S - 60,) * 2)
    assert found(sweep(store)) == set()


@pytest.mark.parametrize("path", ["frames/a/2026/09/01/x.nc", "quarantine/a/x", "serving/models.json"])
def test_leftovers_among_frames_quarantine_and_served_models_are_named_and_left_alone(store, path):
    killed(store, "file", path)
    age(store, 90)
    before = files(store)
    tidying = sweep(store)
    assert tidying.items == ()
    assert set(tidying.left_alone) == before == files(store)


@pytest.mark.parametrize(
    "path", ["notes/.hidden", "notes/x.tmp", "notes/.env.tmp", "records/.abc.stale", "notes/.x.0123456.tmp"]
)
def test_only_a_staging_name_is_a_leftover(store, path):
    store.write_bytes(path, b"mine")
    age(store, 400)
    sweep(store)
    assert store.read_bytes(path) == b"mine"


def test_a_link_with_a_staging_name_goes_and_what_it_points_to_stays(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("gold")
    (Path(store.root) / ".x.01234567.tmp").symlink_to(outside)
    (Path(store.root) / "forecasts").symlink_to(outside)
    age(store, 2)
    assert found(sweep(store)) == {".x.01234567.tmp"}
    assert (outside / "precious").read_text() == "gold"


# --- runs


def run(store: Store, run_name: str, digest: str, **config: str) -> None:
    store.write_json(f"runs/{run_name}/job.json", {"digest": digest, "config": config})
    store.write_bytes(f"runs/{run_name}/step-00000100.npz", b"1" * 40)
    store.write_bytes(f"runs/{run_name}/step-00000200.npz", b"2" * 50)


def test_checkpoints_go_when_their_model_is_committed_and_stay_otherwise(store):
    put(store, "models", "done")
    digest = hashlib.sha256(b"done").hexdigest()
    run(store, "done", digest)
    run(store, "still-going", hashlib.sha256(b"another").hexdigest())
    run(store, "hostile", "../../../../etc")
    store.write_bytes("runs/damaged/job.json", b"{")
    store.write_bytes("models/" + "0" * 16 + "/saved_model/x", b"half")  # no manifest: not committed
    run(store, "half", "0" * 64)
    age(store, 2)
    before = files(store)

    tidying = sweep(store, None)

    assert found(tidying) == {"runs/done"}
    assert tidying.bytes == 40 + 50 + len(json.dumps({"config": {}, "digest": digest}, indent=2)) + 1
    gone = {f"runs/done/{file}" for file in ("job.json", "step-00000100.npz", "step-00000200.npz")}
    assert files(store) == before - gone
    assert not (Path(store.root) / "runs/done").exists()


def test_a_run_that_has_just_ended_keeps_its_checkpoints_for_a_day(store):
    put(store, "models", "done")
    run(store, "done", hashlib.sha256(b"done").hexdigest())
    age(store, 2)
    os.utime(Path(store.root) / "runs/done/step-00000200.npz", (NOW_S - 3600,) * 2)
    assert found(sweep(store)) == set()


def test_what_else_lies_in_a_runs_folder_stays(store):
    put(store, "models", "done")
    run(store, "done", hashlib.sha256(b"done").hexdigest())
    store.write_bytes("runs/done/notes.txt", b"mine")
    age(store, 2)
    sweep(store, None)
    assert [p.name for p in (Path(store.root) / "runs/done").iterdir()] == ["notes.txt"]


# --- artifacts


def test_without_an_age_no_artifact_goes(store):
    lineage(store, "old", days=4000)
    assert found(sweep(store, None)) == set()


def test_old_artifacts_that_nothing_names_go(store):
    old, young = lineage(store, "old", days=31), lineage(store, "young", days=29)
    assert found(sweep(store)) == set(old.values())
    assert {path.rsplit("/", 1)[0] for path in files(store)} == set(young.values())


@pytest.mark.parametrize("kind", CONTENT_NAMED)
def test_of_every_kind_an_old_one_goes_and_one_that_a_young_model_was_made_from_stays(store, kind):
    gone, _ = put(store, kind, "gone")
    kept, sha256 = put(store, kind, "kept")
    model, _ = put(store, "models", "made from it", days=1, inputs={"from": sha256})

    assert found(sweep(store)) == {gone}
    assert store.exists(kept)
    assert store.exists(model)


def test_every_kind_that_a_step_writes_is_known():
    sources = Path(layout.__file__).parents[1].rglob("*.py")
    written = {kind for path in sources for kind in re.findall(r'artifact_dir\("(\w+)"', path.read_text())}

    assert written == set(CONTENT_NAMED)


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        pytest.param("good", {"served": (4,), "labels": {"stable": 4}}, id="stable"),
        pytest.param("good", {"served": (4,), "labels": {"previous": 4}}, id="previous"),
        pytest.param("good", {"served": (4,)}, id="served"),
        pytest.param("retired", {"labels": {"canary": 4}}, id="labelled, whatever its state"),
        pytest.param("candidate", {}, id="about to be served"),
        pytest.param("rolled_back", {}, id="may be taken again"),
    ],
)
def test_a_served_model_stays_with_all_that_it_comes_from_and_why(store, state, fields):
    kept, gone = lineage(store, "served"), lineage(store, "other")
    served(store, kept["models"], state, **fields)
    assert found(sweep(store)) == set(gone.values())


@pytest.mark.parametrize("state", ["retired", "failed"])
def test_a_version_that_can_never_be_served_again_keeps_nothing(store, state):
    all_of_it = lineage(store, "was")
    served(store, all_of_it["models"], state)
    assert found(sweep(store)) == set(all_of_it.values())


@pytest.mark.parametrize("path", ["receipts/retrain/r/x.json", "my/own.json", "mine.json"])
def test_a_young_receipt_keeps_what_it_names_and_what_that_was_made_from(store, path):
    kept, gone = lineage(store, "kept"), lineage(store, "gone")
    sha256 = store.read_manifest(kept["models"]).sha256()
    receipt = Receipt(verb="train", result=Reference(uri=kept["models"], sha256=sha256))
    store.write_json(path, receipt.model_dump(mode="json"))
    age(store, 29, path)
    by_nothing = {kept["evaluations"], kept["decisions"]}
    assert found(sweep(store, remove=False)) == set(gone.values()) | by_nothing
    age(store, 31, path)
    assert found(sweep(store, remove=False)) == set(gone.values()) | set(kept.values())
    assert store.exists(path)


def test_a_damaged_receipt_still_keeps_what_it_names(store):
    kept = lineage(store, "kept")
    text = json.dumps({"verb": "gate", "result": {"uri": f"/some/where/store/{kept['decisions']}"}})
    store.write_bytes("receipts/retrain/r/gate.json", text[:-2].encode())
    age(store, 1, "receipts")
    assert found(sweep(store)) == set()


def test_an_unfinished_run_keeps_its_records(store):
    records, sha256 = put(store, "records", "in use")
    run(store, "slow", "1" * 64, records=sha256)
    age(store, 60, "runs")
    assert found(sweep(store)) == set()
    assert store.exists(records)


def test_somebodys_own_copy_is_left_alone(store):
    put(store, "records", "x")
    (Path(store.root) / name("records", "x")).rename(Path(store.root) / "records/golden-2016")
    assert found(sweep(store)) == set()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        pytest.param(lambda path: path.unlink(), InputError, id="missing"),
        pytest.param(lambda path: path.write_text("{"), ContractError, id="damaged"),
    ],
)
def test_without_a_valid_models_json_nothing_at_all_goes(store, damage, error):
    kept = lineage(store, "served")
    served(store, kept["models"], served=(4,))
    store.write_bytes("serving/track/4/saved_model.pb", b"x")
    killed(store, "staging")
    age(store, 90)
    damage(store.local("serving/models.json"))
    before = files(store)
    with pytest.raises(error, match=r"serving/models\.json"):
        sweep(store)
    assert files(store) == before


def test_while_a_publisher_is_at_work_nothing_goes(store):
    all_of_it = lineage(store, "being published")
    with repository_lock(store, "a test", 1.0), pytest.raises(ServingError, match="try again when it is done"):
        sweep(store)
    assert all(store.exists(path) for path in all_of_it.values())


def test_a_tidying_that_is_killed_leaves_no_half_artifact(store, monkeypatch):
    put(store, "records", "old")

    def die(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        sweep(store)
    monkeypatch.undo()
    assert store.list_files("records") == []  # it has lost its name whole
    age(store, 2)
    assert len(sweep(store).items) == 1
    assert files(store) == set()


# --- the command


def eyewall(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eyewall.cli", "store", "tidy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_shows_first_and_removes_on_request(store):
    old = lineage(store, "old")
    served(store, "models/" + "9" * 16)
    options = (f"--store={store.url}", "--older-than-days=30")
    shown = eyewall(*options)
    assert shown.returncode == 0, shown.stderr
    assert all(path in shown.stdout for path in old.values())
    assert "4 things" in shown.stdout.splitlines()[-1]
    assert "to remove them: --no-dry-run" in shown.stdout.splitlines()[-1]
    assert store.exists(old["records"])

    told = json.loads(eyewall(*options, "--no-dry-run", "--json").stdout)
    assert {item["path"] for item in told["items"]} == set(old.values())
    assert told["bytes"] == sum(item["bytes"] for item in told["items"]) > 0
    assert files(store) == {"serving/models.json"}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        pytest.param("memory://x", "is not a folder that is there", id="an object store"),
        pytest.param("/nowhere/at/all", "is not a folder that is there", id="none at all"),
    ],
)
def test_a_store_that_is_no_folder_is_refused(url, sentence):
    done = eyewall(f"--store={url}")
    assert (done.returncode, done.stdout) == (65, "")
    assert sentence in done.stderr


def test_days_that_are_none_are_refused(store):
    assert eyewall(f"--store={store.url}", "--older-than-days=0").returncode == 65
    assert eyewall(f"--store={store.url}", "--older-than-days=soon").returncode == 65
