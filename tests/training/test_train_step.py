"""The train step in one process: what it writes, what it refuses, and when it has nothing to do."""

import csv
import hashlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_maker import JobMaker

from eyewall.contracts.errors import ContractError, DivergedError, InputError
from eyewall.contracts.features import LEADS_H, OUT_DISPLACEMENT_KM, ImageSpec
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.manifest import Receipt
from eyewall.models.card import ModelCard
from eyewall.models.predict import load_predictor
from eyewall.records.testing import tiny_records
from eyewall.storage import Store, resolve
from eyewall.training.step import run

_NUMBERED = ("manifest.json", "saved_model/saved_model.pb")


def history(job: TrainJob, receipt: Receipt) -> list[dict[str, str]]:
    """Rows of history.csv."""
    assert receipt.result is not None
    with (Store(job.store).local(receipt.result.uri) / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def sums(folder: Path) -> dict[str, str]:
    """sha256 of every file below."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainJob, Receipt]:
    """A fusion model after 12 steps."""
    store = Store(str(tmp_path_factory.mktemp("trained") / "store"))
    records = tiny_records(store)
    job = TrainJob(
        store=store.url, records_ref=records.path, run="r", model="fusion", steps=12, batch=8, checkpoint_every=5
    )
    return job, run(job)


@pytest.fixture
def trained(trained_once: tuple[TrainJob, Receipt], tmp_path: Path) -> tuple[TrainJob, Receipt]:
    """The same in a store of this test's own."""
    job, receipt = trained_once
    shutil.copytree(job.store, tmp_path / "copy")
    return job.model_copy(update={"store": str(tmp_path / "copy")}), receipt


def test_the_artifact_is_whole_and_says_what_it_is(trained: tuple[TrainJob, Receipt]) -> None:
    """Reference, manifest, card, history and summary agree, and the model answers."""
    job, receipt = trained
    assert receipt.result is not None
    artifact = resolve(Store(job.store), receipt.result.uri, "model")
    card = ModelCard.read(artifact.folder())
    rows = history(job, receipt)

    assert artifact.manifest.sha256() == receipt.result.sha256
    assert (card.kind, card.steps, card.samples["train"], card.seasons["val"]) == ("fusion", 12, 120, (2005,))
    assert card.images == ImageSpec(frames=2, px=16, km_per_px=80.0)
    assert [row["step"] for row in rows] == [str(i) for i in range(1, 13)]
    assert [row["step"] for row in rows if row["val_score"]] == ["5", "10", "12"]
    assert float(rows[0]["loss"]) == pytest.approx(card.loss_first, rel=1e-6)
    assert float(rows[-1]["loss"]) == pytest.approx(card.loss_last, rel=1e-6)
    assert receipt.summary["model"] == artifact.path
    assert receipt.summary["val_km"]["24"]["cliper"] == card.val_km["24"].cliper
    assert sorted(receipt.summary["shrinkage"]) == sorted(str(lead) for lead in LEADS_H)


def test_the_exported_model_reaches_what_the_card_says(trained: tuple[TrainJob, Receipt]) -> None:
    """Validation errors computed again from the SavedModel, shrinkage included, with numpy's sphere: to 10 m."""
    from eyewall.besttrack.sphere import destination, distance_km
    from eyewall.contracts.features import PAST_LAT_DEG, PAST_LON_DEG, TARGET_LAT_DEG, TARGET_LON_DEG, TARGET_VALID
    from eyewall.training.plan import batches

    job, receipt = trained
    store = Store(job.store)
    assert receipt.result is not None
    predict = load_predictor(store.local(receipt.result.uri))
    ((features, targets, _),) = batches(store.local(job.records_ref), "val")
    moved = predict(features)[OUT_DISPLACEMENT_KM]
    lat, lon = destination(features[PAST_LAT_DEG][:, -1:], features[PAST_LON_DEG][:, -1:], moved[..., 0], moved[..., 1])
    error = distance_km(lat, lon, targets[TARGET_LAT_DEG], targets[TARGET_LON_DEG])

    for number, lead in enumerate(LEADS_H):
        known = targets[TARGET_VALID][:, number] > 0
        assert receipt.summary["val_km"][str(lead)]["model"] == pytest.approx(error[known, number].mean(), abs=0.01)
        assert receipt.summary["val_km"][str(lead)]["n"] == known.sum()


def test_never_worse_than_cliper_on_the_validation_split(trained: tuple[TrainJob, Receipt]) -> None:
    """At no lead: that is what the shrinkage is for."""
    for lead, km in trained[1].summary["val_km"].items():
        assert km["model"] <= km["cliper"] + 1e-3, lead


def test_a_finished_training_is_a_no_op(trained: tuple[TrainJob, Receipt], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is found by its digest before any work, whatever the run is called: no plan is made."""
    job, receipt = trained
    monkeypatch.setattr("eyewall.training.plan.make_plan", lambda *_: pytest.fail("trained again"))
    before = sums(Path(job.store))

    again = run(job)
    elsewhere = run(job.model_copy(update={"run": "other", "heartbeat_timeout_s": 3.0}))

    assert again.result == elsewhere.result == receipt.result
    assert again.summary == {k: v for k, v in receipt.summary.items() if k != "seconds"}
    assert sums(Path(job.store)) == before


def test_stopped_at_any_checkpoint_it_ends_as_though_never_stopped(
    trained: tuple[TrainJob, Receipt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between step 10's checkpoint and the end: the history, step by step, and the card are the same."""
    job, receipt = trained
    assert receipt.result is not None
    store = Store(job.store)
    model = store.local(receipt.result.uri)
    card, rows = ModelCard.read(model), history(job, receipt)
    shutil.rmtree(model)
    store.remove("runs/r/step-00000012.npz")
    assert store.list_files("runs/r", ".npz") == ["runs/r/step-00000010.npz"]

    resumed = run(job)

    assert history(job, resumed) == rows
    assert ModelCard.read(model) == card


def test_the_same_training_in_another_store_gives_the_same_weights(
    trained: tuple[TrainJob, Receipt], tmp_path: Path
) -> None:
    """Weights, card and history, bit for bit (the graph numbers its functions by what the process did before)."""
    job, receipt = trained
    assert receipt.result is not None
    shutil.copytree(Path(job.store) / "records", tmp_path / "other" / "records")
    other = job.model_copy(update={"store": str(tmp_path / "other"), "run": "b"})

    result = run(other).result

    assert result is not None
    assert result.uri == receipt.result.uri
    first, second = (
        {k: v for k, v in sums(Store(store).local(result.uri)).items() if k not in _NUMBERED}
        for store in (job.store, other.store)
    )
    assert sorted(first) == [
        "history.csv", "model.json",
        "saved_model/variables/variables.data-00000-of-00001", "saved_model/variables/variables.index",
    ]  # fmt: skip
    assert first == second


def test_another_job_under_the_same_run_name_is_refused(trained: tuple[TrainJob, Receipt]) -> None:
    """And the first one's checkpoints stay as they are."""
    job, _ = trained
    before = sums(Path(job.store))

    with pytest.raises(ContractError, match=r"run 'r' belongs to another training \(seed is 0, not 1\)"):
        run(job.model_copy(update={"seed": 1}))

    assert sums(Path(job.store)) == before


def test_records_without_a_training_sample_are_refused(tmp_path: Path) -> None:
    """With what to change, and no model."""
    from eyewall.contracts.manifest import Manifest
    from eyewall.records.split import SplitYears
    from eyewall.records.testing import toy_samples
    from eyewall.records.writer import write_samples

    store, years, spec = Store(str(tmp_path / "s")), SplitYears(2001, 2002, 2003, 2004), ImageSpec(frames=0)
    samples = [(split, sample) for split, sample in toy_samples(years, 1, spec, 0) if split != "train"]
    with store.staging("records/none") as folder:
        write_samples(folder, spec, years, 1, samples)
        store.commit(folder, "records/none", Manifest(kind="records", code_version="0"))

    with pytest.raises(InputError, match="the records hold no training sample"):
        run(TrainJob(store=store.url, records_ref="records/none", run="r", model="track"))

    assert store.list_files("models") == []


def test_without_validation_samples_the_model_is_cliper(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing shows that the correction does good: shrinkage 0 everywhere, and the card says so."""
    from eyewall.contracts.manifest import Manifest
    from eyewall.records.split import SplitYears
    from eyewall.records.testing import toy_samples
    from eyewall.records.writer import write_samples

    store, years, spec = Store(str(tmp_path / "s")), SplitYears(2001, 2004, 2005, 2006), ImageSpec(frames=0)
    samples = [(split, sample) for split, sample in toy_samples(years, 2, spec, 0) if split == "train"]
    with store.staging("records/unvalidated") as folder:
        write_samples(folder, spec, years, 1, samples)
        store.commit(folder, "records/unvalidated", Manifest(kind="records", code_version="0"))

    receipt = run(
        TrainJob(store=store.url, records_ref="records/unvalidated", run="r", model="track", steps=6, batch=8)
    )

    assert set(receipt.summary["shrinkage"].values()) == {0.0}
    assert {km["model"] for km in receipt.summary["val_km"].values()} == {None}
    assert "no validation sample" in capfd.readouterr().err


def test_images_wanted_and_none_there_is_refused(tmp_path: Path) -> None:
    """The sentence names the remedy."""
    store = Store(str(tmp_path / "s"))
    records = tiny_records(store, images=ImageSpec(frames=0))

    with pytest.raises(InputError, match="model 'fusion' needs images"):
        run(TrainJob(store=store.url, records_ref=records.path, run="r", model="fusion"))


def test_a_diverging_training_stops_with_its_step(make_job: JobMaker) -> None:
    """Not a model of NaN: an error that a retry would only repeat (65), and no model."""
    job = make_job(learning_rate=1e30, steps=40)

    with pytest.raises(
        DivergedError, match=r"the loss is (nan|inf) at step \d+: lower --learning-rate 1e\+30"
    ) as error:
        run(job)

    assert error.value.exit_code == 65
    assert Store(job.store).list_files("models") == []


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        pytest.param(
            {"strategy": "multi_worker", "workers": 3}, ContractError, "batch of 8 .* among 3 workers", id="batch"
        ),
        pytest.param({"workers": 2}, ContractError, "'single' has 1 worker, not 2", id="single with two"),
        pytest.param({"strategy": "parameter_server"}, ContractError, "0 parameter servers", id="no ps"),
        pytest.param({"ps": 1}, ContractError, "leave out --ps 1", id="ps where none belongs"),
        pytest.param({"strategy": "model_parallel"}, ContractError, "leave nothing to share", id="mesh of one"),
        pytest.param({"devices": 2}, ContractError, "'single' has no mesh: leave out --devices 2", id="mesh of none"),
        pytest.param(
            {"strategy": "model_parallel", "devices": 3, "workers": 2, "model_axis": 2},
            ContractError,
            "axis of 2 does not divide 2 replicas of 3 devices",
            id="crooked mesh",
        ),
        pytest.param(
            {"strategy": "model_parallel", "devices": 2, "workers": 3, "batch": 8},
            ContractError,
            "batch of 8 cannot be shared out evenly among the 3 copies",
            id="batch of a mesh",
        ),
        pytest.param({"records_ref": "records/none"}, ContractError, "no artifact 'records/none'", id="no records"),
    ],
)
def test_an_impossible_training_is_refused_before_anything_starts(
    make_job: JobMaker, values: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """One sentence with the numbers, and no run folder."""
    job = make_job(**values)

    with pytest.raises(error, match=sentence):
        run(job)

    assert not Store(job.store).exists("runs")


def test_a_read_only_store_is_one_sentence(make_job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback; root may write anywhere, so the file system's answer is put in its mouth."""
    import errno
    import os

    from eyewall.contracts.errors import StorageError

    job = make_job()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("eyewall.storage.store.os.replace", refuse)
    with pytest.raises(StorageError, match="the file system is read-only"):
        run(job)


def test_all_samples_of_an_epoch_are_trained_on(make_job: JobMaker) -> None:
    """15 steps of 8 are the 120 samples, each once, in the batches that the loop takes."""
    from eyewall.contracts.features import DAY_OF_YEAR, PAST_LON_DEG
    from eyewall.training.loop import training_batches
    from eyewall.training.plan import make_plan, read_cases
    from eyewall.training.strategies import Share

    job = make_job()
    folder = Store(job.store).local(job.records_ref)
    plan = make_plan(job, folder)
    taken = [f for f, _ in training_batches(plan, Share(), 0).take(15).as_numpy_iterator()]
    cases = read_cases(folder, "train")

    def keys(features: list[dict[str, Any]]) -> np.ndarray:
        return np.sort(np.concatenate([f[DAY_OF_YEAR] * 1000 + f[PAST_LON_DEG][:, -1] for f in features]))

    assert keys(taken).tolist() == keys([cases.features]).tolist()


def test_a_training_that_is_a_job_of_the_platform_reports_each_checkpoint_and_no_other_does(
    make_job: JobMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation score and loss after steps 5, 10 and 12, as in the history."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("EYEWALL_ATTEMPT", "1")
    job = make_job()
    receipt = run(job)
    signal.signal(signal.SIGTERM, before)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("eyewall-report ")]
    monkeypatch.delenv("EYEWALL_ATTEMPT")
    run(make_job(run="alone", seed=1))

    reported = [json.loads(line.removeprefix("eyewall-report ")) for line in lines]
    rows = [row for row in history(job, receipt) if row["val_score"]]
    assert [(each["step"], each["metric"]) for each in reported] == [
        (step, metric) for step in (5, 10, 12) for metric in ("val_score", "loss")
    ]
    assert [each["value"] for each in reported[::2]] == pytest.approx(
        [float(row["val_score"]) for row in rows], rel=1e-5
    )
    assert [each["value"] for each in reported[1::2]] == pytest.approx([float(row["loss"]) for row in rows])
    assert "eyewall-report" not in capsys.readouterr().out

    monkeypatch.setenv("EYEWALL_ATTEMPT", "2")  # another trial with the same values finds the model, and its curve
    run(job)
    again = [json.loads(line.partition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert [(each["step"], each["metric"]) for each in again] == [(each["step"], each["metric"]) for each in reported]
    assert [each["value"] for each in again] == pytest.approx([each["value"] for each in reported], rel=1e-5)

    assert receipt.result is not None
    (Store(job.store).local(receipt.result.uri) / "history.csv").write_text("step,loss\n5,0.1\n")
    with pytest.raises(ContractError, match=r"no history of a training in .*history\.csv.*train the model again"):
        run(job)
