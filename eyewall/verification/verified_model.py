"""From what ``--model`` names to a model that can be verified: its folder, its identity, its card, its predictions.

``--model`` may name a model artifact or a served version of the store, a receipt, or a folder anywhere on disk that
holds such an artifact, a version folder of TensorFlow Serving's layout, or a plain SavedModel.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyewall.contracts.errors import ContractError, InputError, LeakError, StorageError
from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.contracts.manifest import MANIFEST_NAME, Manifest
from eyewall.models.card import CARD_NAME, SAVED_MODEL_DIR, ModelCard
from eyewall.storage import Store, resolve
from eyewall.storage.store import sha256_of
from eyewall.verification.report import Verified

Arrays = dict[str, np.ndarray]
Predictor = Callable[[Arrays], Arrays]

_SAVED_MODEL = "saved_model.pb"
_KINDS = ("model", "version")
UNKNOWN_SEASONS = "it has no model card: which seasons it was trained on is unknown"


@dataclass(frozen=True)
class VerifiedModel:
    """A model on this machine, ready to be loaded."""

    folder: Path  #: what `eyewall.models.predict.load_predictor` takes
    uri: str  #: path in the store, or the folder's name
    sha256: str
    publishable: bool  #: a model artifact of the store, which is what publish takes
    card: ModelCard | None
    copy_of: str | None = None  #: of a served version: sha256 of the manifest of the model that it is a copy of

    @property
    def seen_seasons(self) -> tuple[int, int] | None:
        """First and last season that it was trained or chosen on; None without a card. Splits are spans of seasons."""
        if self.card is None:
            return None
        seen = [season for split in ("train", "val") for season in self.card.seasons.get(split, ())]
        return (min(seen), max(seen)) if seen else None

    @property
    def may_take_images(self) -> bool:
        """False when its card says that it takes none."""
        return self.card is None or self.card.images.frames > 0

    def refuse_images(self, held: ImageSpec) -> None:
        """Raises InputError when the records' images ``held`` are not of the kind that it was trained on."""
        if self.card is not None and self.card.images.frames and held.frames and held != self.card.images:
            raise InputError(
                f"model {self.uri!r} takes images of {_in_words(self.card.images)}, the records hold {_in_words(held)}:"
                " give --records of the model's kind, or leave the model out"
            )

    def load(self) -> Predictor:
        """Its predictions as a function of arrays (TensorFlow is imported here)."""
        from eyewall.models.predict import load_predictor

        return load_predictor(self.folder)

    def described(self, note: str | None = None) -> Verified:
        """What the report says of it."""
        return Verified(
            uri=self.uri,
            sha256=self.sha256,
            publishable=self.publishable,
            copy_of=self.copy_of,
            kind=self.card.kind if self.card else None,
            seen_seasons=self.seen_seasons,
            cliper_cases=self._of_cliper("cases"),
            cliper_forms=self._of_cliper("lead_forms"),
            note=note or (UNKNOWN_SEASONS if self.card is None else None),
        )

    def _of_cliper(self, what: str) -> dict[str, Any] | None:
        """Lead in hours, as text → what the card says of the CLIPER inside; None where it does not say."""
        values = self.card.cliper.get(what) if self.card else None
        return dict(zip(map(str, LEADS_H), values, strict=False)) if values else None

    def overlap(self, first: int, last: int) -> str | None:
        """The sentence that says so when it was trained or chosen on seasons among ``first``-``last``; else None."""
        if self.card is None:
            return None
        for split in ("train", "val"):
            seasons = self.card.seasons.get(split, ())
            if seasons and min(seasons) <= last and first <= max(seasons):
                use = "trained" if split == "train" else "chosen"
                return f"{self.uri!r} was {use} on seasons {min(seasons)}-{max(seasons)}"
        return None

    def refuse_leak(self, first: int, last: int) -> None:
        """Raises LeakError when it was trained or chosen on seasons among the verified ones, ``first``-``last``."""
        overlap = self.overlap(first, last)
        if overlap is not None:
            raise LeakError(
                f"model {overlap}, which overlap the verified seasons {first}-{last}: verify seasons it has not seen"
            )


def find_model(store: Store, ref: str) -> VerifiedModel:
    """The model that ``ref`` names, in the store first, then on this machine's disk.

    Raises ContractError when there is none, when it is something else, or when its files differ from its manifest.
    """
    try:
        artifact = resolve(store, ref)
    except (ContractError, StorageError):
        path = Path(ref)
        if path.is_dir():
            return _on_disk(store, path.resolve())
        if path.is_file():
            return _from_receipt(path.resolve())
        raise
    if artifact.manifest.kind not in _KINDS:
        raise ContractError(f"{ref!r} is of kind {artifact.manifest.kind!r}: give a model, or a served version")
    folder = artifact.folder()
    _check_files(folder, artifact.manifest, ref)
    is_model = artifact.manifest.kind == "model"
    # A version's manifest has the model that it is a copy of as its one input.
    copy_of = None if is_model else next(iter(artifact.manifest.inputs.values()), None)
    saved, digest = _saved_model_of(folder, ref), artifact.manifest.sha256()
    return VerifiedModel(saved, artifact.path, digest, is_model, _card(folder), copy_of)


def _on_disk(store: Store, folder: Path) -> VerifiedModel:
    if folder.name == SAVED_MODEL_DIR and (folder.parent / MANIFEST_NAME).exists():
        return find_model(store, str(folder.parent))  # inside an artifact: that has the card and the identity
    saved = _saved_model_of(folder, str(folder))
    manifest_path = folder / MANIFEST_NAME
    if manifest_path.exists():
        try:
            manifest = Manifest.model_validate_json(manifest_path.read_bytes())
        except ValueError as error:
            raise ContractError(f"manifest of {str(folder)!r} is not valid: {error}") from None
        _check_files(folder, manifest, str(folder))
        digest = manifest.sha256()
    else:
        digest = tree_sha256(folder)
    return VerifiedModel(saved, folder.name, digest, False, _card(folder))


def _from_receipt(path: Path) -> VerifiedModel:
    """The model that a receipt of some other store names: that store is the folder above in which its URI exists."""
    for parent in path.parents:
        try:
            artifact = resolve(Store(str(parent)), path.relative_to(parent).as_posix())
        except (ContractError, StorageError):
            continue
        return _on_disk(Store(str(parent)), artifact.folder())
    raise ContractError(f"{str(path)!r} is not the receipt of a model that is here: give the model's folder")


def _saved_model_of(folder: Path, ref: str) -> Path:
    """The folder to load: ``folder`` itself, whether it is a SavedModel or holds one."""
    if not any((candidate / _SAVED_MODEL).exists() for candidate in (folder, folder / SAVED_MODEL_DIR)):
        raise ContractError(
            f"{ref!r} holds no {_SAVED_MODEL}: give a model artifact, a SavedModel, or one version of a served model"
        )
    return folder


def _in_words(spec: ImageSpec) -> str:
    return f"{spec.frames} x {spec.px} px of {spec.km_per_px:g} km ({spec.quantity})"


def _card(folder: Path) -> ModelCard | None:
    for place in (folder, folder / "assets.extra"):
        if (place / CARD_NAME).exists():
            return ModelCard.read(place)
    return None


def _check_files(folder: Path, manifest: Manifest, ref: str) -> None:
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file() or sha256_of(path) != entry.sha256:
            raise ContractError(
                f"{entry.path} of {ref!r} differs from its manifest: the model is damaged, train it again"
            )


def tree_sha256(path: Path) -> str:
    """sha256 of a file, or of a folder: of the names and sums of all its files."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for each in sorted(path.rglob("*")):
        if each.is_file():
            digest.update(f"{each.relative_to(path).as_posix()}\0{sha256_of(each)}\n".encode())
    return digest.hexdigest()
