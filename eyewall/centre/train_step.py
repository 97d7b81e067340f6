"""The step ``eyewall train-centre``: frames and best tracks → a network that finds centres, found or made.

Fitted on the storms of the training seasons; the validation seasons choose nothing but the factors of the circles and
the threshold basin-wide, and say how good it is. Later seasons are not looked at.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from eyewall import __version__
from eyewall.besttrack.digest import tracks_sha256
from eyewall.besttrack.read import read_tracks
from eyewall.centre.batches import StormSquares, counted_cells
from eyewall.centre.card import CARD_NAME, HISTORY_NAME, KIND, SCORES_NAME, CentreCard, weights_name, write_lines
from eyewall.centre.cases import Case, find_cases, of_seasons, some_storms
from eyewall.centre.charts import Charts, survey
from eyewall.centre.inputs import Frames, frames_of, in_years
from eyewall.centre.overlay import Mask
from eyewall.centre.scores import best_threshold, km, radius_factors
from eyewall.centre.search import Position, moved_guesses, search_basin, search_guesses
from eyewall.contracts.errors import InputError
from eyewall.contracts.image_jobs import TrainCentreJob
from eyewall.contracts.layout import artifact_dir, digest_of, run_dir
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.models.encoder_card import EncoderCard, PictureScale
from eyewall.storage import Artifact, Store, find, resolve

#: Raise it when the same inputs and job would give another network.
FORMAT: Final = 1
_WEIGHT_DECAY: Final = 0.004
_NOT_DECISIVE: Final = {"store", "receipt", "tracks", "pretrained_ref"}
#: Views of a first guess in the validation.
_VIEWS: Final = 3


@dataclass(frozen=True)
class _Data:
    """What is trained and judged on."""

    frames: Frames
    charts: Charts
    scale: PictureScale
    lines: Mask | None
    train: list[Case]
    in_view: list[Case]  #: storms of the training seasons, whether they are used or not
    val: list[Case]


def run(job: TrainCentreJob) -> Receipt:
    """Train, or find the network that this job would give. Raises InputError, TrackError and DivergedError."""
    if not job.train_from <= job.train_to <= job.val_to:
        raise InputError(
            f"seasons {job.train_from}-{job.train_to} to train and to {job.val_to} to validate are out of order:"
            " give --train-from, --train-to and --val-to in this order"
        )
    store = Store(job.store)
    encoder = None if job.pretrained_ref is None else resolve(store, job.pretrained_ref, "encoder")
    frames = frames_of(store, job.stream, job.train_from, job.val_to)
    inputs = {"frames": frames.sha256, "tracks": tracks_sha256(job.tracks, job.tracks_format)}
    if encoder is not None:
        inputs["encoder"] = encoder.manifest.sha256()
    config = job.model_dump(mode="json", exclude=_NOT_DECISIVE) | {"format": FORMAT}
    path = artifact_dir("centres", digest_of(config | inputs))
    present = find(store, path)
    if present is not None:
        return _receipt(present)
    began = time.monotonic()
    data = _data(job, store, frames, encoder)
    return _receipt(_train(job, store, data, encoder, inputs, config, path), time.monotonic() - began)


def _data(job: TrainCentreJob, store: Store, frames: Frames, encoder: Artifact | None) -> _Data:
    fitted = in_years(frames.keys, job.train_from, job.train_to)
    if not len(fitted):
        raise InputError(f"stream {job.stream!r} has no frame in {job.train_from}-{job.train_to}: change --train-to")
    scale, lines = survey(store, fitted, job.px, job.km_per_px, frames.damaged)
    if encoder is not None:
        scale = _scale_of(encoder, job, scale)
    charts = Charts(store, job.km_per_px, lines)
    for frame, reason in frames.damaged.items():
        charts.leave_out(frame, reason)
    cases = find_cases(frames.keys, read_tracks(job.tracks, job.tracks_format), charts)
    train = of_seasons(cases, job.train_from, job.train_to)
    val = of_seasons(cases, job.train_to + 1, job.val_to)
    if not train:
        raise InputError(
            f"no storm of {job.tracks} is in view of a frame of {job.stream!r} in {job.train_from}-{job.train_to}:"
            " give tracks and frames of the same seasons and basin"
        )
    order = {case.storm_id: digest_of({"storm": case.storm_id, "seed": job.seed}) for case in train}
    return _Data(frames, charts, scale, lines, some_storms(train, job.storm_share, order), train, val)


def _scale_of(encoder: Artifact, job: TrainCentreJob, own: PictureScale) -> PictureScale:
    """Mean and spread as the encoder had them. Raises InputError when it was made for other pictures."""
    card = EncoderCard.read(encoder.folder())
    wanted = {"quantity": own.quantity, "km_per_px": job.km_per_px, "channels": job.channels}
    there = {"quantity": card.scale.quantity, "km_per_px": card.scale.km_per_px, "channels": card.channels}
    for name, value in wanted.items():
        if there[name] != value:
            raise InputError(
                f"encoder {encoder.path} has {name} = {there[name]}, and this job {value}: pretrain one that agrees"
            )
    return own.model_copy(update={"mean": card.scale.mean, "std": card.scale.std})


def _train(
    job: TrainCentreJob, store: Store, data: _Data, encoder: Artifact | None, inputs: dict[str, str],
    config: dict[str, Any], path: str,
) -> Artifact:  # fmt: skip
    from eyewall.training.tensorflow_setup import prepare

    prepare(job.seed)
    from eyewall.centre import fitting
    from eyewall.centre.locate import mean_maps
    from eyewall.models.encoder import weights_to_bytes

    run_folder = run_dir(f"centre-{path.rsplit('/', 1)[-1]}")
    networks, losses = [], []
    for member in range(job.members):
        network, history = _member(job, store, data, encoder, member, f"{run_folder}/member-{member}.npz")
        networks.append(network)
        losses.append(history)
    positions, places = _validate(job, data, mean_maps(networks))
    card = _card(job, data, encoder, networks[0], losses, positions, places)
    counts = {
        f"{split}_{what}": n for what in ("frames", "storms", "cases") for split, n in getattr(card, what).items()
    }
    manifest = Manifest(kind=KIND, code_version=__version__, inputs=inputs, config=config, counts=counts)
    with store.staging(path) as folder:
        for member, network in enumerate(networks):
            (folder / weights_name(member)).write_bytes(weights_to_bytes(network.get_weights()))
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        (folder / HISTORY_NAME).write_text(fitting.history_csv(losses))
        _write_scores(folder, positions)
        write_lines(folder, data.lines)
        made = Artifact(store, path, store.commit(folder, path, manifest))
    store.remove(run_folder)
    return made


def _member(
    job: TrainCentreJob, store: Store, data: _Data, encoder: Artifact | None, member: int, checkpoint: str
) -> tuple[Any, list[float]]:
    """One trained network, and the loss of each step."""
    import tf_keras

    from eyewall.centre import fitting
    from eyewall.models.centre import CentreNetwork, build_network, centre_loss
    from eyewall.models.encoder import weights_from
    from eyewall.models.encoder_card import WEIGHTS_NAME

    seed = 1000 * job.seed + member
    tf_keras.utils.set_random_seed(seed)
    with fitting.precision(job.mixed_precision):
        network = build_network(CentreNetwork, job.channels, job.px)
        if encoder is not None:
            weights_from(encoder.folder() / WEIGHTS_NAME, network.encoder)
        counted = counted_cells(job.px)
        losses = fitting.fit(
            network,
            lambda planes, wanted: centre_loss(network(planes), wanted, counted),
            StormSquares(data.train, data.charts, data.scale, job.batch, seed, data.in_view),
            fitting.Recipe(job.steps, job.learning_rate, _WEIGHT_DECAY),
            what=f"train-centre, member {member + 1} of {job.members}",
            store=store,
            checkpoint=checkpoint,
        )
    return network, losses


def _validate(job: TrainCentreJob, data: _Data, maps: Any) -> tuple[list[Position], list[Position]]:
    """Positions of the validation storms about moved first guesses, and places basin-wide in its frames."""
    guesses = moved_guesses(data.val, job.search_km, 0)
    positions = search_guesses(maps, data.charts, guesses, job.search_km, data.scale, _VIEWS)
    later = in_years(data.frames.keys, job.train_to + 1, job.val_to)
    return positions, search_basin(maps, data.charts, later, data.val, data.scale)


def _card(
    job: TrainCentreJob, data: _Data, encoder: Artifact | None, network: Any, losses: list[list[float]],
    positions: list[Position], places: list[Position],
) -> CentreCard:  # fmt: skip
    splits = {"train": data.train, "val": data.val}
    ends = max(1, job.steps // 50)
    errors = [p.error_km for p in positions]
    return CentreCard(
        scale=data.scale,
        channels=job.channels,
        members=job.members,
        stream=job.stream,
        seasons={"train": (job.train_from, job.train_to), "val": (job.train_to + 1, job.val_to)},
        frames={name: len({case.path for case in cases}) for name, cases in splits.items()},
        storms={name: len({case.storm_id for case in cases}) for name, cases in splits.items()},
        cases={name: len(cases) for name, cases in splits.items()},
        pretrained=None if encoder is None else encoder.manifest.sha256(),
        storm_share=job.storm_share,
        search_km=job.search_km,
        steps=job.steps,
        batch=job.batch,
        learning_rate=job.learning_rate,
        seed=job.seed,
        parameters=sum(int(np.prod(v.shape)) for v in network.trainable_variables),
        loss_last=round(float(np.mean([history[-ends:] for history in losses])), 5),
        radius_factors=radius_factors(positions),
        basin_threshold=best_threshold(places, len(data.val)),
        val_median_km=km(float(np.median(errors))) if errors else None,
        val_guess_median_km=km(float(np.median([p.guess_error_km for p in positions]))) if errors else None,
    )


def _write_scores(folder: Path, positions: list[Position]) -> None:
    """Each validation case: its error and its guess's, km."""
    with (folder / SCORES_NAME).open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["time_utc", "storm_id", "guess_error_km", "error_km"])
        for p in positions:
            rows.writerow([p.time_utc, p.storm_id, f"{p.guess_error_km:.2f}", f"{p.error_km:.2f}"])


def _receipt(centre: Artifact, seconds: float | None = None) -> Receipt:
    card = CentreCard.read(centre.folder())
    summary: dict[str, Any] = {
        "centre": centre.path,
        "storms": card.storms,
        "frames": card.frames,
        "cases": card.cases,
        "parameters": card.parameters,
        "loss_last": card.loss_last,
        "val_median_km": card.val_median_km,
        "val_guess_median_km": card.val_guess_median_km,
    }
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb=TrainCentreJob.verb, result=centre.reference, summary=summary)
