"""The ways of a measurement on disk: heads for the client, tails and the whole model for the server.

FOLDER/client/                    the whole model, for all-client
FOLDER/splits/<way>/              head/, tail/ and tflite/ of each cut
FOLDER/store/serving/<way>/1/     every tail and the whole model, as a model repository
FOLDER/frames.npz                 the frames that are asked for
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import version_dir
from eyewall.quiet import quiet_stderr
from eyewall.serving.index import STABLE, Index, ServedModel, Version, write_index
from eyewall.split.study.results import Candidate
from eyewall.storage import Store

CLOUD_KEY = "cloud"


@dataclass
class Bench:
    """What a measurement runs; filled by `add_whole` and `add_split`, then `finish`."""

    folder: Path
    candidates: list[Candidate] = field(default_factory=list)
    say: Callable[[str], None] = lambda _: None  #: told what is made, as that takes seconds each

    @property
    def store(self) -> Path:
        """The server's store."""
        return self.folder / "store"

    @property
    def frames(self) -> Path:
        """The frames."""
        return self.folder / "frames.npz"

    def client_folder(self, candidate: Candidate) -> Path | None:
        """What the client opens for that way."""
        if candidate.place == "cloud":
            return None
        return self.folder / ("client" if candidate.place == "client" else f"splits/{candidate.key}")

    def _version(self, key: str) -> Path:
        target = self.store / version_dir(key, 1)
        target.parent.mkdir(parents=True)
        return target

    def add_split(self, parts: Any) -> Candidate:
        """One cut (`eyewall.split.partition.Parts`), its head as TFLite where the converter takes it."""
        candidate = Candidate.of_split(parts.contract)
        self.say(f"making {candidate.name}")
        folder = self.folder / "splits" / candidate.key
        try:
            with quiet_stderr():  # the converter has thousands of lines to say of what it cannot convert
                parts.export(folder, tflite=True)
        except InputError:  # the SavedModel's head, then
            parts.export(folder)
        shutil.move(folder / "tail", self._version(candidate.key))
        self.candidates.append(candidate)
        return candidate

    def add_whole(self, model: Any, frame: Mapping[str, npt.NDArray[Any]], sensor: tuple[str, ...]) -> None:
        """The whole model, for all-client (as TFLite where the converter takes it) and all-cloud.

        ``frame`` is one frame [1, …] by input name, as all-cloud sends it; ``sensor`` names what the sensor has.
        """
        from eyewall.split.study.whole import Whole

        self.say("making the whole model")
        whole = Whole(model)
        whole.save(self._version(CLOUD_KEY))
        client = self.folder / "client"
        try:
            with quiet_stderr():
                data = whole.tflite()
            client.mkdir(parents=True)
            (client / "whole.tflite").write_bytes(data)
        except InputError:
            whole.save(client)
        sent = [frame[name] for name in sensor]
        raw = {"values": sum(a.size for a in sent), "payload_bytes": sum(a.nbytes for a in sent)}
        self.candidates += [Candidate(name="client", place="client"), Candidate(name="cloud", place="cloud", **raw)]

    def finish(self, frames: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the frames [n, …] by input name, and the repository's index."""
        arrays: dict[str, Any] = dict(frames)
        np.savez(self.frames, **arrays)
        version = Version(model="study", model_sha256="0" * 64, state="good")
        served = ServedModel(versions={1: version}, served=(1,), labels={STABLE: 1})
        keys = [CLOUD_KEY, *(c.key for c in self.candidates if c.place == "split")]
        write_index(Store(str(self.store)), Index(models=dict.fromkeys(keys, served)))
