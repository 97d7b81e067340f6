"""The head for small devices: one TFLite file that gives features in the wire type, and its runner.

The file takes one frame at a time. Its features are the SavedModel's within
float32's rounding (int8 ones within one step), as its kernels sum in another order. Weights may be kept as float16 or
int8 in the file: smaller, and further from the SavedModel.
"""

import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import CONTRACT_NAME, FEATURES, WireContract
from eyewall.split.wire import read_contract

HEAD_NAME = "head.tflite"
_SIGNATURE = "serving_default"

Weights = Literal["float32", "float16", "int8"]


def convert(head: Any, weights: Weights = "float32") -> bytes:
    """An `eyewall.split.head.Head` → the TFLite file. Needs TensorFlow.

    Raises InputError, with the converter's reason, for a head with an operation that TFLite does not have.
    """
    import tensorflow as tf

    specs = {
        name: tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, name=name) for name, spec in head.input_specs.items()
    }
    one = tf.function(head._serve, input_signature=[specs], autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([one], head)
    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # alone: int8 weights, activations stay float32
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter has an exception class of its own for each stage
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"the head cannot be a TFLite file: {reason[:300]}; use the SavedModel, or cut earlier"
        ) from None


def write_head(head: Any, folder: Path, weights: Weights = "float32") -> None:
    """Write head.tflite and the contract into ``folder``, which is made. Raises InputError as `convert`."""
    data = convert(head, weights)
    folder.mkdir(parents=True)
    try:
        (folder / CONTRACT_NAME).write_bytes(head.contract.to_bytes())
        (folder / HEAD_NAME).write_bytes(data)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class TFLiteHead:
    """A head.tflite with its contract, run by LiteRT's interpreter, or by TensorFlow's where that is not installed."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Open what `write_head` wrote to ``folder``. Raises ContractError when it is not that, or no interpreter."""
        self.contract: WireContract = read_contract(folder)
        path = folder / HEAD_NAME
        if not path.is_file():
            raise ContractError(
                f"no {HEAD_NAME} in {str(folder)!r}: give a folder that eyewall split make --tflite made"
            )
        try:
            self._interpreter = _interpreter_class()(model_path=str(path), num_threads=threads)
            self._run = self._interpreter.get_signature_runner(_SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise ContractError(f"{str(path)!r} is not a TFLite head: {str(error)[:200]}; split again") from None
        details = self._run.get_input_details()
        #: input → shape without the batch, and numpy's type
        self.inputs = {name: tuple(int(n) for n in detail["shape"][1:]) for name, detail in details.items()}
        self._types = {name: np.dtype(detail["dtype"]) for name, detail in details.items()}

    def __call__(self, frames: Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Frames by input name, or one array where there is one input → features [b, *shape] in the wire type.

        Raises InputError for missing inputs and other shapes.
        """
        given = frames if isinstance(frames, Mapping) else {next(iter(self.inputs)): frames}
        for name, shape in self.inputs.items():
            if name not in given or given[name].shape[1:] != shape:
                got = list(given[name].shape) if name in given else "nothing"
                raise InputError(f"input {name!r} of the head takes [b, {', '.join(map(str, shape))}], given {got}")
        n = len(next(iter(given.values())))
        rows = [
            self._run(**{name: np.asarray(given[name][i : i + 1], self._types[name]) for name in self.inputs})[FEATURES]
            for i in range(n)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, *self.contract.shape), np.dtype(self.contract.wire))


def _interpreter_class() -> Any:
    for module, hint in (("ai_edge_litert.interpreter", False), ("tensorflow", True)):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return found.lite.Interpreter if hint else found.Interpreter
    raise ContractError("no TFLite interpreter: install ai-edge-litert, or tensorflow-cpu")
