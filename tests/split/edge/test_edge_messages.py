"""The edge's own PredictionService messages against TensorFlow Serving's stubs, and answers that lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eyewall.contracts.errors import ServingError
from eyewall.split.edge.messages import predict_request, predict_response, status_request

DTYPES = ["float32", "float64", "int32", "uint8", "int16", "int8", "int64", "bool", "uint16", "float16"]


@pytest.fixture(scope="module")
def apis():
    """The real stubs."""
    from eyewall import quiet

    quiet.import_tensorflow()
    from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

    return predict_pb2, get_model_status_pb2


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_request_is_what_tensorflow_reads_from_it(apis, dtype):
    import tensorflow as tf

    array = (np.arange(6).reshape(2, 3) * 1.5).astype(dtype)
    data = predict_request("tail:stable", {"features": array, "side": array[:, :1]}, {"contract": "abc"})
    request = apis[0].PredictRequest.FromString(data)
    assert (request.model_spec.name, request.model_spec.version_label) == ("tail", "stable")
    assert sorted(request.inputs) == ["contract", "features", "side"]
    back = tf.make_ndarray(request.inputs["features"])
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert tf.make_ndarray(request.inputs["contract"]).tolist() == [b"abc"]


@pytest.mark.parametrize(
    ("model", "name", "version", "label"),
    [("tail", "tail", 0, ""), ("tail:7", "tail", 7, ""), ("tail:canary", "tail", 0, "canary")],
)
def test_a_served_model_is_named_with_a_version_or_a_label_or_neither(apis, model, name, version, label):
    spec = apis[0].PredictRequest.FromString(predict_request(model, {})).model_spec
    assert (spec.name, spec.version.value, spec.version_label) == (name, version, label)
    assert apis[1].GetModelStatusRequest.FromString(status_request(model)).model_spec.name == name


@pytest.mark.parametrize("packed", [pytest.param(True, id="packed"), pytest.param(False, id="typed fields")])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_answer_is_read_as_tensorflow_wrote_it(apis, packed, data):
    import tensorflow as tf

    from eyewall.serving.tensors import encode, pack

    dtype = data.draw(st.sampled_from(DTYPES))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    response = apis[0].PredictResponse()
    response.outputs["y"].CopyFrom(pack(array) if packed else encode(array))
    response.model_spec.version.value = 12
    outputs, version = predict_response(response.SerializeToString(), len(array))
    assert version == 12
    assert outputs["y"].dtype == array.dtype
    np.testing.assert_array_equal(outputs["y"], array)
    np.testing.assert_array_equal(outputs["y"], tf.make_ndarray(response.outputs["y"]))


def test_a_value_that_stands_for_many_is_repeated_as_tensorflow_does(apis):
    import tensorflow as tf

    response = apis[0].PredictResponse()
    response.outputs["y"].dtype = tf.float32.as_datatype_enum
    response.outputs["y"].tensor_shape.dim.add(size=2)
    response.outputs["y"].tensor_shape.dim.add(size=2)
    response.outputs["y"].float_val.extend([1.5, 2.5])
    outputs, _ = predict_response(response.SerializeToString(), 2)
    np.testing.assert_array_equal(outputs["y"], [[1.5, 2.5], [2.5, 2.5]])


def _answer(apis, **fields) -> bytes:
    import tensorflow as tf

    response = apis[0].PredictResponse()
    tensor = response.outputs["y"]
    tensor.dtype = fields.get("dtype", tf.float32.as_datatype_enum)
    for size in fields.get("shape", (1,)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = fields.get("content", b"")
    return response.SerializeToString()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"shape": (2**40,)}, "claims", id="a size bomb"),
        pytest.param({"shape": (1, 2**62, 4)}, "claims", id="a size that overflows"),
        pytest.param({"shape": (1, -1)}, "not known", id="a size below zero"),
        pytest.param({"shape": (1,)}, "no values", id="no content"),
        pytest.param({"shape": (1,), "content": b"abc"}, "cannot be read", id="content cut short"),
        pytest.param({"shape": (1,), "content": b"abcd" * 3}, "cannot be read", id="content too long"),
        pytest.param({"shape": (3,), "content": b"abcd" * 3}, "1 frames were asked for", id="other frames"),
        pytest.param({"dtype": 21, "content": b"abcd"}, "not known", id="an unknown type"),
    ],
)
def test_an_answer_that_lies_is_an_error_and_no_memory_is_spent_on_it(apis, fields, reason):
    with pytest.raises(ServingError, match=reason):
        predict_response(_answer(apis, **fields), 1)


@given(st.binary(max_size=60))
def test_noise_is_an_error_and_never_a_crash(noise):
    with pytest.raises(ServingError):
        predict_response(noise, 1)
