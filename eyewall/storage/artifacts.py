"""From a reference on the command line to an artifact: a folder of the store, or the receipt that names one."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from eyewall.contracts.errors import ContractError
from eyewall.contracts.manifest import Manifest, Receipt, Reference
from eyewall.storage.store import Store


@dataclass(frozen=True)
class Artifact:
    """A whole artifact: its path in the store and its manifest."""

    store: Store
    path: str
    manifest: Manifest

    @property
    def reference(self) -> Reference:
        """What receipts carry."""
        return Reference(uri=self.path, sha256=self.manifest.sha256())

    def folder(self) -> Path:
        """The artifact as a local folder."""
        return self.store.fetch(self.path)


def _inside(store: Store, ref: str) -> str:
    """``ref`` as a path inside the store: given relative to the store, or in full with the store's own prefix."""
    for prefix in (store.url.rstrip("/"), store.root):
        if ref.startswith(prefix + "/"):
            return ref[len(prefix) + 1 :].rstrip("/")
    if store.is_local and Path(ref).is_absolute() and Path(ref).is_relative_to(store.root):
        return Path(ref).relative_to(store.root).as_posix()
    return PurePosixPath(ref).as_posix()


def find(store: Store, path: str) -> Artifact | None:
    """The artifact at ``path``, if it is there already: what makes a step that was run before a no-op."""
    manifest = store.read_manifest(path)
    return None if manifest is None else Artifact(store, path, manifest)


def resolve(store: Store, ref: str, kind: str | None = None) -> Artifact:
    """``ref`` (an artifact's folder, or a receipt) → the artifact it names.

    Raises ContractError when there is none, when it is of another kind, or when a receipt's digest differs.
    """
    path = _inside(store, ref)
    expected: str | None = None
    if path.endswith(".json"):
        try:
            receipt = Receipt.model_validate(store.read_json(path))
        except ValidationError as error:
            raise ContractError(f"{ref!r} is not a receipt: {error.errors()[0]['msg']}") from None
        if receipt.result is None:
            raise ContractError(f"receipt {ref!r} names no result: the step eyewall {receipt.verb} had nothing to give")
        path, expected = receipt.result.uri, receipt.result.sha256
    artifact = find(store, path)
    if artifact is None:
        raise ContractError(f"no artifact {path!r} in store {store.url!r}: run the step that makes it first")
    if kind is not None and artifact.manifest.kind != kind:
        raise ContractError(f"{ref!r} is of kind {artifact.manifest.kind!r}: give one of kind {kind!r}")
    if expected is not None and artifact.manifest.sha256() != expected:
        raise ContractError(f"{path!r} differs from what receipt {ref!r} was written for: run the step again")
    return artifact
