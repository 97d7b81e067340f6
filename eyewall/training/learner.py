"""The models of a training: the one that is judged and exported, and the one that learns, where that is another.

They share the weights that are trained. The learner differs where it corrects another track model, one whose errors on
the training seasons are honest (`--residuals-of`), and under mixed precision, where its layers compute in bfloat16.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import tf_keras

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import LEADS_H, TARGET_DISPLACEMENT_KM
from eyewall.models.forecaster import Forecaster
from eyewall.models.registry import build
from eyewall.models.sizes import image_sizes, sizes_of, track_sizes
from eyewall.models.trained import forecaster_of, read_weights
from eyewall.training.augment import augmented, turned_targets
from eyewall.training.model_inputs import TrackModel
from eyewall.training.plan import Plan

_ALL: tuple[float, ...] = (1.0,) * len(LEADS_H)


def network_sizes(plan: Plan) -> dict[str, Any]:
    """The network's sizes by the job's options; empty where they are its own."""
    job, based = plan.job, plan.inputs.track is not None
    image = image_sizes(job.size, job.encoder, job.width, job.channels)
    if plan.inputs.encoder is not None:
        image |= _of_pretrained(plan)
    return sizes_of(job.model, track_sizes(job.size, job.track_network, job.width), image, based=based)


def _of_pretrained(plan: Plan) -> dict[str, Any]:
    """The pretrained encoder's own channels, and how the records' values become those that it was trained on.

    Raises InputError when it was trained on other pictures.
    """
    from eyewall.models.encoder_card import EncoderCard

    assert plan.inputs.encoder is not None
    card, ours = EncoderCard.read(plan.inputs.encoder), plan.normalisation
    if (card.scale.quantity, card.scale.km_per_px) != (plan.images.quantity, plan.images.km_per_px):
        raise InputError(
            f"the encoder knows {card.scale.quantity} of {card.scale.km_per_px:g} km a pixel, the records hold"
            f" {plan.images.quantity} of {plan.images.km_per_px:g}: make records like the encoder's frames"
        )
    rescale = (ours.image_std / card.scale.std, (ours.image_mean - card.scale.mean) / card.scale.std)
    return {
        "encoder": "pretrained",
        "channels": tuple(card.channels),
        "width": plan.job.width or 8,
        "options": {"frozen": plan.job.frozen_encoder, "rescale": rescale},
    }


def make_model(plan: Plan, shrinkage: tuple[float, ...] = _ALL, sizes: dict[str, Any] | None = None) -> Forecaster:
    """The untrained model of a plan; ``sizes`` other than the job's are for tests."""
    stands = plan.inputs.track if plan.job.model == "fusion" else None
    base = _restored(stands) if stands is not None else None
    return _build(plan, base, shrinkage, sizes)


def _build(
    plan: Plan, base: Forecaster | None, shrinkage: tuple[float, ...], sizes: dict[str, Any] | None
) -> Forecaster:
    model = build(
        plan.job.model,
        plan.images,
        cliper=plan.cliper.to_json(),
        scale_km=plan.scale_km,
        normalisation=plan.normalisation,
        shrinkage=shrinkage,
        sizes=network_sizes(plan) if sizes is None else sizes,
        base=base,
    )
    if plan.inputs.encoder is not None:
        from eyewall.models.encoder import load_encoder

        network = getattr(model.network, "image", model.network)
        network.encoder.pretrained.set_weights(load_encoder(plan.inputs.encoder)[0].get_weights())
    return model


def _restored(track: TrackModel) -> Forecaster:
    return forecaster_of(track.card, read_weights(track.folder), track.folder.name)


def make_learner(plan: Plan, model: Forecaster) -> Forecaster:
    """The model whose loss is taken: ``model`` itself, or one with its network on another base or in bfloat16."""
    other = plan.inputs.residuals
    if other is None and not plan.job.mixed_precision:
        return model
    base = _restored(other) if other is not None else model.base
    if plan.job.mixed_precision:
        with _bfloat16():
            learner = _build(plan, base, _ALL, None)
        learner.set_weights(model.get_weights())
        return learner
    assert base is not None
    return Forecaster(
        plan.job.model,
        model.network,
        cliper=base.cliper_json,
        scale_km=plan.scale_km,
        normalisation=plan.normalisation,
        base=base,
    )


@contextlib.contextmanager
def _bfloat16() -> Iterator[None]:
    """Layers made within compute in bfloat16, whose range is float32's: no loss scaling. Weights stay float32."""
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")


def prepare_batch(plan: Plan, learner: Forecaster, features: Any, targets: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """A batch → where the forecast starts and the targets, [b, l, 2] km each, and the network's inputs."""
    target_km = targets[TARGET_DISPLACEMENT_KM]
    if not plan.job.augment:
        start_km, inputs = learner.prepare(features)
        return start_km, target_km, inputs
    start_km, inputs = learner.prepare(augmented(features, plan.images))
    return start_km, turned_targets(features, start_km, target_km), inputs
