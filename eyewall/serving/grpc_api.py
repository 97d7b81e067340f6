"""TensorFlow Serving's gRPC services over a ModelManager: PredictionService and ModelService.

Source: tensorflow_serving/apis/prediction_service.proto and model_service.proto. Classify, Regress and MultiInference
take tf.Example, which no model here does: they answer UNIMPLEMENTED.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from eyewall.serving.access import ServerAccess
from eyewall.serving.manager import ModelManager, ServedVersion
from eyewall.serving.plan import plans_of_config
from eyewall.serving.saved_model import DEFAULT_SIGNATURE, SavedModel
from eyewall.serving.status import DEADLINE_EXCEEDED, INTERNAL, StatusError, invalid
from eyewall.serving.tensors import MAX_MESSAGE_BYTES, decode, encode

_SIGNATURE_DEF = "signature_def"
_LONGEST_RELOAD_S = 300.0
#: canonical codes of google.rpc.Code, which StatusProto carries
_CODE_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}


def spec_choice(spec: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of a ModelSpec; a version or label that is not set is None."""
    choice = spec.WhichOneof("version_choice")
    return (
        spec.name,
        int(spec.version.value) if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def answer(manager: ModelManager, request: Any) -> Any:
    """PredictRequest → PredictResponse. Raises StatusError."""
    name, version, label = spec_choice(request.model_spec)
    with manager.use(name, version, label) as (number, model):
        signature = model.signature(request.model_spec.signature_name)
        signature.check_names(list(request.inputs))
        inputs = {key: decode(key, proto, signature) for key, proto in request.inputs.items()}
        outputs = signature.run(inputs, list(request.output_filter))
    response = predict_pb2.PredictResponse(outputs={key: encode(value) for key, value in outputs.items()})
    response.model_spec.name, response.model_spec.signature_name = name, signature.name
    response.model_spec.version.value = number
    return response


def metadata(name: str, number: int, model: SavedModel) -> Any:
    """GetModelMetadataResponse of a version: its signatures."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in model.signature_defs.items():
        signatures.signature_def[key].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = name, number
    response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response


def status_response(versions: list[ServedVersion]) -> Any:
    """GetModelStatusResponse of some versions of one model."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for served in versions:
        status = response.model_version_status.add()
        status.version = served.version
        status.state = get_model_status_pb2.ModelVersionStatus.State.Value(served.state)
        if served.error is not None:
            status.status.error_code = _CODE_NUMBERS[served.error.code]
            status.status.error_message = str(served.error)
    return response


def _guarded(context: Any, call: Callable[[], Any]) -> Any:
    """The result of ``call``, or the request's end with the right status; work that nobody waits for is not begun."""
    if not context.is_active():
        context.abort(grpc.StatusCode.CANCELLED, "the caller has gone")
    remaining = context.time_remaining()
    try:
        if remaining is not None and remaining <= 0:
            raise StatusError(DEADLINE_EXCEEDED, "the deadline passed before the request was begun")
        return call()
    except StatusError as error:
        context.abort(grpc.StatusCode[error.code], str(error))
    except Exception as error:  # a bug of ours must not show as one of the transport
        context.abort(grpc.StatusCode[INTERNAL], f"{type(error).__name__}: {error}")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict and GetModelMetadata."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def Predict(self, request: Any, context: Any) -> Any:
        """One call of a signature."""
        return _guarded(context, lambda: answer(self._manager, request))

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """The signatures of a version."""
        return _guarded(context, lambda: self._metadata(request))

    def _metadata(self, request: Any) -> Any:
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        name, version, label = spec_choice(request.model_spec)
        with self._manager.use(name, version, label) as (number, model):
            return metadata(name, number, model)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus and HandleReloadConfigRequest; configs may name folders inside ``root`` only."""

    def __init__(self, manager: ModelManager, root: Path) -> None:
        self._manager, self._root = manager, root

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        """States of the versions of a model."""
        return _guarded(context, lambda: status_response(self._manager.status(*spec_choice(request.model_spec))))

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Serve exactly what the config says."""
        return _guarded(context, lambda: self._reload(request, context.time_remaining()))

    def _reload(self, request: Any, remaining_s: float | None) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported"
            )
        plans = plans_of_config(request.config.model_config_list.config, self._root)
        self._manager.reload(plans, min(remaining_s or _LONGEST_RELOAD_S, _LONGEST_RELOAD_S))
        return model_management_pb2.ReloadConfigResponse()


def make_server(
    manager: ModelManager, root: Path, threads: int, access: ServerAccess | None = None
) -> tuple[Any, ThreadPoolExecutor]:
    """A gRPC server with both services, not yet bound or started, and its pool of request threads.

    ``so_reuseport`` is off: two servers on one port would share its requests without either noticing.
    """
    # Two threads more than requests run at once: a reload that waits for a model must not take a request's place.
    pool = ThreadPoolExecutor(threads + 2, thread_name_prefix="grpc")
    server = grpc.server(
        pool,
        interceptors=access.interceptors() if access else (),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(manager), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager, root), server)
    return server, pool


__all__ = ["DEFAULT_SIGNATURE", "answer", "make_server", "metadata", "spec_choice", "status_response"]
