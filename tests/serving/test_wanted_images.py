"""The rule by which frames were taken for a model's records travels with it, from training to forecast."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.contracts.jobs import ForecastJob, TrainJob
from eyewall.contracts.manifest import Manifest
from eyewall.models.card import ModelCard, Normalisation, Spread
from eyewall.records.schema import RecordsSchema
from eyewall.serving.wanted_images import WantedImages, wanted_images
from eyewall.storage import Artifact, Store
from eyewall.training import result

RULE = {"max_frame_age_h": 30.0, "min_frame_gap_h": 2.5}
IMAGES = ImageSpec(frames=2, px=16, km_per_px=80.0)


def card(store: Store, images: ImageSpec, config: dict[str, float]) -> ModelCard:
    """The card of a run of one step on records that were made with ``config``."""
    counts = {"train": 7, "val": 3, "test": 2}
    schema = RecordsSchema(
        images=IMAGES, shards=1, seasons={"train": (2001, 2002), "val": (2003, 2003), "test": None}, counts=counts,
        storms=counts, with_frames=counts, bytes=counts,
    )  # fmt: skip
    by_lead = np.arange(1.0, 1.0 + len(LEADS_H))
    plan = SimpleNamespace(
        job=TrainJob(records_ref="r", run="r"), schema=schema, images=images, scale_km=tuple(by_lead),
        cliper=SimpleNamespace(to_json=lambda: {"c": 1.5}), normalisation=Normalisation(),
        inputs=SimpleNamespace(track=None),
    )  # fmt: skip
    skill = SimpleNamespace(n=by_lead, model_km=by_lead, cliper_km=by_lead, shrinkage=by_lead / 10)
    state = SimpleNamespace(best_skill=skill, best_step=1, losses=[2.5])
    records = Artifact(store, "records/r", Manifest(kind="records", code_version="test", config=config))
    radii = tuple(by_lead)
    spread = Spread(factor_68=radii, factor_95=radii, cliper_68_km=radii, cliper_95_km=radii)
    model = SimpleNamespace(spread=spread, base=None)
    return result._card(plan, state, records, model, 5, {})


def rule(card: ModelCard) -> tuple[float | None, float | None]:
    return card.max_frame_age_h, card.min_frame_gap_h


def test_training_writes_the_rule_of_its_records_into_the_card_and_a_forecast_follows_it(store_url):
    store = Store(store_url)
    made = card(store, IMAGES, RULE)
    assert rule(made) == (30.0, 2.5)
    store.write_bytes("serving/track/4/assets.extra/model.json", made.to_bytes())
    assert wanted_images(store, ForecastJob(tracks="t"), 4) == WantedImages(IMAGES, 30.0, 2.5)
    assert wanted_images(store, ForecastJob(tracks="t", min_frame_gap_h=0), 4) == WantedImages(IMAGES, 30.0, 0.0)


def test_a_model_without_images_and_records_without_a_rule_leave_it_open(store_url):
    assert rule(card(Store(store_url), IMAGES.model_copy(update={"frames": 0}), RULE)) == (None, None)
    assert rule(card(Store(store_url), IMAGES, {})) == (None, None)


def test_a_card_of_before_the_rule_is_read_as_ever(tmp_path):
    old = json.loads(card(Store(str(tmp_path)), IMAGES, {}).to_bytes())
    for name in RULE:
        del old[name]
    (tmp_path / "model.json").write_text(json.dumps(old))
    assert rule(ModelCard.read(tmp_path)) == (None, None)


@pytest.mark.parametrize("option", ["--max-frame-age-h", "--min-frame-gap-h"])
def test_a_forecast_says_nothing_of_the_rule_unless_it_is_asked_to(option):
    assert not any(argument.startswith(option) for argument in ForecastJob(tracks="t").to_args())
    given = ForecastJob.parse({"tracks": "t", option.removeprefix("--").replace("-", "_"): "3.5"})
    assert f"{option}=3.5" in given.to_args()
