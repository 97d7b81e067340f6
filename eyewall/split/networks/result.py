"""A trained network as an artifact: its weights as arrays by name, and a card that says what it is and how good.

Weights as a NumPy archive rather than a SavedModel: the same training gives the same bytes, and heads and tails are
exported from the network when it is cut.
"""

import io
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from eyewall import __version__
from eyewall.contracts.artifact_card import ArtifactCard
from eyewall.contracts.errors import ContractError
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split import Wire
from eyewall.contracts.split_jobs import NetworkJob
from eyewall.storage import Artifact, Store

KIND: Final = "network"
CARD_NAME, WEIGHTS_NAME = "network.json", "weights.npz"
#: Raise it when the same images and job would give another network.
NETWORK_FORMAT = 1
#: The same for bottlenecks alone: 2 squeezes blocks.
BOTTLENECK_FORMAT = 2
_NOT_DECISIVE = {"store", "receipt", "images", "teacher_ref"}


class NetworkCard(ArtifactCard):
    """What a trained network of the split study is; accuracies are of the whole network, uncut, in float32."""

    file_name = CARD_NAME
    what, remedy = "a network", "train it again"

    network: str
    channels: int = Field(description="filters of the layer before the cut")
    bottleneck: int | None = Field(description="channels that they are squeezed to; none: they cross as they are")
    cut: str = Field(description="layer after which to cut")
    cut_shape: tuple[int, ...] = Field(description="of what crosses, without the batch")
    trained_for: Wire
    teacher: str | None = Field(description="sha256 of the teacher's manifest")
    parameters: int
    images_sha256: str = Field(description="of the image pack, a JPEG copy of the original data")
    image_bytes: int = Field(description="of one raw image")
    train_images: int
    scored_on: Literal["test", "validation"]
    scored_images: int
    accuracy_percent: float
    losses: tuple[float, ...] = Field(description="mean training loss of each epoch")
    recipe: dict[str, Any]


def network_config(job: NetworkJob, images_sha256: str, teacher_sha256: str | None) -> dict[str, Any]:
    """What the network's digest is made of."""
    decisive = {name: value for name, value in job.model_dump(mode="json").items() if name not in _NOT_DECISIVE}
    if teacher_sha256 is None:
        decisive.pop("distillation")  # nobody to learn from
    if job.bottleneck is not None:
        decisive["bottleneck_format"] = BOTTLENECK_FORMAT
    if not job.polish_epochs:  # unsaid, so that networks of before there was polishing keep their names
        decisive.pop("polish_epochs"), decisive.pop("polish_learning_rate")
    return {"format": NETWORK_FORMAT, "images": images_sha256, "teacher": teacher_sha256, **decisive}


def network_path(job: NetworkJob, images_sha256: str, teacher_sha256: str | None = None) -> str:
    """Where the job's network is, or will be, in the store: known before it is trained."""
    return artifact_dir("networks", digest_of(network_config(job, images_sha256, teacher_sha256)))


def commit_network(store: Store, path: str, model: Any, card: NetworkCard, config: dict[str, Any]) -> Artifact:
    """Make the trained ``model`` and its card the artifact at ``path``."""
    inputs = {"images": card.images_sha256} | ({"teacher": card.teacher} if card.teacher else {})
    manifest = Manifest(
        kind=KIND,
        code_version=__version__,
        inputs=inputs,
        config=config,
        counts={"parameters": card.parameters, "train_images": card.train_images},
    )
    buffer = io.BytesIO()
    np.savez(buffer, **{f"{layer.name}.{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())})
    with store.staging(path) as folder:
        (folder / WEIGHTS_NAME).write_bytes(buffer.getvalue())
        (folder / CARD_NAME).write_bytes(card.to_bytes())
        return Artifact(store, path, store.commit(folder, path, manifest))


def load_network(network: Artifact) -> tuple[Any, NetworkCard]:
    """The artifact's tf_keras model with its weights, and its card. Raises ContractError when they do not agree."""
    from eyewall.split.networks import cifar10

    folder = network.folder()
    card = NetworkCard.read(folder)
    if card.network != cifar10.NAME:
        raise ContractError(f"network {card.network!r} of {network.path!r} is unknown here: update Eyewall")
    model = cifar10.build(card.channels, card.bottleneck)
    try:
        with np.load(folder / WEIGHTS_NAME, allow_pickle=False) as stored:
            for layer in model.layers:
                layer.set_weights([stored[f"{layer.name}.{i}"] for i in range(len(layer.weights))])
    except (OSError, KeyError, ValueError) as error:
        raise ContractError(f"the weights of {network.path!r} do not fit its card: {error}; train it again") from error
    return model, card


def receipt_of(network: Artifact, seconds: float | None = None) -> Receipt:
    """What the step says of its network; everything but the seconds comes from the network's own card."""
    card = NetworkCard.read(network.folder())
    values = int(np.prod(card.cut_shape))
    summary: dict[str, Any] = {
        "network": network.path,
        "channels": card.channels,
        "bottleneck": card.bottleneck,
        "cut": card.cut,
        "values_at_cut": values,
        "raw_image_bytes": card.image_bytes,
        "trained_for": card.trained_for,
        "epochs": len(card.losses),
        "loss_last": round(card.losses[-1], 4) if card.losses else None,
        f"{card.scored_on}_accuracy_percent": round(card.accuracy_percent, 3),
        "data": "JPEG copy",
    }
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb=NetworkJob.verb, result=network.reference, summary=summary)
