"""`--track-model`: what is taken over, what learns, what is refused; and the options that came with it."""

import json
from typing import Any

import numpy as np
import pytest
from job_maker import JobMaker

from eyewall.contracts.errors import ContractError, InputError, LeakError
from eyewall.contracts.features import IMAGE_VALID, OUT_SOURCE, SOURCES
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.layout import digest_of
from eyewall.models.card import ModelCard
from eyewall.models.predict import load_predictor
from eyewall.records.testing import tiny_records
from eyewall.storage import Store, resolve
from eyewall.training.model_inputs import find_model_inputs
from eyewall.training.result import model_config
from eyewall.training.step import run

#: A network of one member, so that a test costs seconds.
ONE = {"size": "large", "width": 8}
#: And an image network of some hundred weights.
TINY = {"model": "fusion", "channels": (4, 4), "width": 4, "batch": 8, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def make_job(tmp_path_factory: pytest.TempPathFactory) -> JobMaker:
    """Make a short training in one store for all tests of this file; runs need names of their own."""
    store = Store(str(tmp_path_factory.mktemp("track-model") / "store"))
    records = tiny_records(store)

    def make(**values: Any) -> TrainJob:
        defaults = {"store": store.url, "records_ref": records.path, "run": "r", "model": "track", "batch": 8}
        return TrainJob.parse(defaults | values)

    return make


@pytest.fixture(scope="module")
def track(make_job: JobMaker) -> tuple[TrainJob, str]:
    """A trained track model, and its artifact's path."""
    job = make_job(run="track", steps=30, checkpoint_every=10, **ONE)
    result = run(job).result
    assert result is not None
    return job, result.uri


def features_of(job: TrainJob) -> dict[str, Any]:
    """The validation split's samples."""
    from eyewall.training.plan import batches

    ((features, _, _),) = batches(Store(job.store).local(job.records_ref), "val")
    return features


def test_the_track_model_is_taken_as_it_is(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    """CLIPER, scales, circles from its card; without frames every output is its own; with them it is corrected."""
    _, path = track
    job = make_job(run="fusion", track_model_ref=path, steps=6, doubt=0.0, **TINY)
    receipt = run(job)
    assert receipt.result is not None
    store = Store(job.store)
    ours, theirs = (ModelCard.read(store.local(uri)) for uri in (receipt.result.uri, path))

    assert (ours.cliper, ours.scale_km, ours.spread) == (theirs.cliper, theirs.scale_km, theirs.spread)
    assert ours.track == theirs
    assert ours.options == {"channels": [4, 4], "doubt": 0.0, "width": 4}
    assert ours.seasons == theirs.seasons
    features = features_of(job)
    seen = features[IMAGE_VALID].max(axis=1) > 0
    alone, out = (load_predictor(store.local(uri))(features) for uri in (path, receipt.result.uri))
    for name, values in alone.items():
        assert out[name][~seen] == pytest.approx(values[~seen], abs=1e-3), name
    if any(ours.shrinkage.values()):
        assert set(out[OUT_SOURCE][seen]) == {float(SOURCES.index("fusion"))}
    for lead, km in receipt.summary["val_km"].items():
        assert km["n"] <= seen.sum(), lead
        if km["n"]:
            assert km["model"] <= km["track"] + 1e-3, lead


def test_residuals_of_another_model_are_learned_and_the_track_model_corrected(
    track: tuple[TrainJob, str], make_job: JobMaker
) -> None:
    """Another first loss, as another model's errors are to be corrected; without frames still the track model's."""
    _, path = track
    other = run(make_job(run="other", steps=3, seed=7, **ONE)).result
    assert other is not None
    jobs = [
        make_job(run=f"f{i}", track_model_ref=path, steps=4, **TINY, **more)
        for i, more in enumerate(({}, {"residuals_ref": other.uri}))
    ]
    plain, honest = (run(job) for job in jobs)
    assert honest.result is not None
    features = features_of(jobs[1]) | {IMAGE_VALID: np.zeros_like(features_of(jobs[1])[IMAGE_VALID])}
    alone, out = (load_predictor(Store(jobs[1].store).local(uri))(features) for uri in (path, honest.result.uri))

    assert plain.summary["loss_first"] != honest.summary["loss_first"]
    assert all(out[name] == pytest.approx(values, abs=1e-3) for name, values in alone.items())
    manifest = resolve(Store(jobs[1].store), honest.result.uri, "model").manifest
    assert sorted(manifest.inputs) == ["records", "residuals", "track_model"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param({"model": "track"}, "take --model fusion", id="under a track model"),
        pytest.param({"model": "image", "residuals_ref": "x"}, "an image model corrects CLIPER", id="no residuals"),
        pytest.param({"track_model_ref": None, "residuals_ref": "x"}, "needs --track-model", id="residuals alone"),
        pytest.param({"track_model_ref": None, "frozen_encoder": True}, "needs --pretrained", id="nothing to freeze"),
        pytest.param(
            {"track_model_ref": None, "pretrained_ref": "x", "encoder": "rings"}, "--encoder cnn", id="rings pretrained"
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(make_job: JobMaker, values: Any, sentence: str) -> None:
    """Before anything is read."""
    job = make_job(**({"model": "fusion", "track_model_ref": "models/x"} | values))

    with pytest.raises(ContractError, match=sentence):
        find_model_inputs(job, Store(job.store))


def test_an_image_model_takes_its_cliper_alone(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    """With the circles of CLIPER's answers; without a frame it answers as that CLIPER, not as the track model."""
    _, path = track
    receipt = run(make_job(run="image", track_model_ref=path, steps=2, **(TINY | {"model": "image"})))
    assert receipt.result is not None
    store = Store(track[0].store)
    ours, theirs = (ModelCard.read(store.local(uri)) for uri in (receipt.result.uri, path))
    features = features_of(track[0])
    blind = features | {IMAGE_VALID: np.zeros_like(features[IMAGE_VALID])}
    out = load_predictor(store.local(receipt.result.uri))(blind)

    assert (ours.cliper, ours.scale_km, ours.track) == (theirs.cliper, theirs.scale_km, None)
    assert ours.spread is not None
    assert theirs.spread is not None
    assert ours.spread.cliper_95_km == theirs.spread.cliper_95_km
    assert out["displacement_km"].tolist() == out["cliper_displacement_km"].tolist()


def test_a_track_model_that_has_seen_what_chooses_is_refused(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    """It has learned from 2001-2004 and was chosen on 2005; records that choose on 2004, or test on 2005."""
    job, path = track
    store = Store(job.store)
    for spans, sentence in (
        ({"train_to": 2003, "val_to": 2004, "test_to": 2005}, "seasons 2004-2004 in train, and these records in val"),
        ({"train_to": 2003, "val_to": 2003, "test_to": 2006}, "in train, and these records in test"),
    ):
        records = tiny_records(store, train_from=2001, **spans)
        run_name = f"leak-{spans['val_to']}"
        other = make_job(run=run_name, model="fusion", track_model_ref=path, records_ref=records.path)
        with pytest.raises(LeakError, match=sentence):
            run(other)


def test_a_fusion_cannot_stand_on_a_fusion(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    """By the kind on its card."""
    fusion = run(make_job(run="stand", track_model_ref=track[1], steps=1, **TINY)).result
    assert fusion is not None

    with pytest.raises(ContractError, match="of kind 'fusion': give one of --model track"):
        run(make_job(run="on-it", track_model_ref=fusion.uri, **TINY))


def test_rings_say_which_pictures_they_need(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    """The toy's reach 640 km."""
    with pytest.raises(InputError, match="--px 32 --km-per-px 100"):
        run(make_job(run="rings", model="fusion", track_model_ref=track[1], encoder="rings"))


def test_digests_of_track_models_are_what_they_were(make_job: JobMaker) -> None:
    """The options at their defaults go unsaid: the digest of the fields that there were before."""
    job = make_job(steps=12, checkpoint_every=5)
    records = resolve(Store(job.store), job.records_ref, "records")
    before = {
        "format": 3, "records": records.manifest.sha256(), "model": "track", "strategy": "single", "workers": 1,
        "ps": 0, "steps": 12, "batch": 8, "learning_rate": 3e-3, "seed": 0, "checkpoint_every": 5, "min_wind_kt": 0.0,
    }  # fmt: skip

    assert digest_of(model_config(job, records)) == digest_of(before)
    assert digest_of(model_config(job.model_copy(update={"doubt": 0.5}), records)) != digest_of(before)


def test_cards_of_track_models_have_no_new_fields(track: tuple[TrainJob, str]) -> None:
    """Where everything is at its default they are the bytes that they were."""
    job, path = track
    card = ModelCard.read(Store(job.store).local(path)).model_copy(update={"sizes": {}, "options": {}})
    values = json.loads(card.to_bytes())

    assert not {"sizes", "options", "track"} & set(values)
    assert all(sorted(km) == ["cliper", "model", "n"] for km in values["val_km"].values())
    assert ModelCard.model_validate(values) == card


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"track_network": "gru", **ONE}, id="gru"),
        pytest.param({"track_network": "attention", **ONE}, id="attention"),
        pytest.param(TINY | {"model": "image", "encoder": "convlstm"}, id="convlstm"),
        pytest.param(TINY | {"model": "image", "augment": True}, id="augmented"),
        pytest.param(TINY | {"model": "image", "mixed_precision": True}, id="bfloat16"),
    ],
)
def test_every_option_trains_and_its_model_answers(
    make_job: JobMaker, values: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Finite losses, a model on disk in float32 that answers, and a card that says what it is."""
    job = make_job(**(values | {"run": request.node.callspec.id, "steps": 3, "checkpoint_every": 3}))
    receipt = run(job)
    assert receipt.result is not None
    folder = Store(job.store).local(receipt.result.uri)
    card = ModelCard.read(folder)
    out = load_predictor(folder)(features_of(job))

    assert np.isfinite([card.loss_first, card.loss_last]).all()
    assert card.sizes
    assert all(np.isfinite(v).all() and v.dtype == np.float32 for v in out.values())


# --- a pretrained encoder


def encoder_in(store: Store, km_per_px: float) -> str:
    """An encoder that nobody trained, with the card of one; its path."""
    from eyewall.contracts.manifest import Manifest
    from eyewall.models.encoder import build_encoder, weights_to_bytes
    from eyewall.models.encoder_card import CARD_NAME, WEIGHTS_NAME, EncoderCard, PictureScale

    scale = PictureScale(quantity="brightness_temperature_k", mean=260.0, std=20.0, px=16, km_per_px=km_per_px)
    card = EncoderCard(
        scale=scale, channels=(8, 8, 8, 8), stream="s", years=(1998, 2006), frames=1, frames_sha256="0" * 64,
        hidden=0.5, steps=1, batch=1, learning_rate=0.1, seed=0, parameters=1, loss_first=1.0, loss_last=1.0,
    )  # fmt: skip
    path = f"encoders/{km_per_px:g}"
    manifest = Manifest(kind="encoder", code_version="0", inputs={}, config={"km_per_px": km_per_px})
    with store.staging(path) as folder:
        (folder / WEIGHTS_NAME).write_bytes(weights_to_bytes(build_encoder(card.channels, 16).get_weights()))
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        store.commit(folder, path, manifest)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "free"])
def test_an_image_network_begins_from_a_pretrained_encoder(
    track: tuple[TrainJob, str], make_job: JobMaker, frozen: bool
) -> None:
    """Frozen it stays as it was to the last bit; free it learns."""
    from eyewall.models.encoder import load_encoder
    from eyewall.models.trained import forecaster_of, read_weights

    store = Store(track[0].store)
    path = "encoders/80" if store.read_manifest("encoders/80") else encoder_in(store, 80.0)
    job = make_job(
        run=f"pretrained-{frozen}", model="fusion", batch=8, checkpoint_every=2, steps=4, width=4, doubt=0.0,
        track_model_ref=track[1], pretrained_ref=path, frozen_encoder=frozen,
    )  # fmt: skip
    result = run(job).result
    assert result is not None
    folder = store.local(result.uri)
    model = forecaster_of(ModelCard.read(folder), read_weights(folder), "m")

    network = getattr(model.network, "image", model.network)
    ours = network.encoder.pretrained.get_weights()
    given = load_encoder(store.local(path))[0].get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(ours, given, strict=True)) == frozen


def test_an_encoder_of_other_pictures_is_refused(track: tuple[TrainJob, str], make_job: JobMaker) -> None:
    path = encoder_in(Store(track[0].store), 20.0)

    with pytest.raises(InputError, match="20 km a pixel, the records hold brightness_temperature_k of 80"):
        run(make_job(run="other-pictures", model="fusion", track_model_ref=track[1], pretrained_ref=path, steps=2))
