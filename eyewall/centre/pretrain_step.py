"""The step ``eyewall pretrain``: a stream's frames of some years → an encoder, found or made.

Most of a square's patches are hidden, and a network has to fill them in from the others (masked image modelling: He et
al. 2022, Xie et al. 2022). What it must know for that (which way clouds turn, how a shield ends, what is beside
an eye) is what finding centres needs as well, and no label was looked at. The part that reads pictures is kept.
"""

import time
from typing import Any, Final

import numpy as np

from eyewall import __version__
from eyewall.centre.batches import HiddenPatches
from eyewall.centre.charts import Charts, survey
from eyewall.centre.inputs import Frames, frames_of
from eyewall.contracts.image_jobs import PretrainJob
from eyewall.contracts.layout import artifact_dir, digest_of, run_dir
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.models.encoder_card import CARD_NAME, HISTORY_NAME, WEIGHTS_NAME, EncoderCard
from eyewall.storage import Artifact, Store, find

KIND: Final = "encoder"
#: Raise it when the same frames and job would give another encoder.
FORMAT: Final = 1
_WEIGHT_DECAY: Final = 0.02
_NOT_DECISIVE: Final = {"store", "receipt"}


def run(job: PretrainJob) -> Receipt:
    """Pretrain, or find the encoder that this job would give. Raises InputError and DivergedError."""
    store = Store(job.store)
    frames = frames_of(store, job.stream, job.season_from, job.season_to)
    config = job.model_dump(mode="json", exclude=_NOT_DECISIVE) | {"format": FORMAT, "frames": frames.sha256}
    path = artifact_dir("encoders", digest_of(config))
    present = find(store, path)
    if present is not None:
        return _receipt(present)
    began = time.monotonic()
    return _receipt(_train(job, store, frames, config, path), time.monotonic() - began)


def _train(job: PretrainJob, store: Store, frames: Frames, config: dict[str, Any], path: str) -> Artifact:
    from eyewall.training.tensorflow_setup import prepare

    prepare(job.seed)
    from eyewall.centre import fitting
    from eyewall.models.centre import FillNetwork, build_network, fill_loss
    from eyewall.models.encoder import weights_to_bytes

    scale, lines = survey(store, frames.keys, job.px, job.km_per_px, frames.damaged)
    charts, raw = (Charts(store, job.km_per_px, which) for which in (lines, None))
    for frame, reason in frames.damaged.items():
        charts.leave_out(frame, reason)
        raw.leave_out(frame, reason)
    with fitting.precision(job.mixed_precision):
        network = build_network(FillNetwork, job.channels, job.px)
        run_folder = run_dir(f"encoder-{path.rsplit('/', 1)[-1]}")
        losses = fitting.fit(
            network,
            lambda planes, values, judged: fill_loss(network(planes), values, judged),
            HiddenPatches(frames.keys, charts, raw, scale, job.hidden, job.batch, job.seed),
            fitting.Recipe(job.steps, job.learning_rate, _WEIGHT_DECAY),
            what="pretrain",
            store=store,
            checkpoint=f"{run_folder}/state.npz",
        )
    ends = max(1, job.steps // 50)
    card = EncoderCard(
        scale=scale,
        channels=job.channels,
        stream=job.stream,
        years=(job.season_from, job.season_to),
        frames=len(frames.keys),
        frames_sha256=frames.sha256,
        hidden=job.hidden,
        steps=job.steps,
        batch=job.batch,
        learning_rate=job.learning_rate,
        seed=job.seed,
        parameters=sum(int(np.prod(v.shape)) for v in network.encoder.trainable_variables),
        loss_first=round(float(np.mean(losses[:ends])), 6),
        loss_last=round(float(np.mean(losses[-ends:])), 6),
    )
    manifest = Manifest(
        kind=KIND,
        code_version=__version__,
        inputs={"frames": frames.sha256},
        config=config,
        counts={"frames": len(frames.keys), "frames_damaged": len(frames.damaged), "parameters": card.parameters},
    )
    with store.staging(path) as folder:
        (folder / WEIGHTS_NAME).write_bytes(weights_to_bytes(network.encoder.get_weights()))
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        (folder / HISTORY_NAME).write_text(fitting.history_csv([losses]))
        made = Artifact(store, path, store.commit(folder, path, manifest))
    store.remove(run_folder)
    return made


def _receipt(encoder: Artifact, seconds: float | None = None) -> Receipt:
    card = EncoderCard.read(encoder.folder())
    summary: dict[str, Any] = {
        "encoder": encoder.path,
        "frames": card.frames,
        "years": list(card.years),
        "parameters": card.parameters,
        "steps": card.steps,
        "loss_first": card.loss_first,
        "loss_last": card.loss_last,
    }
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb=PretrainJob.verb, result=encoder.reference, summary=summary)
