"""The model repository: versions of models as TensorFlow Serving wants them, and which of them is stable.

    serving/<name>/<version>/saved_model.pb, variables/, assets.extra/, manifest.json
    serving/models.json                                              see `eyewall.serving.index`

TensorFlow Serving may load a version folder as soon as it has a number for a name, half-copied or not. So a version is
copied under a dotted name beside it, checked against the sums of the model's manifest, tried once, flushed to disk and
then renamed. Callers that write hold `eyewall.serving.lock.repository_lock`.
"""

import shutil
import uuid
from pathlib import Path

from eyewall import __version__
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.layout import version_dir
from eyewall.contracts.manifest import Manifest
from eyewall.serving.index import PREVIOUS, STABLE, ServedModel, Version, read_index, write_index
from eyewall.serving.plan import versions_in
from eyewall.storage import Artifact, Store
from eyewall.storage.store import sha256_of, storage_errors

SAVED_MODEL_DIR = "saved_model"
CARD_NAME = "model.json"
#: Where a version keeps the card of its model; TensorFlow Serving leaves this folder alone.
CARD_PATH = f"assets.extra/{CARD_NAME}"
#: Files of an evaluation that go beside it: the card and the pictures that it shows.
CARD_FOR_PEOPLE = ("card.md", "skill.png", "calibration.png")


def stable_version(store: Store, name: str) -> str | None:
    """Store path of the version of ``name`` that is labelled stable; None when nothing is served under that name."""
    return labelled_version(store, name, STABLE)


def labelled_version(store: Store, name: str, label: str) -> str | None:
    """Store path of the version of ``name`` with ``label``; None when there is none."""
    number = read_index(store).model(name).labels.get(label)
    return None if number is None else version_dir(name, number)


def next_version(store: Store, name: str, model: ServedModel) -> int:
    """A number that no version of ``name`` has or ever had, on disk or in the index."""
    there = versions_in(Path(store.full(f"serving/{name}"))) if store.is_local else []
    return max([0, *there, *model.versions]) + 1


def copy_version(store: Store, model: Artifact, name: str, number: int, evaluation: Artifact | None = None) -> Manifest:
    """Copy a model artifact's SavedModel to version ``number``, checked, tried and with a warm-up record.

    The model card that its ``evaluation`` wrote goes along. Nothing happens when that version holds this model
    already. Raises InputError when the model is damaged or cannot answer a request, StorageError when the repository
    cannot be written; nothing half-made is left then.
    """
    path = version_dir(name, number)
    present = store.read_manifest(path)
    if present is not None:
        if present.inputs.get(model.path) != model.reference.sha256:
            raise ContractError(f"{path!r} holds another model than {model.path!r}: look at it and remove it by hand")
        return present
    source = model.folder()
    with store.staging(path) as folder:
        _copy_checked(model, source, folder)
        _try_and_warm_up(model, name, folder)
        if evaluation is not None:
            _copy_card(evaluation, folder)
        manifest = Manifest(
            kind="version",
            code_version=__version__,
            inputs={model.path: model.reference.sha256},
            config={"name": name, "version": number},
        )
        return store.commit(folder, path, manifest)


def _copy_checked(model: Artifact, source: Path, folder: Path) -> None:
    entries = [e for e in model.manifest.files if e.path.startswith(f"{SAVED_MODEL_DIR}/")]
    if not entries:
        raise InputError(f"{model.path!r} has no {SAVED_MODEL_DIR}/: give a model artifact that eyewall train made")
    card = [e for e in model.manifest.files if e.path == CARD_NAME]
    for entry in [*entries, *card]:
        target = folder / (CARD_PATH if entry.path == CARD_NAME else entry.path.removeprefix(f"{SAVED_MODEL_DIR}/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (source / entry.path).is_file():
            raise InputError(f"{model.path}/{entry.path} is missing: train the model again")
        shutil.copyfile(source / entry.path, target)
        if sha256_of(target) != entry.sha256:
            raise InputError(f"{model.path}/{entry.path} differs from its manifest (sha256): train the model again")


def _copy_card(evaluation: Artifact, folder: Path) -> None:
    """For people: what the verification wrote of the model, with its pictures. An older one wrote none."""
    source = evaluation.folder()
    for entry in evaluation.manifest.files:
        if entry.path in CARD_FOR_PEOPLE and (source / entry.path).is_file():
            (folder / CARD_PATH).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / entry.path, (folder / CARD_PATH).parent / entry.path)


def _try_and_warm_up(model: Artifact, name: str, folder: Path) -> None:
    from eyewall.serving import warmup
    from eyewall.serving.saved_model import SavedModel
    from eyewall.serving.status import StatusError

    try:
        warmup.write(SavedModel(folder), name, folder)
    except StatusError as error:
        raise InputError(f"model {model.path!r} does not answer a valid request: {error}; train it again") from None


def register(
    store: Store, name: str, model: Artifact, approved_by: str | None, evaluation: Artifact | None = None
) -> int:
    """The version of ``name`` for ``model``: the one it has, or the next; its folder is whole afterwards.

    A version is entered into the index, as a candidate, only after its folder is there. Raises as `copy_version`.
    """
    sweep(store, name)
    index = read_index(store)
    served = index.model(name)
    sha256 = model.reference.sha256
    number = served.version_of(sha256) or _unregistered(store, name, model) or next_version(store, name, served)
    copy_version(store, model, name, number, evaluation)
    known = served.versions.get(number)
    if known is None or known.state == "failed":
        entry = Version(model=model.path, model_sha256=sha256, state="candidate", approved_by=approved_by)
        write_index(store, index.with_model(name, served.with_version(number, entry)))
    return number


def _unregistered(store: Store, name: str, model: Artifact) -> int | None:
    """A whole copy of this model that a killed publisher left without an entry in the index."""
    known = read_index(store).model(name).versions
    for number in versions_in(Path(store.full(f"serving/{name}"))) if store.is_local else []:
        manifest = store.read_manifest(version_dir(name, number)) if number not in known else None
        if manifest is not None and manifest.inputs.get(model.path) == model.reference.sha256:
            return number
    return None


def relabelled(model: ServedModel, number: int) -> ServedModel:
    """``model`` with ``number`` stable and good, the good one before it kept as previous, and no others served."""
    before = model.stable if model.stable != number else model.labels.get(PREVIOUS)
    labels = {label: n for label, n in model.labels.items() if label not in (STABLE, PREVIOUS)} | {STABLE: number}
    if before is not None and model.versions[before].state == "good":
        labels[PREVIOUS] = before
    served = tuple(sorted(set(labels.values())))
    return model.with_state(number, "good").model_copy(update={"labels": labels, "served": served})


def set_aside(store: Store, name: str, number: int, reason: str) -> None:
    """Mark a version failed, with its reason, and take the number from its folder, so that no server can load it."""
    index = read_index(store)
    write_index(store, index.with_model(name, index.model(name).with_state(number, "failed", reason)))
    sweep(store, name)


def retire(store: Store, name: str) -> None:
    """Let go of good versions that are no longer served: stable and previous stay, the others lose their folders."""
    index = read_index(store)
    model = index.model(name)
    for number, version in model.versions.items():
        if number not in model.served and version.state in ("good", "rolled_back"):
            model = model.with_state(number, "retired", version.reason)
    if model != index.model(name):
        write_index(store, index.with_model(name, model))
    sweep(store, name)


def sweep(store: Store, name: str) -> None:
    """Remove what killed publishers and retired versions left, and take the numbers from failed folders.

    A folder loses its number before its files, so that none is ever half there. On an object store nothing is
    removed: servers are told exactly which versions to load, so that what lies there unused does no harm.
    """
    if not store.is_local or not store.exists(f"serving/{name}"):
        return
    base = store.local(f"serving/{name}")
    with storage_errors(f"{f'serving/{name}'!r} in store {store.url!r}"):
        for number, version in read_index(store).model(name).versions.items():
            folder = base / str(number)
            if folder.exists() and version.state == "failed":
                shutil.rmtree(base / f".{number}.failed", ignore_errors=True)
                folder.rename(base / f".{number}.failed")
            elif folder.exists() and version.state == "retired":
                folder.rename(base / f".{number}.{uuid.uuid4().hex[:8]}.tmp")
        for debris in base.glob(".*.tmp"):
            shutil.rmtree(debris, ignore_errors=True)
