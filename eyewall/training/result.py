"""The end of a training: the best weights, shrunk as validation advises, as a committed model artifact."""

import io
from typing import Any

import numpy as np

from eyewall import __version__
from eyewall.contracts.features import LEADS_H
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.layout import artifact_dir
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.models.card import CARD_NAME, HISTORY_NAME, SAVED_MODEL_DIR, LeadSkill, ModelCard, Spread
from eyewall.storage import Artifact, Store, find

#: Raise it when the same records and job would give another model: old artifacts are then not taken for new ones.
MODEL_FORMAT = 3
#: The fields of a job that decide the result; the run's name and how long to wait for a peer do not.
_DECISIVE = (
    "model", "strategy", "workers", "ps", "steps", "batch", "learning_rate", "seed", "checkpoint_every",
    "min_wind_kt",
)  # fmt: skip


def model_config(job: TrainJob, records: Artifact) -> dict[str, Any]:
    """What the model's digest is made of."""
    values = job.model_dump(mode="json")
    config: dict[str, Any] = {"format": MODEL_FORMAT, "records": records.manifest.sha256()}
    return config | {key: values[key] for key in _DECISIVE}


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
        "val_km": {lead: {"model": s.model, "cliper": s.cliper, "n": s.n} for lead, s in card.val_km.items()},
        "shrinkage": card.shrinkage,
    }
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb="train", result=model.reference, summary=summary)


def commit_model(plan: Any, state: Any, store: Store, records: Artifact, digest: str) -> Artifact:
    """Export the best weights of a finished run (`Plan`, `TrainingState`) and commit the artifact.

    Imports TensorFlow; the functions above do not.
    """
    from eyewall.models.export import export
    from eyewall.training.calibration import fit_spread
    from eyewall.training.loop import make_model

    config = model_config(plan.job, records)
    skill = state.best_skill
    model = make_model(plan, tuple(float(s) for s in skill.shrinkage))
    model.set_weights(state.best_weights)
    model.spread = fit_spread(plan, model)
    card = _card(plan, state, records, model.spread, sum(int(np.prod(v.shape)) for v in model.trainable_variables))
    path = artifact_dir("models", digest)
    manifest = Manifest(
        kind="model",
        code_version=__version__,
        inputs={"records": records.manifest.sha256()},
        config=config,
        counts={"parameters": card.parameters, **{f"{k}_samples": n for k, n in card.samples.items()}},
        extra={"images": plan.images.model_dump(mode="json")},
    )
    with store.staging(path) as folder:
        export(model, plan.images, folder / SAVED_MODEL_DIR)
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        (folder / HISTORY_NAME).write_text(history_csv(state))
        return Artifact(store, path, store.commit(folder, path, manifest))


def _card(plan: Any, state: Any, records: Artifact, spread: Spread, parameters: int) -> ModelCard:
    job, schema, skill = plan.job, plan.schema, state.best_skill
    seasons = {k: tuple(range(v[0], v[1] + 1)) if v else () for k, v in schema.seasons.items()}
    val_km = {
        str(lead): LeadSkill(n=int(n), model=_km(model), cliper=_km(cliper))
        for lead, n, model, cliper in zip(LEADS_H, skill.n, skill.model_km, skill.cliper_km, strict=True)
    }
    # Which frames were taken is no fact of the shards: it is in what the records were made with.
    made_with = records.manifest.config if plan.images.frames else {}
    return ModelCard(
        kind=job.model,
        images=plan.images,
        max_frame_age_h=made_with.get("max_frame_age_h"),
        min_frame_gap_h=made_with.get("min_frame_gap_h"),
        parameters=parameters,
        records_sha256=records.manifest.sha256(),
        seasons={str(k): v for k, v in seasons.items()},
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
        val_km=val_km,
        shrinkage={str(lead): float(s) for lead, s in zip(LEADS_H, skill.shrinkage, strict=True)},
        cliper=plan.cliper.to_json(),
        scale_km=plan.scale_km,
        normalisation=plan.normalisation,
        min_wind_kt=job.min_wind_kt,
        spread=spread,
    )


def _km(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def history_csv(state: Any) -> str:
    """One row a step: its loss, and where the model was validated, the score and the errors by lead in km."""
    validated = {int(row[0]): row[1:] for row in state.validations}
    out = io.StringIO()
    out.write("step,loss,val_score," + ",".join(f"val_{lead}h_km" for lead in LEADS_H) + "\n")
    for step, loss in enumerate(state.losses, start=1):
        values = validated.get(step, [float("nan")] * (1 + len(LEADS_H)))
        out.write(",".join([str(step), f"{loss:.9g}", *("" if np.isnan(v) else f"{v:.6g}" for v in values)]) + "\n")
    return out.getvalue()
