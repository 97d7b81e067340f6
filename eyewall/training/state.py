"""Checkpoints of a run: one file a checkpoint that holds everything a resume needs, written whole or not at all.

runs/<run>/job.json              which job the run belongs to; another one under the same name is refused
runs/<run>/step-00000200.npz     weights, optimizer, best weights so far, losses of every step up to 200

The weights, the optimizer and the history go into one file because three files could be of three different steps
after a kill. It is a NumPy archive rather than a TensorFlow checkpoint for the same reason (that is a set of files),
and because a rename on a folder and a PUT on an object store are all it needs; its members carry checksums.
"""

import io
import json
import zipfile
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.contracts.layout import run_dir
from eyewall.storage import Store
from eyewall.training.validation import Skill

_KEPT = 2  # the newest, and the one before it should the newest turn out damaged
Array = npt.NDArray[Any]


@dataclass
class TrainingState:
    """A run after ``step`` optimizer steps. Arrays are in the order of the model's and the optimizer's variables."""

    step: int = 0
    weights: list[Array] = field(default_factory=list)
    optimizer: list[Array] = field(default_factory=list)
    best_weights: list[Array] = field(default_factory=list)
    best_step: int = 0
    best_skill: Skill = field(default_factory=Skill.unknown)  #: with the best weights, on the validation split
    losses: list[float] = field(default_factory=list)  #: of step 1, 2, …
    validations: list[list[float]] = field(default_factory=list)  #: rows of step, score, km by lead

    def to_bytes(self) -> bytes:
        """An uncompressed .npz."""
        arrays: dict[str, Any] = {
            "step": np.int64(self.step),
            "best_step": np.int64(self.best_step),
            "losses": np.array(self.losses, np.float64),
            "validations": np.array(self.validations, np.float64),
        }
        arrays |= {f"best_skill.{f.name}": getattr(self.best_skill, f.name) for f in fields(Skill)}
        for group in ("weights", "optimizer", "best_weights"):
            arrays |= {f"{group}.{i:04d}": value for i, value in enumerate(getattr(self, group))}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "TrainingState":
        """The inverse of `to_bytes`. Raises ValueError when the bytes are damaged."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            groups = {
                group: [arrays[name] for name in sorted(arrays) if name.startswith(group + ".")]
                for group in ("weights", "optimizer", "best_weights")
            }
            return cls(
                step=int(arrays["step"]),
                best_step=int(arrays["best_step"]),
                best_skill=Skill(**{f.name: arrays[f"best_skill.{f.name}"] for f in fields(Skill)}),
                losses=arrays["losses"].tolist(),
                validations=arrays["validations"].tolist(),
                **groups,
            )
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a checkpoint: {error}") from error


class Run:
    """The folder of one named run in the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name
        self.folder = run_dir(name)

    def claim(self, digest: str, config: dict[str, Any]) -> None:
        """Make the run this job's. Raises ContractError when it already is another job's."""
        path = f"{self.folder}/job.json"
        if not self.store.exists(path):
            self.store.write_json(path, {"digest": digest, "config": config})
            return
        present = self.store.read_json(path)
        if present.get("digest") == digest:
            return
        theirs = present.get("config", {})
        differing = [
            f"{key} is {json.dumps(theirs.get(key))}, not {json.dumps(config.get(key))}"
            for key in sorted(set(theirs) | set(config))
            if theirs.get(key) != config.get(key)
        ]
        raise ContractError(
            f"run {self.name!r} belongs to another training ({'; '.join(differing)}): give another --run,"
            f" or remove {self.folder} to start afresh"
        )

    def _checkpoints(self) -> list[str]:
        return [p for p in self.store.list_files(self.folder, ".npz") if p.rsplit("/", 1)[-1].startswith("step-")]

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint, then drop the ones before the last two. Raises StorageError."""
        self.store.write_bytes(f"{self.folder}/step-{state.step:08d}.npz", state.to_bytes())
        for path in self._checkpoints()[:-_KEPT]:
            self.store.remove(path)

    def load(self) -> TrainingState | None:
        """The newest checkpoint that is whole; None when there is none."""
        for path in reversed(self._checkpoints()):
            try:
                return TrainingState.from_bytes(self.store.read_bytes(path))
            except (ValueError, StorageError):
                continue
        return None
