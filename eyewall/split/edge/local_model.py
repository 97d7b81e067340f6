"""A model that runs on the edge itself: a head, a local tail, or a whole model; as TFLite where it can be.

A folder with a ``.tflite`` file needs the interpreter alone (the package ai-edge-litert, 60 MB); TensorFlow is
imported only for a SavedModel, or for a TFLite file where that package is not there.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.split.edge.packet import Array, Arrays


@dataclass(frozen=True)
class TensorKind:
    """Type and shape of one input, the shape without the batch axis; None for a size that is free."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype.name} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"


class LocalModel(Protocol):
    """What runs here; used by one thread at a time."""

    @property
    def inputs(self) -> Mapping[str, TensorKind]:
        """What it takes by name; numbers only, a tail's digest is not among them."""

    def run(self, inputs: Arrays, texts: Mapping[str, str] | None = None) -> dict[str, Array]:
        """Outputs by name for inputs with a batch axis; ``texts`` are strings, passed as [1] where they are wanted."""


def open_model(folder: Path, threads: int = 1) -> LocalModel:
    """The model in ``folder``: its one ``.tflite`` file, or itself a SavedModel. Raises InputError."""
    lite = sorted(folder.glob("*.tflite"))
    if len(lite) == 1:
        return _Lite(lite[0], threads)
    if (folder / "saved_model.pb").is_file():
        return _Saved(folder)
    what = f"{len(lite)} .tflite files" if lite else "neither a .tflite file nor a SavedModel"
    raise InputError(f"{str(folder)!r} holds {what}: give a folder that eyewall split make wrote")


def _interpreter(path: Path, threads: int) -> Any:
    try:
        Interpreter = import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        from eyewall import quiet

        quiet.import_tensorflow()
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    try:
        with (
            warnings.catch_warnings()
        ):  # TensorFlow's says that its own will go some day; the other one goes first here
            warnings.simplefilter("ignore")
            return Interpreter(model_path=str(path), num_threads=threads)
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{path} is not a TFLite model that this interpreter takes: {error}") from None


class _Lite:
    def __init__(self, path: Path, threads: int) -> None:
        self._interpreter = _interpreter(path, threads)
        names = list(self._interpreter.get_signature_list())
        if not names:
            raise InputError(f"{path} has no signature: convert it again with eyewall split make")
        name = "serving_default" if "serving_default" in names else names[0]
        self._runner = self._interpreter.get_signature_runner(name)
        details = self._runner.get_input_details()
        # A file made for one frame at a time (`eyewall.split.tflite`) is run once a frame.
        self._one_by_one = any(int(d.get("shape_signature", d["shape"])[0]) == 1 for d in details.values())
        self.inputs = {
            key: TensorKind(np.dtype(d["dtype"]), _free(d.get("shape_signature", d["shape"])))
            for key, d in sorted(details.items())
        }

    def run(self, inputs: Arrays, texts: Mapping[str, str] | None = None) -> dict[str, Array]:
        """As `LocalModel.run`; copies, as the interpreter's own arrays are overwritten by the next call."""
        given = {name: inputs[name] for name in self.inputs}
        if not self._one_by_one:
            return self._run(given)
        frames = len(next(iter(given.values())))
        rows = [self._run({name: array[i : i + 1] for name, array in given.items()}) for i in range(frames)]
        return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}

    def _run(self, inputs: Arrays) -> dict[str, Array]:
        return {key: np.array(value) for key, value in self._runner(**inputs).items()}


def _free(shape: Any) -> tuple[int | None, ...]:
    return tuple(None if n < 0 else int(n) for n in shape[1:])


class _Saved:
    def __init__(self, folder: Path) -> None:
        from eyewall.serving.saved_model import SavedModel
        from eyewall.serving.status import StatusError

        try:
            self._signature = SavedModel(folder).signature()
        except StatusError as error:
            raise InputError(f"{str(folder)!r} cannot be loaded: {error}") from None
        specs = self._signature.inputs
        self._texts = [name for name, spec in specs.items() if spec.dtype.kind == "O"]
        self.inputs = {
            name: TensorKind(spec.dtype, tuple(spec.shape[1:] if spec.shape else ()))
            for name, spec in specs.items()
            if spec.dtype.kind != "O"
        }

    def run(self, inputs: Arrays, texts: Mapping[str, str] | None = None) -> dict[str, Array]:
        """As `LocalModel.run`."""
        from eyewall.serving.status import StatusError

        given = {name: inputs[name] for name in self.inputs}
        given |= {name: np.array([(texts or {})[name].encode()], dtype=object) for name in self._texts}
        try:
            return self._signature.run(given)
        except StatusError as error:
            raise InputError(str(error)) from None
