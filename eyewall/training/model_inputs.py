"""Trained models that a training begins with: the track model under a fusion, a pretrained encoder."""

from dataclasses import dataclass
from pathlib import Path

from eyewall.contracts.errors import ContractError, LeakError
from eyewall.contracts.jobs import TrainJob
from eyewall.models.card import ModelCard
from eyewall.records.schema import RecordsSchema
from eyewall.storage import Artifact, Store, resolve


@dataclass(frozen=True)
class TrackModel:
    """A trained track-only model on this machine."""

    folder: Path
    card: ModelCard


@dataclass(frozen=True)
class ModelInputs:
    """What a job's references come to; each may be absent."""

    track: TrackModel | None = None  #: what a fusion corrects, and answers as without an image; CLIPER of either
    residuals: TrackModel | None = None  #: whose errors it learns from instead
    encoder: Path | None = None  #: folder of a pretrained encoder


def find_model_inputs(job: TrainJob, store: Store) -> dict[str, Artifact]:
    """The artifacts that a job names, by the names of its fields without ``_ref``; cheap.

    Raises ContractError where one is of the wrong kind, or options do not go together.
    """
    if job.track_model_ref and job.model == "track":
        raise ContractError("--track-model is what images correct: take --model fusion, or image for its CLIPER alone")
    if job.residuals_ref and job.model == "image":
        raise ContractError("--residuals-of is another track model to learn from: an image model corrects CLIPER")
    if job.residuals_ref and not job.track_model_ref:
        raise ContractError("--residuals-of needs --track-model: it says whose errors are learned in place of its own")
    if job.pretrained_ref and (job.model == "track" or job.encoder != "cnn"):
        raise ContractError("--pretrained is an encoder of images: take --model image or fusion, and --encoder cnn")
    if job.frozen_encoder and not job.pretrained_ref:
        raise ContractError("--frozen-encoder needs --pretrained: an encoder that knows nothing has to learn")
    found = {}
    for name, ref, kind in (
        ("track_model", job.track_model_ref, "model"),
        ("residuals", job.residuals_ref, "model"),
        ("pretrained", job.pretrained_ref, "encoder"),
    ):
        if ref:
            found[name] = resolve(store, ref, kind)
    return found


def read_model_inputs(artifacts: dict[str, Artifact]) -> ModelInputs:
    """The cards of what `find_model_inputs` found. Raises ContractError for a model that is not track-only."""
    tracks = {}
    for name in ("track_model", "residuals"):
        if name in artifacts:
            folder = artifacts[name].folder()
            card = ModelCard.read(folder)
            if card.kind != "track":
                raise ContractError(
                    f"{artifacts[name].path} is a model of kind {card.kind!r}: give one of --model track"
                )
            tracks[name] = TrackModel(folder, card)
    encoder = artifacts["pretrained"].folder() if "pretrained" in artifacts else None
    return ModelInputs(tracks.get("track_model"), tracks.get("residuals"), encoder)


def refuse_leak(inputs: ModelInputs, schema: RecordsSchema) -> None:
    """Raises LeakError where a trained input has learned from seasons that are to choose or to judge by here."""
    for option, model in (("--track-model", inputs.track), ("--residuals-of", inputs.residuals)):
        if model is None:
            continue
        for seen, kept in (("train", ("val", "test")), ("val", ("test",))):
            for split in kept:
                span = schema.seasons.get(split)  # type: ignore[call-overload]
                both = [s for s in model.card.seasons.get(seen, ()) if span and span[0] <= s <= span[1]]
                if both:
                    raise LeakError(
                        f"the {option} has seasons {both[0]}-{both[-1]} in {seen}, and these records in {split}: make"
                        " the records with the same --train-to and --val-to"
                    )
