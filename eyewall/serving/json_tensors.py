"""JSON to numpy and back, in the row and columnar forms of TensorFlow Serving's REST API.

Source: tensorflow_serving/g3doc/api_rest.md. Bytes are ``{"b64": …}``, on the way out for outputs named ``*_bytes``;
NaN and Infinity are written as such; a float32 is written with the fewest digits that read back as the same value.
"""

import base64
import binascii
import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eyewall.serving.saved_model import Signature, TensorSpec
from eyewall.serving.status import invalid

Form = Literal["row", "columnar"]
#: dtype kind → kinds that JSON numbers may have become, so that neither 1.5 becomes an int nor "1.5" a float
_ACCEPTED_KINDS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


def parse(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises StatusError (INVALID_ARGUMENT)."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise invalid(f"JSON Parse error: {reason}") from None
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {_short(value)} Is not object")
    return value


def signature_name(request: dict[str, Any]) -> str:
    """The signature that a request asks for; empty for the default one."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_short(request)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def inputs_of(request: dict[str, Any], signature: Signature) -> tuple[dict[str, npt.NDArray[Any]], Form]:
    """Arrays of a request by input name, checked against the signature, and the form that the answer takes."""
    if "instances" in request and "inputs" in request:
        raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in request:
        columns, form = _columns_of_rows(request["instances"], signature), "row"
    elif "inputs" in request:
        columns, form = _columns(request["inputs"], signature), "columnar"
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    arrays = {name: _array(name, value, signature.inputs[name]) for name, value in columns.items()}
    for name, array in arrays.items():
        signature.check(name, array.dtype, array.shape)
    return arrays, "row" if form == "row" else "columnar"


def _columns(value: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(value, dict) or _is_b64(value):
        if len(signature.inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        return {next(iter(signature.inputs)): value}
    signature.check_names(list(value))
    return value


def _columns_of_rows(rows: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(rows, list):
        raise invalid("Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if not isinstance(rows[0], dict) or _is_b64(rows[0]):
        if len(signature.inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
                " tensorinfo_map"
            )
        return {next(iter(signature.inputs)): rows}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if set(row) != set(signature.inputs):
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {_short(row)}"
                f" keys must be equal to: {','.join(signature.inputs)}"
            )
    return {name: [row[name] for row in rows] for name in signature.inputs}


def _array(name: str, value: Any, spec: TensorSpec) -> npt.NDArray[Any]:
    if spec.dtype == object:
        return _bytes_array(name, value)
    try:
        raw = np.asarray(value)
    except (ValueError, RecursionError):
        raise invalid(f"input {name!r}: {_short(value)} is not a rectangular list of numbers") from None
    if raw.size and raw.dtype.kind not in _ACCEPTED_KINDS.get(spec.dtype.kind, ""):
        raise invalid(f"input {name!r}: JSON Value: {_short(value)} is not of expected type: {spec.dtype.name}")
    with np.errstate(over="ignore"):
        array = raw.astype(spec.dtype)
    lossless = np.isfinite(array) == np.isfinite(raw) if spec.dtype.kind == "f" else array == raw
    if not np.all(lossless):
        raise invalid(f"input {name!r}: Cannot convert {_short(value)} to {spec.dtype.name} without loss of precision.")
    return array


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _bytes_array(name: str, value: Any) -> npt.NDArray[Any]:
    def convert(item: Any) -> Any:
        if isinstance(item, list):
            return [convert(i) for i in item]
        if isinstance(item, str):
            return item.encode()
        if _is_b64(item):
            try:
                return base64.b64decode(item["b64"], validate=True)
            except binascii.Error:
                raise invalid(f"input {name!r}: Unable to base64 decode") from None
        raise invalid(f"input {name!r}: JSON Value: {_short(item)} is not of expected type: string")

    try:
        return np.array(convert(value), dtype=object)
    except (ValueError, RecursionError):
        raise invalid(f"input {name!r}: {_short(value)} is not a rectangular list of strings") from None


def render(outputs: dict[str, npt.NDArray[Any]], form: Form) -> dict[str, Any]:
    """The answer: ``predictions`` by row, or ``outputs`` by name; a single output goes without its name."""
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if form == "columnar":
        return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise invalid(f"outputs have inconsistent batch sizes {sizes}: ask in the columnar form ('inputs')")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return {"predictions": rows if len(columns) > 1 else next(iter(columns.values()))}


def _plain(name: str, array: npt.NDArray[Any]) -> Any:
    if array.dtype.kind in "OSU":
        as_bytes = name.endswith("_bytes")
        flat = [_text(item, as_bytes) for item in array.ravel().tolist()]
        return np.array([*flat, None], dtype=object)[:-1].reshape(array.shape).tolist()
    if array.dtype == np.float32:
        # Through text: float(np.float32(0.2)) would be written as 0.20000000298023224.
        return array.astype("U32").astype(np.float64).reshape(array.shape).tolist()
    if array.dtype.kind == "f":
        return array.astype(np.float64).tolist()
    return array.tolist()


def _text(item: Any, as_bytes: bool) -> Any:
    raw = item if isinstance(item, bytes) else str(item).encode()
    return {"b64": base64.b64encode(raw).decode()} if as_bytes else raw.decode("utf-8", "replace")


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, list | dict) else json.dumps(value, default=str)[:200]
    return text[:200]
