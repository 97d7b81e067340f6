"""TensorFlow Serving's REST API over a ModelManager.

    GET  /v1/models/<m>[/versions/<n>|/labels/<l>]             states
    GET  /v1/models/<m>[/versions/<n>|/labels/<l>]/metadata    signatures
    POST /v1/models/<m>[/versions/<n>|/labels/<l>]:predict     row form "instances", columnar form "inputs"
    GET  /healthz                                              200 while the server takes requests (ours, not theirs)

Source: tensorflow_serving/g3doc/api_rest.md and model_servers/http_rest_api_util. Errors are ``{"error": …}``.
"""

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format

from eyewall.serving import json_tensors
from eyewall.serving.access import ServerAccess
from eyewall.serving.grpc_api import metadata, status_response
from eyewall.serving.manager import ModelManager
from eyewall.serving.status import UNAVAILABLE, UNIMPLEMENTED, StatusError, invalid
from eyewall.serving.tensors import MAX_MESSAGE_BYTES

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(?P<method>classify|regress|predict)")
_STATUS = re.compile(_MODEL + r"(?P<metadata>/metadata)?")

#: An idle connection, or one that does not finish its request, is closed after this time.
_IDLE_S = 60.0

Choice = tuple[str, int | None, str | None]


def _choice(match: re.Match[str]) -> Choice:
    version, label = match["version"], match["label"]
    return unquote(match["name"]), int(version) if version else None, unquote(label) if label else None


class RestApi:
    """Requests to answers, without any HTTP: every method returns JSON text or raises StatusError."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def get(self, path: str) -> str:
        """States or signatures of a model."""
        if path == "/healthz":
            return '{"status": "ok"}'
        if re.fullmatch("/v1/models/?", path):
            raise invalid("Missing model name in request.")
        match = _STATUS.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: GET {path[:200]}")
        if not match["metadata"]:
            message = status_response(self._manager.status(*_choice(match)))
            return _proto_json(_with_code_names(json_format.MessageToDict(message, **_ALL_FIELDS)))
        name, version, label = _choice(match)
        with self._manager.use(name, version, label) as (number, model):
            message = metadata(name, number, model)
        return _proto_json(json_format.MessageToDict(message, **_ALL_FIELDS))

    def post(self, path: str, body: bytes) -> str:
        """A prediction."""
        match = _PREDICT.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: POST {path[:200]}")
        if match["method"] != "predict":
            raise StatusError(
                UNIMPLEMENTED, f"{match['method']} takes tf.Example, which no model here does: use predict"
            )
        request = json_tensors.parse(body)
        with self._manager.use(*_choice(match)) as (_, model):
            signature = model.signature(json_tensors.signature_name(request))
            inputs, form = json_tensors.inputs_of(request, signature)
            outputs = signature.run(inputs)
        return json.dumps(json_tensors.render(outputs, form))


_ALL_FIELDS: dict[str, Any] = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}


def _with_code_names(status: dict[str, Any]) -> dict[str, Any]:
    """An all-default ``status`` is left out by the protobuf library; TensorFlow Serving writes it."""
    for version in status.get("model_version_status", []):
        version.setdefault("status", {"error_code": "OK", "error_message": ""})
    return status


def _proto_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"


class _Handler(BaseHTTPRequestHandler):
    """One connection; kept alive between requests."""

    protocol_version = "HTTP/1.1"
    server_version = "eyewall"
    sys_version = ""
    timeout = _IDLE_S
    server: "RestServer"

    def setup(self) -> None:
        # The handshake happens here, in the connection's own thread: one that dawdles holds up nobody else.
        if self.server.tls is not None:
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            self.request.close()  # the server closes the socket that this one has taken over

    def do_GET(self) -> None:
        """States, signatures, health; whether the server lives is told without a token."""
        if self._route() != "/healthz" and not self._let_in():
            return
        self._answer(lambda: self.server.api.get(self._route()))

    def do_POST(self) -> None:
        """Predictions; the body is read before the request takes a place, so a slow sender holds up nobody."""
        if not self._let_in():
            return
        try:
            body = self._body()
        except StatusError as error:
            self.send_error(error.http_status, str(error))
            return
        self._answer(lambda: self.server.api.post(self._route(), body))

    def _let_in(self) -> bool:
        if self.server.access.allows(self.headers.get("Authorization", "")):
            return True
        self.send_error(401, "this server wants a bearer token, and this one is not it")
        return False

    def _route(self) -> str:
        return self.path.partition("?")[0]

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise invalid("the request has no Content-Length: send the body in one piece")
        if int(length) > MAX_MESSAGE_BYTES:
            raise StatusError(
                "RESOURCE_EXHAUSTED", f"a body of {length} bytes is over the limit of {MAX_MESSAGE_BYTES}"
            )
        return self.rfile.read(int(length))

    def _answer(self, call: Callable[[], str]) -> None:
        with self.server.in_flight() as accepted:
            status = 200
            try:
                if not accepted:
                    self.close_connection = True
                    raise StatusError(UNAVAILABLE, "the server is stopping")
                text = call()
            except StatusError as error:
                status, text = error.http_status, json.dumps({"error": str(error)})
            except Exception as error:
                status, text = 500, json.dumps({"error": f"{type(error).__name__}: {error}"})
            self._send(status, text.encode())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A refusal before the request was understood, in JSON; what is left of it is not read."""
        self.close_connection = True
        self._send(code, json.dumps({"error": message or "Malformed request"}).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """One line a request would be most of the log."""


class RestServer(ThreadingHTTPServer):
    """The HTTP server; at most ``threads`` requests run at once, the others wait their turn."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], manager: ModelManager, threads: int, access: ServerAccess | None = None
    ) -> None:
        """Bind and listen. Raises OSError when the port is taken."""
        self.access = access or ServerAccess()
        self.tls = self.access.ssl_context()
        self.api = RestApi(manager)
        self._places = threading.BoundedSemaphore(threads)
        self._idle = threading.Condition()
        self._running, self._stopping = 0, False
        super().__init__(address, _Handler)

    def in_flight(self) -> "_InFlight":
        """A context for one request; it yields whether the request may be begun."""
        return _InFlight(self)

    def enter(self) -> bool:
        """Count a request in; False when the server is stopping."""
        with self._idle:
            self._running += 1
            accepted = not self._stopping
        if accepted:
            self._places.acquire()
        return accepted

    def leave(self, accepted: bool) -> None:
        """Count it out."""
        if accepted:
            self._places.release()
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def stop(self, grace_s: float) -> bool:
        """Take no further request and wait for those that run, at most ``grace_s``; whether all of them ended."""
        with self._idle:
            self._stopping = True
        self.shutdown()
        self.server_close()
        deadline = time.monotonic() + grace_s
        with self._idle:
            while self._running and (left := deadline - time.monotonic()) > 0:
                self._idle.wait(left)
            return self._running == 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the client's business."""


class _InFlight:
    def __init__(self, server: RestServer) -> None:
        self._server, self._accepted = server, False

    def __enter__(self) -> bool:
        self._accepted = self._server.enter()
        return self._accepted

    def __exit__(self, *_: object) -> None:
        self._server.leave(self._accepted)
