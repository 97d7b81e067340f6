"""The end of a training: the best weights, shrunk as validation advises, as a committed model artifact."""

from typing import Any

import numpy as np

from eyewall import __version__
from eyewall.contracts.features import LEADS_H
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.layout import artifact_dir
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.models.card import CARD_NAME, HISTORY_NAME, SAVED_MODEL_DIR, LeadSkill, ModelCard
from eyewall.storage import Artifact, Store, find
from eyewall.training.curve import history_csv

#: Raise it when the same records and job would give another model: old artifacts are then not taken for new ones.
MODEL_FORMAT = 3
#: Of models with images: their networks are told the heading, and a fusion has the track ensemble.
_IMAGE_FORMAT = 4
#: The fields of a job that decide the result; the run's name and how long to wait for a peer do not.
_DECISIVE = (
    "model", "strategy", "workers", "ps", "steps", "batch", "learning_rate", "seed", "checkpoint_every",
    "min_wind_kt",
)  # fmt: skip
#: Those that came later: unsaid at their defaults, so that models of before keep their digests.
_LATER = (
    "track_network", "encoder", "frozen_encoder", "size", "width", "channels", "augment", "weight_decay", "doubt",
    "mixed_precision",
)  # fmt: skip


def later_options(job: TrainJob) -> dict[str, Any]:
    """The options of `_LATER` that are not at their defaults."""
    values = job.model_dump(mode="json")
    return {key: values[key] for key in _LATER if getattr(job, key) != TrainJob.model_fields[key].default}


def model_config(job: TrainJob, records: Artifact, inputs: dict[str, Artifact] | None = None) -> dict[str, Any]:
    """What the model's digest is made of; ``inputs`` as `eyewall.training.model_inputs` finds them."""
    values = job.model_dump(mode="json")
    number = MODEL_FORMAT if job.model == "track" else _IMAGE_FORMAT
    config: dict[str, Any] = {"format": number, "records": records.manifest.sha256()}
    config |= {key: values[key] for key in _DECISIVE} | later_options(job)
    return config | {name: model.manifest.sha256() for name, model in (inputs or {}).items()}


def find_model(store: Store, digest: str) -> Artifact | None:
    """The model artifact of that digest, if it is there already."""
    return find(store, artifact_dir("models", digest))


def receipt_of(model: Artifact, seconds: float | None = None) -> Receipt:
    """What the train step says of its model; everything but the seconds comes from the model's own card."""
    card = ModelCard.read(model.folder())
    summary: dict[str, Any] = {
        "model": model.path,
        "steps": card.steps,
        "loss_first": card.loss_first,
        "loss_last": card.loss_last,
        "val_km": {
            lead: s.model_dump(exclude=set() if card.track is not None else {"track"})
            for lead, s in card.val_km.items()
        },
        "shrinkage": card.shrinkage,
    }
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb="train", result=model.reference, summary=summary)


def commit_model(
    plan: Any, state: Any, store: Store, records: Artifact, digest: str, inputs: dict[str, Artifact] | None = None
) -> Artifact:
    """Export the best weights of a finished run (`Plan`, `TrainingState`) and commit the artifact.

    Imports TensorFlow; the functions above do not.
    """
    from eyewall.models.export import export
    from eyewall.training.calibration import fit_spread
    from eyewall.training.learner import make_model, network_sizes

    config = model_config(plan.job, records, inputs)
    skill = state.best_skill
    model = make_model(plan, tuple(float(s) for s in skill.shrinkage))
    model.set_weights(state.best_weights)
    model.spread = fit_spread(plan, model)
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    card = _card(plan, state, records, model, parameters, network_sizes(plan))
    path = artifact_dir("models", digest)
    manifest = Manifest(
        kind="model",
        code_version=__version__,
        inputs={"records": records.manifest.sha256()}
        | {name: model.manifest.sha256() for name, model in (inputs or {}).items()},
        config=config,
        counts={"parameters": card.parameters, **{f"{k}_samples": n for k, n in card.samples.items()}},
        extra={"images": plan.images.model_dump(mode="json")},
    )
    with store.staging(path) as folder:
        export(model, plan.images, folder / SAVED_MODEL_DIR)
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        (folder / HISTORY_NAME).write_text(history_csv(state))
        return Artifact(store, path, store.commit(folder, path, manifest))


def _card(plan: Any, state: Any, records: Artifact, model: Any, parameters: int, sizes: dict[str, Any]) -> ModelCard:
    job, schema = plan.job, plan.schema
    skill = state.best_skill
    track = plan.inputs.track.card if plan.inputs.track is not None else None
    # Which frames were taken is no fact of the shards: it is in what the records were made with.
    made_with = records.manifest.config if plan.images.frames else {}
    return ModelCard(
        kind=job.model,
        images=plan.images,
        max_frame_age_h=made_with.get("max_frame_age_h"),
        min_frame_gap_h=made_with.get("min_frame_gap_h"),
        parameters=parameters,
        records_sha256=records.manifest.sha256(),
        seasons=_seasons(schema, track),
        samples={str(k): n for k, n in schema.counts.items()},
        strategy=job.strategy,
        workers=job.workers,
        ps=job.ps,
        steps=job.steps,
        batch=job.batch,
        learning_rate=job.learning_rate,
        seed=job.seed,
        best_step=state.best_step,
        loss_first=state.losses[0],
        loss_last=state.losses[-1],
        val_km=_val_km(plan, model, skill),
        shrinkage={str(lead): float(s) for lead, s in zip(LEADS_H, skill.shrinkage, strict=True)},
        cliper=plan.cliper.to_json(),
        scale_km=plan.scale_km,
        normalisation=plan.normalisation,
        min_wind_kt=job.min_wind_kt,
        spread=model.spread,
        sizes=sizes,
        options=later_options(job),
        track=track if model.base is not None else None,
    )


def _seasons(schema: Any, track: ModelCard | None) -> dict[str, tuple[int, ...]]:
    """Of the records, and those that the track model underneath has learned from or was chosen on."""
    own = {str(k): set(range(v[0], v[1] + 1)) if v else set() for k, v in schema.seasons.items()}
    if track is not None:
        for split in ("train", "val"):
            own[split] |= set(track.seasons.get(split, ()))
    return {split: tuple(sorted(seasons)) for split, seasons in own.items()}


def _val_km(plan: Any, model: Any, skill: Any) -> dict[str, LeadSkill]:
    """By lead; where a track model is corrected, ``skill`` compares with that, and CLIPER is said beside it."""
    cliper_km, track_km = skill.cliper_km, [float("nan")] * len(LEADS_H)
    if model.base is not None:
        from eyewall.training.session import make_validation

        validation = make_validation(plan, model.base)
        track_km = skill.cliper_km
        if validation.cases is not None:
            cliper_km = validation.mean_km(plan.cliper.predict_km(validation.cases.features))
    return {
        str(lead): LeadSkill(n=int(n), model=_km(ours), cliper=_km(cliper), track=_km(track))
        for lead, n, ours, cliper, track in zip(LEADS_H, skill.n, skill.model_km, cliper_km, track_km, strict=True)
    }


def _km(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
