"""Arrays survive the way through messages and JSON; claims without substance are refused before memory is spent."""

import base64
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny_models import INPUTS, saved_model

from eyewall.serving import json_tensors
from eyewall.serving.saved_model import SavedModel, Signature, TensorSpec
from eyewall.serving.status import StatusError
from eyewall.serving.tensors import decode, encode, pack, unpack

DTYPES = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]


def signature(**inputs: TensorSpec) -> Signature:
    """A signature with these inputs and nothing behind it."""
    made = Signature.__new__(Signature)
    made.name, made.inputs, made.outputs = "serving_default", inputs, {}
    return made


FLOATS = signature(x=TensorSpec(np.dtype(np.float32), (None, 3)))
STRINGS = signature(s=TensorSpec(np.dtype(object), (None,)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))))
@pytest.mark.parametrize("write", [pytest.param(pack, id="packed"), pytest.param(encode, id="typed-fields")])
def test_every_array_survives_a_message_and_tensorflow_reads_it_alike(write, array):
    proto = type(write(array)).FromString(write(array).SerializeToString())
    spec = signature(x=TensorSpec(array.dtype, None))
    np.testing.assert_array_equal(decode("x", proto, spec), array)
    np.testing.assert_array_equal(unpack(proto), array)  # the second method: tf.make_ndarray


def test_packed_content_is_not_copied():
    array = decode("x", pack(np.arange(6, dtype=np.float32).reshape(2, 3)), FLOATS)
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_a_single_value_for_a_huge_shape_is_refused_before_it_is_unfolded():
    proto = tf.make_tensor_proto(1.5, dtype=tf.float32)
    proto.tensor_shape.dim.add(size=10**12)
    proto.tensor_shape.dim.add(size=3)
    with pytest.raises(StatusError, match="claims 3000000000000 values") as refused:
        decode("x", proto, FLOATS)
    assert refused.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("proto", "sentence"),
    [
        pytest.param(pack(np.ones((2, 4), np.float32)), r"expected float32 \[\?,3\], given float32 \[2,4\]", id="size"),
        pytest.param(pack(np.ones(3, np.float32)), "the number of axes differs", id="axes"),
        pytest.param(pack(np.ones((2, 3), np.int64)), r"given int64 \[2,3\]: the type differs", id="type"),
        pytest.param(tf.make_tensor_proto([["a", "b", "c"]]), "given string", id="string"),
        pytest.param(type(pack(np.ones(1)))(dtype=99), "tensor type 99 is not known", id="unknown-type"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_what_was_expected_and_given(proto, sentence):
    with pytest.raises(StatusError, match=sentence) as refused:
        decode("x", proto, FLOATS)
    assert refused.value.code == "INVALID_ARGUMENT"


def test_content_that_is_too_short_for_its_shape_is_refused():
    proto = pack(np.arange(6, dtype=np.float32).reshape(2, 3))
    proto.tensor_content = proto.tensor_content[:-1]
    with pytest.raises(StatusError, match="are not 6 values of float32"):
        decode("x", proto, FLOATS)


def test_a_shape_that_is_not_known_is_refused():
    proto = pack(np.arange(6, dtype=np.float32).reshape(2, 3))
    proto.tensor_shape.dim[0].size = -1
    with pytest.raises(StatusError, match="must be known"):
        decode("x", proto, FLOATS)


# --- JSON


def arrays(body: object, spec: Signature = FLOATS) -> tuple[dict[str, np.ndarray], str]:
    return json_tensors.inputs_of(json_tensors.parse(json.dumps(body).encode()), spec)


def test_rows_and_columns_are_the_same_request():
    two = signature(x=TensorSpec(np.dtype(np.float32), (None, 3)), u=TensorSpec(np.dtype(np.float32), (None, 3)))
    x, u = INPUTS["x"].tolist(), INPUTS["u"].tolist()
    rows, form = arrays({"instances": [{"x": a, "u": b} for a, b in zip(x, u, strict=True)]}, two)
    columns, other = arrays({"inputs": {"x": x, "u": u}}, two)
    assert (form, other) == ("row", "columnar")
    for name in INPUTS:
        np.testing.assert_array_equal(rows[name], INPUTS[name])
        np.testing.assert_array_equal(columns[name], INPUTS[name])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(width=32)))
def test_every_float32_survives_json_in_both_forms_nan_and_infinity_too(array):
    for form in ("row", "columnar"):
        text = json.dumps(json_tensors.render({"y": array, "z": array}, form))
        value = json.loads(text)
        rows = [row["y"] for row in value["predictions"]] if form == "row" else value["outputs"]["y"]
        np.testing.assert_array_equal(np.array(rows, dtype=np.float32), array)


def test_a_float32_is_written_with_the_fewest_digits():
    assert json_tensors.render({"y": np.array([0.2, 1e-7], np.float32)}, "columnar") == {"outputs": [0.2, 1e-07]}


def test_bytes_travel_as_b64_and_text_as_it_is():
    raw = b"\xff\x00eye"
    got, _ = arrays({"instances": [{"b64": base64.b64encode(raw).decode()}, "wall"]}, STRINGS)
    assert got["s"].tolist() == [raw, b"wall"]
    outputs = {"image_bytes": got["s"], "name": np.array([b"eye", b"wall"], dtype=object)}
    assert json_tensors.render(outputs, "row")["predictions"][0] == {
        "image_bytes": {"b64": base64.b64encode(raw).decode()},
        "name": "eye",
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        pytest.param({"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}, "only one of", id="both-forms"),
        pytest.param({"x": 1}, "Missing 'inputs' or 'instances' key", id="neither-form"),
        pytest.param({"instances": {}}, "to be an list/array", id="instances-no-list"),
        pytest.param({"instances": []}, "No values", id="no-rows"),
        pytest.param({"instances": [[1, 2, 3], [1, 2]]}, "not a rectangular list", id="ragged"),
        pytest.param({"instances": [["1", "2", "3"]]}, "not of expected type: float32", id="text-for-numbers"),
        pytest.param({"instances": [[1, None, 3]]}, "not of expected type: float32", id="null"),
        pytest.param({"instances": [[1e300, 2, 3]]}, "without loss of precision", id="too-large-for-float32"),
        pytest.param({"instances": [[1, 2, 3, 4]]}, r"expected float32 \[\?,3\], given float32 \[1,4\]", id="size"),
        pytest.param({"instances": [{"y": [1, 2, 3]}]}, "keys must be equal to: x", id="another-name"),
        pytest.param({"inputs": {"x": [[1, 2, 3]], "y": 1}}, r"Sent extra: \{y\}", id="extra-input"),
        pytest.param({"inputs": {"y": 1}}, r"Missing but required: \{x\}", id="missing-input"),
    ],
)
def test_a_wrong_body_is_refused_with_its_reason(body, sentence):
    with pytest.raises(StatusError, match=sentence) as refused:
        arrays(body)
    assert refused.value.http_status == 400


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut-off"),
        pytest.param(b"[1]", id="no-object"),
        pytest.param(b"\xff\xfe", id="not-text"),
        pytest.param(b'{"inputs":' + b"[" * 100_000, id="a-hundred-thousand-brackets"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body):
    with pytest.raises(StatusError) as refused:
        json_tensors.parse(body)
    assert refused.value.code == "INVALID_ARGUMENT"


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=8))
def test_whatever_stands_under_inputs_is_an_array_that_fits_or_a_refusal(value):
    for spec in (FLOATS, STRINGS):
        try:
            got, _ = json_tensors.inputs_of({"inputs": value}, spec)
        except StatusError:
            continue
        for name, array in got.items():
            assert spec.inputs[name].refusal_of(array.dtype, array.shape) == ""


# --- the call


def test_a_saved_model_answers_as_its_formula_says():
    outputs = SavedModel(saved_model(2.0)).signature().run(INPUTS)
    # y = 2 (x + u): 2 (0.5 + 1) = 3, 2 (-1.25 + 2) = 1.5, 2 (2 + 3) = 10; 2 (3.25) = 6.5, 2 · 4 = 8, 2 · 7.25 = 14.5
    np.testing.assert_allclose(outputs["y"], [[3.0, 1.5, 10.0], [6.5, 8.0, 14.5]])
    np.testing.assert_allclose(outputs["total"], [14.5, 29.0])


def test_only_the_outputs_of_the_filter_are_returned_and_unknown_ones_refused():
    signature = SavedModel(saved_model(2.0)).signature()
    assert set(signature.run(INPUTS, ["total"])) == {"total"}
    with pytest.raises(StatusError, match="alias not found in signature: nope"):
        signature.run(INPUTS, ["nope"])
    with pytest.raises(StatusError, match="duplicate"):
        signature.run(INPUTS, ["y", "y"])


def test_rows_that_do_not_match_across_inputs_are_the_callers_fault():
    with pytest.raises(StatusError) as refused:
        SavedModel(saved_model(2.0)).signature().run({"x": INPUTS["x"], "u": np.ones((3, 3), np.float32)})
    assert refused.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize(
    "damage", [pytest.param(lambda d: d[: len(d) // 2], id="truncated"), pytest.param(lambda d: b"", id="empty")]
)
def test_a_damaged_saved_model_is_refused_with_a_reason(tmp_path, name, damage):
    folder = tmp_path / "broken"
    shutil.copytree(saved_model(2.0), folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(StatusError) as refused:
        SavedModel(folder)
    assert refused.value.code == "INTERNAL"
    assert str(refused.value)
