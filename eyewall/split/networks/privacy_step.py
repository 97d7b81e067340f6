"""The step ``eyewall measure-privacy``: what a decoder gives back of the images at each cut, found or made."""

import json
from typing import Any

import numpy as np

from eyewall import __version__
from eyewall.contracts.errors import ContractError
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split_jobs import PrivacyJob
from eyewall.split.networks.image_pack import ImagePack
from eyewall.split.networks.result import KIND, load_network
from eyewall.split.networks.score_step import SCORE_KIND
from eyewall.storage import Artifact, Store, resolve

PRIVACY_NAME, PICTURE_NAME = "privacy.json", "reconstructions.png"
#: Raise it when the same network and images would give other figures.
PRIVACY_FORMAT = 1
_SHOWN = 12  # images in the picture
_BATCH = 200  # all images at once would be more than a message may hold


def run(job: PrivacyJob) -> Receipt:
    """Measure it, unless the store has it. Raises InputError, ContractError."""
    store = Store(job.store)
    network = resolve(store, job.network_ref, KIND)
    config = privacy_config(job, network)
    path = privacy_path(job, network)
    manifest = store.read_manifest(path) or _measure(job, store, network, config, path)
    summary = json.loads(store.read_bytes(f"{path}/{PRIVACY_NAME}")) | {"score": path}
    return Receipt(verb=job.verb, result=Artifact(store, path, manifest).reference, summary=summary)


def privacy_config(job: PrivacyJob, network: Artifact) -> dict[str, Any]:
    """What the digest of the figures is made of."""
    return {
        "format": PRIVACY_FORMAT,
        "network": network.manifest.sha256(),
        **{name: getattr(job, name) for name in ("wire", "train_images", "test_images", "epochs", "seed")},
        "cuts": list(job.cuts),
    }


def privacy_path(job: PrivacyJob, network: Artifact) -> str:
    """Where the job's figures are, or will be, in the store: known before they are made."""
    return artifact_dir("scores", digest_of(privacy_config(job, network)))


def _measure(job: PrivacyJob, store: Store, network: Artifact, config: dict[str, Any], path: str) -> Manifest:
    from eyewall.split.cuts import find_cut
    from eyewall.split.graph import graph_of
    from eyewall.split.partition import split
    from eyewall.training.tensorflow_setup import prepare

    prepare(job.seed)
    from PIL import Image

    from eyewall.split.networks.privacy import Likeness, likeness, reconstruct, sheet, train_decoder

    pack = ImagePack(job.images)
    model, card = load_network(network)
    if pack.sha256 != card.images_sha256:
        raise ContractError(f"{job.images!r} is not the pack that {network.path!r} was trained on: give that one")
    cuts, graph = job.cuts or (card.cut,), graph_of(model)
    for cut in cuts:  # all of them before the first decoder, which takes minutes
        find_cut(graph, cut)
    train = pack.images("train", job.train_images).pixels
    test = pack.images("test", job.test_images).pixels
    mean = np.broadcast_to(train.mean(axis=0).round().astype(np.uint8), test.shape)
    rows, found = [test[:_SHOWN]], {}

    def entry(like: Likeness) -> dict[str, float]:
        return {"psnr_db": round(like.psnr_db, 3), "ssim": round(like.ssim, 4)}

    for cut in cuts:
        prepare(job.seed)  # each decoder begins as it would alone
        parts = split(model, cut, wire=job.wire, calibration=train[:1000])
        decoder = train_decoder(_features(parts, train), train, epochs=job.epochs, seed=job.seed)
        given_back = reconstruct(decoder, _features(parts, test))
        rows.append(given_back[:_SHOWN])
        found[cut] = {"bytes": parts.contract.bytes_per_frame, "shape": list(parts.contract.shape)}
        found[cut] |= entry(likeness(test, given_back))
    result = {
        "network": network.path,
        "channels": card.channels,
        "bottleneck": card.bottleneck,
        "wire": job.wire,
        "data": "JPEG copy",
        "decoder": {"train_images": len(train), "epochs": job.epochs},
        "test_images": len(test),
        "mean_image": entry(likeness(test, mean)),
        "cuts": found,
        "picture_rows": ["original", *cuts],
    }
    inputs = {"network": network.manifest.sha256(), "images": pack.sha256}
    made = Manifest(kind=SCORE_KIND, code_version=__version__, inputs=inputs, config=config)
    with store.staging(path) as folder:
        (folder / PRIVACY_NAME).write_text(json.dumps(result, sort_keys=True, indent=2, allow_nan=False) + "\n")
        Image.fromarray(sheet(rows)).save(folder / PICTURE_NAME)
        return store.commit(folder, path, made)


def _features(parts: Any, pixels: Any) -> Any:
    """What whoever listens on the link has of each image: [n, *shape] float32."""
    from eyewall.split.wire import decode

    batches = (pixels[i : i + _BATCH] for i in range(0, len(pixels), _BATCH))
    return np.concatenate([decode(parts.head(batch), parts.contract) for batch in batches])
