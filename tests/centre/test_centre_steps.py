"""The three steps on a toy archive: found when there, the same bytes again, and honest about what they cannot use."""

import contextlib
import csv
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("tf_keras")

from eyewall.centre import fitting, pretrain_step
from eyewall.centre.card import SCORES_NAME, CentreCard
from eyewall.centre.find_step import POSITIONS_NAME, REPORT_NAME
from eyewall.cli import parse_command_line, run_job
from eyewall.contracts.errors import ContractError, DivergedError, InputError
from eyewall.contracts.jobs import FindCentreJob, PretrainJob, TrainCentreJob
from eyewall.models.encoder_card import EncoderCard
from eyewall.storage import Store, resolve

SMALL = {"px": 64, "km_per_px": 28.0, "channels": (8, 8, 8, 16), "batch": 4}


@pytest.fixture(scope="module")
def archive(toy_archive, tmp_path_factory):
    """A copy of the toy archive that these tests may write to, and its tracks."""
    source, tracks = toy_archive
    store = Store(str(tmp_path_factory.mktemp("steps") / "store"))
    shutil.copytree(source.root, store.root)
    return store, tracks


def pretrain_job(store, **fields):
    values = {"store": store.url, "stream": "toy", "season_from": 2001, "season_to": 2002, "steps": 12, **SMALL}
    return PretrainJob.parse(values | fields)


def train_job(archive, **fields):
    store, tracks = archive
    values = {"store": store.url, "stream": "toy", "tracks": tracks, "train_to": 2002, "val_to": 2003, "steps": 6}
    return TrainCentreJob.parse(values | SMALL | fields)


@pytest.fixture(scope="module")
def encoder(archive):
    """A pretrained encoder, by its receipt."""
    return run_job(pretrain_job(archive[0], receipt="encoder.json"))


@pytest.fixture(scope="module")
def centre(archive, encoder):
    """A centre network that was trained long enough to know a painted storm, by its receipt."""
    job = train_job(
        archive, steps=260, batch=8, learning_rate=6e-3, pretrained_ref="encoder.json", receipt="centre.json"
    )
    return run_job(job)


def files(store, receipt):
    return {entry.path: entry.sha256 for entry in resolve(store, receipt.result.uri).manifest.files}


def test_an_encoder_says_what_it_saw_and_learned(archive, encoder):
    card = EncoderCard.read(resolve(archive[0], "encoder.json", "encoder").folder())

    assert card.frames == 16
    assert card.scale.quantity == "brightness_temperature_k"
    assert card.loss_last < card.loss_first
    assert encoder.summary["encoder"] == encoder.result.uri
    assert not archive[0].list_files("runs")


def test_the_same_pretraining_elsewhere_gives_the_same_bytes_and_here_it_is_found(
    archive, encoder, tmp_path, monkeypatch
):
    elsewhere = Store(str(tmp_path / "other"))
    shutil.copytree(f"{archive[0].root}/frames", f"{elsewhere.root}/frames")

    again = run_job(pretrain_job(elsewhere))

    assert again.result == encoder.result
    assert files(elsewhere, again) == files(archive[0], encoder)
    monkeypatch.setattr(fitting, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert run_job(pretrain_job(archive[0])).result == encoder.result


@pytest.mark.parametrize(
    ("fields", "is_another"),
    [
        pytest.param({"seed": 1}, True, id="seed"),
        pytest.param({"season_to": 2001}, True, id="years"),
        pytest.param({"hidden": 0.5}, True, id="hidden"),
        pytest.param({"mixed_precision": True}, True, id="precision"),
        pytest.param({"receipt": "other.json"}, False, id="receipt"),
    ],
)
def test_what_changes_the_encoder_changes_its_name_and_nothing_else_does(
    archive, encoder, fields, is_another, monkeypatch
):
    """Told without training: a job whose encoder is not there would train."""
    names = []

    def would_train(job, store, frames, config, path):
        names.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain_step, "_train", would_train)
    with contextlib.suppress(KeyboardInterrupt):
        names.append(run_job(pretrain_job(archive[0], **fields)).result.uri)

    assert (names[0] != encoder.result.uri) == is_another


def test_a_killed_pretraining_goes_on_and_ends_with_the_same_encoder(archive, encoder, tmp_path, monkeypatch):
    elsewhere = Store(str(tmp_path / "other"))
    shutil.copytree(f"{archive[0].root}/frames", f"{elsewhere.root}/frames")
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY", 5)
    write = Store.write_bytes

    def write_and_die(self, path, data):
        write(self, path, data)
        if path.endswith("state.npz"):
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write_bytes", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        run_job(pretrain_job(elsewhere))
    monkeypatch.setattr(Store, "write_bytes", write)
    assert [path for path in elsewhere.list_files("runs") if path.endswith("state.npz")]

    assert files(elsewhere, run_job(pretrain_job(elsewhere))) == files(archive[0], encoder)


def test_a_damaged_checkpoint_is_passed_over(archive, tmp_path):
    store = Store(str(tmp_path))
    store.write_bytes("runs/x/state.npz", b"PK no archive")

    assert fitting._resumed(store, "runs/x/state.npz", []) == []


def test_a_centre_network_finds_the_storms_of_a_season_it_has_not_seen(archive, centre):
    """Painted storms: from 230 km of the guess to less than half of it, in seasons kept aside."""
    store, tracks = archive
    job = FindCentreJob.parse(
        {"store": store.url, "stream": "toy", "model_ref": "centre.json", "season_from": 2004, "season_to": 2004,
         "tracks": tracks, "search_km": 300, "views": 2, "resamples": 100}
    )  # fmt: skip
    found = run_job(job)

    assert found.summary["cases"] == 16
    assert found.summary["median_km"] < 0.5 * found.summary["guess_median_km"]
    folder = resolve(store, found.result.uri, "positions").folder()
    with (folder / POSITIONS_NAME).open() as stream:
        rows = list(csv.DictReader(stream))
    about = [row for row in rows if row["search"] == "guess"]
    assert len(about) == 16
    assert {row["storm_id"] for row in about} == {"2004150N12140", "2004151N20128"}
    assert np.median([float(row["error_km"]) for row in about]) == pytest.approx(found.summary["median_km"], abs=0.06)
    report = json.loads((folder / REPORT_NAME).read_text())
    assert report["basin_wide"]["frames"] == 8
    assert report["about_first_guesses"]["by_intensity"]["wind unknown"]["n"] == 8
    assert {"errors.png", "intensity.png"} <= set(files(store, found))
    assert run_job(job).result == found.result


def test_the_card_says_what_the_network_was_trained_on(archive, centre, encoder):
    folder = resolve(archive[0], "centre.json", "centre").folder()
    card = CentreCard.read(folder)

    assert card.seasons == {"train": (1951, 2002), "val": (2003, 2003)}
    assert card.storms == {"train": 4, "val": 2}
    assert card.cases == {"train": 32, "val": 16}
    assert card.pretrained == encoder.result.sha256
    assert len((folder / SCORES_NAME).read_text().splitlines()) == 17


def test_members_differ_and_a_share_of_storms_is_counted(archive):
    made = run_job(train_job(archive, members=2, steps=2, storm_share=0.5))
    folder = resolve(archive[0], made.result.uri, "centre").folder()

    with np.load(folder / "weights-0.npz") as first, np.load(folder / "weights-1.npz") as second:
        assert not np.array_equal(first["w000"], second["w000"])
    assert CentreCard.read(folder).storms["train"] == 2


def test_first_guesses_of_a_file_are_searched_without_any_best_track(archive, centre, tmp_path):
    guesses = tmp_path / "guesses.csv"
    guesses.write_text(
        "time_utc,storm_id,lat_deg,lon_deg\n2004-05-30T01:30:00Z,X1,14.0,139.0\n2004-05-30T02:00:00Z,X1,14,139\n"
    )
    found = run_job(
        FindCentreJob.parse(
            {"store": archive[0].url, "stream": "toy", "model_ref": "centre.json", "season_from": 2004,
             "season_to": 2004, "guesses": str(guesses), "basin": False, "views": 1}
        )
    )  # fmt: skip
    rows = (resolve(archive[0], found.result.uri).folder() / POSITIONS_NAME).read_text().splitlines()

    assert len(rows) == 2  # the second guess has no frame of its time
    assert rows[1].startswith("guess,2004-05-30T01:30:00Z")
    assert rows[1].endswith(",,")  # nobody knows how good it is
    assert found.summary["positions"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({"train_to": 2002, "val_to": 2001}, "out of order", id="seasons_backwards"),
        pytest.param({"stream": "none"}, "has no frames", id="no_stream"),
        pytest.param({"train_from": 1960, "train_to": 1970, "val_to": 2003}, "no frame in 1960-1970", id="no_frame"),
        pytest.param({"pretrained_ref": "encoder.json", "km_per_px": 20.0}, "km_per_px = 28", id="another_geometry"),
        pytest.param({"pretrained_ref": "encoder.json", "channels": (8, 8, 8, 8)}, "channels", id="another_size"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_a_sentence(archive, encoder, fields, sentence):
    with pytest.raises(InputError, match=sentence):
        run_job(train_job(archive, **fields))


def test_a_loss_that_is_no_number_ends_the_training(archive):
    with pytest.raises(DivergedError, match="learning-rate"):
        run_job(pretrain_job(archive[0], learning_rate=1e30, steps=20))


def test_a_network_is_no_encoder_and_searching_for_nothing_is_refused(archive, centre):
    with pytest.raises(ContractError, match="encoder"):
        run_job(train_job(archive, pretrained_ref="centre.json"))
    with pytest.raises(InputError, match="nothing to search"):
        run_job(
            FindCentreJob.parse(
                {"store": archive[0].url, "stream": "toy", "model_ref": "centre.json", "season_from": 2004,
                 "season_to": 2004, "basin": False}
            )
        )  # fmt: skip


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(
            PretrainJob(stream="s", season_from=1998, season_to=2006, channels=(8, 16, 16, 24), hidden=0.75),
            id="pretrain",
        ),
        pytest.param(
            TrainCentreJob(stream="s", tracks="t", train_to=1, val_to=2, pretrained_ref="e", members=3), id="train"
        ),
        pytest.param(
            FindCentreJob(model_ref="m", stream="s", season_from=1, season_to=2, basin=False, guesses="g.csv"),
            id="find",
        ),
    ],
)
def test_a_job_comes_back_from_its_command_line(job):
    assert parse_command_line(job.to_args()) == job
