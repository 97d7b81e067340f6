"""From a decision to a version that is stable: only with a yes, only once, and only when the server has answered."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_models import INPUTS, U, X, decide, put_model, saved_model

from eyewall.contracts.errors import ContractError, EyewallError, InputError, NothingNew, ServingError, StorageError
from eyewall.contracts.jobs import PublishJob
from eyewall.contracts.manifest import Manifest
from eyewall.serving import promote, publish_step, warmup
from eyewall.serving import repository as version_repository
from eyewall.serving.client import Client
from eyewall.serving.rollback import roll_back
from eyewall.storage.store import sha256_of


def stable_gain(server) -> float:
    """The gain that the label stable answers with; the server's REST side is asked elsewhere."""
    with Client(server.address) as client:
        y = client.predict(INPUTS, "track", label="stable").outputs["y"]
    return float((y / (X + U)).mean())


def test_a_yes_becomes_version_1_which_is_stable_and_answers(repository, server):
    receipt = repository.publish(2.0, server=server.address)
    assert receipt.summary == {"name": "track", "version": 1, "labels": {"stable": 1}, "served": True}
    assert receipt.result.uri == "serving/track/1"
    assert stable_gain(server) == pytest.approx(2.0)


def test_the_published_files_are_the_models_own_with_its_card_and_a_warm_up_record(repository):
    repository.publish(2.0)
    folder = Path(repository.url) / "serving/track/1"
    original = Path(repository.url) / "models/gain2.0/saved_model"
    for file in original.rglob("*"):
        if file.is_file():
            assert sha256_of(folder / file.relative_to(original)) == sha256_of(file)
    assert (folder / "assets.extra/model.json").read_text() == '{"gain": 2.0}\n'
    (log,) = warmup.read(folder)
    assert log.predict_log.request.model_spec.name == "track"
    assert sorted(log.predict_log.request.inputs) == ["u", "x"]


def test_the_card_that_its_verification_wrote_goes_along(repository):
    """Text and pictures, and not the table of cases; a decision whose evaluation is gone publishes without."""
    files = {"card.md": "# Model\n", "skill.png": "a", "calibration.png": "b", "cases.csv": "c", "report.json": "{}"}
    with repository.store.staging("evaluations/e") as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        repository.store.commit(folder, "evaluations/e", Manifest(kind="evaluation", code_version="test"))
    repository.publish(2.0)
    extra = Path(repository.url) / "serving/track/1/assets.extra"
    assert (extra / "card.md").read_text() == "# Model\n"
    assert {p.name for p in extra.iterdir()} >= {"card.md", "skill.png", "calibration.png", "model.json"}
    assert not (extra / "cases.csv").exists()


def test_tensorflow_itself_reads_the_warm_up_file(repository):
    import tensorflow as tf

    repository.publish(2.0)
    path = Path(repository.url) / "serving/track/1" / warmup.WARMUP_PATH
    records = list(tf.data.TFRecordDataset(str(path), buffer_size=1 << 16).as_numpy_iterator())
    assert len(records) == 1


def test_the_same_model_again_is_the_same_version_and_changes_nothing(repository, server):
    first = repository.publish(2.0, server=server.address)
    before = {p: (Path(repository.url) / "serving" / p).stat().st_mtime_ns for p in repository.files()}
    assert repository.publish(2.0, server=server.address) == first
    after = {p: (Path(repository.url) / "serving" / p).stat().st_mtime_ns for p in repository.files()}
    after.pop(".lock"), before.pop(".lock")
    assert after == before


def test_of_many_versions_stable_and_previous_stay_and_no_number_is_used_twice(repository):
    for gain in (2.0, 3.0, 4.0, 5.0):
        repository.publish(gain)
    assert repository.served.labels == {"stable": 4, "previous": 3}
    assert [v.state for v in repository.served.versions.values()] == ["retired", "retired", "good", "good"]
    assert {p for p in repository.files() if "/" in p and p.count("/") == 1} == {"track/3", "track/4"}


@pytest.mark.parametrize(
    ("verdict", "fields", "sentence"),
    [
        pytest.param("no", {}, "says no", id="no"),
        pytest.param("no", {"approved_by": "Aki"}, "says no", id="no-whoever-approves"),
        pytest.param("ask", {}, "say with --approved-by", id="close-call"),
        pytest.param("ask", {"approved_by": "  "}, "say with --approved-by", id="close-call-approved-by-nobody"),
    ],
)
def test_without_a_yes_nothing_is_published(repository, verdict, fields, sentence):
    with pytest.raises(InputError, match=sentence):
        repository.publish(2.0, decision_ref=repository.decision(2.0, verdict), **fields)
    assert not (Path(repository.url) / "serving").exists()


def test_a_close_call_is_published_under_the_name_of_who_took_it(repository):
    repository.publish(2.0, decision_ref=repository.decision(2.0, "ask"), approved_by="Aki")
    assert repository.served.versions[1].approved_by == "Aki"


def test_a_decision_about_another_state_of_the_model_is_refused(repository):
    decision = repository.decision(2.0)
    repository.store.remove("models/gain2.0")
    put_model(repository.store, 2.0, saved_model(3.0))
    with pytest.raises(ContractError, match="not the one that"):
        repository.publish(2.0, decision_ref=decision)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda f: f.write_bytes(f.read_bytes()[:-7]), "differs from its manifest", id="truncated"),
        pytest.param(
            lambda f: f.write_bytes(bytes([f.read_bytes()[0] ^ 1]) + f.read_bytes()[1:]),
            "differs from its manifest",
            id="one-bit-flipped",
        ),
        pytest.param(lambda f: f.unlink(), "is missing", id="gone"),
    ],
)
def test_a_damaged_artifact_is_refused_before_it_has_a_number(repository, server, damage, sentence):
    repository.publish(2.0, server=server.address)
    before = repository.files()
    model = repository.store.local(repository.model(3.0))
    damage(model / "saved_model/variables/variables.data-00000-of-00001")
    with pytest.raises(InputError, match=sentence):
        repository.publish(3.0, server=server.address)
    assert repository.files() == before
    assert stable_gain(server) == pytest.approx(2.0)


@pytest.fixture
def broken(tmp_path):
    """A SavedModel that was broken before its manifest was made, so that its sums are right."""
    folder = tmp_path / "broken"
    shutil.copytree(saved_model(7.0), folder)
    (folder / "saved_model.pb").write_bytes(b"no model at all")
    return folder


def test_a_model_that_cannot_be_loaded_is_refused_before_it_has_a_number(repository, server, broken):
    repository.publish(2.0, server=server.address)
    decision = decide(repository.store, put_model(repository.store, 7.0, broken))
    with pytest.raises(InputError, match="does not answer a valid request"):
        repository.publish(7.0, decision_ref=decision, server=server.address)
    assert sorted(repository.served.versions) == [1]
    assert stable_gain(server) == pytest.approx(2.0)


def test_a_model_that_answers_with_nan_is_refused(repository):
    with pytest.raises(InputError, match="is not finite"):
        repository.publish(float("nan"))


def damaged_on_the_way(monkeypatch, damage) -> None:
    """Let ``damage(folder)`` happen to a version between its copy and the server's load, as a bad disk would."""
    original = version_repository.register

    def register(store, name, model, approved_by, evaluation):
        number = original(store, name, model, approved_by, evaluation)
        damage(Path(store.full(f"serving/{name}/{number}")))
        return number

    monkeypatch.setattr(version_repository, "register", register)


def test_a_version_that_the_server_cannot_load_is_set_aside_and_the_old_one_stays(repository, server, monkeypatch):
    repository.publish(2.0, server=server.address)
    damaged_on_the_way(monkeypatch, lambda folder: (folder / "saved_model.pb").write_bytes(b"torn"))
    with pytest.raises(ServingError, match=r"version 2 of model 'track' was not taken: it does not load"):
        repository.publish(3.0, server=server.address)
    assert repository.served.labels == {"stable": 1}
    assert repository.served.versions[2].state == "failed"
    assert "does not load" in repository.served.versions[2].reason
    assert "track/2" not in repository.files()
    assert stable_gain(server) == pytest.approx(2.0)
    with Client(server.address) as client:
        assert client.status("track")[1].available

    monkeypatch.undo()  # the disk is mended: the same command completes, under the same number
    assert repository.publish(3.0, server=server.address).summary["version"] == 2
    assert stable_gain(server) == pytest.approx(3.0)


def test_a_server_that_answers_otherwise_than_the_model_is_not_given_the_label(repository, server, monkeypatch):
    repository.publish(2.0, server=server.address)
    other = saved_model(5.0) / "variables"
    damaged_on_the_way(monkeypatch, lambda folder: shutil.copytree(other, folder / "variables", dirs_exist_ok=True))
    with pytest.raises(ServingError, match="is not what the published model answers"):
        repository.publish(3.0, server=server.address)
    assert stable_gain(server) == pytest.approx(2.0)


def test_a_version_that_does_not_load_in_time_is_not_waited_for_for_ever(repository, server):
    repository.publish(2.0, server=server.address)
    with pytest.raises(ServingError, match="not taken"):
        repository.publish(3.0, server=server.address, server_base="elsewhere", timeout_s=1.0)
    assert stable_gain(server) == pytest.approx(2.0)


def test_a_server_that_is_away_says_nothing_against_the_model(repository):
    with pytest.raises(ServingError, match="does not answer"):
        repository.publish(2.0, server="127.0.0.1:1", timeout_s=1.0)
    assert repository.served.versions == {}


def test_a_model_that_was_replaced_since_is_not_published_again_by_a_late_retry(repository):
    repository.publish(2.0)
    repository.publish(3.0)
    with pytest.raises(NothingNew, match="was replaced by version 2"):
        repository.publish(2.0)
    assert repository.served.stable == 2


def test_a_server_that_restarted_empty_is_given_the_stable_version_again(repository, serve):
    server = serve(repository.url, poll_s=0)  # like the real server, which knows nothing of models.json
    repository.publish(2.0, server=server.address)
    with Client(server.address) as client:
        client.reload([])
        assert repository.publish(2.0, server=server.address).summary["version"] == 1
    assert stable_gain(server) == pytest.approx(2.0)


def test_two_publishers_at_once_get_two_numbers_and_one_stable(repository, server):
    decisions = [repository.decision(gain) for gain in (2.0, 3.0, 4.0)]

    def publish(decision: str) -> object:
        job = PublishJob(store=repository.url, decision_ref=decision, server=server.address, timeout_s=30.0)
        try:
            return publish_step.run(job).summary["version"]
        except EyewallError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(publish, decisions))
    assert sorted(results) == [1, 2, 3]
    assert repository.served.labels == {"stable": 3, "previous": 2}
    assert stable_gain(server) == pytest.approx((2.0, 3.0, 4.0)[results.index(3)])


def test_a_store_that_is_full_leaves_the_old_version_and_no_half_copy(repository, server, monkeypatch):
    repository.publish(2.0, server=server.address)
    before = repository.files()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    decision = repository.decision(3.0)
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageError, match="free some space"):
        repository.publish(3.0, decision_ref=decision, server=server.address)
    assert repository.files() == before
    assert stable_gain(server) == pytest.approx(2.0)


def test_on_an_object_store_a_version_is_copied_and_labelled_the_same():
    from tiny_models import Repository

    remote = Repository("memory://bucket")
    assert remote.publish(2.0).summary["version"] == 1
    assert remote.publish(3.0).summary["labels"] == {"stable": 2, "previous": 1}
    assert remote.store.exists("serving/track/2/saved_model.pb")


def test_a_real_request_is_a_typhoon_where_the_names_are_known():
    from eyewall.contracts.features import ImageSpec, input_shapes
    from eyewall.serving.saved_model import Signature, TensorSpec

    signature = Signature.__new__(Signature)
    signature.inputs = {
        name: TensorSpec(np.dtype(np.float32), (None, *shape)) for name, shape in input_shapes(ImageSpec(px=8)).items()
    }
    inputs = warmup.example_inputs(signature)
    assert inputs["images"].shape == (1, 3, 8, 8, 1)
    assert 150 < inputs["images"].min() <= inputs["images"].max() < 330
    assert (np.diff(inputs["past_lat_deg"]) > 0).all()
    assert (np.diff(inputs["past_lon_deg"]) < 0).all()
    assert inputs["image_age_h"].tolist() == [[12.0, 6.0, 0.0]]
    assert (inputs["past_fix_valid"] == 1).all()


def test_a_warm_up_file_that_is_damaged_or_too_long_is_refused(repository):
    from eyewall.records.shards import frame_record
    from eyewall.serving.status import StatusError

    repository.publish(2.0)
    folder = Path(repository.url) / "serving/track/1"
    path = folder / warmup.WARMUP_PATH
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(StatusError, match="damaged"):
        warmup.read(folder)
    path.write_bytes(frame_record(b"\xff\xff"))
    with pytest.raises(StatusError, match="damaged"):
        warmup.read(folder)
    path.write_bytes(content * 1001)
    with pytest.raises(StatusError, match="exceeds the maximum"):
        warmup.read(folder)


# --- the way back


def test_a_rollback_serves_the_previous_version_and_remembers_why(repository, server):
    repository.publish(2.0, server=server.address)
    repository.publish(3.0, server=server.address)
    assert roll_back(repository.store, "track", server=server.address, reason="drifts east") == (2, 1)
    assert stable_gain(server) == pytest.approx(2.0)
    assert repository.served.labels == {"stable": 1}
    assert repository.served.versions[2].reason == "drifts east"
    with pytest.raises(NothingNew, match="was rolled back"):
        repository.publish(3.0, server=server.address)
    assert roll_back(repository.store, "track", to=2, server=server.address) == (1, 2)
    assert stable_gain(server) == pytest.approx(3.0)
    assert repository.served.labels == {"stable": 2, "previous": 1}


@pytest.mark.parametrize(
    ("name", "to", "sentence"),
    [
        pytest.param("nope", None, "no served model 'nope': there is track", id="model"),
        pytest.param("track", 9, r"has no version 9: it has \[1, 2, 3\]", id="version"),
        pytest.param("track", 3, "is stable already", id="stable"),
        pytest.param("track", 1, "is retired", id="retired"),
    ],
)
def test_a_rollback_to_nowhere_is_refused(repository, name, to, sentence):
    for gain in (2.0, 3.0, 4.0):
        repository.publish(gain)
    with pytest.raises(InputError, match=sentence):
        roll_back(repository.store, name, to)
    assert repository.served.stable == 3


def test_after_a_rollback_there_is_no_further_version_to_go_back_to(repository):
    repository.publish(2.0)
    repository.publish(3.0)
    roll_back(repository.store, "track")
    with pytest.raises(InputError, match="no version before 1 left"):
        roll_back(repository.store, "track")


def test_a_rollback_that_the_server_does_not_take_changes_nothing(repository, serve):
    server = serve(repository.url, poll_s=0)
    repository.publish(2.0, server=server.address)
    repository.publish(3.0, server=server.address)
    (Path(repository.url) / "serving/track/1/saved_model.pb").write_bytes(b"torn")
    with Client(server.address) as client:  # let the server forget the copy that it has in memory
        client.reload(promote.configs(_only(repository, 2), repository.store.full("serving")))
    with pytest.raises(ServingError, match="does not load"):
        roll_back(repository.store, "track", server=server.address)
    assert repository.served.labels == {"stable": 2, "previous": 1}
    assert repository.served.versions[1].state == "good"
    assert stable_gain(server) == pytest.approx(3.0)


def _only(repository, number):
    from eyewall.serving.index import read_index

    index = read_index(repository.store)
    model = index.model("track").model_copy(update={"served": (number,), "labels": {"stable": number}})
    return index.with_model("track", model)


# --- a server that follows models.json


def wait_until(condition):
    import time

    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_was_not_told_follows_models_json(repository, server):
    repository.publish(2.0)
    wait_until(lambda: "stable" in server.manager.labels().get("track", {}))
    assert stable_gain(server) == pytest.approx(2.0)
    repository.publish(3.0)
    wait_until(lambda: server.manager.labels()["track"].get("stable") == 2)
    assert stable_gain(server) == pytest.approx(3.0)
    roll_back(repository.store, "track")
    wait_until(lambda: server.manager.labels()["track"].get("stable") == 1)
    assert stable_gain(server) == pytest.approx(2.0)


def test_a_models_json_that_is_damaged_changes_nothing_that_is_served(repository, server, caplog):
    repository.publish(2.0, server=server.address)
    repository.store.write_bytes("serving/models.json", b"{")
    wait_until(lambda: "what was served before stays" in caplog.text)
    assert stable_gain(server) == pytest.approx(2.0)


def test_a_server_that_starts_serves_what_is_labelled(repository, serve):
    repository.publish(2.0)
    repository.publish(3.0)
    roll_back(repository.store, "track")
    assert stable_gain(serve(repository.url)) == pytest.approx(2.0)
