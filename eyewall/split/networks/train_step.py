"""The step ``eyewall train-network``: an image pack → a trained network of the split study, found or made.

The checkpoints of an unfinished training are runs/network-<digest>/epoch.npz and, of its polishing, polish.npz: each
replaced after every epoch, removed when the network is committed. The same command goes on where a killed one stopped.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import run_dir
from eyewall.contracts.manifest import Receipt
from eyewall.contracts.split_jobs import NetworkJob
from eyewall.split.networks.image_pack import ImagePack, Images
from eyewall.split.networks.result import (
    KIND,
    NetworkCard,
    commit_network,
    load_network,
    network_config,
    network_path,
    receipt_of,
)
from eyewall.storage import Artifact, Store, find, resolve

_PCA_IMAGES = 2000


def run(job: NetworkJob) -> Receipt:
    """Train the network, unless the store has it.

    Raises InputError for a pack, or a teacher, that cannot be used, and DivergedError as `network_training.train`.
    """
    store = Store(job.store)
    pack = ImagePack(job.images)
    teacher = None if job.teacher_ref is None else resolve(store, job.teacher_ref, KIND)
    teacher_sha256 = None if teacher is None else teacher.manifest.sha256()
    path = network_path(job, pack.sha256, teacher_sha256)
    present = find(store, path)
    if present is not None:
        return receipt_of(present)
    start = time.monotonic()
    made = _train(job, store, pack, teacher, path)
    return receipt_of(made, time.monotonic() - start)


def _train(job: NetworkJob, store: Store, pack: ImagePack, teacher: Artifact | None, path: str) -> Artifact:
    from eyewall.training.tensorflow_setup import prepare

    prepare(job.seed)
    from eyewall.split.networks import cifar10
    from eyewall.split.networks.bottleneck import begin_from, freeze_head
    from eyewall.split.networks.training import Recipe, accuracy_percent, train

    train_images, scored = _images(job, pack)
    model = cifar10.build(job.channels, job.bottleneck)
    teacher_model = None if teacher is None else load_network(teacher)[0]
    cut = cifar10.cut_of(job.bottleneck)
    recipe = Recipe(
        epochs=job.epochs,
        batch=job.batch,
        learning_rate=job.learning_rate,
        weight_decay=job.weight_decay,
        augment=job.augment,
        seed=job.seed,
        quantised_cut=cut if job.wire == "int8" else None,
        distillation=job.distillation if teacher is not None else 0.0,
    )
    if teacher_model is not None and _fits(model, teacher_model):
        begin_from(model, teacher_model, train_images.pixels[:_PCA_IMAGES])
        if job.bottleneck is not None:
            freeze_head(model)
    folder = run_dir("network-" + path.rsplit("/", 1)[-1])
    losses: list[float] = []
    for name, stage in _stages(job, recipe):
        if name == "polish":
            model.trainable = True
        done = train(
            model,
            train_images,
            stage,
            teacher=teacher_model,
            begun=_begun(store, f"{folder}/{name}.npz"),
            checkpoint=partial(_keep, store, f"{folder}/{name}.npz"),
        )
        losses += done.losses
    card = NetworkCard(
        network=job.network,
        channels=job.channels,
        bottleneck=job.bottleneck,
        cut=cut,
        cut_shape=tuple(model.get_layer(cut).output.shape[1:]),
        trained_for=job.wire,
        teacher=None if teacher is None else teacher.manifest.sha256(),
        parameters=int(model.count_params()),
        images_sha256=pack.sha256,
        image_bytes=int(np.prod(train_images.pixels.shape[1:])),
        train_images=len(train_images),
        scored_on="validation" if job.validation else "test",
        scored_images=len(scored),
        accuracy_percent=accuracy_percent(model, scored),
        losses=tuple(losses),
        recipe={name: getattr(recipe, name) for name in recipe.__dataclass_fields__} | _polishing(job),
    )
    config = network_config(job, pack.sha256, card.teacher)
    made = commit_network(store, path, model, card, config)
    store.remove(folder)
    return made


def _stages(job: NetworkJob, recipe: Any) -> Iterator[tuple[str, Any]]:
    """Name and recipe of the training, and of the polishing after it where that was asked for."""
    yield "epoch", recipe
    if job.polish_epochs:
        yield "polish", replace(recipe, epochs=job.polish_epochs, learning_rate=job.polish_learning_rate)


def _polishing(job: NetworkJob) -> dict[str, Any]:
    """What the card says of it."""
    return {name: getattr(job, name) for name in ("polish_epochs", "polish_learning_rate") if job.polish_epochs}


def _keep(store: Store, checkpoint: str, progressed: Any) -> None:
    store.write_bytes(checkpoint, progressed.to_bytes())


def _begun(store: Store, checkpoint: str) -> Any:
    """Where a training that was stopped goes on; None from the beginning, which gives the same network."""
    from eyewall.split.networks.training import Progressed

    try:
        return Progressed.from_bytes(store.read_bytes(checkpoint)) if store.exists(checkpoint) else None
    except ValueError:  # damaged
        return None


def _images(job: NetworkJob, pack: ImagePack) -> tuple[Images, Images]:
    """The images to train on, and those to score. Raises InputError when validation would leave none to train on."""
    from eyewall.split.networks import cifar10

    images = pack.images("train")
    if images.pixels.shape[1:] != cifar10.IMAGE_SHAPE or not 0 <= images.labels.min() <= images.labels.max() < 10:
        raise InputError(
            f"image pack {job.images!r} has images {images.pixels.shape[1:]} with labels up to {images.labels.max()}:"
            f" network {job.network!r} takes {cifar10.IMAGE_SHAPE} with labels 0 to {cifar10.CLASSES - 1}"
        )
    if not job.validation:
        return images, pack.images("test")
    if job.validation >= len(images):
        raise InputError(f"validation = {job.validation}: the pack has {len(images)} training images; keep fewer aside")
    return images.take(slice(0, -job.validation)), images.take(slice(-job.validation, None))


def _fits(model: Any, teacher: Any) -> bool:
    """Whether the teacher has the model's layers; a network of other filters begins from its own seed."""
    shapes = {layer.name: [w.shape for w in layer.weights] for layer in teacher.layers}
    own = {name for name in ("squeeze", "expand", "relu_expand") if name not in shapes}
    return all(
        layer.name in own or shapes.get(layer.name) == [w.shape for w in layer.weights] for layer in model.layers
    )
