"""One SavedModel in memory: its signatures, the check of a request against them, and the call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall import quiet
from eyewall.serving.status import FAILED_PRECONDITION, INTERNAL, INVALID_ARGUMENT, StatusError, invalid

DEFAULT_SIGNATURE = "serving_default"
SAVED_MODEL_FILE = "saved_model.pb"
_SERVING_TAG = "serve"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class TensorSpec:
    """What a signature says of one tensor: ``shape`` has None for a size that is free, and is None for a free rank."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        return f"{dtype_text(self.dtype)} {shape_text(self.shape)}"

    def refusal_of(self, dtype: np.dtype[Any], shape: Sequence[int]) -> str:
        """Why a tensor of ``dtype`` and ``shape`` does not fit, or nothing."""
        if dtype == self.dtype and self._fits(shape):
            return ""
        given = f"given {dtype_text(dtype)} {shape_text(shape)}"
        if dtype != self.dtype:
            return f"expected {self}, {given}: the type differs"
        if self.shape is not None and len(shape) != len(self.shape):
            return f"expected {self}, {given}: the number of axes differs"
        return f"expected {self}, {given}: the size of an axis differs"

    def _fits(self, shape: Sequence[int]) -> bool:
        return self.shape is None or (
            len(shape) == len(self.shape)
            and all(want is None or want == got for want, got in zip(self.shape, shape, strict=True))
        )


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Name of a type; strings are arrays of objects in numpy."""
    return "string" if dtype.kind == "O" else dtype.name


def shape_text(shape: Sequence[int | None] | None) -> str:
    """``[?,9]``, or ``[…]`` for a free rank."""
    return "[…]" if shape is None else "[" + ",".join("?" if n is None else str(n) for n in shape) + "]"


def _spec(info: Any) -> TensorSpec:
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(info.dtype)
    numpy_dtype = np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)
    if info.tensor_shape.unknown_rank:
        return TensorSpec(numpy_dtype, None)
    return TensorSpec(numpy_dtype, tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim))


class Signature:
    """A named function of the SavedModel, with named inputs and outputs."""

    def __init__(self, name: str, definition: Any, function: Any) -> None:
        self.name = name
        self.inputs = {key: _spec(info) for key, info in sorted(definition.inputs.items())}
        self.outputs = {key: _spec(info) for key, info in sorted(definition.outputs.items())}
        self._function = function

    def check_names(self, given: Sequence[str]) -> None:
        """Refuse missing and extra inputs (INVALID_ARGUMENT)."""
        missing, extra = sorted(set(self.inputs) - set(given)), sorted(set(given) - set(self.inputs))
        if missing or extra:
            raise invalid(
                f"input size does not match signature: {len(given)}!={len(self.inputs)}"
                f" len({{{','.join(sorted(given))}}}) != len({{{','.join(self.inputs)}}})."
                f" Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
            )

    def check(self, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> None:
        """Refuse a tensor of the wrong type or shape, before any memory is spent on it (INVALID_ARGUMENT)."""
        refusal = self.inputs[name].refusal_of(dtype, shape)
        if refusal:
            raise invalid(f"input {name!r} of signature {self.name!r}: {refusal}")

    def wanted_outputs(self, output_filter: Sequence[str]) -> Sequence[str]:
        """The outputs to return: those of the filter, or all. Refuses unknown and repeated ones."""
        for i, alias in enumerate(output_filter):
            if alias not in self.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {alias} Outputs expected to be in the set"
                    f" {{{','.join(self.outputs)}}}."
                )
            if alias in output_filter[:i]:
                raise invalid(f"duplicate output tensor alias: {alias}")
        return output_filter or list(self.outputs)

    def run(self, inputs: Arrays, output_filter: Sequence[str] = ()) -> dict[str, npt.NDArray[Any]]:
        """Call the function on checked ``inputs``. Raises StatusError for what the graph itself refuses."""
        import tensorflow as tf

        wanted = self.wanted_outputs(output_filter)
        try:
            result = self._function(**{name: tf.convert_to_tensor(value) for name, value in inputs.items()})
            return {name: result[name].numpy() for name in wanted}
        except tf.errors.InvalidArgumentError as error:
            raise StatusError(INVALID_ARGUMENT, _first_line(error)) from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise StatusError(INTERNAL, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """What went wrong, without the graph's inner trace."""
    lines = [line.strip() for line in str(getattr(error, "message", error)).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Graph execution error", "Detected at node", "<stack"))]
    return (useful or lines or [type(error).__name__])[0]


class SavedModel:
    """A loaded SavedModel: immutable, safe to call from many threads."""

    def __init__(self, folder: Path) -> None:
        """Load from ``folder``. Raises StatusError with the reason when it cannot be loaded, whatever that is."""
        quiet.import_tensorflow()
        import tensorflow as tf
        from tensorflow.core.protobuf import saved_model_pb2

        try:
            proto = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL_FILE).read_bytes())
            graph = next(g for g in proto.meta_graphs if _SERVING_TAG in g.meta_info_def.tags)
            loaded = tf.saved_model.load(str(folder), tags=[_SERVING_TAG])
            self.signature_defs = {
                name: definition for name, definition in graph.signature_def.items() if name in loaded.signatures
            }
            self.signatures = {
                name: Signature(name, definition, loaded.signatures[name])
                for name, definition in self.signature_defs.items()
            }
            self._keep_alive = loaded  # its variables live as long as it does
        except StopIteration:
            raise StatusError(INTERNAL, f"no graph with the tag {_SERVING_TAG!r} in {SAVED_MODEL_FILE}") from None
        except Exception as error:  # a broken model fails in a dozen ways: OSError, DecodeError, KeyError, tf.errors …
            raise StatusError(INTERNAL, f"{type(error).__name__}: {_first_line(error)}") from error
        if not self.signatures:
            raise StatusError(INTERNAL, f"no callable signature in {SAVED_MODEL_FILE}")

    def signature(self, name: str = "") -> Signature:
        """A signature by name; an empty name is the default one (FAILED_PRECONDITION when there is none)."""
        found = self.signatures.get(name or DEFAULT_SIGNATURE)
        if found is None:
            raise StatusError(FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
        return found
