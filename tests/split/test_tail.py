"""A tail behind a real server: it answers its own head, refuses everything else in a clear sentence, and stays up."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from small_networks import chain, frames

from eyewall.contracts.errors import ContractError, InputError, ServingError
from eyewall.contracts.jobs import ServeJob
from eyewall.contracts.split import CONTRACT, FEATURES
from eyewall.serving.client import Client
from eyewall.serving.index import read_index
from eyewall.serving.serve_step import RunningServer, start
from eyewall.split import make as making
from eyewall.split import wire
from eyewall.split.partition import Parts, split
from eyewall.storage import Artifact, Store

NAME = "chain-tail"
X = frames(3)


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two networks of one architecture with different weights, as files."""
    folder = tmp_path_factory.mktemp("networks")
    for seed in (1, 5):
        chain(seed).save(folder / f"{seed}.keras")
    return [str(folder / f"{seed}.keras") for seed in (1, 5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for the whole module."""
    return Store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def artifacts(store: Store, keras_files: list[str]) -> list[Artifact]:
    """The two networks, cut at pool1 with float16 on the wire, as artifacts."""
    return [making.make(store, path, "pool1", wire="float16") for path in keras_files]


@pytest.fixture(scope="module")
def server(store: Store, artifacts: list[Artifact]) -> Iterator[RunningServer]:
    """A server in this process that serves the first tail, published in the ordinary way."""
    making.publish(store, artifacts[0].path, NAME, "a test", server=None)
    running = start(ServeJob.parse({"store": store.url, "grpc_port": 0, "rest_port": 0, "poll_s": 0.1, "grace_s": 2.0}))
    yield running
    running.stop(1.0)


def ones(*shape: int) -> np.ndarray:
    """Features of the right type."""
    return np.ones(shape, np.float16)


def head_of(artifact: Artifact) -> Callable[[np.ndarray], np.ndarray]:
    """The stored head as a function."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(artifact.folder() / "head"))
    return lambda x: (loaded, loaded.signatures["serving_default"](image=tf.constant(x)))[1][FEATURES].numpy()


def digest_of(artifact: Artifact) -> np.ndarray:
    """What a head of this artifact says it is, as a tensor."""
    return np.array([making.contract_of(artifact).model.encode()], object)


@pytest.fixture
def ask(server: RunningServer, artifacts: list[Artifact]) -> Iterator[Callable[..., np.ndarray]]:
    """Ask the server, by default with the first head's own request; keyword arguments replace inputs."""
    good = {FEATURES: head_of(artifacts[0])(X), CONTRACT: digest_of(artifacts[0])}
    with Client(server.address, 120) as client:
        yield lambda **other: client.predict(good | other, NAME).outputs["score"]


@pytest.fixture
def stays_up(ask: Callable[..., np.ndarray]) -> Iterator[None]:
    """After the test the server answers a good request, rightly."""
    yield
    np.testing.assert_allclose(ask(), np.asarray(chain()(X)), atol=0.02)


def test_the_tail_is_served_as_any_model(server: RunningServer, store: Store, ask: Callable[..., np.ndarray]) -> None:
    """Version 1, stable, with a warm-up request that it answers; and its answers are the whole model's."""
    served = read_index(store).model(NAME)

    np.testing.assert_allclose(ask(), np.asarray(chain()(X)), atol=0.02)
    assert (served.stable, served.versions[1].state, served.versions[1].approved_by) == (1, "good", "a test")
    assert (Path(store.root) / f"serving/{NAME}/1/assets.extra/tf_serving_warmup_requests").stat().st_size > 100
    assert wire.read_contract(Path(store.root) / f"serving/{NAME}/1").cut == "pool1"


def test_the_contract_may_be_sent_once_a_frame(ask: Callable[..., np.ndarray], artifacts: list[Artifact]) -> None:
    """As a server that joins requests to batches needs it."""
    np.testing.assert_array_equal(ask(contract=np.repeat(digest_of(artifacts[0]), 3)), ask())


@pytest.mark.usefixtures("stays_up")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"features": ones(1, 6, 6, 7)}, r"\[\?,6,6,8\], given float16 \[1,6,6,7\]", id="shape"),
        pytest.param({"features": ones(6, 6, 8)}, "the number of axes differs", id="rank"),
        pytest.param({"features": ones(1, 6, 6, 8).astype("f4")}, "given float32 .* the type differs", id="dtype"),
        pytest.param({"features": ones(1, 6, 6, 8).astype("i1")}, "given int8 .* the type differs", id="wire"),
        pytest.param({"features": ones(1, 6, 6, 8) * np.float16(np.inf)}, "are not all finite", id="infinite"),
        pytest.param({"contract": np.array([b"ab" * 32], object)}, "another split: .* cut at pool1 under", id="digest"),
        pytest.param({"contract": np.array([b""], object)}, "features of another split", id="no_digest"),
        pytest.param({"contract": np.array([], object)}, "the contract must be sent once", id="no_contract"),
        pytest.param({"extra": np.ones(3, np.float32)}, "Sent extra: {extra}", id="extra"),
    ],
)  # fmt: skip
def test_what_is_not_its_heads_is_refused(ask: Callable[..., np.ndarray], wrong: dict[str, Any], says: str) -> None:
    """INVALID_ARGUMENT, with what was expected and what came."""
    with pytest.raises(ServingError, match=f"INVALID_ARGUMENT: .*{says}"):
        ask(**wrong)


@pytest.mark.usefixtures("stays_up")
def test_a_head_of_another_model_is_refused_by_name(ask: Callable[..., np.ndarray], artifacts: list[Artifact]) -> None:
    """Its features have the right type and shape; only the digest tells, and both digests are in the sentence."""
    mine, other = (making.contract_of(artifact).model for artifact in artifacts)

    with pytest.raises(ServingError, match=f"INVALID_ARGUMENT: .*contract {mine};.*{other}"):
        ask(features=head_of(artifacts[1])(X), contract=digest_of(artifacts[1]))


@pytest.mark.usefixtures("stays_up")
@pytest.mark.parametrize(
    ("dims", "content", "says"),
    [
        pytest.param((3, 6, 6, 8), b"\x00" * 1727, "are not 864 values", id="cut_short"),  # 3·288·2 bytes less one
        pytest.param((3, 6, 6, 8), b"\x00" * 2, "are not 864 values", id="one_value"),
        pytest.param((3, 6, 6, 8), b"", "claims 864 values of float16 and brings none", id="no_content"),
        pytest.param((2**40, 6, 6, 8), b"\x00" * 4, "RESOURCE_EXHAUSTED.*claims", id="size_bomb"),
        pytest.param((2**62, 6, 6, 8), b"", "RESOURCE_EXHAUSTED.*claims", id="beyond_64_bits"),
        pytest.param((-1, 6, 6, 8), b"", "the shape of a request must be known", id="negative"),
    ],
)
def test_a_hostile_message_is_refused(
    server: RunningServer, artifacts: list[Artifact], dims: tuple[int, ...], content: bytes, says: str
) -> None:
    """Whatever it claims, before memory is spent on it."""
    code, details = raw_predict(server, predict_request(artifacts[0], dims, content).SerializeToString())

    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert re.search(says, f"{code.name} {details}")


@pytest.mark.usefixtures("stays_up")
def test_a_message_that_is_no_request_is_refused(server: RunningServer, artifacts: list[Artifact]) -> None:
    """Half of a request, noise, and one above the server's limit of 64 MiB."""
    whole = predict_request(artifacts[0], (1, 6, 6, 8), bytes(576)).SerializeToString()

    for message in (whole[: len(whole) // 2], b"\xff" * 100):
        code, details = raw_predict(server, message)
        assert code is not None
        assert details
    code, _ = raw_predict(server, bytes(64 * 2**20 + 1))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def predict_request(artifact: Artifact, dims: tuple[int, ...], content: bytes) -> Any:
    """A PredictRequest whose features claim ``dims`` and bring ``content``."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = NAME
    request.inputs[CONTRACT].CopyFrom(tf.make_tensor_proto(digest_of(artifact)))
    features = request.inputs[FEATURES]
    features.dtype = tf.float16.as_datatype_enum
    for size in dims:
        features.tensor_shape.dim.add(size=size)
    features.tensor_content = content
    return request


def raw_predict(server: RunningServer, message: bytes) -> tuple[Any, str]:
    """Send bytes as they are; the status and its details (None when it was answered)."""
    with grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        try:
            call(message, timeout=60)
        except grpc.RpcError as error:
            return error.code(), error.details()
    return None, ""


def test_a_new_tail_takes_over_in_the_running_server_and_the_old_head_is_told(
    server: RunningServer, store: Store, artifacts: list[Artifact]
) -> None:
    """Publish the second split and roll back: by version both answer, by label only the one that is stable."""
    from eyewall.serving.rollback import roll_back

    name = "swapped-tail"
    requests = [{FEATURES: head_of(a)(X), CONTRACT: digest_of(a)} for a in artifacts]
    wanted = [np.asarray(chain(seed)(X)) for seed in (1, 5)]
    with Client(server.address, 120) as client:
        for number in (1, 2):
            path = artifacts[number - 1].path
            receipt = making.publish(store, path, name, "a test", server=server.address)
            assert (receipt.summary["version"], receipt.summary["labels"]["stable"]) == (number, number)
            answer = client.predict(requests[number - 1], name, label="stable")
            np.testing.assert_allclose(answer.outputs["score"], wanted[number - 1], atol=0.02)
        with pytest.raises(ServingError, match="features of another split"):
            client.predict(requests[0], name, label="stable")
        np.testing.assert_allclose(client.predict(requests[0], name, version=1).outputs["score"], wanted[0], atol=0.02)

        roll_back(store, name, None, server.address, None, "the old heads are still out", 60)
        assert client.predict(requests[0], name, label="stable").version == 1


def test_only_a_split_is_published_so(store: Store, keras_files: list[str]) -> None:
    """A model without a wire contract goes through the gate."""
    from tiny_models import put_model

    with pytest.raises(ContractError, match="is no split model: make one with eyewall split make"):
        making.publish(store, put_model(store, 2.0), "other", "a test", server=None)


def test_the_same_split_is_made_once(store: Store, artifacts: list[Artifact], keras_files: list[str]) -> None:
    """The second time gives the same artifact; a wrong file, and a kind that cannot be cut, are refused."""
    assert making.make(store, keras_files[0], "pool1", wire="float16").reference == artifacts[0].reference
    with pytest.raises(InputError, match=r"no file 'nowhere\.keras'"):
        making.make(store, "nowhere.keras", "pool1")
    damaged = Path(store.root) / "damaged.keras"
    damaged.write_bytes(Path(keras_files[0]).read_bytes()[:900])
    with pytest.raises(InputError, match="is not a model that tf_keras can load"):
        making.make(store, str(damaged), "pool1")


def test_side_inputs_must_have_the_features_batch() -> None:
    """One frame's features and three contexts would be broadcast in silence otherwise."""
    import tensorflow as tf
    from test_cuts import two_inputs

    parts: Parts = split(two_inputs(), "flat", sensor=["picture"])
    picture = np.random.default_rng(2).normal(size=(3, 4, 4, 1)).astype(np.float32)
    context = np.random.default_rng(3).normal(size=(3, 3)).astype(np.float32)
    want = np.asarray(two_inputs_answer({"picture": picture, "context": context}, parts))

    assert (parts.contract.head_inputs, parts.contract.side_inputs) == (("picture",), ("context",))
    assert want.shape == (3, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="input context and the features differ in their batch"):
        parts.tail(parts.head(picture)[:1], side={"context": context})


def two_inputs_answer(features: dict[str, np.ndarray], parts: Parts) -> np.ndarray:
    """Head, then tail with its side input."""
    return parts.tail(parts.head(features), side=features)["answer"]
