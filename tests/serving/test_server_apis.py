"""The running server over gRPC and REST: the same answers, the same refusals, as TensorFlow Serving's API has them."""

import http.client
import json
import re
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tiny_models import INPUTS, Repository, U, X, decide, put_model, slow_saved_model

from eyewall.contracts.errors import ServingError
from eyewall.contracts.jobs import PublishJob, ServeJob
from eyewall.serving import publish_step
from eyewall.serving.client import Client, ModelConfig
from eyewall.serving.serve_step import start
from eyewall.serving.tensors import pack

ROWS = {"instances": [{"x": x.tolist(), "u": u.tolist()} for x, u in zip(X, U, strict=True)]}
COLUMNS = {"inputs": {"x": X.tolist(), "u": U.tolist()}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A repository with version 1 (gain 2, previous) and version 2 (gain 3, stable), and a slow model."""
    repository = Repository(str(tmp_path_factory.mktemp("served")))
    repository.publish(2.0)
    repository.publish(3.0)
    slow = decide(repository.store, put_model(repository.store, 0.0, slow_saved_model()))
    publish_step.run(PublishJob(store=repository.url, decision_ref=slow, name="slow"))
    return repository


@pytest.fixture(scope="module")
def served(folder):
    """One server over it for all tests of this file: none of them changes what it serves."""
    running = start(ServeJob(store=folder.url, grpc_port=0, rest_port=0))
    yield running
    running.stop(1.0)


@pytest.fixture
def rest(served):
    """GET (no body) or POST a path: (status, JSON)."""

    def ask(path: str, body: object = None) -> tuple[int, dict]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{served.rest_port}{path}", data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return ask


@pytest.fixture
def stub(served):
    with grpc.insecure_channel(served.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(**spec: object) -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest(inputs={name: pack(value) for name, value in INPUTS.items()})
    made.model_spec.name = "track"
    for field, value in spec.items():
        if field == "version":
            made.model_spec.version.value = value
        else:
            setattr(made.model_spec, field, value)
    return made


def test_grpc_and_rest_agree_in_every_way_of_naming_a_version(served, rest):
    with Client(served.address) as client:
        for choice, path, gain in (
            ({}, "", 3.0),
            ({"version": 1}, "/versions/1", 2.0),
            ({"label": "stable"}, "/labels/stable", 3.0),
            ({"label": "previous"}, "/labels/previous", 2.0),
        ):
            answer = client.predict(INPUTS, "track", **choice)
            np.testing.assert_array_equal(answer.outputs["y"], np.float32(gain) * (X + U))
            status, rows = rest(f"/v1/models/track{path}:predict", ROWS)
            assert status == 200
            np.testing.assert_array_equal(np.float32([row["y"] for row in rows["predictions"]]), answer.outputs["y"])
            np.testing.assert_array_equal(
                np.float32([r["total"] for r in rows["predictions"]]), answer.outputs["total"]
            )
            _, columns = rest(f"/v1/models/track{path}:predict", COLUMNS)
            np.testing.assert_array_equal(np.float32(columns["outputs"]["y"]), answer.outputs["y"])


def test_a_response_says_which_version_and_signature_answered(stub):
    response = stub.Predict(request(version_label="previous"), timeout=10)
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "serving_default")
    # clients written for TensorFlow Serving read the typed field
    np.testing.assert_allclose(response.outputs["total"].float_val, (2.0 * (X + U)).sum(axis=1))


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        pytest.param(lambda r: r.model_spec.Clear(), "INVALID_ARGUMENT", "no name", id="no-name"),
        pytest.param(lambda r: setattr(r.model_spec, "name", "nope"), "NOT_FOUND", r"Latest\(nope\)", id="model"),
        pytest.param(lambda r: setattr(r.model_spec.version, "value", 9), "NOT_FOUND", "track, 9", id="version"),
        pytest.param(
            lambda r: setattr(r.model_spec, "version_label", "x"), "INVALID_ARGUMENT", "Unrecognized", id="label"
        ),
        pytest.param(
            lambda r: setattr(r.model_spec, "signature_name", "s"),
            "FAILED_PRECONDITION",
            '"s" not found',
            id="signature",
        ),
        pytest.param(lambda r: r.inputs.pop("u"), "INVALID_ARGUMENT", r"Missing but required: \{u\}", id="missing"),
        pytest.param(
            lambda r: r.inputs["w"].CopyFrom(r.inputs["u"]), "INVALID_ARGUMENT", r"Sent extra: \{w\}", id="extra"
        ),
        pytest.param(
            lambda r: r.inputs["u"].CopyFrom(pack(U.astype(np.float64))),
            "INVALID_ARGUMENT",
            r"'u'.*expected float32 \[\?,3\], given float64 \[2,3\]",
            id="type",
        ),
        pytest.param(
            lambda r: r.inputs["u"].CopyFrom(pack(U[:, :2])), "INVALID_ARGUMENT", r"given float32 \[2,2\]", id="shape"
        ),
        pytest.param(lambda r: r.output_filter.append("z"), "INVALID_ARGUMENT", "alias not found", id="output"),
    ],
)
def test_a_wrong_request_is_refused_with_the_right_code_and_sentence(stub, change, code, sentence):
    wrong = request()
    change(wrong)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Predict(wrong, timeout=10)
    assert refused.value.code().name == code
    assert re.search(sentence, refused.value.details())


def test_a_message_over_the_limit_is_refused_and_the_server_lives_on(served, stub):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(served.address, options=options) as channel:
        big = request()
        big.inputs["x"].tensor_content = bytes(65 * 2**20)
        with pytest.raises(grpc.RpcError) as refused:
            prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(big, timeout=20)
        assert refused.value.code().name == "RESOURCE_EXHAUSTED"
    assert stub.Predict(request(), timeout=10).model_spec.version.value == 2


def test_what_takes_tf_example_is_unimplemented(stub):
    with pytest.raises(grpc.RpcError) as refused:
        stub.Classify(classification_pb2.ClassificationRequest(), timeout=10)
    assert refused.value.code().name == "UNIMPLEMENTED"


def test_metadata_is_the_signature_in_both_apis(served, rest, stub):
    with Client(served.address) as client:
        definition = client.metadata("track", label="stable")["serving_default"]
    assert sorted(definition.inputs) == ["u", "x"]
    status, answer = rest("/v1/models/track/versions/2/metadata")
    assert (status, answer["model_spec"]["version"]) == (200, "2")
    inputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["x"]["dtype"] == "DT_FLOAT"
    assert [d["size"] for d in inputs["x"]["tensor_shape"]["dim"]] == ["-1", "3"]
    for field in ([], ["nope"]):
        ask = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=field)
        ask.model_spec.name = "track"
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetModelMetadata(ask, timeout=10)
        assert refused.value.code().name == "INVALID_ARGUMENT"


def test_states_are_the_same_in_both_apis(served, rest):
    _, answer = rest("/v1/models/track")
    assert answer == {
        "model_version_status": [
            {"version": str(n), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            for n in (2, 1)
        ]
    }
    with Client(served.address) as client:
        assert {n: s.state for n, s in client.status("track").items()} == {1: "AVAILABLE", 2: "AVAILABLE"}
        assert client.status("nope") == {}


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        pytest.param("/v1/models/nope", None, 404, "Could not find any versions of model nope", id="model"),
        pytest.param("/v1/models/track/versions/9", None, 404, "Could not find version 9 of model track", id="version"),
        pytest.param("/v1/models/track/labels/x", None, 400, "Unrecognized servable version label: x", id="label"),
        pytest.param(
            "/v1/models/nope:predict", ROWS, 404, "Servable not found for request: Latest(nope)", id="predict"
        ),
        pytest.param("/v1/models", None, 400, "Missing model name in request.", id="no-name"),
        pytest.param("/v1/models/track:classify", ROWS, 501, "use predict", id="classify"),
        pytest.param("/v1/models/track:predict", None, 400, "Malformed request: GET", id="get-predict"),
        pytest.param("/v1/models/track", {}, 400, "Malformed request: POST", id="post-status"),
        pytest.param("/v1/models/..%2f..%2fetc:predict", ROWS, 404, "Latest(../../etc)", id="climbing-name"),
        pytest.param("/../../etc/passwd", None, 400, "Malformed request", id="climbing-path"),
        pytest.param("/v1/models/track:predict", b"{", 400, "JSON Parse error", id="not-json"),
        pytest.param("/v1/models/track:predict", {"signature_name": 1}, 400, "must be a string", id="signature-number"),
        pytest.param(
            "/v1/models/track:predict", {"instances": [[1]]}, 400, "expecting list of objects", id="plain-list"
        ),
    ],
)
def test_rest_refuses_as_tensorflow_serving_does(rest, path, body, status, sentence):
    got, answer = rest(path, body)
    assert got == status
    assert list(answer) == ["error"]
    assert sentence in answer["error"]


def test_a_connection_is_kept_for_the_next_request_and_health_is_told(served):
    connection = http.client.HTTPConnection("127.0.0.1", served.rest_port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert json.load(connection.getresponse()) == {"status": "ok"}
    connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"POST /v1/models/track:predict HTTP/1.1\r\nHost: h\r\n\r\n", b"400", id="no-length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400", id="negative-length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"429", id="huge-length"),
        pytest.param(b"BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", b"501", id="unknown-method"),
        pytest.param(b"\x00\x01\x02\r\n\r\n", b"400", id="no-http"),
    ],
)
def test_a_broken_http_request_gets_an_answer_in_json_and_is_not_waited_for(served, head, status):
    with socket.create_connection(("127.0.0.1", served.rest_port), timeout=10) as connection:
        connection.sendall(head)
        answer = b""
        while piece := connection.recv(4096):  # ends because the server closes
            answer += piece
    assert status in answer.split(b"\r\n")[0] or answer.lstrip().startswith(b"{")
    assert b'"error"' in answer


def test_a_config_from_outside_cannot_leave_the_repository(served, folder):
    outside = folder.store.local(put_model(folder.store, 2.0)) / "saved_model"
    for base in (str(outside), "../models", "/etc"):
        with Client(served.address) as client, pytest.raises(ServingError, match="not inside the model repository"):
            client.reload([ModelConfig("evil", base, (1,))])
    with Client(served.address) as client:
        assert client.predict(INPUTS, "track", label="stable").version == 2


def test_a_config_of_another_kind_is_refused(served):
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as refused:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
            model_management_pb2.ReloadConfigRequest(), timeout=10
        )
    assert "Only ModelConfigList" in refused.value.details()


def test_the_state_of_one_version_only(served):
    ask = get_model_status_pb2.GetModelStatusRequest()
    ask.model_spec.name, ask.model_spec.version.value = "track", 2
    with grpc.insecure_channel(served.address) as channel:
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(ask, timeout=10)
    assert [s.version for s in answer.model_version_status] == [2]


def test_forty_clients_at_once_each_get_their_own_answer(served, rest):
    def ask(i: int) -> bool:
        inputs = {"x": X + i, "u": U}
        with Client(served.address) as client:
            one = client.predict(inputs, "track").outputs["y"]
        _, other = rest("/v1/models/track:predict", {"inputs": {k: v.tolist() for k, v in inputs.items()}})
        want = np.float32(3.0) * (X + np.float32(i) + U)
        return np.array_equal(one, want) and np.array_equal(np.float32(other["outputs"]["y"]), want)

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(40)))


# --- the client's sentences


def test_a_client_without_a_server_says_how_to_start_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with Client(address, timeout_s=0.4) as client, pytest.raises(ServingError, match="start it with eyewall serve"):
        client.status("track")


def test_a_client_waits_for_a_server_that_is_about_to_start(repository, serve):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    repository.publish(2.0)
    with ThreadPoolExecutor(1) as pool, Client(f"127.0.0.1:{port}", timeout_s=20) as client:
        answer = pool.submit(client.predict, INPUTS, "track", label="stable")
        serve(repository.url, grpc_port=port)
        assert answer.result(20).version == 1


def test_a_client_names_what_was_refused(served):
    sentence = r"refused a prediction by 'track': INVALID_ARGUMENT: .*Missing but required: \{u\}"
    with Client(served.address) as client, pytest.raises(ServingError, match=sentence):
        client.predict({"x": X}, "track")


def test_a_deadline_is_kept_and_named(served):
    rounds = np.float32([[3000]])  # of a product of 400 × 400: some seconds
    with Client(served.address) as client, pytest.raises(ServingError, match=r"took longer than 0\.1 s"):
        client.predict({"x": rounds}, "slow", timeout_s=0.1)
