"""What a store may let go of, and letting go of it: the leavings of killed steps, finished runs, forgotten artifacts.

Three kinds, and nothing else:

- *leftover*: what a step that was killed left under a staging name (``.name.xxxxxxxx.tmp``, ``.stale``), untouched
  for a day. No reader ever saw it.
- *checkpoints* of a training run whose model is committed, untouched for a day. A resume would find the model.
- *unused* artifacts that a digest names (records, models, encoders, decisions, …: `layout.CONTENT_NAMED`), when an age
  is given: older than that, and named by nothing that is kept. Kept are whatever is younger, what a younger receipt or
  an unfinished run names, the model of every version that can still be served with the decision that led to it, and
  all that these were made from. Without a valid ``serving/models.json`` nothing is called unused, nor is a folder that
  is not named by a digest.

Frames, quarantine, the model repository, forecasts and receipts are never touched: leftovers in ``frames``,
``quarantine`` and ``serving`` are only named.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eyewall.contracts.errors import InputError, ServingError
from eyewall.contracts.layout import CONTENT_NAMED, artifact_dir
from eyewall.contracts.manifest import MANIFEST_NAME
from eyewall.serving.index import require_index
from eyewall.serving.lock import while_unchanged
from eyewall.storage.store import Store, storage_errors

What = Literal["leftover", "checkpoints", "unused"]
_NOT_OURS = ("frames", "quarantine", "serving")
#: Folders whose JSON is not a receipt; anywhere else a step may have been told to write one.
_WITHOUT_RECEIPTS = (*CONTENT_NAMED, *_NOT_OURS, "forecasts", "runs")
_DAY_S = 86400.0
_LEFTOVER = re.compile(r"\..+\.[0-9a-z_]{8}\.(tmp|stale)")
_CHECKPOINT = re.compile(r"job\.json|step-[0-9]{8}\.npz")
_PATH = rf"(?:{'|'.join(CONTENT_NAMED)})/[0-9a-f]{{16}}"
_STEPS_OWN = re.compile(rf"{_PATH}/{re.escape(MANIFEST_NAME)}")
_NAMED = re.compile(rf"{_PATH}\b|\b[0-9a-f]{{64}}\b")


@dataclass(frozen=True)
class Item:
    """One thing to let go of: its path in the store, and the bytes that this frees."""

    what: What
    path: str
    bytes: int


@dataclass(frozen=True)
class Tidying:
    """What was found: to be let go of, and leftovers in folders that are not tidied."""

    items: tuple[Item, ...]
    left_alone: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What letting go of all of it frees."""
        return sum(item.bytes for item in self.items)


def tidy(store: Store, older_than_days: float | None = None, *, remove: bool, now_s: float | None = None) -> Tidying:
    """Find what may go, and with ``remove`` let it go; ``older_than_days`` also asks for unused artifacts.

    ``now_s`` (seconds since 1970) is the present unless given. Raises InputError when the store is no local folder,
    ContractError when models.json is damaged, ServingError while a publish is at work, StorageError when something
    cannot be removed. Killed in between, it leaves leftovers for the next time.
    """
    if not store.is_local or not Path(store.root).is_dir():
        raise InputError(
            f"store {store.url!r} is not a folder that is there: give one; an object store has lifecycle rules"
        )
    now_s = time.time() if now_s is None else now_s
    with while_unchanged(store) as nobody_publishes:
        if not nobody_publishes:
            raise ServingError("a publish or rollback is at work in this store: try again when it is done")
        leftovers, left_alone = _leftovers(store, now_s - _DAY_S)
        items = [*leftovers, *_finished_runs(store, now_s - _DAY_S)]
        if older_than_days is not None:
            items += _unused(store, now_s - older_than_days * _DAY_S)
        if remove:
            for item in items:
                _let_go(store, item)
    return Tidying(tuple(items), tuple(left_alone))


# --- leftovers


def _leftovers(store: Store, before_s: float) -> tuple[list[Item], list[str]]:
    items, left_alone = [], []
    for path in _staging_names(Path(store.root)):
        if _newest_s(path) >= before_s:
            continue
        name = path.relative_to(store.root).as_posix()
        if name.split("/")[0] in _NOT_OURS:
            left_alone.append(name)
        else:
            items.append(Item("leftover", name, _size(path)))
    return items, left_alone


def _staging_names(top: Path) -> Iterator[Path]:
    """Files and folders with a staging name; what is inside such a folder goes with it. Links are not followed."""
    for root, folders, files in os.walk(top):
        found = [name for name in [*folders, *files] if _LEFTOVER.fullmatch(name)]
        folders[:] = sorted(set(folders) - set(found))
        yield from (Path(root) / name for name in sorted(found))


# --- runs


def _finished_runs(store: Store, before_s: float) -> list[Item]:
    items = []
    for run, digest in _runs(store):
        folder = store.local(run)
        files = [path for path in folder.iterdir() if path.is_file() and _CHECKPOINT.fullmatch(path.name)]
        if digest and _has_model(store, digest) and _newest_s(folder) < before_s:
            items.append(Item("checkpoints", run, sum(_size(path) for path in files)))
    return items


def _runs(store: Store) -> list[tuple[str, str]]:
    """Folder and digest of each training run; a run whose job cannot be read has no digest."""
    found = []
    for path in store.list_files("runs", "/job.json"):
        try:
            job = store.read_json(path)
        except Exception:  # damaged: it may be anybody's, and is left alone
            job = None
        digest = job.get("digest") if isinstance(job, dict) else None
        found.append((path.removesuffix("/job.json"), digest if isinstance(digest, str) else ""))
    return found


def _has_model(store: Store, digest: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{16,64}", digest)) and store.exists(
        f"{artifact_dir('models', digest)}/{MANIFEST_NAME}"
    )


# --- artifacts


def _unused(store: Store, before_s: float) -> list[Item]:
    texts = {path: _text(store, f"{path}/{MANIFEST_NAME}") for path in _artifacts(store)}
    by_sha256 = {_sha256(text): path for path, text in texts.items()}

    def named_in(found: Iterable[str]) -> set[str]:
        names = {name for text in found for name in _NAMED.findall(text)}
        return {by_sha256.get(name, name) for name in names} & set(texts)

    kept = {path for path in texts if _newest_s(store.local(path)) >= before_s}
    kept |= named_in([*_young_receipts(store, before_s), *_unfinished_jobs(store)])
    of_served = named_in(_servable(store)) & set(texts)
    kept |= of_served
    kept |= {  # why a version is served: a decision about it names it, and its evaluation
        path for path, text in texts.items() if path.startswith("decisions/") and named_in([text]) & of_served
    }
    fresh = kept
    while fresh:
        fresh = named_in(texts[path] for path in fresh) - kept
        kept |= fresh
    return [Item("unused", path, _size(store.local(path))) for path in sorted(set(texts) - kept)]


def _artifacts(store: Store) -> list[str]:
    """Those that a step has named; somebody's copy under another name is left alone."""
    manifests = (path for kind in CONTENT_NAMED for path in store.list_files(kind, f"/{MANIFEST_NAME}"))
    return [path.removesuffix(f"/{MANIFEST_NAME}") for path in manifests if _STEPS_OWN.fullmatch(path)]


def _young_receipts(store: Store, before_s: float) -> list[str]:
    """Text of every receipt, wherever it lies, that is not older; a damaged one still names what it names."""
    tops = [path.name for path in Path(store.root).iterdir() if path.name not in _WITHOUT_RECEIPTS]
    paths = [path for top in sorted(tops) for path in store.list_files(top, ".json")]
    return [_text(store, path) for path in paths if _newest_s(store.local(path)) >= before_s]


def _unfinished_jobs(store: Store) -> list[str]:
    """What runs without a model were started with: they may go on from their checkpoints at any time."""
    return [_text(store, f"{run}/job.json") for run, digest in _runs(store) if not _has_model(store, digest)]


def _servable(store: Store) -> list[str]:
    """Models of all versions that are served, labelled, or can be so again. Raises InputError, ContractError."""
    return [
        version.model
        for model in require_index(store).models.values()
        for number, version in model.versions.items()
        if version.state not in ("failed", "retired") or number in (*model.served, *model.labels.values())
    ]


# --- doing it


def _let_go(store: Store, item: Item) -> None:
    """A folder loses its name before its files, so that none is ever half there."""
    path = store.local(item.path)
    with storage_errors(f"{item.path!r} in store {store.url!r}", "remove"):
        if item.what == "checkpoints":
            for file in sorted(path.iterdir(), key=lambda file: file.name == "job.json"):  # the claim goes last
                if file.is_file() and _CHECKPOINT.fullmatch(file.name):
                    file.unlink()
            if not any(path.iterdir()):
                path.rmdir()
            return
        if item.what == "unused":
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
            path.rename(aside)
            path = aside
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _below(path: Path) -> Iterator[os.stat_result]:
    """Of the path itself and everything in it; links are not followed, and what goes meanwhile is passed over."""
    names = [path]
    if path.is_dir() and not path.is_symlink():
        names += [Path(root) / name for root, folders, files in os.walk(path) for name in [*folders, *files]]
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            yield name.lstat()


def _newest_s(path: Path) -> float:
    """When anything in it last changed, seconds since 1970; infinite when it has gone."""
    return max((each.st_mtime for each in _below(path)), default=float("inf"))


def _size(path: Path) -> int:
    """Bytes of its files."""
    return sum(each.st_size for each in _below(path) if not stat.S_ISDIR(each.st_mode))


def _text(store: Store, path: str) -> str:
    return store.read_bytes(path).decode(errors="replace")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
