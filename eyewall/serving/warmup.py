"""Warm-up records: one real request a version, answered by the server before it takes any other.

Source: TensorFlow Serving's guide to SavedModel warm-up: ``assets.extra/tf_serving_warmup_requests``, a TFRecord file
of at most 1000 PredictionLog messages; a request that fails fails the load. Ours carries the answer as well, computed
where the version was published, so that the served answer can be compared with it.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts import features as f
from eyewall.contracts.errors import CorruptFile
from eyewall.contracts.split import CONTRACT, CONTRACT_NAME, WireContract
from eyewall.records.shards import frame_record, read_records
from eyewall.serving.saved_model import DEFAULT_SIGNATURE, SavedModel, Signature, TensorSpec
from eyewall.serving.status import INVALID_ARGUMENT, StatusError
from eyewall.serving.tensors import decode, encode, pack

WARMUP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


def example_inputs(signature: Signature) -> dict[str, npt.NDArray[Any]]:
    """One valid request, batch of 1: a typhoon that moves north-west where the names are known, a ramp elsewhere."""
    return {name: _example(name, spec) for name, spec in signature.inputs.items()}


def _example(name: str, spec: TensorSpec) -> npt.NDArray[Any]:
    shape = tuple(1 if n is None else n for n in spec.shape or ())
    count = int(np.prod(shape))
    if spec.dtype == object:
        return np.full(shape, b"eyewall", dtype=object)
    # First and last value along the past fixes or frames, oldest first; masks are 1 throughout.
    storm: dict[str, tuple[float, float]] = {
        f.PAST_LAT_DEG: (14.0, 19.2),
        f.PAST_LON_DEG: (141.0, 132.5),
        f.PAST_WIND_KT: (35.0, 75.0),
        f.PAST_PRESSURE_HPA: (1000.0, 962.0),
        f.DAY_OF_YEAR: (240.5, 240.5),
        f.IMAGES: (205.0, 290.0),
        f.IMAGE_AGE_H: (6.0 * (shape[-1] - 1) if shape else 0.0, 0.0),
        **dict.fromkeys((f.PAST_FIX_VALID, f.PAST_WIND_VALID, f.PAST_PRESSURE_VALID, f.IMAGE_VALID), (1.0, 1.0)),
    }
    first, last = storm.get(name, (0.25, 1.75) if spec.dtype.kind == "f" else (1, 3))
    return np.linspace(first, last, count).astype(spec.dtype).reshape(shape)


def write(model: SavedModel, name: str, folder: Path) -> None:
    """Write the warm-up record, request and answer, of a version of model ``name`` into its ``folder``.

    The bytes are the same for the same model. Raises StatusError when the model cannot answer its own signature.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    signature = model.signature()
    inputs = example_inputs(signature)
    wire = folder / "assets.extra" / CONTRACT_NAME
    if CONTRACT in inputs and wire.is_file():  # the tail of a split model answers nobody else than its head
        inputs[CONTRACT][...] = WireContract.parse(wire.read_bytes(), str(wire)).model.encode()
    outputs = signature.run(inputs)
    for key, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise StatusError(INVALID_ARGUMENT, f"output {key!r} is not finite for a valid request")
    request = predict_pb2.PredictRequest(inputs={key: pack(value) for key, value in inputs.items()})
    request.model_spec.name, request.model_spec.signature_name = name, DEFAULT_SIGNATURE
    response = predict_pb2.PredictResponse(outputs={key: encode(value) for key, value in outputs.items()})
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request, response=response)
    )
    (folder / WARMUP_PATH).parent.mkdir(exist_ok=True)
    (folder / WARMUP_PATH).write_bytes(frame_record(log.SerializeToString(deterministic=True)))


def read(folder: Path) -> list[Any]:
    """The PredictionLog messages of a version's folder; none when it has no warm-up file. Raises StatusError."""
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    if not (folder / WARMUP_PATH).exists():
        return []
    try:
        records = list(itertools.islice(read_records(folder / WARMUP_PATH), MAX_RECORDS + 1))
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (CorruptFile, DecodeError) as error:
        raise StatusError(INVALID_ARGUMENT, f"warm-up file is damaged: {error}") from error
    if len(logs) > MAX_RECORDS:
        raise StatusError(INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum ({MAX_RECORDS})")
    return logs


def replay(model: SavedModel, folder: Path) -> int:
    """Send a version its own warm-up requests and return how many. Raises StatusError when one fails."""
    logs = read(folder)
    for log in logs:
        if log.WhichOneof("log_type") != "predict_log":
            continue  # other kinds of request are not served here
        request = log.predict_log.request
        signature = model.signature(request.model_spec.signature_name)
        signature.check_names(list(request.inputs))
        signature.run({key: decode(key, proto, signature) for key, proto in request.inputs.items()})
    return len(logs)
