"""The step ``eyewall score-network``: the accuracy of a cut network over each wire, found or made.

Head and tail are the two sides that `eyewall.split.partition.split` makes, run one after the other on the same images:
what is scored is what would be deployed, int8 with the ranges of its calibration images and not those of the test.
"""

import json
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall import __version__
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split import WIRES
from eyewall.contracts.split_jobs import ScoreNetworkJob
from eyewall.split.networks.image_pack import ImagePack, Images
from eyewall.split.networks.result import KIND, NetworkCard, load_network
from eyewall.storage import Artifact, Store, resolve

SCORE_KIND: Final = "score"
SCORE_NAME: Final = "score.json"
#: Raise it when the same network and images would give another score.
SCORE_FORMAT: Final = 2
_BATCH: Final = 200


def run(job: ScoreNetworkJob) -> Receipt:
    """Score the network over each wire, unless the store has that. Raises InputError, ContractError."""
    store = Store(job.store)
    network = resolve(store, job.network_ref, KIND)
    config = score_config(job, network)
    path = score_path(job, network)
    manifest = store.read_manifest(path) or _score(job, store, network, config, path)
    score = Artifact(store, path, manifest)
    return Receipt(verb=job.verb, result=score.reference, summary=json.loads(store.read_bytes(f"{path}/{SCORE_NAME}")))


def score_config(job: ScoreNetworkJob, network: Artifact) -> dict[str, Any]:
    """What the score's digest is made of."""
    return {
        "format": SCORE_FORMAT,
        "network": network.manifest.sha256(),
        "calibration": job.calibration,
        "validation": job.validation,
    }


def score_path(job: ScoreNetworkJob, network: Artifact) -> str:
    """Where the job's score is, or will be, in the store: known before it is made."""
    return artifact_dir("scores", digest_of(score_config(job, network)))


def _score(job: ScoreNetworkJob, store: Store, network: Artifact, config: dict[str, Any], path: str) -> Manifest:
    from eyewall.split.partition import split
    from eyewall.training.tensorflow_setup import prepare

    prepare(0)
    pack = ImagePack(job.images)
    model, card = load_network(network)
    if pack.sha256 != card.images_sha256:
        raise ContractError(f"{job.images!r} is not the pack that {network.path!r} was trained on: give that one")
    train = pack.images("train", None if job.validation else job.calibration)
    if job.validation >= len(train) and job.validation:
        raise InputError(f"validation = {job.validation}: the pack has {len(train)} training images; score fewer")
    scored = train.take(slice(-job.validation, None)) if job.validation else pack.images("test")
    wires: dict[str, Any] = {}
    for wire in WIRES:
        parts = split(model, card.cut, wire=wire, calibration=train.pixels[: job.calibration])
        correct = correct_over(parts, scored)
        wires[wire] = {
            "bytes": parts.contract.bytes_per_frame,
            "share_of_raw_bytes": round(parts.contract.bytes_per_frame / card.image_bytes, 6),
            "accuracy_percent": round(100.0 * float(np.mean(correct)), 4),
        }
    score = score_of(card, network, wires, len(scored), "validation" if job.validation else "test")
    inputs = {"network": network.manifest.sha256(), "images": pack.sha256}
    made = Manifest(kind=SCORE_KIND, code_version=__version__, inputs=inputs, config=config)
    with store.staging(path) as folder:
        (folder / SCORE_NAME).write_text(json.dumps(score, sort_keys=True, indent=2, allow_nan=False) + "\n")
        return store.commit(folder, path, made)


def score_of(card: NetworkCard, network: Artifact, wires: dict[str, Any], n: int, scored_on: str) -> dict[str, Any]:
    """What score.json holds."""
    return {
        "network": network.path,
        "channels": card.channels,
        "bottleneck": card.bottleneck,
        "cut": card.cut,
        "trained_for": card.trained_for,
        "epochs": len(card.losses),
        "taught": card.teacher is not None,
        "data": "JPEG copy",
        "scored_on": scored_on,
        "images": n,
        "values_at_cut": int(np.prod(card.cut_shape)),
        "raw_image_bytes": card.image_bytes,
        "wires": wires,
    }


def correct_over(parts: Any, images: Images) -> npt.NDArray[np.bool_]:
    """Of each image, whether head, wire and tail together give its label: [n]."""
    correct = []
    for start in range(0, len(images), _BATCH):
        pixels = images.pixels[start : start + _BATCH]
        logits = next(iter(parts.tail(parts.head(pixels)).values()))
        correct.append(np.asarray(logits).argmax(axis=1) == images.labels[start : start + _BATCH])
    return np.concatenate(correct)
