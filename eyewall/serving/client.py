"""A client of TensorFlow Serving's gRPC API, and of nothing else, so that the real server drops in.

Every call has a deadline. A call that finds no server is tried again until then, which is safe: a prediction changes
nothing, and a config that is sent twice is the same config. All failures are one ServingError sentence.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eyewall import quiet
from eyewall.contracts.errors import ServingError
from eyewall.serving.access import ClientAccess

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_MAX_MESSAGE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Prediction:
    """Outputs by name, and the version that made them."""

    outputs: dict[str, npt.NDArray[Any]]
    version: int


@dataclass(frozen=True)
class VersionStatus:
    """State of a version as GetModelStatus gives it, and its error message, if any."""

    state: str
    error: str = ""

    @property
    def available(self) -> bool:
        """Whether it answers requests."""
        return self.state == "AVAILABLE"

    @property
    def failed(self) -> bool:
        """Whether it was given up with an error."""
        return self.state == "END" and bool(self.error)


@dataclass(frozen=True)
class ModelConfig:
    """One model of a server's config: exactly these versions, with these labels, from ``base_path`` as it sees it."""

    name: str
    base_path: str
    versions: tuple[int, ...]
    labels: dict[str, int] = field(default_factory=dict)


class Client:
    """One channel to ``address`` (host:port of gRPC); thread-safe; close it, or use it in a with block."""

    def __init__(self, address: str, timeout_s: float = 30.0, access: ClientAccess | None = None) -> None:
        """``timeout_s``: deadline of each call, retries included, unless the call is given another.

        ``access``: token and trust; by default as the environment says (`eyewall.serving.access`).
        """
        quiet.import_tensorflow()  # the stubs bring it with them
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.address, self._timeout_s = address, timeout_s
        self._access = access or ClientAccess.of_environment()
        self._channel = self._access.channel(
            address,
            [
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def predict(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """Outputs of the default signature for ``inputs`` (arrays with a batch axis, of the signature's types).

        Give ``version`` or ``label``, or neither for the highest version. Raises ServingError.
        """
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        from eyewall.serving.tensors import pack

        request = predict_pb2.PredictRequest(inputs={key: pack(np.asarray(value)) for key, value in inputs.items()})
        _choose(request.model_spec, name, version, label)
        response = self._call(self._predictions.Predict, request, f"a prediction by {name!r}", timeout_s)
        outputs = {key: np.asarray(tf.make_ndarray(proto)) for key, proto in response.outputs.items()}
        return Prediction(outputs, int(response.model_spec.version.value))

    def metadata(self, name: str, *, version: int | None = None, label: str | None = None) -> dict[str, Any]:
        """Signatures by name, as SignatureDef messages. Raises ServingError."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _choose(request.model_spec, name, version, label)
        response = self._call(self._predictions.GetModelMetadata, request, f"the signatures of {name!r}")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def status(self, name: str) -> dict[int, VersionStatus]:
        """State of every version that the server knows of ``name``; empty when it does not know the model."""
        import grpc
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        response = self._call(
            self._models.GetModelStatus, request, f"the state of {name!r}", absent=grpc.StatusCode.NOT_FOUND
        )
        if response is None:
            return {}
        names = get_model_status_pb2.ModelVersionStatus.State
        return {
            int(s.version): VersionStatus(names.Name(s.state), s.status.error_message)
            for s in response.model_version_status
        }

    def reload(self, models: Sequence[ModelConfig], timeout_s: float | None = None) -> None:
        """Make the server serve exactly ``models``; a new version loads after this returns. Raises ServingError."""
        from tensorflow_serving.apis import model_management_pb2

        request = model_management_pb2.ReloadConfigRequest()
        configs = request.config.model_config_list.config
        request.config.model_config_list.SetInParent()  # no model at all is a config as well
        for model in models:
            config = configs.add(name=model.name, base_path=model.base_path, model_platform="tensorflow")
            config.model_version_policy.specific.versions.extend(model.versions)
            for label, version in model.labels.items():
                config.version_labels[label] = version
        what = f"serving {', '.join(f'{m.name} {list(m.versions)}' for m in models) or 'nothing'}"
        response = self._call(self._models.HandleReloadConfigRequest, request, what, timeout_s)
        if response.status.error_code:
            raise ServingError(f"model server {self.address} refused {what}: {response.status.error_message}")

    def _call(
        self, method: Callable[..., Any], request: Any, what: str, timeout_s: float | None = None, absent: Any = None
    ) -> Any:
        """One call with its deadline and retries; None when it ends with the status ``absent``."""
        import grpc

        whole_s = timeout_s if timeout_s is not None else self._timeout_s
        deadline, pause_s = time.monotonic() + whole_s, _FIRST_PAUSE_S
        while True:
            try:
                timeout = max(0.001, deadline - time.monotonic())
                return method(request, timeout=timeout, metadata=self._access.metadata())
            except grpc.RpcError as error:
                code = error.code()
                if code == absent:
                    return None
                if code != grpc.StatusCode.UNAVAILABLE or time.monotonic() + pause_s > deadline:
                    raise self._sentence(code.name, error.details() or "", what, whole_s) from None
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _sentence(self, code: str, details: str, what: str, whole_s: float) -> ServingError:
        where = f"model server {self.address}"
        if code == "UNAVAILABLE":
            return ServingError(
                f"{where} does not answer within {whole_s:g} s: start it with eyewall serve ({details})"
            )
        if code == "DEADLINE_EXCEEDED":
            return ServingError(f"{where} took longer than {whole_s:g} s for {what}: give it more time or less to do")
        return ServingError(f"{where} refused {what}: {code}: {details}")


def _choose(spec: Any, name: str, version: int | None, label: str | None) -> None:
    spec.name = name
    if version is not None:
        spec.version.value = version
    elif label is not None:
        spec.version_label = label
